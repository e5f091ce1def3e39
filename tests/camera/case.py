"""What the tests of a camera share: devices, watchers, and how to wait for what must happen."""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec

import pytest
from fakes import FakeDevice, pattern_jpegs

from piapp import notice
from piapp.camera import Camera, Limits, State
from piapp.config import CameraConfig
from piapp.frame import Frame
from piapp.rate_limit import Rate
from piapp.sources.source import Publish, Source

LIMIT_S = 30.0  # for what must happen; nothing here takes long
NEVER_S = 1000.0
JPEGS = pattern_jpegs(3)
UNLIMITED = Rate(1, 0.0)
QUICK = Limits(openings=UNLIMITED, notices=notice.Limits(drawn=UNLIMITED))  # as often as a test asks for it

P = ParamSpec("P")


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run the test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


class Hand:
    """A device whose pictures the test hands in by itself, with publish(); called to open it, as FakeDevice is."""

    def __init__(self) -> None:
        self.openings = 0
        self.publish: Publish | None = None  # of the newest opening
        self.end: Exception | str | None = None  # what run() raises; or it returns, for a string
        self.hangs = threading.Event()  # clear it and run() does not return when it is asked to stop
        self.hangs.set()

    def __call__(self) -> Source:
        self.openings += 1
        return HandSource(self)

    def picture(self, captured_ns: int | None = None, size: tuple[int, int] = (64, 48)) -> None:
        assert self.publish
        self.publish(JPEGS[0], time.monotonic_ns() if captured_ns is None else captured_ns, *size)


class HandSource(Source):
    kind = "pattern"

    def __init__(self, hand: Hand) -> None:
        super().__init__(CameraConfig(source="pattern"))
        self._hand = hand

    def check(self) -> None:
        pass

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        self._hand.publish = publish
        while not stopping.wait(0.002):
            if isinstance(self._hand.end, Exception):
                raise self._hand.end
            if self._hand.end:
                self._hand.end = None
                return
        self._hand.hangs.wait()


class Watcher:
    def describe(self) -> dict[str, Any]:
        return {"kind": "test"}


def device_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("camera ")]


@contextlib.asynccontextmanager
async def started(
    device: FakeDevice | Hand, name: str = "door", idle_stop_s: float = 0.01, limits: Limits = QUICK
) -> AsyncIterator[Camera]:
    camera = Camera(CameraConfig(name=name, source="pattern", idle_stop_s=idle_stop_s), device, limits=limits)
    camera.start()
    try:
        yield camera
    finally:
        device.hangs.set()
        await camera.stop(LIMIT_S)


async def becomes(condition: Callable[[], object]) -> None:
    """Wait for a state that tells nobody when it changes."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def opened(device: FakeDevice | Hand, times: int) -> None:
    await becomes(lambda: device.openings >= times)


async def state(camera: Camera, wanted: State) -> None:
    await becomes(lambda: camera.state is wanted)


async def frames(camera: Camera, match: Callable[[Frame], bool], count: int = 1) -> list[Frame]:
    """The next frames that match, newest only."""
    found: list[Frame] = []
    number = camera.hub.newest.number if camera.hub.newest else 0
    async with asyncio.timeout(LIMIT_S):
        while len(found) < count:
            frame = await camera.hub.newer_than(number)
            number = frame.number
            if match(frame):
                found.append(frame)
    return found


async def pictures(camera: Camera, count: int) -> list[Frame]:
    return await frames(camera, lambda frame: not frame.notice, count)


async def notices(camera: Camera, count: int, words: str = "") -> list[str]:
    return [frame.notice for frame in await frames(camera, lambda f: bool(f.notice) and words in f.notice, count)]


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
