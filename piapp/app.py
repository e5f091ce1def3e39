"""Builds everything and wires it together; starts in order, stops in reverse."""

import asyncio
import logging
from collections.abc import Callable

from piapp.camera import Camera
from piapp.config import CameraConfig, Config
from piapp.sources.opener import Opener
from piapp.sources.source import Source
from piapp.system import network
from piapp.web import server
from piapp.web.guard import Site

log = logging.getLogger(__name__)

STOP_LIMIT_S = 0.5  # for all devices together; a thread that hangs in its driver ends with the process


async def run(
    config: Config,
    stopping: asyncio.Event,
    *,
    opener: Callable[[CameraConfig], Callable[[], Source]] = Opener,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until `stopping` is set; `started` is called when requests are answered. Raises ListenError."""
    sockets = server.bind(config.server.host, config.server.port)
    cameras = {camera.name: Camera(camera, opener(camera)) for camera in config.cameras}
    site = Site(config.server, cameras)
    for camera in cameras.values():
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
        for broadcast in site.broadcasts.values():
            broadcast.close()
        await asyncio.gather(*(camera.stop(STOP_LIMIT_S) for camera in cameras.values()))
        await http.close_all_connections()
