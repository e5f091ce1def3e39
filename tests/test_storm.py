"""A minute with fifty viewers and pages that come, stall and go as they like: nobody is delayed, nothing is left."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from fakes import Running, serving, until
from live_wire import CLOSE, TEXT, Closed, Page, frame
from numbered import Numbered, number_in
from wire import BROWSER, PROGRAM, Refused, Stream, ask, connect, patch, request

from piapp.config import CameraConfig
from piapp.web import live, stream
from piapp.web.guard import Site

LASTS_S = float(os.environ.get("PIAPP_STORM_S", "60"))
VISITORS, PLACES = 50, 40
FPS = 12.0
GROWTH = 80 << 20  # bytes; the pictures that this test compares with are 15 MB of it


class Left(NamedTuple):
    """What there is at a moment; how much of it depends on who is served."""

    descriptors: int
    threads: int
    tasks: int
    listeners: int
    watchers: int
    viewers: int
    pages: int


def look(running: Running, site: Site) -> Left:
    async def count_tasks() -> int:
        return len(asyncio.all_tasks()) - 1  # not this one

    gc.collect()
    [camera], [broadcast] = site.cameras.values(), site.broadcasts.values()
    things = Counter(type(thing) for thing in gc.get_objects())
    return Left(
        len(os.listdir("/proc/self/fd")),
        sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),  # but for the loop's pool
        asyncio.run_coroutine_threadsafe(count_tasks(), running.loop).result(60),
        len(camera.hub.listeners) + len(camera.listeners),
        len(camera.watchers),
        len(broadcast.receivers) + len(site.places.connections) + things[stream.Viewer],
        len(site.pages) + things[live.Page] + things[live.Feed],
    )


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Visitor:
    """Does one thing after the other, at random but always the same, until the storm is over."""

    def __init__(self, port: int, seed: int, over: threading.Event) -> None:
        self.did: Counter[str] = Counter()
        self._port, self._over = port, over
        self._random = random.Random(seed)
        self._ways: list[Callable[[], None]] = [
            self.watch,
            self.watch,
            self.stall,
            self.crawl,
            self.ask,
            self.break_off,
            self.look,
            self.look,
            self.stare,
            self.peek,
        ]

    def run(self) -> Counter[str]:
        while not self._over.is_set():
            way = self._random.choice(self._ways)
            try:
                way()
            except Refused as error:
                assert error.args[0].status == 503, error
                self.did["refused"] += 1
                self._pause(0.2)
                continue
            except (Closed, EOFError, ConnectionError):
                assert way in (self.look, self.stare, self.peek)  # another page had the same name, or took too long
            self.did[way.__name__] += 1
        return self.did

    def _pause(self, longest_s: float) -> None:
        self._over.wait(self._random.uniform(0, longest_s))

    def _open(self, receive_buffer: int = 0) -> Stream:
        path = self._random.choice(["/stream", "/stream?fps=3", "/?action=stream", "/cameras/camera/stream?&17"])
        return Stream(self._port, path, self._random.choice([BROWSER, PROGRAM]), receive_buffer=receive_buffer)

    def _page(self, receive_buffer: int = 0) -> Page:
        """Some have the same name as another one."""
        page = Page(
            self._port, self._random.choice(["", "", f"{self._random.randint(0, 20)}"]), receive_buffer=receive_buffer
        )
        try:
            first = next(page)
            assert isinstance(first, dict)
            if first["type"] == "refused":
                page.ended()
                raise Refused(page.head._replace(status=503))
        except BaseException:
            page.socket.close()
            raise
        return page

    def _leave(self, viewer: Stream | Page) -> None:
        if self._random.random() < 0.3:
            viewer.reset()
        elif self._random.random() < 0.3:
            with contextlib.suppress(OSError):
                viewer.socket.shutdown(socket.SHUT_WR)

    def watch(self) -> None:
        """Whole frames, in order."""
        with self._open() as viewer:
            last = 0
            for _ in range(self._random.randint(0, 12)):
                number = number_in(next(viewer).jpeg)
                assert number > last
                last = number
            self._leave(viewer)

    def stall(self) -> None:
        """Take nothing more, for longer or shorter than the server bears it."""
        with self._open(receive_buffer=2048) as viewer:
            self._pause(4)
            self._leave(viewer)

    def crawl(self) -> None:
        """Take a little from time to time; what is whole is right, and in order."""
        with self._open(receive_buffer=2048) as viewer, contextlib.suppress(ConnectionError):
            last = 0
            for _ in range(self._random.randint(1, 40)):
                self._pause(0.1)
                if not viewer.receive(self._random.randint(1, 3000)):
                    break
                for part in viewer.whole():
                    assert number_in(part.jpeg) > last
                    last = number_in(part.jpeg)

    def look(self) -> None:
        """A page as it should be, that looks away now and then."""
        with self._page() as page:
            last = 0
            for _ in range(self._random.randint(0, 3)):
                page.say("ping", echo=1)
                page.watch("camera")
                for picture in page.draw(self._random.randint(0, 8)):
                    assert number_in(picture.jpeg) and picture.number >= last  # once more what was newest before
                    last = picture.number
                if self._random.random() < 0.5:
                    page.watch()
                    page.told("state")
            if self._random.random() < 0.5:
                page.send(CLOSE, b"\x03\xe8")
                page.ended()
            self._leave(page)

    def stare(self) -> None:
        """A page that says and draws nothing, or not enough, for longer or shorter than the server bears it."""
        with self._page(receive_buffer=2048) as page, contextlib.suppress(ConnectionError):
            page.watch("camera", "nobody")
            for _ in range(self._random.randint(0, 8)):
                self._pause(0.5)
                page.receive(self._random.randint(1, 3000))
                if self._random.random() < 0.5:
                    page.say("ping", echo=1)
            self._leave(page)

    def peek(self) -> None:
        """A page that goes wrong at some moment, mostly the very first ones."""
        with self._page() as page:
            page.socket.sendall(frame(TEXT, b'{"type": "watch", "cameras": ["camera"]}')[: self._random.randint(0, 60)])
            if self._random.random() < 0.5:
                with contextlib.suppress(ConnectionError):
                    page.send(TEXT, b"nonsense")
                    page.ended()
            self._leave(page)

    def ask(self) -> None:
        path = self._random.choice(
            ["/snapshot", "/api/cameras", "/metrics", "/", "/nothing", "/stream_9", "/stream?fps=x"]
        )
        assert ask(self._port, path).status in (200, 400, 404)

    def break_off(self) -> None:
        """A request that is never finished, or whose answer nobody reads."""
        whole = request("GET", self._random.choice(["/stream", "/snapshot", "/"]), PROGRAM)
        with connect(self._port) as sock:
            sock.sendall(whole[: self._random.randint(1, len(whole))])
            self._pause(0.3)


def draw(page: Page, over: threading.Event) -> list[int]:
    """What a page gets that does all as it should."""
    drawn = list[int]()
    page.watch("camera")
    while not over.is_set():
        page.say("ping", echo=1)
        drawn += [number_in(picture.jpeg) for picture in page.draw(1)]
    return drawn


def test_a_storm(sites: list[Site], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(stream, "SWEEP_S", 0.25)
    device = Numbered(FPS, noise=6000)
    config = CameraConfig(framerate=round(FPS), idle_stop_s=0)
    with serving(lambda _: device, (config,), max_viewers=PLACES, viewer_timeout_s=1.5) as running:
        device.loop = running.loop
        site = sites[0]
        with Stream(running.port) as viewer:  # what is made once and kept is made before the first look
            viewer.take(3)
        with Page(running.port) as page:
            page.watch("camera")
            page.draw(3)
        ask(running.port, "/snapshot")
        patch(running.port, {"on": True})
        until(lambda: device.open == 0 and not site.cameras["camera"].watchers)
        until(lambda: look(running, site).threads <= 2)
        before, memory_before = look(running, site), memory()
        assert before[3:] == (1, 0, 0, 0)  # the file that keeps what users chose listens always

        over = threading.Event()
        with ThreadPoolExecutor(VISITORS + 1) as pool:
            with Stream(running.port) as steady, Page(running.port, "steady") as page:
                drawing = pool.submit(draw, page, over)
                visits = [pool.submit(Visitor(running.port, seed, over).run) for seed in range(VISITORS)]
                seen, end = list[int](), time.monotonic() + LASTS_S
                try:
                    while time.monotonic() < end and not any(visit.done() for visit in visits):
                        seen.append(number_in(next(steady).jpeg))
                finally:
                    over.set()
                drawn = drawing.result()
            did = sum((visit.result() for visit in visits), Counter[str]())

        assert seen == list(range(seen[0], seen[0] + len(seen)))  # not one of them missing
        assert drawn == sorted(set(drawn)) and len(drawn) > len(seen) / 2
        wanted = {"watch", "stall", "crawl", "look", "stare", "peek", "ask", "break_off", "refused"}
        assert set(did) == wanted, did
        with contextlib.suppress(AssertionError):
            until(lambda: look(running, site) == before, 60)
        assert look(running, site) == before
        assert memory() - memory_before < GROWTH
        with Stream(running.port) as viewer:  # and all is well
            viewer.take(3)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
