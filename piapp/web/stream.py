"""How frames reach the viewers of a stream: always the newest, only when the viewer's link has room for it.

A Broadcast waits for its camera's frames and offers each to all its Viewers. A Viewer takes a frame only when

1. all of the frame before it has left user space, and
2. what the kernel still holds unacknowledged will have left the link soon: at most what it delivers in one round trip
   (that much is on the wire, not in a queue) plus a share of a frame interval, or one frame if that is less. Rate and
   round trip are the kernel's own measurements of this very connection (see link.py).

Otherwise it skips the frame, and looks again when the rest should have drained: then the newest frame goes, whatever
was missed. When the next frame is almost due by then, it waits for that one: on a slow link a picture a few
milliseconds fresher is worth more than a few milliseconds of idle link. So no old frames pile up anywhere, and a slow
link shows pictures as fresh as it can carry. Every path that offers a frame passes `Viewer.offer`.

The viewers are written to straight from the event loop, all from one shared `bytes` a frame: a third of the work
that Tornado's own write path takes, measured for a hundred viewers.
"""

import asyncio
import logging
import socket
import struct
import time
from typing import Any

from piapp.camera import Camera
from piapp.frame import Frame
from piapp.web import multipart
from piapp.web.link import Link
from piapp.web.multipart import Format

log = logging.getLogger(__name__)

SLACK = 0.2  # the share of a frame interval for which the link may still be busy when the next frame is written
PROBE = 2.0  # on a long way the measured rate is only what we sent, one frame a round trip: try so much more
SMALL = 16384  # bytes; so many may be under way in any case: for tiny frames the other side delays its confirmation
NEARLY_DUE = 0.5  # a frame that comes within this share of an interval is waited for
RECHECK_S = (0.002, 0.25)  # shortest and longest pause before looking at a busy link again
SWEEP_S = 1.0


