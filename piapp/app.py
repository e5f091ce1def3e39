"""Builds everything and wires it together; starts in order, stops in reverse."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from piapp.camera import Camera, State
from piapp.config import CameraConfig, Config
from piapp.sources import pi_found
from piapp.sources.opener import Opener
from piapp.sources.source import Source
from piapp.state import StateFile
from piapp.system import network
from piapp.system.board import Board
from piapp.web import server
from piapp.web.guard import Site

log = logging.getLogger(__name__)

STOP_LIMIT_S = 2.0  # for all devices together: a Pi camera closes in some tenths of a second, on a small board in more


class End(NamedTuple):
    """How piapp has ended."""

    restart: bool  # it is to be started again, since only a fresh process may help one of its cameras
    clean: bool  # no device's thread is left behind, one that hangs in its driver


async def run(
    config: Config,
    stopping: asyncio.Event,
    *,
    state_path: Path | None = None,
    opener: Callable[[CameraConfig], Callable[[], Source]] = Opener,
    started: Callable[[], None] = lambda: None,
) -> End:
    """Serve until `stopping` is set, which it also sets by itself for a camera that only a fresh process may help.

    `started` is called when requests are answered. What users choose at the page is kept in the file at `state_path`,
    if there is one. Raises ListenError.
    """
    restart = False

    def fresh_process() -> bool:
        """Not while somebody watches another camera, who would lose the picture."""
        nonlocal restart
        if any(camera.state is State.RUNNING and camera.watchers for camera in cameras.values()):
            return False
        restart = restart or not stopping.is_set()
        stopping.set()
        return True

    sockets = server.bind(config.server.host, config.server.port)
    pi_found.use_tuning(config.cameras)
    state = StateFile(state_path)
    cameras = {
        camera.name: Camera(camera, opener(camera), state.of(camera.name), fresh_process) for camera in config.cameras
    }
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
        clean = all(await asyncio.gather(*(camera.stop(STOP_LIMIT_S) for camera in cameras.values())))
        await http.close_all_connections()
        await state.close()
    return End(restart, clean)
