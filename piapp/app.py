"""Builds everything and wires it together; starts in order, stops in reverse."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from piapp import report, tasks
from piapp.camera import Camera, State
from piapp.config import CameraConfig, Config
from piapp.sources import pi_found
from piapp.sources.opener import Opener
from piapp.sources.source import Source
from piapp.state import StateFile
from piapp.system import network
from piapp.system.board import Board
from piapp.system.mdns import Announcement
from piapp.system.systemd import Systemd
from piapp.web import listen, server
from piapp.web.guard import Site
from piapp.web.limits import LIMITS, Limits
from piapp.web.listen import Door

log = logging.getLogger(__name__)

NAME_AGAIN_S = (10.0, 60.0, 300.0)  # pauses before asking avahi again
STOP_LIMIT_S = 2.0  # for all devices together: a Pi camera closes in some tenths of a second, on a small board in more


class End(NamedTuple):
    """How piapp has ended."""

    restart: bool  # it is to be started again, since only a fresh process may help one of its cameras
    clean: bool  # no device's thread is left behind, one that hangs in its driver


class Reload(NamedTuple):
    """How piapp gets other settings while it runs."""

    asked: asyncio.Event
    read: Callable[[], Config]  # called in a thread; with a mistake in them: those of now, and the problem


async def run(
    config: Config,
    stopping: asyncio.Event,
    *,
    state_path: Path | None = None,
    opener: Callable[[CameraConfig], Callable[[], Source]] = Opener,
    started: Callable[[], None] = lambda: None,
    reload: Reload | None = None,
    limits: Limits = LIMITS,
) -> End:
    """Serve until `stopping` is set, which it also sets by itself for a camera that only a fresh process may help.

    `started` is called when requests are answered. What users choose at the page is kept in the file at `state_path`,
    if there is one. Raises ListenError.
    """
    systemd = Systemd()
    piapp = Piapp(config, stopping, state_path, opener, limits)
    await piapp.start()
    walks = [
        tasks.start(systemd.report(piapp.status, piapp.alive), "systemd"),
        tasks.start(piapp.find_names(), "find names"),
    ]
    if reload:
        walks.append(tasks.start(piapp.follow(reload, systemd), "reload"))
    try:
        log.info("settings: %s", ", over it ".join(map(str, config.files)) or "the defaults")
        started()
        systemd.ready()
        urls = await asyncio.to_thread(network.urls, config.server.host, config.server.port)  # it asks avahi
        log.info("watch at %s", "  ".join(urls))
        await stopping.wait()
        log.info("stopping")
    finally:
        for walk in walks:
            walk.cancel()
        systemd.stopping()
        clean = await piapp.stop()
    return End(piapp.restart, clean)


class Piapp:
    """All parts, wired together. Made in the event loop; start() before use, stop() at the end."""

    def __init__(
        self,
        config: Config,
        stopping: asyncio.Event,
        state_path: Path | None,
        opener: Callable[[CameraConfig], Callable[[], Source]],
        limits: Limits,
    ) -> None:
        """Takes the port. Raises ListenError."""
        sockets = listen.bind(config.server.host, config.server.port)
        self._announcement = Announcement(config.server.host, config.server.port)
        pi_found.use_tuning(config.cameras)
        self.restart = False  # as End has it
        self._stopping = stopping
        self._opener = opener
        self._lasting = _lasting(config)
        self._clean = True  # as End has it, of cameras that are gone
        self._leaving: set[Camera] = set()
        self._state = StateFile(state_path)
        self.cameras = {camera.name: self._make(camera) for camera in config.cameras}  # another dict at each change
        self._site = Site(config.server, self.cameras, config.problem, Board().describe, limits)
        self._state.listeners.add(lambda: self._site.cannot_save(self._state.problem))
        application, places = server.application(self._site), self._site.places
        self._door = Door(sockets, application, limits, lambda: places.waiting)

    async def start(self) -> None:
        for camera in self.cameras.values():
            camera.start()
        self._door.open()
        await self._announcement.switch(self._site.config.announce)

    async def stop(self) -> bool:
        """False when a device's thread is left behind."""
        self._door.shut()
        await self._state.close()  # first, so that users' choices are safe even if something else hangs
        self._door.close_clients()
        for connection in tuple(self._site.places.connections):
            connection.end()
        _, clean = await asyncio.gather(
            self._announcement.switch(False), _stop({*self.cameras.values(), *self._leaving})
        )
        return clean and self._clean

    def status(self) -> str:
        """What is wrong with the settings, and how the cameras do, in a line."""
        return f"{self._site.words()} {report.status(self.cameras.values())}".lstrip()

    def alive(self) -> bool:
        """Whether each camera is supervised and new connections are accepted."""
        return report.alive(self.cameras.values()) and not self._door.is_out_of_files

    async def find_names(self) -> None:
        """Ask avahi for this computer's name on the network. At boot, avahi may start later than piapp."""
        for pause_s in NAME_AGAIN_S:
            if name := await asyncio.to_thread(network.local_name):
                self._site.own_names.add(name.lower().rstrip("."))
                return
            await asyncio.sleep(pause_s)

    async def follow(self, reload: Reload, systemd: Systemd) -> None:
        """Until cancelled: take over new settings whenever that is asked for."""
        while True:
            await tasks.event(reload.asked, None)
            systemd.reloading()
            await self._change(await asyncio.to_thread(reload.read))
            systemd.ready()

    async def _change(self, config: Config) -> None:
        """To these settings. Cameras whose own stay as they are notice nothing of it."""
        before = self.cameras
        stay = {c.name: before[c.name] for c in config.cameras if c.name in before and before[c.name].config == c}
        self.cameras = {camera.name: stay.get(camera.name) or self._make(camera) for camera in config.cameras}
        self._leaving = set(before.values()) - set(stay.values())
        self._site.change(config.server, self.cameras, config.problem)
        if not config.problem:  # else there is a line in the log
            log.info("settings read again; cameras that go on: %s", ", ".join(stay) or "none")
        for name, value in _lasting(config).items():
            if value != self._lasting[name]:
                log.warning("the new %s has no effect until piapp is started again", name)
        # a new camera may have the device of an old one
        self._clean = await _stop(self._leaving) and self._clean
        self._leaving = set()
        for camera in self.cameras.values():
            if camera not in stay.values():
                camera.start()
        await self._announcement.switch(config.server.announce)

    def _make(self, config: CameraConfig) -> Camera:
        camera = Camera(config, self._opener(config), self._state.of(config.name), self._fresh_process)
        self._state.follow(camera)
        return camera

    def _fresh_process(self) -> bool:
        """Not while somebody watches another camera, who would lose the picture."""
        if any(camera.state is State.RUNNING and camera.watchers for camera in self.cameras.values()):
            return False
        self.restart = self.restart or not self._stopping.is_set()
        self._stopping.set()
        return True


async def _stop(cameras: Iterable[Camera]) -> bool:
    """False when a device's thread is left behind."""
    return all(await asyncio.gather(*(camera.stop(STOP_LIMIT_S) for camera in cameras)))


def _lasting(config: Config) -> dict[str, object]:
    """The settings that a running piapp cannot change."""
    tuning = next((camera.tuning for camera in config.cameras if camera.tuning), "")
    return {"host": config.server.host, "port": config.server.port, "tuning": tuning}
