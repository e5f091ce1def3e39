"""How frames reach those who watch a camera: a Broadcast offers each new frame to all its receivers.

A receiver takes the newest frame when its link has room for it (connection.py says when that is) and never hears of
those it has missed. The plain one is a Viewer: one open MJPEG stream.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from piapp.camera import Camera
from piapp.frame import Frame
from piapp.web import multipart
from piapp.web.connection import Connection
from piapp.web.multipart import Format

SWEEP_S = 1.0
TALK_LIMIT = 16 * 1024  # bytes; a viewer that sends more after its request is disconnected


class Receiver(Protocol):
    """Whom a broadcast offers its frames. None of it raises."""

    def offer(self, now: float) -> None:
        """There is a frame that it may not have, or there may be room for one; `now` in loop time."""

    def sweep(self, timeout_s: float) -> None:
        """A second has passed: measure the rate; go away if it has taken nothing for so long."""

    def end(self) -> None:
        """There will be no more frames, ever: go away."""

    def describe(self) -> dict[str, Any]:
        """As a watcher of its camera."""


class Tally:
    """What one receiver has got of its camera, as the API tells it."""

    def __init__(self, kind: str, connection: Connection) -> None:
        self.age_s = 0.0  # of the newest frame when the other side had it, as far as is known
        self.number = 0  # of the newest frame that need not be sent any more; 0 before the first one
        self._kind = kind
        self._connection = connection
        self._sent = 0  # frames
        self._skipped = 0  # frames that there was no room for
        self._fps = 0.0  # over the last sweep
        self._swept = (time.monotonic(), 0)

    def take(self, number: int, held_back: int = 0) -> None:
        """This frame is sent; so many since the last one were left out on purpose."""
        if self.number:
            self._skipped += max(0, number - self.number - 1 - held_back)
        self.number = number
        self._sent += 1

    def sweep(self) -> None:
        """A second has passed: measure the rate."""
        now = time.monotonic()
        before, sent = self._swept
        self._fps = (self._sent - sent) / (now - before)
        self._swept = (now, self._sent)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self._kind,
            "address": self._connection.address,
            "agent": self._connection.agent,
            "fps": round(self._fps, 2),
            "age_ms": round(self.age_s * 1000, 1),
            "sent": self._sent,
            "skipped": self._skipped,
        }


class Viewer(Connection):
    """One open stream."""

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        agent: str,
        connections: set[Connection],
        broadcast: "Broadcast",
        form: Format,
        fps: float | None,
    ) -> None:
        """`fps`: at most so many frames."""
        super().__init__(sock, address, agent, connections)
        self.form = form
        self._tally = Tally("stream", self)
        self._broadcast = broadcast
        self._interval_s = 1 / fps if fps else 0.0
        self._due = 0.0  # not before this loop time may the next frame go, under a cap of `fps`
        self._capped = 0  # frames that the cap has held back since the last one sent
        self._taken: Frame | None = None  # the newest frame that was written
        self._served = self.opened  # when that was
        self._heard = 0  # bytes

    def offer(self, now: float) -> None:
        broadcast = self._broadcast
        if self._rest is not None or broadcast.frame is self._taken or self.closed:
            return
        # half a frame early is nearer to the wanted rate than half a frame late
        if self._interval_s and now < self._due - broadcast.interval_s / 2:
            self._capped += 1
            return
        if self.may_write(now, broadcast.arrived, broadcast.interval_s):
            self._take(now)
        elif self._arrives_s and self._taken:
            self._tally.age_s = max(self._tally.age_s, now - self._taken.captured_ns / 1e9 + self._arrives_s)

    room = offer

    def received(self, data: bytes) -> None:
        """Discard it: a viewer has nothing to send."""
        self._heard += len(data)
        if self._heard > TALK_LIMIT:
            self.close("(sent too much)", abort=True)

    def gone(self) -> None:
        self._broadcast.remove(self)

    def pace_s(self) -> float:
        return max(self._interval_s, time.monotonic() - self._served)

    def give_up_place(self) -> None:
        self.close("(evicted)", abort=True)

    def describe(self) -> dict[str, Any]:
        return self._tally.describe()

    def sweep(self, timeout_s: float) -> None:
        self._tally.sweep()
        self.close_if_dead(timeout_s)

    def _take(self, now: float) -> None:
        broadcast = self._broadcast
        frame = broadcast.frame
        if frame is None:
            return
        self._tally.take(frame.number, self._capped)
        if self._interval_s:
            on_time = now - self._due < broadcast.interval_s  # else begin anew, rather than make up for it
            self._due = (self._due if on_time else now) + self._interval_s
        self._capped, self._taken, self._served = 0, frame, now
        self.write_picture(broadcast.part(multipart.PARTS[self.form]))

    def write(self, data: bytes | memoryview) -> None:
        super().write(data)
        if self._taken and self._rest is None:
            self._tally.age_s = (time.monotonic_ns() - self._taken.captured_ns) / 1e9


class Broadcast:
    """One camera's frames to all who watch it. Listens to the camera only while somebody does."""

    def __init__(self, camera: Camera, viewer_timeout_s: float) -> None:
        self.camera = camera
        self.receivers: set[Receiver] = set()
        self.frame: Frame | None = None  # the newest
        self.arrived = 0.0  # when it came, in loop time
        self.interval_s = 1 / camera.config.framerate  # between two frames: measured, smoothed
        self._parts: dict[Callable[[Frame], bytes], bytes] = {}  # of that frame, each made when it is first wanted
        self.viewer_timeout_s = viewer_timeout_s
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None

    def add(self, receiver: Receiver) -> None:
        """Offer it the newest frame, and from now on every one, until it is removed."""
        if self.frame is not self.camera.hub.newest:  # that may have been forgotten as too old
            self.frame = self.camera.hub.newest
            self._parts.clear()
        if not self.receivers:
            self.camera.hub.listeners.add(self._on_frame)
            self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        self.receivers.add(receiver)
        self.camera.watch(receiver)
        receiver.offer(self._loop.time())

    def remove(self, receiver: Receiver) -> None:
        self.receivers.discard(receiver)
        self.camera.unwatch(receiver)
        if not self.receivers:
            self.camera.hub.listeners.discard(self._on_frame)
            if self._sweeping:
                self._sweeping.cancel()

    def end(self) -> None:
        """The camera is gone."""
        for receiver in tuple(self.receivers):
            receiver.end()

    def part(self, make: Callable[[Frame], bytes]) -> bytes:
        """The newest frame as it goes over the wire: one object for all who want it made so."""
        if self.frame is None:
            return b""
        part = self._parts.get(make)
        if part is None:
            part = self._parts[make] = make(self.frame)
        return part

    def _on_frame(self, frame: Frame) -> None:
        now = self._loop.time()
        if self.frame and frame.number == self.frame.number + 1 and not frame.notice:
            self.interval_s += (min(now - self.arrived, 1.0) - self.interval_s) / 16
        self.frame, self.arrived = frame, now
        self._parts.clear()
        for receiver in tuple(self.receivers):
            receiver.offer(now)

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        for receiver in tuple(self.receivers):
            receiver.sweep(self.viewer_timeout_s)
