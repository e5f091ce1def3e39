"""A minute with fifty viewers that come, stall and go as they like: nobody is delayed, and nothing is left of them."""

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
from numbered import Numbered, number_in
from wire import BROWSER, PROGRAM, Refused, Stream, ask, connect, patch, request

from piapp import app
from piapp.camera import Camera
from piapp.config import CameraConfig, ServerConfig
from piapp.web import stream
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


def look(running: Running, site: Site) -> Left:
    async def count_tasks() -> int:
        return len(asyncio.all_tasks()) - 1  # not this one

    gc.collect()
    [camera], [broadcast] = site.cameras.values(), site.broadcasts.values()
    return Left(
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        asyncio.run_coroutine_threadsafe(count_tasks(), running.loop).result(60),
        len(camera.hub.listeners),
        len(camera.watchers),
        len(broadcast.viewers) + sum(isinstance(thing, stream.Viewer) for thing in gc.get_objects()),
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
            self.did[way.__name__] += 1
        return self.did

    def _pause(self, longest_s: float) -> None:
        self._over.wait(self._random.uniform(0, longest_s))

    def _open(self, receive_buffer: int = 0) -> Stream:
        path = self._random.choice(["/stream", "/stream?fps=3", "/?action=stream", "/cameras/camera/stream?&17"])
        return Stream(self._port, path, self._random.choice([BROWSER, PROGRAM]), receive_buffer=receive_buffer)

    def _leave(self, viewer: Stream) -> None:
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


def test_a_storm(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(stream, "SWEEP_S", 0.25)
    sites = list[Site]()

    def remember(config: ServerConfig, cameras: dict[str, Camera]) -> Site:
        sites.append(Site(config, cameras))
        return sites[0]

    monkeypatch.setattr(app, "Site", remember)
    device = Numbered(FPS, noise=6000)
    config = CameraConfig(framerate=round(FPS), idle_stop_s=0)
    with serving(lambda _: device, (config,), max_viewers=PLACES, viewer_timeout_s=1.5) as running:
        device.loop = running.loop
        site = sites[0]
        with Stream(running.port) as viewer:  # what is made once and kept is made before the first look
            viewer.take(3)
        ask(running.port, "/snapshot")
        patch(running.port, {"on": True})
        until(lambda: device.open == 0 and not site.cameras["camera"].watchers)
        until(lambda: look(running, site).threads <= 3)
        before, memory_before = look(running, site), memory()
        assert (before.listeners, before.watchers, before.viewers) == (0, 0, 0)

        over = threading.Event()
        with ThreadPoolExecutor(VISITORS) as pool:
            with Stream(running.port) as steady:
                visits = [pool.submit(Visitor(running.port, seed, over).run) for seed in range(VISITORS)]
                seen, end = list[int](), time.monotonic() + LASTS_S
                try:
                    while time.monotonic() < end and not any(visit.done() for visit in visits):
                        seen.append(number_in(next(steady).jpeg))
                finally:
                    over.set()
            did = sum((visit.result() for visit in visits), Counter[str]())

        assert seen == list(range(seen[0], seen[0] + len(seen)))  # not one of them missing
        assert set(did) == {"watch", "stall", "crawl", "ask", "break_off", "refused"}, did
        with contextlib.suppress(AssertionError):
            until(lambda: look(running, site) == before, 60)
        assert look(running, site) == before
        assert memory() - memory_before < GROWTH
        with Stream(running.port) as viewer:  # and all is well
            viewer.take(3)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
