"""What is sent to a client over time: data that the kernel has no room for is kept and written as the client reads."""

import asyncio
import socket
from collections.abc import Callable

from tornado import iostream

from piapp.web.link import Link

Flushed = asyncio.Future[None]


class Output:
    """Belongs to the event loop, and to the owner of the socket."""

    def __init__(self, sock: socket.socket, flushed: Callable[[], None], broken: Callable[[], None]) -> None:
        """`flushed` is called when the kernel has taken data that it had no room for; `broken` if it never will."""
        self.since = 0.0  # loop time at which the kernel had no room
        self._socket = sock
        self._fd = sock.fileno()  # asyncio's add_writer and the like take three times as long with a socket object
        self._link = Link(sock)
        self._loop = asyncio.get_running_loop()
        self._on_flushed, self._on_broken = flushed, broken
        self._kept = bytearray()
        self._flushed: Flushed | None = None  # done when none is kept
        self._progress = 0.0, 0  # loop time of the last acknowledgement seen, and the bytes acknowledged by then
        self._closed = False

    def __len__(self) -> int:
        """Bytes that are kept."""
        return len(self._kept)

    def send(self, data: bytes) -> Flushed:
        """Write it, or keep it. The future is done when the kernel has taken it."""
        flushed = self._flushed or self._loop.create_future()
        waits = bool(self._kept)
        if not self._closed:
            self._kept += data
        if not waits and not self._closed:
            self._write()
            if self._kept:
                self.since = self._loop.time()
                self._progress = self.since, self._link.acknowledged()
                self._loop.add_writer(self._fd, self._write_on)
        if self._closed:
            _break(flushed)
        elif self._kept:
            self._flushed = flushed
        else:
            flushed.set_result(None)
        return flushed

    def stalled_s(self, now: float) -> float:
        """How long the client has not acknowledged anything, though data is kept for it. Called once a second."""
        acknowledged = self._link.acknowledged() if self._kept else 0
        if not self._kept or acknowledged != self._progress[1]:
            self._progress = now, acknowledged
        return now - self._progress[0]

    def close(self) -> None:
        """Discard what is kept. The socket stays open."""
        if self._kept:
            self._loop.remove_writer(self._fd)
        self._closed = True
        self._kept.clear()
        if self._flushed:
            _break(self._flushed)
            self._flushed = None

    def _write(self) -> None:
        try:
            del self._kept[: self._socket.send(self._kept)]
        except BlockingIOError:
            pass
        except OSError:
            self._on_broken()

    def _write_on(self) -> None:
        self._write()
        if self._kept or self._closed:
            return
        self._loop.remove_writer(self._fd)
        if self._flushed:
            self._flushed.set_result(None)
            self._flushed = None
        self._on_flushed()


def _break(flushed: Flushed) -> None:
    flushed.set_exception(iostream.StreamClosedError())
    flushed.exception()  # mark it as retrieved: asyncio complains if no handler awaits it
