"""An accepted connection: reads requests and writes the responses of Tornado's handlers.

Requests are read one after another (http1.py), wait for the rate limits and go to the application's handlers, until the
connection is closed or a handler takes over the socket, for example for a stream. A client's cost is bounded: heads and
bodies have a size limit and a timeout, input that trickles in is read in larger portions, and a client that does not
read its response is disconnected.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tornado import httputil

from piapp.rate_limit import RateLimit
from piapp.web import http1
from piapp.web.http1 import BadRequest, Head
from piapp.web.limits import Limits, Shares
from piapp.web.link import Link
from piapp.web.output import Flushed, Output

log = logging.getLogger(__name__)

READ_SIZE = 16 * 1024
PROMPT_READS, TRICKLE_S = 8, 0.05  # After the first reads of a request, piapp pauses this long between reads.
SETTLED_S = 1.0  # A connection that has been idle for less is not evicted: its request may be on the way.
LINGER_S = 2.0  # The client has this long to read the last response and close.
UNSENT_LIMIT = 64 * 1024  # bytes of a response that the kernel buffers before it sends them
_TCP_NOTSENT_LOWAT = 25  # <linux/tcp.h>


class Peer(NamedTuple):
    """The client's address and protocol, which Tornado copies into each request."""

    remote_ip: str
    protocol: str = "http"


class Owner(Protocol):
    """What has accepted the connection."""

    limits: Limits
    requests: Shares

    @property
    def is_full(self) -> bool:
        """No further connection can be accepted at the moment."""

    def handler_for(self, request: httputil.HTTPServerRequest) -> httputil.HTTPMessageDelegate:
        """The handler that responds to the request."""

    def gone(self, client: "Client") -> None:
        """The connection was closed, or a handler has taken over its socket."""

    def has_unsent(self, client: "Client") -> None:
        """More of a response than before waits for the client to read."""