class Viewer:
    """One open stream, on a socket that it owns. All methods in the event loop; none raises for a broken connection."""

    def __init__(self, sock: socket.socket, address: str, form: Format, fps: float | None, agent: str) -> None:
        """`sock` is connected, non-blocking, and belongs to the viewer from now on. `fps`: at most so many frames."""
        self.address = address
        self.form = form
        self.agent = agent
        self.sent = 0  # frames
        self.skipped = 0  # frames that this viewer's link had no room for
        self.fps = 0.0  # over the last sweep
        self._socket = sock
        self._link = Link(sock)
        self._interval_s = 1 / fps if fps else 0.0
        self._due = 0.0  # not before this loop time may the next frame go, under a cap of `fps`
        self._capped = 0  # frames that the cap has held back since the last one sent
        self._rest: memoryview | None = None  # what the kernel had no room for
        self._taken: Frame | None = None  # the newest frame that was written
        self._size = 0  # of its part, in bytes
        self._age_s = 0.0  # of that frame when its last byte reached the viewer, as far as is known
        self._recheck: asyncio.TimerHandle | None = None
        self._recheck_s = RECHECK_S[0]
        self._swept = (time.monotonic(), 0)
        self._acknowledged = 0
        self._progress = time.monotonic()  # when the viewer was last seen to take something
        self._loop = asyncio.get_running_loop()
        self._broadcast: Broadcast | None = None

    def open(self, broadcast: "Broadcast", head: bytes) -> None:
        """Send the head, then frames."""
        self._broadcast = broadcast
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(self._socket, self._read)
        self._write(head)

    def close(self, reason: str = "", *, abort: bool = False) -> None:
        """`abort`: throw away what the kernel still holds, which a dead viewer would keep for many minutes."""
        if self._broadcast is None:
            return
        self._broadcast.remove(self)
        self._broadcast = None
        if self._recheck:
            self._recheck.cancel()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        if abort:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        log.debug("viewer %s gone after %d frames, %d skipped %s", self.address, self.sent, self.skipped, reason)

    def offer(self, now: float) -> None:
        """Take the broadcast's newest frame if this is the moment for it, else come back when it will be.

        `now` in loop time.
        """
        broadcast = self._broadcast
        if broadcast is None or self._rest is not None or broadcast.frame is self._taken:
            return
        # half a frame early is nearer to the wanted rate than half a frame late
        if self._interval_s and now < self._due - broadcast.interval_s / 2:
            self._capped += 1
            return
        under_way = self._link.unacknowledged()
        # by far the most frequent case: the frame has just come, and nothing is under way
        wait_s = self._wait_s(broadcast, now, under_way) if under_way or now > broadcast.arrived else 0.0
        if wait_s <= 0:
            self._take(broadcast, now)
        elif self._recheck is None:
            # the rate is an estimate, hence the upper limit; the lower one grows while a link is dead
            pause_s = min(max(wait_s, self._recheck_s), RECHECK_S[1])
            self._recheck = self._loop.call_later(pause_s, self._look_again)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "stream",
            "address": self.address,
            "agent": self.agent,
            "fps": round(self.fps, 2),
            "age_ms": round(self._age_s * 1000, 1),
            "sent": self.sent,
            "skipped": self.skipped,
        }

    def sweep(self, timeout_s: float) -> None:
        """Once a second: measure the rate; drop the viewer when it has taken nothing for so long."""
        now = time.monotonic()
        before, sent = self._swept
        self.fps = (self.sent - sent) / (now - before)
        self._swept = (now, self.sent)
        acknowledged = self._link.acknowledged()
        idle = self._rest is None and not self._link.unacknowledged()
        if idle or acknowledged != self._acknowledged:
            self._acknowledged, self._progress = acknowledged, now
        elif now - self._progress > timeout_s:
            self.close(f"(took nothing for {timeout_s:g} s)", abort=True)

    # --- when ---

    def _wait_s(self, broadcast: "Broadcast", now: float, under_way: int) -> float:
        """How long to wait before the newest frame may go: 0 for now."""
        slack_s = SLACK * broadcast.interval_s
        if under_way and self._taken:
            min_rtt_s, rate, at_least = self._link.pace()
            if at_least and min_rtt_s > broadcast.interval_s:
                rate *= PROBE
            busy_s = under_way / rate - min_rtt_s if rate else broadcast.interval_s
            self._age_s = max(self._age_s, now - self._taken.captured_ns / 1e9 + busy_s + min_rtt_s / 2)
            # While a viewer pauses, the rate stays that of better times, which may be many frames in no time at all.
            slack_s = min(slack_s, max(self._size, SMALL) / rate if rate else 0.0)
            if busy_s > slack_s:
                return busy_s - slack_s
        next_s = broadcast.arrived + broadcast.interval_s - now
        return next_s + slack_s if 0 < next_s < NEARLY_DUE * broadcast.interval_s else 0.0

    def _look_again(self) -> None:
        self._recheck = None
        self._recheck_s = min(self._recheck_s * 2, RECHECK_S[1])
        self.offer(self._loop.time())

    # --- writing and reading ---

    def _take(self, broadcast: "Broadcast", now: float) -> None:
        frame = broadcast.frame
        if frame is None:
            return
        if self._taken and (missed := frame.number - self._taken.number - 1 - self._capped) > 0:
            self.skipped += missed
        if self._interval_s:
            on_time = now - self._due < broadcast.interval_s  # else begin anew, rather than make up for it
            self._due = (self._due if on_time else now) + self._interval_s
        if self._recheck:
            self._recheck.cancel()
            self._recheck = None
        self._recheck_s = RECHECK_S[0]
        self._capped, self._taken = 0, frame
        self.sent += 1
        part = broadcast.part(self.form)
        self._size = len(part)
        self._write(part)

    def _write(self, data: bytes | memoryview) -> None:
        """Hand it to the kernel; what that has no room for is kept, and goes when it has."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(f"({error.strerror})")
            return
        if sent < len(data):
            if self._rest is None:
                self._loop.add_writer(self._socket, self._write_rest)
            self._rest = memoryview(data)[sent:]
            return
        if self._rest is not None:
            self._rest = None
            self._loop.remove_writer(self._socket)
        if self._taken:
            self._age_s = (time.monotonic_ns() - self._taken.captured_ns) / 1e9

    def _write_rest(self) -> None:
        if self._rest is not None:
            self._write(self._rest)
        self.offer(self._loop.time())

    def _read(self) -> None:
        """A viewer says nothing more; but this is how its going shows."""
        try:
            if self._socket.recv(4096):
                return
            self.close()
        except BlockingIOError:
            pass
        except OSError as error:  # not only ConnectionError: a lost Wi-Fi ends in ETIMEDOUT or EHOSTUNREACH
            self.close(f"({error.strerror})")


class Broadcast:
    """One camera's frames to all viewers of its stream. Listens to the camera only while there are viewers."""

    def __init__(self, camera: Camera, viewer_timeout_s: float) -> None:
        self.camera = camera
        self.viewers: set[Viewer] = set()
        self.frame: Frame | None = None  # the newest
        self.arrived = 0.0  # when it came, in loop time
        self.interval_s = 1 / camera.config.framerate  # between two frames: measured, smoothed
        self._parts: dict[Format, bytes] = {}  # of that frame, each made when the first viewer wants it
        self._viewer_timeout_s = viewer_timeout_s
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None

    def add(self, viewer: Viewer, head: bytes) -> None:
        """Begin to stream; the viewer removes itself when its connection ends."""
        if self.frame is not self.camera.hub.newest:  # that may have been forgotten as too old
            self.frame = self.camera.hub.newest
            self._parts.clear()
        if not self.viewers:
            self.camera.hub.listeners.add(self._on_frame)
            self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        self.viewers.add(viewer)
        self.camera.watch(viewer)
        viewer.open(self, head)
        viewer.offer(self._loop.time())

    def remove(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        self.camera.unwatch(viewer)
        if not self.viewers:
            self.camera.hub.listeners.discard(self._on_frame)
            if self._sweeping:
                self._sweeping.cancel()

    def close(self) -> None:
        for viewer in tuple(self.viewers):
            viewer.close("(piapp ends)")

    def part(self, form: Format) -> bytes:
        """The newest frame as it goes over the wire: one object for all viewers of this format."""
        if self.frame is None:
            return b""
        part = self._parts.get(form)
        if part is None:
            part = self._parts[form] = multipart.part(self.frame, form)
        return part

    def _on_frame(self, frame: Frame) -> None:
        now = self._loop.time()
        if self.frame and frame.number == self.frame.number + 1 and not frame.notice:
            self.interval_s += (min(now - self.arrived, 1.0) - self.interval_s) / 16
        self.frame, self.arrived = frame, now
        self._parts.clear()
        for viewer in tuple(self.viewers):
            viewer.offer(now)

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        for viewer in tuple(self.viewers):
            viewer.sweep(self._viewer_timeout_s)
