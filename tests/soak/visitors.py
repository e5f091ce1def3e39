"""Those who come and go: viewers, pages, programs, and strangers who mean no good."""

import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from live_wire import CLOSE, TEXT, Closed, Page, Picture, frame
from wire import BROWSER, PROGRAM, Refused, Stream, ask, connect, patch, read_all, request

STEADY, CHANGED = "front", ("yard", "album")  # nobody touches the first one
UNAVAILABLE = (404, 503)  # new settings have taken the camera away; all places are taken
GAP_LIMIT_S = 15.0  # between two pictures of it, on a box that may be very busy
PATHS = (
    "/",
    "/health",
    "/metrics",
    "/api/cameras",
    "/api/cameras/yard",
    "/api/system",
    "/page.js",
    "/nothing",
    "/?x=%ff",
)
GARBAGE = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"PATCH /api/cameras/yard HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{",
    b"GET /" + b"a" * 20_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 500,
    b"GET /stream HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
)


class Visitor:
    """Does one thing after the other until it is told that the visit is over."""

    def __init__(self, port: int, seed: int, over: threading.Event) -> None:
        self.did: Counter[str] = Counter()
        self.wrong: list[str] = []  # what should not have happened
        self._port, self._over = port, over
        self._random = random.Random(seed)
        self._ways: list[Callable[[], None]] = [
            *[self.watch] * 4,
            *[self.look] * 4,
            *[self.ask] * 3,
            *[self.snapshot] * 2,
            *[self.attack] * 2,
            *(self.stall, self.crawl, self.stare, self.peek, self.change, self.half_open, self.flood),
        ]

    def run(self) -> None:
        while not self._over.is_set():
            way = self._random.choice(self._ways)
            try:
                way()
                self.did[way.__name__] += 1
            except Refused as error:
                if error.args[0].status not in UNAVAILABLE:
                    self.wrong.append(f"{way.__name__}: {error.args[0]}")
                self.did["refused"] += 1
                self._pause(0.5)
            except (Closed, EOFError, ConnectionError):  # its camera or its place was taken away, or it took too long
                self.did["broken off"] += 1
            except Exception as error:
                self.wrong.append(f"{way.__name__}: {error!r}"[:500])
                self._pause(1)

    # --- ways ---

    def watch(self) -> None:
        with self._stream() as viewer:
            for _ in self._reads(viewer, 20):
                self._check(viewer)
            self._leave(viewer)

    def crawl(self) -> None:
        """Take a little from time to time."""
        with self._stream(receive_buffer=2048) as viewer:
            for _ in self._reads(viewer, 15, size=700):
                self._check(viewer)
                self._pause(0.2)
            self._leave(viewer)

    def stall(self) -> None:
        """Take nothing, for longer or shorter than piapp bears it."""
        with self._stream(receive_buffer=2048) as viewer:
            self._pause(6)
            self._leave(viewer)

    def look(self) -> None:
        """A page as it should be."""
        with self._page() as page:
            page.watch(*self._random.sample((STEADY, *CHANGED), 2))
            pinged = time.monotonic()
            for _ in self._reads(page, 20):
                while message := page.whole():
                    if isinstance(message, Picture):
                        self._whole(message.jpeg)
                        page.drawn(message)
                if time.monotonic() - pinged > 1:
                    pinged = time.monotonic()
                    page.say("ping", echo=1)
            self._leave(page)

    def stare(self) -> None:
        """A page that says and draws nothing."""
        with self._page(receive_buffer=2048) as page:
            page.watch(STEADY, "nobody")
            for _ in self._reads(page, 8, size=500):
                self._pause(0.3)
            self._leave(page)

    def peek(self) -> None:
        """A page that goes wrong."""
        with self._page() as page:
            wrong = (
                frame(TEXT, b"nonsense"),
                frame(TEXT, b'{"type": "watch", "cameras": ["yard"]}')[: self._random.randint(0, 60)],
                frame(TEXT, b"x" * 9000),
                os.urandom(200),
                frame(CLOSE, b"\x03\xe8"),
            )
            page.socket.sendall(self._random.choice(wrong))
            for _ in self._reads(page, 3):
                while page.whole():
                    pass
            self._leave(page)

    def ask(self) -> None:
        answer = ask(self._port, self._random.choice(PATHS))
        assert answer.status in (200, *UNAVAILABLE), answer

    def snapshot(self) -> None:
        answer = ask(
            self._port, self._random.choice(("/snapshot", "/snapshot_1", "/snapshot_2.jpg", "/?action=snapshot"))
        )
        assert answer.status in (200, *UNAVAILABLE), answer
        if answer.status == 200:
            self._whole(answer.body)

    def change(self) -> None:
        changes = (
            {"on": False},
            *({"on": True},) * 3,
            {"controls": {"quality": self._random.randint(1, 100)}},
            {"controls": {"hflip": self._random.random() < 0.5, "vflip": None}},
            {"controls": {"nothing": 1}},
            {"controls": {"quality": 1e99}, "on": True},
        )
        name = self._random.choice(CHANGED)
        answer = patch(self._port, self._random.choice(changes), name)
        assert answer.status in (200, 400, *UNAVAILABLE), answer

    def half_open(self) -> None:
        """A connection that asks nothing, or never to the end."""
        with connect(self._port) as sock:
            whole = request("GET", "/stream", PROGRAM)
            sock.sendall(whole[: self._random.randint(0, len(whole) - 1)])
            self._pause(15)
            self._reset(sock)

    def attack(self) -> None:
        with connect(self._port) as sock:
            sock.sendall(self._random.choice(GARBAGE))
            if self._random.random() < 0.5:
                sock.settimeout(3)
                with contextlib.suppress(TimeoutError):
                    said = read_all(sock)
                    assert b" 500 " not in said[:20], said
            self._reset(sock)

    def flood(self) -> None:
        """Many requests at once, whose answers nobody reads."""
        with connect(self._port, receive_buffer=2048) as sock:
            sock.settimeout(2)
            with contextlib.suppress(TimeoutError):
                sock.sendall(request("GET", self._random.choice(PATHS), {}) * self._random.randint(1, 40))
            self._pause(3)
            self._reset(sock)

    # --- how ---

    def _pause(self, longest_s: float) -> None:
        self._over.wait(self._random.uniform(0, longest_s))

    def _stream(self, receive_buffer: int = 0) -> Stream:
        paths = ("/stream", "/stream_1", "/stream_2?fps=3", "/?action=stream", f"/cameras/{STEADY}/stream?x=1")
        form = self._random.choice([BROWSER, PROGRAM])
        return Stream(self._port, self._random.choice(paths), form, receive_buffer=receive_buffer)

    def _page(self, receive_buffer: int = 0) -> Page:
        """Some have the same name as another one."""
        name = self._random.choice(["", "", f"{self._random.randint(0, 10)}"])
        page = Page(self._port, name, receive_buffer=receive_buffer)
        try:
            first = next(page)
            assert isinstance(first, dict)
            if first["type"] == "refused":
                raise Refused(page.head._replace(status=503))
        except BaseException:
            page.socket.close()
            raise
        return page

    def _reads(self, viewer: Stream | Page, longest_s: float, size: int = 1 << 16) -> Iterator[None]:
        """Read for up to so long; one for each read."""
        viewer.socket.settimeout(0.5)
        end = time.monotonic() + self._random.uniform(0, longest_s)
        while time.monotonic() < end and not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                if not viewer.receive(size):
                    return
            yield

    def _check(self, viewer: Stream) -> None:
        for part in viewer.whole():
            self._whole(part.jpeg)

    def _whole(self, jpeg: bytes) -> None:
        assert jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9"), jpeg[:20]

    def _leave(self, viewer: Stream | Page) -> None:
        if self._random.random() < 0.3:
            viewer.reset()
        elif self._random.random() < 0.3:
            with contextlib.suppress(OSError):
                viewer.socket.shutdown(socket.SHUT_WR)

    def _reset(self, sock: socket.socket) -> None:
        if self._random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class Steady:
    """Watches one camera all the time, and is never to be kept waiting."""

    def __init__(self, port: int, over: threading.Event) -> None:
        self.wrong: list[str] = []
        self.longest_gap_s = 0.0
        self.pictures = 0
        self.there = threading.Event()
        self._port, self._over = port, over

    def run(self) -> None:
        try:
            self._watch()
        except Exception as error:
            self.wrong.append(f"who watches {STEADY}: {error!r}"[:500])
        self.there.set()

    def _watch(self) -> None:
        with Stream(self._port, f"/cameras/{STEADY}/stream") as viewer:
            self.there.set()
            viewer.socket.settimeout(GAP_LIMIT_S)
            last = time.monotonic()
            while not self._over.is_set():
                if not viewer.receive(1 << 16):
                    raise EOFError
                if new := viewer.whole():
                    now = time.monotonic()
                    self.pictures += len(new)
                    self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
                    if now - last > GAP_LIMIT_S:
                        raise TimeoutError
