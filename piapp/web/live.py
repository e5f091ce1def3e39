"""The page's connection: a WebSocket that carries the pictures and the state of all its cameras.

A Page is one open page, a Feed one camera on it. Two things together decide when a picture goes: the kernel's view of
the link, as for every viewer (connection.py), and the page's own word: it acknowledges each picture when it has drawn
it, and a camera has at most WINDOW pictures unacknowledged. So neither a slow link, nor a proxy's buffer, nor a phone
that takes long to draw is ever ahead of what can be seen. When acknowledgements take long beyond the way itself, only
one picture is under way at a time, of all cameras, each in turn.

Page → piapp:  text {"type": "watch", "cameras": […]}   pictures of these are wanted, from now on
               text {"type": "ping", "echo": number}    once a second, or the page is taken for dead
               binary >HHI                              camera, 0, number: this picture is drawn
piapp → page:  text hello, state, controls, pong, refused (see news.py and below)
               binary >HHId                             camera, 0, number, captured in ms; then the JPEG
"""

import asyncio
import functools
import json
import logging
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from piapp.frame import Frame
from piapp.rate_limit import RateLimit
from piapp.web import websocket
from piapp.web.connection import Connection
from piapp.web.guard import Handler, Site
from piapp.web.news import now_ms, text
from piapp.web.stream import Broadcast, Tally
from piapp.web.websocket import CloseCode, Opcode, WebSocketError

log = logging.getLogger(__name__)

WINDOW = 2  # pictures of one camera that may be under way, on a short link
SLOW_S = (0.1, 0.2)  # beyond the round trip, on average: below the first a page is prompt, above the second slow
END_LIMIT_S = 2.0  # for a page to close its end
COSTLY_BYTES = 256  # count as one more message against the rate limit
MOST_CAMERAS = 1000
CLIENT_LIMIT = 64  # characters

_PICTURE = struct.Struct(">HHId")
_DRAWN = struct.Struct(">HHI")


class Written(NamedTuple):
    """A picture on its way to the page. In seconds of the loop's clock, which is the frames' too."""

    at: float
    captured: float


class Feed:
    """One camera on one page."""

    def __init__(self, page: "Page", number: int, broadcast: Broadcast) -> None:
        """`number`: the camera's id in messages."""
        self.page = page
        self.number = number
        self.broadcast = broadcast
        self.served = 0.0  # when the newest picture was written, in loop time
        self.under_way: dict[int, Written] = {}  # by frame number, until it is acknowledged
        self._make = _picture(number)
        self._taken: Frame | None = None  # the newest frame that was written, or is no picture
        self._tally = Tally("page", page)

    def offer(self, now: float) -> None:
        frame = self.broadcast.frame
        if frame and frame.notice:  # the page shows the words itself
            self._taken, self._tally.number = frame, frame.number
        else:
            self.page.room(now)

    def sweep(self, timeout_s: float) -> None:
        self._tally.sweep()

    def end(self) -> None:
        self.page.lose(self)

    def describe(self) -> dict[str, Any]:
        return self._tally.describe()

    def wants(self, min_rtt_s: float) -> bool:
        """Whether there is a picture that it has not got, and no more under way than the way itself makes necessary."""
        frame = self.broadcast.frame
        if frame is None or frame is self._taken or frame.notice:
            return False
        count = len(self.under_way)
        return count < WINDOW or count < WINDOW + int(min_rtt_s / self.broadcast.interval_s)

    def take(self, now: float) -> None:
        frame = self.broadcast.frame
        assert frame
        self._tally.take(frame.number)
        self._taken, self.served = frame, now
        self.under_way[frame.number] = Written(now, frame.captured_ns / 1e9)
        self.page.write_picture(self.broadcast.part(self._make))

    def drawn(self, number: int, now: float, min_rtt_s: float) -> float | None:
        """The page has drawn this picture; how long that took, unless it was not under way."""
        written = self.under_way.pop(number, None)
        if written is None:
            return None
        self._tally.age_s = now - min_rtt_s / 2 - written.captured
        return now - written.at


