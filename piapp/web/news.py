"""What every open page is told of the cameras: at once when something has changed, and once a second in any case.

The second is the heartbeat by which a page tells a camera that has stopped from a connection that is gone. Each message
is made once, whatever the number of pages.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Iterable
from typing import Any, Protocol

from piapp.camera import Camera
from piapp.web import websocket
from piapp.web.websocket import Opcode

HEARTBEAT_S = 1.0
PAUSE_S = 0.05  # changes that follow one another faster are told together


class Reader(Protocol):
    """An open page."""

    def tell(self, kind: str, message: bytes) -> None:
        """Send this; if it cannot go at once, only the newest of its kind matters."""

    def sweep(self) -> None:
        """A second has passed."""

    def renew(self) -> None:
        """There are other cameras: what is known of those there were is void, even where they have the same name."""


class News:
    """Listens to the cameras only while there are readers. Event loop only."""

    def __init__(self, cameras: Iterable[Camera], problem: str) -> None:
        """`problem`: what keeps piapp from working as it was set up."""
        self._cameras = tuple(cameras)
        self._problem = problem
        self._count = itertools.count()
        self.ids = {camera.name: next(self._count) for camera in self._cameras}  # of cameras; none comes twice
        self._readers: set[Reader] = set()
        self._controls: dict[str, object] = {}  # of each camera, as the readers know them
        self._loop = asyncio.get_running_loop()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._coming: asyncio.Handle | None = None  # changes come in bunches; they are told together
        self._told = 0.0  # when, in loop time

    def join(self, reader: Reader) -> None:
        """Tell it how things are now, and from now on what changes."""
        if not self._readers:
            for camera in self._cameras:
                camera.listeners.add(self._on_change)
                self._controls[camera.name] = camera.controls
            self._heartbeat = self._loop.call_later(HEARTBEAT_S, self._beat)
        self._readers.add(reader)
        reader.tell("state", self._state())
        for camera in self._cameras:
            reader.tell(f"controls {camera.name}", _controls(camera))

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)
        if not self._readers:
            for camera in self._cameras:
                camera.listeners.discard(self._on_change)
            for handle in (self._heartbeat, self._coming):
                if handle:
                    handle.cancel()
            self._heartbeat = self._coming = None

    def change(self, cameras: Iterable[Camera], problem: str) -> None:
        """Cameras have come or gone, or `problem` is another one. Whoever reads is told."""
        before, self._cameras, self._problem = self._cameras, tuple(cameras), problem
        gone, new = set(before).difference(self._cameras), set(self._cameras).difference(before)
        known = {camera: self.ids[camera.name] for camera in before}
        self.ids = {each.name: known[each] if each in known else next(self._count) for each in self._cameras}
        for camera in gone:
            camera.listeners.discard(self._on_change)
        if not self._readers:
            return
        for camera in new:
            camera.listeners.add(self._on_change)
        if gone or new:
            for reader in tuple(self._readers):
                reader.renew()
        self._tell_all("state", self._state())
        for camera in new:
            self._controls[camera.name] = camera.controls
            self._tell_all(f"controls {camera.name}", _controls(camera))

    def _on_change(self) -> None:
        if self._coming is None:
            self._coming = self._loop.call_at(self._told + PAUSE_S, self._tell)  # at once, if that is over

    def _beat(self) -> None:
        self._heartbeat = self._loop.call_later(HEARTBEAT_S, self._beat)
        self._tell()
        for reader in tuple(self._readers):
            reader.sweep()

    def _tell(self) -> None:
        self._coming, self._told = None, self._loop.time()
        self._tell_all("state", self._state())
        for camera in self._cameras:
            if camera.controls != self._controls[camera.name]:
                self._controls[camera.name] = camera.controls
                self._tell_all(f"controls {camera.name}", _controls(camera))

    def _tell_all(self, kind: str, message: bytes) -> None:
        for reader in tuple(self._readers):
            reader.tell(kind, message)

    def _state(self) -> bytes:
        cameras = [{"id": self.ids[camera.name], **camera.summary()} for camera in self._cameras]
        return text({"type": "state", "problem": self._problem, "now_ms": now_ms(), "cameras": cameras})


def text(value: dict[str, Any]) -> bytes:
    """The bytes of a message to a page."""
    return websocket.message(Opcode.TEXT, json.dumps(value).encode())


def now_ms() -> float:
    """The clock that all times told to pages are of: the one that frames are stamped with."""
    return time.monotonic_ns() / 1e6


def _controls(camera: Camera) -> bytes:
    controls = [control.describe() for control in camera.controls]
    return text({"type": "controls", "camera": camera.name, "controls": controls})
