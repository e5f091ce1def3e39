"""An accepted connection: reads its requests and carries Tornado's answers to them.

One request after the other is read (http1.py), waits until there is budget for it, and is answered by the application's
handlers, until the connection is closed or a handler takes over its socket, as for a stream. The other side cannot make
it cost more than it may: heads and bodies are bounded and must arrive in time, bytes that trickle in are read in larger
portions, and an answer that nobody takes ends the connection.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tornado import httputil, iostream

from piapp.rate_limit import RateLimit
from piapp.web import http1
from piapp.web.http1 import BadRequest, Head
from piapp.web.limits import Limits, Shares
from piapp.web.link import Link

log = logging.getLogger(__name__)

READ_SIZE = 16 * 1024
PROMPT_READS = 8  # of one request; a client that sends it in more pieces is read only every…
TRICKLE_S = 0.05
SETTLED_S = 1.0  # A connection that has been idle for less is not evicted: its request may be on the way.
LINGER_S = 2.0  # for the other side to take the last answer and close
UNSENT_LIMIT = 64 * 1024  # bytes of an answer that the kernel takes beyond what the other side has room for
_TCP_NOTSENT_LOWAT = 25  # <linux/tcp.h>

Flushed = asyncio.Future[None]


class Peer(NamedTuple):
    """Who asks: Tornado copies this into each request."""

    remote_ip: str
    protocol: str = "http"


class Owner(Protocol):
    """Who has accepted the connection."""

    limits: Limits
    requests: Shares

    @property
    def is_full(self) -> bool:
        """All connections that piapp accepts are taken."""

    def handler_for(self, request: httputil.HTTPServerRequest) -> httputil.HTTPMessageDelegate:
        """What is to answer it."""

    def gone(self, client: "Client") -> None:
        """It is closed, or somebody else's from now on."""

    def has_unsent(self, client: "Client") -> None:
        """More of its response is kept than before."""