class Page(Connection):
    """One open page."""

    def __init__(self, sock: socket.socket, address: str, agent: str, site: Site, client: str) -> None:
        """`client` tells pages apart: a new connection of the same page takes the place of its old one."""
        super().__init__(sock, address, agent, site.places.connections)
        self._feeds: dict[int, Feed] = {}  # of the cameras in sight, by their ids
        self._wanted: list[str] = []  # the names of those
        self._site = site
        self._client = client
        self._reader = websocket.Reader()
        self._budget = RateLimit(site.limits.messages)
        self._replies: dict[str, bytes] = {}  # to the input being read: one of each kind, however many are requested
        self._waiting: dict[str, bytes] = {}  # messages that had no room yet, the newest of each kind
        self._heard = self._looks_away = self._loop.time()
        self._min_rtt_s = 0.0
        self._late_s = 0.0  # from writing a picture to its acknowledgement, less the round trip: a running average
        self._slow = False
        self._free = 0  # frames being read that acknowledge a picture and so do not count against the rate limit
        self._ending: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Say hello, or why not."""
        if self.closed:
            return
        pages = self._site.pages
        old = pages.get(self._client)
        if not self._site.places.make_room(self.share, old, self):
            self.give_up_place()
            return
        self._greet()
        if not self.closed:
            if old:
                old.close("(its page has a new connection)", abort=True)
            pages[self._client] = self
            self._site.news.join(self)

    def _greet(self) -> None:
        limit = self._site.places.viewers
        self.tell("hello", text({"type": "hello", "page": self._site.page_version, "max_viewers": limit}))

    def renew(self) -> None:
        self._greet()  # then the page expects pictures to count from 1 again
        self._watch(self._wanted)

    def tell(self, kind: str, message: bytes) -> None:
        if self.closed:
            return
        if self._rest is None:
            self.write(message)
        else:
            self._waiting[kind] = message

    def end(self) -> None:
        self._end(CloseCode.GOING_AWAY, "piapp ends")
        self.close()

    def give_up_place(self) -> None:
        self.tell("refused", text({"type": "refused", "why": self._site.places.full_sentence()}))
        self._end(CloseCode.TRY_AGAIN_LATER, "too many viewers")

    def pace_s(self) -> float:
        now = self._loop.time()
        if not self._feeds:
            return now - self._looks_away
        return now - self._oldest_under_way(now)

    def _end(self, code: CloseCode, reason: str) -> None:
        """Say why, and close when the page has taken it."""
        if self.closed or self._ending:
            return
        self.has_place = False
        self._site.places.limit_closing()
        self._leave()
        self.tell("close", websocket.close(code, reason))
        # not at once: with something of the page's unread, the kernel would take back what it has not sent yet
        self._ending = self._loop.call_later(END_LIMIT_S, self.close)

    def sweep(self) -> None:
        """Drop a page that says nothing any more, or never draws what it was sent; look at the round trip."""
        now, timeout_s = self._loop.time(), self._site.config.viewer_timeout_s
        if now - min(self._heard, self._oldest_under_way(now)) > timeout_s:
            self.close(f"(said or drew nothing for {timeout_s:g} s)", abort=True)
        else:
            self._min_rtt_s = self._link.pace().min_rtt_s

    def _oldest_under_way(self, now: float) -> float:
        """When that picture was written; now if there is none."""
        return min((w.at for feed in self._feeds.values() for w in feed.under_way.values()), default=now)

    # --- out ---

    def room(self, now: float) -> None:
        """Messages first, then the pictures of whichever camera has waited longest."""
        while self._waiting and self._rest is None:
            self.write(self._waiting.pop(next(iter(self._waiting))))
        while self._rest is None and not self.closed and (feed := self._next()):
            broadcast = feed.broadcast
            # with several cameras another one's picture would wait for the one that is nearly due
            arrived = broadcast.arrived if len(self._feeds) == 1 else 0.0
            # a page that waits for just this picture need not be asked about at the kernel
            if (feed.under_way or now > arrived) and not self.may_write(now, arrived, broadcast.interval_s):
                return
            feed.take(now)

    def _next(self) -> Feed | None:
        if self._slow and any(feed.under_way for feed in self._feeds.values()):
            return None
        longest = None
        for feed in self._feeds.values():
            if feed.wants(self._min_rtt_s) and (longest is None or feed.served < longest.served):
                longest = feed
        return longest

    # --- in ---

    def received(self, data: bytes) -> None:
        self._heard = now = self._loop.time()
        before, self._free = self._reader.frames, 0
        try:
            for opcode, payload in self._reader.feed(data):
                self._handle(opcode, payload, now)
        except WebSocketError as error:
            self._end(error.code, str(error))
        except Exception:
            log.exception("%s: unexpected error", self.address)
            self._reader.stop()
            self._end(CloseCode.INTERNAL_ERROR, "unexpected error: see piapp's log")
        while self._replies:
            self.tell(*self._replies.popitem())
        # Acknowledgements of pictures are free. Each piece of a frame counts as a message.
        frames = max(1, self._reader.frames - before) - self._free
        if frames > 0 and (wait_s := self._budget.reserve(frames + len(data) / COSTLY_BYTES)):
            self.stop_reading(wait_s)

    def gone(self) -> None:
        if self._ending:
            self._ending.cancel()
        self._leave()

    def _handle(self, opcode: Opcode, payload: bytes, now: float) -> None:
        if opcode is Opcode.CLOSE:
            if not self._ending:
                self.tell("close", websocket.message(Opcode.CLOSE, payload[:2]))  # the same code, as an answer
            self.close("(the page closed it)")
        elif self._ending:
            return
        elif opcode is Opcode.BINARY:
            self._drawn(payload, now)
        elif opcode is Opcode.TEXT:
            self._said(payload)
        elif opcode is Opcode.PING:
            self._replies["pong frame"] = websocket.message(Opcode.PONG, payload)

    def _drawn(self, payload: bytes, now: float) -> None:
        if len(payload) != _DRAWN.size:
            raise _misunderstood()
        camera, _, number = _DRAWN.unpack(payload)
        feed = self._feeds.get(camera)
        if feed and (took_s := feed.drawn(number, now, self._min_rtt_s)) is not None:
            self._free += 1
            self._late_s += (max(0.0, took_s - self._min_rtt_s) - self._late_s) / 4
            self._slow = self._late_s > (SLOW_S[0] if self._slow else SLOW_S[1])
            self.room(now)

    def _said(self, payload: bytes) -> None:
        try:
            said = json.loads(payload)
        except (ValueError, RecursionError):
            said = None
        match said:
            case {"type": "ping", "echo": int() | float() as echo} if abs(echo) <= sys.float_info.max:
                self._replies["pong"] = text({"type": "pong", "echo": echo, "now_ms": now_ms()})
            case {"type": "watch", "cameras": [*names]} if all(isinstance(name, str) for name in names):
                self._watch(names)
            case _:
                raise _misunderstood()

    def _watch(self, names: list[str]) -> None:
        """From now on pictures of these. Names of cameras that are not there are left out, until they come."""
        self._wanted = names[:MOST_CAMERAS]
        if not names and self._feeds:
            self._looks_away = self._loop.time()
        for name, broadcast in self._site.broadcasts.items():
            number = self._site.news.ids[name]
            # closed: when it is broken, that shows while feeds are added
            if name in names and number not in self._feeds and not self.closed:
                feed = self._feeds[number] = Feed(self, number, broadcast)
                broadcast.add(feed)
            elif name not in names and number in self._feeds:
                broadcast.remove(self._feeds.pop(number))

    def lose(self, feed: Feed) -> None:
        """Its camera is gone."""
        feed.broadcast.remove(self._feeds.pop(feed.number))

    def _leave(self) -> None:
        self._watch([])
        self._site.news.leave(self)
        if self._site.pages.get(self._client) is self:
            del self._site.pages[self._client]


class LiveHandler(Handler):
    """Agrees on a WebSocket, then hands the connection over to a Page."""

    def get(self) -> None:
        self.check_origin()
        headers = self.request.headers
        key = headers.get("Sec-WebSocket-Key", "")
        if headers.get("Upgrade", "").lower() != "websocket" or headers.get("Sec-WebSocket-Version") != "13":
            sentence = "This address speaks WebSocket, version 13, for piapp's own page."
            self.refuse(426, sentence, Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="13")
        if not websocket.valid_key(key):
            self.refuse(400, "Sec-WebSocket-Key is not 16 bytes in base64.")
        # without a name of its own every connection is new
        client = self.get_query_argument("client", "")[:CLIENT_LIMIT] or key
        sock = self.take_socket()
        if sock is None:
            return
        page = Page(sock, self.address, self.agent, self.site, client)
        page.write(_head(websocket.accept(key)))
        page.open()


@functools.cache
def _picture(camera: int) -> Callable[[Frame], bytes]:
    """What makes a frame of this camera into a message. Always the same function: so all pages share one result."""

    def make(frame: Frame) -> bytes:
        about = _PICTURE.pack(camera, 0, frame.number, frame.captured_ns / 1e6)
        head = websocket.head(Opcode.BINARY, len(about) + len(frame.jpeg))
        return b"".join((head, about, frame.jpeg))

    return make


def _misunderstood() -> WebSocketError:
    return WebSocketError(CloseCode.NOT_UNDERSTOOD, "piapp's page does not say such a thing")


def _head(accept: str) -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\nServer: piapp\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()
