"""A viewer's socket, written to straight from the event loop, and the moment for its next picture.

A picture is written only when

1. all that was written before it has left user space, and
2. what the kernel still holds unacknowledged will have left the link soon: at most what it delivers in one round trip
   (that much is on the wire, not in a queue) plus a share of a frame interval, or one picture if that is less. Rate and
   round trip are the kernel's own measurements of this very connection (see link.py).

Otherwise this connection's turn is skipped, and comes again when the rest should have drained: then the newest picture
goes, whatever was missed. When the next one is almost due by then, that one is waited for: on a slow link a picture a
few milliseconds fresher is worth more than a few milliseconds of idle link. So no old pictures pile up anywhere, and a
slow link shows pictures as fresh as it can carry. Every path that offers a picture asks `may_write`.

Written to from the event loop, all viewers from one shared `bytes` a picture, this takes a third of the work of
Tornado's own write path, measured for a hundred viewers.
"""

import asyncio
import logging
import socket
import struct
import time
from abc import ABC, abstractmethod

from piapp.web.limits import share_of
from piapp.web.link import Link

log = logging.getLogger(__name__)

SLACK = 0.2  # the share of a frame interval for which the link may still be busy when the next picture is written
PROBE = 2.0  # on a long way the measured rate is only what we sent, one picture a round trip: try so much more
SMALL = 16384  # bytes; so many may be under way in any case: for tiny pictures the other side delays its confirmation
NEARLY_DUE = 0.5  # a picture that comes within this share of an interval is waited for
READ_SIZE = 1024  # bytes; messages are short, and no client should keep the event loop busy
RECHECK_S = (0.002, 0.25)  # shortest and longest pause before looking at a busy link again


