"""Builds everything and wires it together; starts in order, stops in reverse."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from piapp.camera import Camera
from piapp.config import CameraConfig, Config
from piapp.sources.opener import Opener
from piapp.sources.source import Source
from piapp.state import StateFile
from piapp.system import network
from piapp.system.board import Board
from piapp.web import server
from piapp.web.guard import Site

log = logging.getLogger(__name__)

STOP_LIMIT_S = 0.5  # for all devices together; a thread that hangs in its driver ends with the process


async def run(
    config: Config,
    stopping: asyncio.Event,
    *,
    state_path: Path | None = None,
    opener: Callable[[CameraConfig], Callable[[], Source]] = Opener,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until `stopping` is set; `started` is called when requests are answered. Raises ListenError.

    What users choose at the page is kept in the file at `state_path`, if there is one.
    """
    sockets = server.bind(config.server.host, config.server.port)
    state = StateFile(state_path)
    cameras = {camera.name: Camera(camera, opener(camera), state.of(camera.name)) for camera in config.cameras}
    site = Site(config.server, cameras, config.problem, Board().describe)
    for camera in cameras.values():
        state.follow(camera)
        camera.start()
    http = server.serve(site, sockets)
    try:
        log.info("settings: %s", config.path or "the defaults, since there is no config.toml")
        log.info("watch at %s", "  ".join(network.urls(config.server.host, config.server.port)))
        started()
        await stopping.wait()
        log.info("stopping")
    finally:
        http.stop()
        for connection in tuple(site.connections):
            connection.end()
        await asyncio.gather(*(camera.stop(STOP_LIMIT_S) for camera in cameras.values()))
        await http.close_all_connections()
        await state.close()