class Client(httputil.HTTPConnection):
    """Belongs to the event loop. No method raises for a broken connection."""

    def __init__(self, sock: socket.socket, address: str, share: str, owner: Owner) -> None:
        """Takes ownership of `sock`, which is connected and non-blocking. `share` is the address as limits count it."""
        self.context = Peer(address)
        self.share = share
        self.closed = False
        self._owner = owner
        self._socket = sock
        self._fd = sock.fileno()  # asyncio's add_reader and the like take three times as long with a socket object
        self._link = Link(sock)
        self._loop = asyncio.get_running_loop()
        self._answering = False  # Otherwise, piapp waits for a request or its body.
        self._since = self._loop.time()  # when that began
        # --- the request ---
        self._in = bytearray()  # input that has not been parsed yet, possibly with further requests
        self._searched = 0  # The first bytes of the input, this many, hold no complete head.
        self._reads = 0  # for the current request
        self._reading = False
        self._pausing: asyncio.TimerHandle | None = None
        self._head: Head | None = None
        self._left = 0  # bytes of the body that the handler has not received yet
        self._wants_body = False  # The handler has accepted the head and waits for the body.
        self._delegate: httputil.HTTPMessageDelegate | None = None
        # --- the response ---
        self._out = Output(sock, self._on_flushed, self.close)
        self._keep_alive = False
        self._missing = 0  # bytes that Content-Length promises and the handler has not written yet
        self._finished = False
        self._lingering = False  # The last response is written; only its delivery is awaited.
        self._on_close: Callable[[], None] | None = None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
        self._resume_reading()

    @property
    def unsent(self) -> int:
        """Bytes of the response that the kernel has no room for."""
        return len(self._out)

    @property
    def evictable_at(self) -> float | None:
        """The loop time from which a new connection may replace this one; None while piapp works on its request."""
        if self._out:
            return self._out.since + self._owner.limits.write_s
        return None if self._answering else self._since + SETTLED_S

    def _enter(self, *, answering: bool) -> None:
        self._answering, self._since = answering, self._loop.time()

    # --- reading ---

    def _resume_reading(self) -> None:
        """Read unless closed, paused, or enough input for the next request is buffered."""
        if not (self.closed or self._reading or self._pausing) and len(self._in) <= http1.HEAD_LIMIT:
            self._reading = True
            self._loop.add_reader(self._fd, self._read)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _pause(self, pause_s: float, then: Callable[[], None] = lambda: None) -> None:
        """Read nothing for this long, then call `then`."""

        def resume() -> None:
            self._pausing = None
            self._resume_reading()
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
            self._process()

    def _process(self) -> None:
        """Handle the input that has arrived."""
        if self._head is None:
            self._take_head()
        elif self._wants_body:
            self._take_body()
        elif len(self._in) > http1.HEAD_LIMIT:  # pipelined requests
            self._stop_reading()
        if self._reads > PROMPT_READS and self._reading:
            self._pause(TRICKLE_S)

    def _take_head(self) -> None:
        budgets = self._owner.requests.budgets(self.share)
        try:
            self._head = http1.take_head(self._in, self._searched)
        except BadRequest as error:
            self._in.clear()
            self._wait_for_budgets(budgets, functools.partial(self._refuse, error.status, str(error)))
            return
        self._searched = len(self._in)
        if self._head:
            self._searched = 0
            self._enter(answering=True)
            self._wait_for_budgets(budgets, self._begin)

    def _wait_for_budgets(self, budgets: tuple[RateLimit, ...], then: Callable[[], None]) -> None:
        """Call `then` as soon as all these rate limits allow it; respond with 503 if that takes too long."""
        for i, budget in enumerate(budgets):
            wait_s = budget.reserve(longest_s=self._owner.limits.longest_wait_s)
            if wait_s is None:
                self._refuse(503, "Too many requests. Try again in a few seconds.", **{"Retry-After": "5"})
                return
            if wait_s:
                self._pause(wait_s, functools.partial(self._wait_for_budgets, budgets[i + 1 :], then))
                return
        then()

    def _begin(self) -> None:
        assert self._head
        line, headers, self._left, self._keep_alive, _ = self._head
        self._wants_body = self._finished = False
        try:
            request = httputil.HTTPServerRequest(start_line=line, headers=headers, connection=self)
            self._delegate = self._owner.handler_for(request)
            # The handler sees only the head, so it can refuse the request before the body is read.
            prepared = self._delegate.headers_received(line, headers)
        except httputil.HTTPInputError:  # for example an invalid Host
            self._refuse(400, http1.NO_REQUEST)
            return
        except Exception:
            log.exception("unexpected error")
            self._refuse(500, "Unexpected error. See piapp's log.")
            return
        if not self._left:
            self._delegate.finish()
        elif prepared is not None:
            asyncio.ensure_future(prepared).add_done_callback(lambda _: self._expect_body())

    def _expect_body(self) -> None:
        assert self._head
        if self.closed or self._finished:
            return
        self._wants_body = True
        self._enter(answering=False)
        if self._head.expects_continue:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._take_body()

    def _take_body(self) -> None:
        assert self._delegate
        data, self._in = bytes(self._in[: self._left]), self._in[self._left :]
        self._left -= len(data)
        if data:
            self._delegate.data_received(data)
        if not self._left:
            self._wants_body = False
            self._enter(answering=True)
            self._delegate.finish()
        else:
            self._resume_reading()

    # --- responding: Tornado's handlers call the first four ---

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
        return self._send(http1.response_head(start_line.code, headers.get_all()) + (chunk or b""))

    def write(self, chunk: bytes) -> Flushed:
        self._missing -= len(chunk)
        return self._send(chunk)

    def finish(self) -> None:
        self._finished, self._wants_body = True, False
        self._keep_alive = self._keep_alive and not self._missing  # else the handler failed halfway
        if not self._out:
            self._end_response()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """`callback` is called if the connection is closed before the response is complete."""
        self._on_close = callback

    def detach(self) -> socket.socket | None:
        """Give up the socket, which the caller then owns. None if the connection is closed."""
        if self.closed:
            return None
        self._leave()
        self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, 0)
        return self._socket

    def _refuse(self, status: int, sentence: str, **headers: str) -> None:
        """Respond without the application, then close: the next request's beginning may be unknown."""
        with_body = not (self._head and self._head.line.method == "HEAD")
        self._send(http1.refusal(status, sentence, headers, with_body=with_body))
        self._linger()

    def _send(self, data: bytes) -> Flushed:
        flushed = self._out.send(data)
        if self._out:
            self._owner.has_unsent(self)
        return flushed

    def _on_flushed(self) -> None:
        if self._finished or self._lingering:
            self._end_response()

    def _end_response(self) -> None:
        """The kernel has taken all of the response."""
        if self._left or self._lingering:
            self._linger()
        elif not self._keep_alive:
            self.close()
        elif not self.closed:
            self._head = self._delegate = self._on_close = None
            self._reads = 0
            self._enter(answering=False)
            self._resume_reading()
            if self._in:
                self._loop.call_soon(self._begin_next)

    def _begin_next(self) -> None:
        if not self.closed and self._head is None:
            self._process()

    # --- the end ---

    def _linger(self) -> None:
        """Wait for the client to close: closing with unread input would discard what is not delivered yet."""
        if self.closed:
            return
        if not self._lingering:
            self._lingering = True
            self._enter(answering=False)
            self._in.clear()
            self._resume_reading()
        if not self._out:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def sweep(self, now: float) -> None:
        """Enforce the timeouts. Called once a second."""
        limits = self._owner.limits
        if self._out:
            if self._out.stalled_s(now) > limits.write_s:
                self.close(abort=True)
            return
        timeout_s = LINGER_S if self._lingering else limits.answer_s if self._answering else limits.request_s
        if now - self._since > timeout_s:
            self.close(abort=self._link.unacknowledged() > 0)

    def close(self, *, abort: bool = False) -> None:
        """`abort`: reset the connection, which discards what the kernel still holds for the client."""
        if self.closed:
            return
        self._leave()
        if abort:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        on_close, self._on_close = self._on_close, None
        if on_close and not self._finished:
            on_close()

    def _leave(self) -> None:
        self.closed = True
        if self._pausing:
            self._pausing.cancel()
        self._stop_reading()
        self._in.clear()  # The handler references this object until the garbage collector finds both.
        self._out.close()
        self._owner.gone(self)