class Connection(ABC):
    """Owns its socket. All methods in the event loop; none raises for a broken connection."""

    def __init__(self, sock: socket.socket, address: str, agent: str, connections: set["Connection"]) -> None:
        """`sock` is connected, non-blocking, and belongs to the connection from now on.

        It is among `connections` for as long as it is open.
        """
        self.address = address
        self.share = share_of(address, sock.getsockname()[0])  # as limits count it
        self.agent = agent
        self.closed = False
        self.has_place = True  # counts towards the limit on viewers
        self.opened = time.monotonic()
        self._connections = connections
        self._socket = sock
        self._fd = sock.fileno()  # asyncio's add_reader and the like take three times as long with a socket object
        self._link = Link(sock)
        self._rest: memoryview | None = None  # what the kernel had no room for
        self._size = 0  # of the newest picture that was written, in bytes
        self._arrives_s = 0.0  # so much later the last byte under way arrives, as estimated when may_write looked last
        self._recheck: asyncio.TimerHandle | None = None
        self._recheck_s = RECHECK_S[0]
        self._silence: asyncio.TimerHandle | None = None  # set while reading is paused
        self._acknowledged = 0
        self._progress = time.monotonic()  # when the other side was last seen to take something
        self._loop = asyncio.get_running_loop()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(self._fd, self._read)
        connections.add(self)

    # --- what a kind of viewer makes of it ---

    @abstractmethod
    def room(self, now: float) -> None:
        """There may be room for a picture now, in loop time."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """The other side has said something."""

    @abstractmethod
    def gone(self) -> None:
        """The connection has just been closed, by whichever side. Called once."""

    @abstractmethod
    def pace_s(self) -> float:
        """Seconds that it currently takes to get a picture; 0 if the delay is not its fault."""

    @abstractmethod
    def give_up_place(self) -> None:
        """Close: another viewer gets its place."""

    # --- what it can do ---

    def may_write(self, now: float, arrived: float, interval_s: float) -> bool:
        """Whether a picture may be written now; if not, room() is called when it is worth asking again.

        It arrived at `arrived`, and they come every `interval_s`.
        """
        if self._rest is not None:
            return False
        under_way = self._link.unacknowledged()
        # by far the most frequent case: the picture has just come, and nothing is under way
        wait_s = self._wait_s(under_way, now, arrived, interval_s) if under_way or now > arrived else 0.0
        if wait_s <= 0:
            return True
        if self._recheck is None:
            # the rate is an estimate, hence the upper limit; the lower one grows while a link is dead
            pause_s = min(max(wait_s, self._recheck_s), RECHECK_S[1])
            self._recheck = self._loop.call_later(pause_s, self._look_again)
        return False

    def write_picture(self, data: bytes) -> None:
        """After may_write() only."""
        if self._recheck:
            self._recheck.cancel()
            self._recheck = None
        self._recheck_s = RECHECK_S[0]
        self._size = len(data)
        self.write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Hand it to the kernel; what that has no room for is kept, and goes when it has. Only when nothing is kept."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(f"({error.strerror})")
            return
        if sent < len(data):
            if self._rest is None:
                self._loop.add_writer(self._fd, self._write_rest)
            self._rest = memoryview(data)[sent:]
        elif self._rest is not None:
            self._rest = None
            self._loop.remove_writer(self._fd)

    def stop_reading(self, pause_s: float) -> None:
        """Stop reading for this long. When the kernel's buffer is full, the client has to wait."""
        if not self.closed and not self._silence:
            self._loop.remove_reader(self._fd)
            self._silence = self._loop.call_later(pause_s, self._read_on)

    def close(self, reason: str = "", *, abort: bool = False) -> None:
        """`abort`: throw away what the kernel still holds, which a dead viewer would keep for many minutes."""
        if self.closed:
            return
        self.closed = True
        self._connections.discard(self)
        for handle in (self._recheck, self._silence):
            if handle:
                handle.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if abort:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        log.debug("%s gone %s", self.address, reason)
        self.gone()

    def end(self) -> None:
        """Close: piapp is stopping."""
        self.close("(piapp ends)")

    def close_if_dead(self, timeout_s: float) -> None:
        """Close it when it has taken nothing for so long, though there was something to take. For each second."""
        now = time.monotonic()
        acknowledged = self._link.acknowledged()
        idle = self._rest is None and not self._link.unacknowledged()
        if idle or acknowledged != self._acknowledged:
            self._acknowledged, self._progress = acknowledged, now
        elif now - self._progress > timeout_s:
            self.close(f"(took nothing for {timeout_s:g} s)", abort=True)

    def _wait_s(self, under_way: int, now: float, arrived: float, interval_s: float) -> float:
        """How long to wait before the newest picture may go: 0 for now."""
        slack_s = SLACK * interval_s
        self._arrives_s = 0.0
        if under_way and self._size:
            min_rtt_s, rate, at_least = self._link.pace()
            if at_least and min_rtt_s > interval_s:
                rate *= PROBE
            busy_s = under_way / rate - min_rtt_s if rate else interval_s
            self._arrives_s = busy_s + min_rtt_s / 2
            # While a viewer pauses, the rate stays that of better times, which may be many pictures in no time at all.
            slack_s = min(slack_s, max(self._size, SMALL) / rate if rate else 0.0)
            if busy_s > slack_s:
                return busy_s - slack_s
        next_s = arrived + interval_s - now
        return next_s + slack_s if 0 < next_s < NEARLY_DUE * interval_s else 0.0

    def _look_again(self) -> None:
        self._recheck = None
        self._recheck_s = min(self._recheck_s * 2, RECHECK_S[1])
        self.room(self._loop.time())

    def _write_rest(self) -> None:
        if self._rest is not None:
            self.write(self._rest)
        if self._rest is None and not self.closed:
            self.room(self._loop.time())

    def _read_on(self) -> None:
        self._silence = None
        self._loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:  # not only ConnectionError: a lost Wi-Fi ends in ETIMEDOUT or EHOSTUNREACH
            self.close(f"({error.strerror})")
            return
        if data:
            self.received(data)
        else:
            self.close()