class Client(httputil.HTTPConnection):
    """Belongs to the event loop. Nothing raises for a broken connection."""

    def __init__(self, sock: socket.socket, address: str, share: str, owner: Owner) -> None:
        """`sock` is connected, non-blocking, and belongs to the client from now on."""
        self.context = Peer(address)
        self.share = share
        self.closed = False
        self._owner = owner
        self._socket = sock
        self._fd = sock.fileno()  # with the socket itself asyncio's add_reader and the like take three times as long
        self._link = Link(sock)
        self._loop = asyncio.get_running_loop()
        self._idle_since: float | None = self._loop.time()  # waiting for a request or its body; None: it has arrived
        # --- the request ---
        self._in = bytearray()  # what has arrived of it and of those that follow
        self._looked = 0  # so many bytes of that are known not to hold a whole head
        self._reads = 0
        self._reading = False
        self._pausing: asyncio.TimerHandle | None = None
        self._head: Head | None = None
        self._left = 0  # bytes of the body that are still to come
        self._wants_body = False  # the handler has looked at the head and does
        self._delegate: httputil.HTTPMessageDelegate | None = None
        # --- the answer ---
        self._out = bytearray()  # what the kernel had no room for
        self._flushed: Flushed | None = None  # done when it has taken that
        self._sends_since = 0.0  # when that became so
        self._taken = 0.0, 0  # when the other side was last seen to take some of it, and its count of bytes then
        self._keep_alive = False
        self._missing = 0  # bytes of the Content-Length that are not written yet
        self._finished = False
        self._lingering = False  # it ends when the other side has taken what was sent
        self._on_close: Callable[[], None] | None = None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
        self._read_on()

    @property
    def unsent(self) -> int:
        """Bytes of the response that the kernel has no room for."""
        return len(self._out)

    @property
    def evictable_at(self) -> float | None:
        """The loop time from which a new connection may replace this one; None while piapp works on its request."""
        if self._out:
            return self._sends_since + self._owner.limits.write_s
        return None if self._idle_since is None else self._idle_since + SETTLED_S

    # --- reading ---

    def _read_on(self) -> None:
        """Unless it is over, it is not time yet, or so many requests are here already that the next one is."""
        if not (self.closed or self._reading or self._pausing) and len(self._in) <= http1.HEAD_LIMIT:
            self._reading = True
            self._loop.add_reader(self._fd, self._read)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _pause(self, pause_s: float, then: Callable[[], None] = lambda: None) -> None:
        """Read nothing for so long."""

        def resume() -> None:
            self._pausing = None
            self._read_on()
            then()

        self._stop_reading()
        if self._pausing:
            self._pausing.cancel()
        self._pausing = self._loop.call_later(pause_s, resume)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data and (self._out or 0 < self._left <= len(self._in)):  # half-closed: it waits for the response
            self._keep_alive = False
            self._stop_reading()
        elif not data:
            self.close()
        elif self._lingering:
            self._pause(TRICKLE_S)
        else:
            self._in += data
            self._reads += 1
            self._go_on()

    def _go_on(self) -> None:
        """With what has arrived."""
        if self._head is None:
            self._take_head()
        elif self._wants_body:
            self._take_body()
        elif len(self._in) > http1.HEAD_LIMIT:  # requests that come after this one
            self._stop_reading()
        if self._reads > PROMPT_READS and self._reading:
            self._pause(TRICKLE_S)

    def _take_head(self) -> None:
        budgets = self._owner.requests.budgets(self.share)
        try:
            self._head = http1.take_head(self._in, self._looked)
        except BadRequest as error:
            self._in.clear()
            self._pay(budgets, functools.partial(self._refuse, error.status, str(error)))
            return
        self._looked = len(self._in)
        if self._head:
            self._looked, self._idle_since = 0, None
            self._pay(budgets, self._begin)

    def _pay(self, budgets: tuple[RateLimit, ...], then: Callable[[], None]) -> None:
        """Go on as soon as all of these have something left."""
        for i, budget in enumerate(budgets):
            wait_s = budget.spend(longest_s=self._owner.limits.longest_wait_s)
            if wait_s is None:
                self._refuse(503, "There are too many requests: try again in a few seconds.", **{"Retry-After": "5"})
                return
            if wait_s:
                self._pause(wait_s, functools.partial(self._pay, budgets[i + 1 :], then))
                return
        then()

    def _begin(self) -> None:
        assert self._head
        line, headers, self._left, self._keep_alive = self._head
        self._wants_body = self._finished = False
        try:
            request = httputil.HTTPServerRequest(start_line=line, headers=headers, connection=self)
            self._delegate = self._owner.handler_for(request)
            # the handler looks at the head alone, and refuses what it will not take, before there is a body
            prepared = self._delegate.headers_received(line, headers)
        except httputil.HTTPInputError:  # a Host that none can be, say
            self._refuse(400, http1.NO_REQUEST)
            return
        except Exception:
            log.exception("unexpected error")
            self._refuse(500, "piapp has failed in a way nobody expected: its log has the details.")
            return
        if not self._left:
            self._delegate.finish()
        elif prepared is not None:
            asyncio.ensure_future(prepared).add_done_callback(lambda _: self._expect_body())

    def _expect_body(self) -> None:
        assert self._head
        if self.closed or self._finished:
            return
        self._wants_body, self._idle_since = True, self._loop.time()
        if self._head.headers.get("Expect", "").lower() == "100-continue":
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._take_body()

    def _take_body(self) -> None:
        assert self._delegate
        data = bytes(self._in[: self._left])
        del self._in[: self._left]
        self._left -= len(data)
        if data:
            self._delegate.data_received(data)
        if not self._left:
            self._wants_body, self._idle_since = False, None
            self._delegate.finish()
        else:
            self._read_on()

    # --- answering: the first four are for Tornado's handlers ---

    def write_headers(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Flushed:
        assert self._head and isinstance(start_line, httputil.ResponseStartLine)
        has_body = start_line.code != 304 and self._head.line.method != "HEAD"
        bounded = "Content-Length" in headers or not has_body
        self._missing = int(headers.get("Content-Length", 0)) - len(chunk or b"") if has_body else 0
        # While connections are scarce, each gets one answer: a client that pipelines requests is never idle.
        self._keep_alive = self._keep_alive and bounded and not self._left and not self._owner.is_full
        if not self._keep_alive:
            headers["Connection"] = "close"
        elif self._head.line.version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"
        return self._send(http1.answer_head(start_line.code, headers.get_all()) + (chunk or b""))

    def write(self, chunk: bytes) -> Flushed:
        self._missing -= len(chunk)
        return self._send(chunk)

    def finish(self) -> None:
        self._finished, self._wants_body = True, False
        if self._missing:  # the handler failed halfway; only the end of the connection can tell the client
            self._keep_alive = False
        if not self._out:
            self._end_answer()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Called when the connection ends before the answer does."""
        self._on_close = callback

    def detach(self) -> socket.socket | None:
        """The socket for somebody else to use and close; None when the connection has ended already."""
        if self.closed:
            return None
        self._leave()
        self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, 0)
        return self._socket

    def _refuse(self, status: int, sentence: str, **headers: str) -> None:
        """Answer in place of the application, and end: what follows cannot be understood."""
        self._send(http1.refusal(status, sentence, headers))
        self._linger()

    def _send(self, data: bytes) -> Flushed:
        flushed = self._flushed or self._loop.create_future()
        if self.closed:
            _break(flushed)
            return flushed
        waited = bool(self._out)
        self._out += data
        if not waited:
            self._write()
            if self._out and not self.closed:
                self._sends_since = self._loop.time()
                self._taken = self._sends_since, self._link.acknowledged()
                self._loop.add_writer(self._fd, self._write_on)
        if self.closed:
            _break(flushed)
        elif self._out:
            self._flushed = flushed
            self._owner.has_unsent(self)
        else:
            flushed.set_result(None)
        return flushed

    def _write(self) -> None:
        try:
            del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _write_on(self) -> None:
        self._write()
        if self._out or self.closed:
            return
        self._loop.remove_writer(self._fd)
        if self._flushed:
            self._flushed.set_result(None)
            self._flushed = None
        if self._finished or self._lingering:
            self._end_answer()

    def _end_answer(self) -> None:
        """All of it is with the kernel."""
        if self._left or self._lingering:
            self._linger()
        elif not self._keep_alive:
            self.close()
        elif not self.closed:
            self._head = self._delegate = self._on_close = None
            self._reads = 0
            self._idle_since = self._loop.time()
            self._read_on()
            if self._in:
                self._loop.call_soon(self._begin_next)

    def _begin_next(self) -> None:
        if not self.closed and self._head is None:
            self._go_on()

    # --- the end ---

    def _linger(self) -> None:
        """End when the other side does. Closed with something unread, the kernel would take back what is on its way."""
        if self.closed:
            return
        if not self._lingering:
            self._lingering, self._idle_since = True, self._loop.time()
            self._in.clear()
            self._read_on()
        if not self._out:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def sweep(self, now: float) -> None:
        """A second has passed: end what takes too long."""
        limits = self._owner.limits
        if self._out:
            acknowledged = self._link.acknowledged()
            if acknowledged != self._taken[1]:
                self._taken = now, acknowledged
            elif now - self._taken[0] > limits.write_s:
                self.close(abort=True)
        elif self._idle_since is not None:
            if now - self._idle_since > (LINGER_S if self._lingering else limits.request_s):
                self.close(abort=self._link.unacknowledged() > 0)

    def close(self, *, abort: bool = False) -> None:
        """`abort`: throw away what the kernel still holds for the other side."""
        if self.closed:
            return
        self._leave()
        if abort:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        if self._flushed:
            _break(self._flushed)
            self._flushed = None
        on_close, self._on_close = self._on_close, None
        if on_close and not self._finished:
            on_close()

    def _leave(self) -> None:
        self.closed = True
        if self._pausing:
            self._pausing.cancel()
        self._stop_reading()
        self._loop.remove_writer(self._fd)
        self._in.clear()  # the handler refers to this object until the garbage collector finds both
        self._out.clear()
        self._owner.gone(self)


def _break(flushed: Flushed) -> None:
    flushed.set_exception(iostream.StreamClosedError())
    flushed.exception()  # a handler that does not ask has done nothing wrong
