"""A camera: when its device is open, what it says when there is no picture, and that nothing of it stays behind."""

import asyncio
import contextlib
import functools
import itertools
import json
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, ParamSpec

import pytest
from fakes import FakeDevice, pattern_jpegs, unplugged

from piapp import camera as module
from piapp import notice
from piapp.camera import Camera, State
from piapp.config import CameraConfig, Size
from piapp.errors import NoFreshFrame, SourceError, Unsupported
from piapp.frame import Frame
from piapp.sources.source import Publish, Source

LIMIT_S = 30.0  # for what must happen; nothing here takes long
NEVER_S = 1000.0
JPEGS = pattern_jpegs(3)

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

    def picture(self, captured_ns: int | None = None) -> None:
        assert self.publish
        self.publish(JPEGS[0], time.monotonic_ns() if captured_ns is None else captured_ns, 64, 48)


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


class Pauses:
    """Takes the place of the pauses between two tries: notes them, and lets them take no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []

        async def note(_: Camera, limit_s: float) -> None:
            self.seconds.append(limit_s)

        monkeypatch.setattr(Camera, "_while_wanted", note)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.04))
    monkeypatch.setattr(module, "NOTICE_EVERY_S", 0.05)


@pytest.fixture
def no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (NEVER_S, NEVER_S))


@pytest.fixture
def stops_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that hangs is given up soon."""
    monkeypatch.setattr(Camera._end, "__defaults__", (0.05,))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in device_threads():
        thread.join(LIMIT_S)
        assert not thread.is_alive(), thread.name


def device_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("camera ")]


@contextlib.asynccontextmanager
async def started(device: FakeDevice | Hand, name: str = "door", idle_stop_s: float = 0.01) -> AsyncIterator[Camera]:
    camera = Camera(CameraConfig(name=name, source="pattern", idle_stop_s=idle_stop_s), device)
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


# --- who watches ---


@in_loop
async def test_the_device_is_opened_when_somebody_watches_and_not_before() -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()
    async with started(device) as camera:
        await state(camera, State.IDLE)
        await asyncio.sleep(0)
        assert (device.openings, camera.hub.newest) == (0, None)
        camera.watch(watcher)
        (first,) = await pictures(camera, 1)
        await state(camera, State.RUNNING)
        assert (device.openings, device.open) == (1, 1)
        assert first.jpeg in JPEGS
        assert (first.width, first.height) == (64, 48)


@in_loop
async def test_the_device_is_closed_some_time_after_the_last_watcher_has_gone() -> None:
    device, watchers = FakeDevice(JPEGS), (Watcher(), Watcher())
    async with started(device, idle_stop_s=0.1) as camera:
        for watcher in watchers:
            camera.watch(watcher)
        await state(camera, State.RUNNING)
        camera.unwatch(watchers[0])
        await pictures(camera, 20)  # at 100 a second: longer than idle_stop_s
        assert camera.state is State.RUNNING
        left = time.monotonic()
        camera.unwatch(watchers[1])
        assert camera.state is State.RUNNING
        await state(camera, State.IDLE)
        assert time.monotonic() - left > 0.09
        await becomes(lambda: device.open == 0)
        assert camera.hub.newest is None
        assert device.openings == 1


@in_loop
async def test_a_watcher_that_comes_back_in_time_finds_the_device_open() -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()
    async with started(device, idle_stop_s=0.1) as camera:
        camera.watch(watcher)
        await state(camera, State.RUNNING)
        for _ in range(3):
            camera.unwatch(watcher)
            await asyncio.sleep(0)
            camera.watch(watcher)
            await pictures(camera, 15)
            assert camera.state is State.RUNNING
        assert device.openings == 1


@in_loop
async def test_the_time_to_the_closing_begins_anew_with_each_last_watcher() -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()
    async with started(device, idle_stop_s=0.2) as camera:
        with camera.watching(watcher):
            await state(camera, State.RUNNING)
        left = time.monotonic()
        await becomes(lambda: time.monotonic() - left > 0.1)
        with camera.watching(watcher):
            await state(camera, State.RUNNING)  # it is, unless the machine is so busy that more time has passed
            again = time.monotonic()
        await state(camera, State.IDLE)
        assert time.monotonic() - again > 0.19


@in_loop
async def test_until_then_a_fault_is_mended_though_nobody_watches() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, idle_stop_s=NEVER_S) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
        device.fault = unplugged()
        await state(camera, State.FAILED)
        device.fault = None
        await state(camera, State.RUNNING)


@in_loop
async def test_the_next_watcher_after_idling_opens_it_again_without_a_pause(no_retry: None) -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()
    async with started(device) as camera:
        for opening in range(1, 4):
            with camera.watching(watcher):
                await pictures(camera, 2)
            await state(camera, State.IDLE)
            assert device.openings == opening


@in_loop
async def test_unwatching_twice_or_unasked_does_no_harm() -> None:
    device, first, second = FakeDevice(JPEGS), Watcher(), Watcher()
    async with started(device, idle_stop_s=0) as camera:
        camera.unwatch(first)
        camera.watch(first)
        camera.watch(second)
        camera.unwatch(first)
        camera.unwatch(first)
        await pictures(camera, 5)
        assert camera.watchers == {second}
        assert device.openings == 1


@in_loop
async def test_watching_ends_with_an_exception_too() -> None:
    async with started(FakeDevice(JPEGS)) as camera:
        with pytest.raises(KeyError), camera.watching(Watcher()):
            raise KeyError
        assert not camera.watchers


@in_loop
async def test_no_picture_slips_in_between_the_last_one_and_the_closing() -> None:
    """It would stay the newest for as long as the camera idles, and be the next watcher's first one, hours old."""
    hand, watcher = Hand(), Watcher()
    async with started(hand) as camera:
        camera.watch(watcher)
        await becomes(lambda: hand.publish)
        hand.picture()
        await state(camera, State.RUNNING)
        forget = camera.hub.forget

        def forget_and_publish() -> None:
            forget()
            hand.picture()  # as the device's thread may do at any moment

        camera.hub.forget = forget_and_publish  # type: ignore[method-assign]
        camera.unwatch(watcher)
        await state(camera, State.IDLE)
        assert camera.hub.newest is None


@in_loop
async def test_no_picture_is_left_by_a_fast_device_however_often_it_is_closed() -> None:
    device, watcher = FakeDevice(JPEGS, fps=20_000), Watcher()
    async with started(device, idle_stop_s=0) as camera:
        for _ in range(40):
            with camera.watching(watcher):
                await pictures(camera, 1)
            await state(camera, State.IDLE)
            await becomes(lambda: device.open == 0)
            assert camera.hub.newest is None


# --- the switch ---


@in_loop
async def test_switched_off_it_closes_the_device_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    device, watcher, other = FakeDevice(JPEGS), Watcher(), Watcher()
    caplog.set_level(logging.INFO)
    async with started(device, idle_stop_s=NEVER_S) as camera:
        camera.watch(watcher)
        await state(camera, State.RUNNING)
        camera.switch(False)
        camera.switch(False)
        await state(camera, State.OFF)
        await becomes(lambda: device.open == 0)
        for words in await notices(camera, 3):
            assert re.fullmatch(r"Camera switched off \d+ s ago: switch it on at piapp's page", words)

        camera.watch(other)  # no viewer can turn it on
        await notices(camera, 3)
        assert (camera.state, device.openings) == (State.OFF, 1)
        with pytest.raises(NoFreshFrame, match="switched off"):
            await camera.fresh_frame(Watcher())

        camera.switch(True)
        await pictures(camera, 3)
        await state(camera, State.RUNNING)
        assert device.openings == 2
        assert (camera.faults, camera.fault) == (0, None)
        log = messages(caplog, logging.INFO)
        assert [text for text in log if "switched" in text] == ["door: switched off", "door: switched on"]


@in_loop
async def test_the_switch_without_watchers() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        camera.switch(False)
        await state(camera, State.OFF)
        camera.switch(True)
        await state(camera, State.IDLE)
        assert device.openings == 0


@in_loop
async def test_switched_off_and_on_while_the_device_closes_it_opens_without_a_pause(no_retry: None) -> None:
    """The pauses are for faults, and this is none."""
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            for opening in range(1, 4):
                await state(camera, State.RUNNING)
                assert device.openings == opening
                device.hangs.clear()
                camera.switch(False)
                await state(camera, State.OFF)
                camera.switch(True)
                await asyncio.sleep(0)
                device.hangs.set()
                await pictures(camera, 1)


@in_loop
async def test_switched_off_during_the_pause_after_a_fault(no_retry: None) -> None:
    device = FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.FAILED)
            camera.switch(False)
            await state(camera, State.OFF)
            device.fault = None
            camera.switch(True)
            await state(camera, State.RUNNING)  # at once: a person asked for it


@in_loop
async def test_an_old_notice_is_not_kept_for_the_next_watcher() -> None:
    async with started(FakeDevice(JPEGS)) as camera:
        camera.switch(False)
        with camera.watching(Watcher()):
            await notices(camera, 1)
            await becomes(lambda: camera.hub.newest)
        assert camera.hub.newest is None


# --- faults ---


@in_loop
async def test_a_fault_is_said_in_notices_for_as_long_as_somebody_watches(no_retry: None) -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()
    async with started(device, idle_stop_s=NEVER_S) as camera:
        camera.watch(watcher)
        await pictures(camera, 2)
        device.fault = unplugged()
        found = await frames(camera, lambda frame: bool(frame.notice), 6)
        assert camera.state is State.FAILED
        assert camera.faults == 1
        for frame in found:
            assert re.fullmatch(r"Camera unplugged \d+ s ago: check the cable", frame.notice)
            assert frame.jpeg.startswith(b"\xff\xd8")
            assert (frame.width, frame.height) == (64, 48)  # as large as the pictures were, not as configured
        # the first comes with the fault; then it is one every NOTICE_EVERY_S, or later on a busy machine
        for before, after in itertools.pairwise(found[1:]):
            assert after.number == before.number + 1
            assert after.captured_ns - before.captured_ns > 0.9 * module.NOTICE_EVERY_S * 1e9
        assert camera.fault
        camera.fault = replace(camera.fault, since=camera.fault.since - 300)
        assert await notices(camera, 1, "5 min") == ["Camera unplugged 5 min ago: check the cable"]

        camera.unwatch(watcher)
        camera.hub.forget()
        while_drawn = camera._measure
        looked = asyncio.Event()

        def look() -> None:
            while_drawn()
            looked.set()

        camera._measure = look  # type: ignore[method-assign]
        for _ in range(3):  # nobody watches: it goes on looking, and draws nothing
            looked.clear()
            await asyncio.wait_for(looked.wait(), LIMIT_S)
        assert camera.hub.newest is None


@in_loop
async def test_the_pauses_between_tries_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.5, 30.0))
    pauses, device = Pauses(monkeypatch), FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: len(pauses.seconds) >= 9)
    assert pauses.seconds[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@in_loop
async def test_after_a_steady_run_the_pauses_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.5, 30.0))
    monkeypatch.setattr(module, "STEADY_S", 0.0)
    steady = [False, False, True, False, True, True]
    pauses, device = Pauses(monkeypatch), Hand()

    class Flaky(HandSource):
        def run(self, publish: Publish, stopping: threading.Event) -> None:
            if device.openings > len(steady):
                return super().run(publish, stopping)
            if steady[device.openings - 1]:
                publish(JPEGS[0], 1, 64, 48)
            raise unplugged()

    def open_source() -> Source:
        device.openings += 1
        return Flaky(device)

    camera = Camera(CameraConfig(name="door"), open_source)
    camera.start()
    with camera.watching(Watcher()):
        await opened(device, len(steady) + 1)
    await camera.stop(LIMIT_S)
    assert pauses.seconds == [0.5, 1, 0.5, 1, 0.5, 0.5]


@in_loop
async def test_the_pauses_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.05, 0.1))
    device = FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device) as camera:
        begun = time.monotonic()
        with camera.watching(Watcher()):
            await becomes(lambda: device.openings >= 4)
            assert time.monotonic() - begun > 0.9 * (0.05 + 0.1 + 0.1)


@in_loop
async def test_a_viewer_that_comes_during_the_pause_does_not_shorten_it(no_retry: None) -> None:
    device = FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.FAILED)
            with camera.watching(Watcher()):
                await notices(camera, 3)
            assert device.openings == 1


@in_loop
async def test_it_recovers_when_the_device_comes_back() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            for outage in range(1, 4):
                await pictures(camera, 3)
                await state(camera, State.RUNNING)
                assert camera.fault is None
                device.fault = unplugged()
                await notices(camera, 2, "Camera unplugged")
                assert camera.faults >= outage
                device.fault = None


@in_loop
async def test_an_outage_keeps_its_first_cause_and_its_beginning() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await pictures(camera, 2)
            device.fault = unplugged()
            await state(camera, State.FAILED)
            assert camera.fault
            since = camera.fault.since
            device.fault = SourceError("Camera not found", "plug it in")
            openings = device.openings
            found: list[str] = []
            while device.openings < openings + 4:
                found += await notices(camera, 1)
            assert all(words.startswith("Camera unplugged ") for words in found)
            assert camera.fault.since == since
            assert camera.faults >= 4


@in_loop
async def test_a_camera_that_never_ran_says_what_the_last_try_found() -> None:
    device = FakeDevice(JPEGS)
    device.fault = SourceError("Camera not found", "plug it in")
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await notices(camera, 1, "Camera not found")
            assert camera.fault
            since = camera.fault.since
            device.fault = SourceError("Camera is busy", "close the other program")
            await notices(camera, 1, "Camera is busy")
            assert camera.fault.since == since


@in_loop
async def test_an_outage_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            for outage in range(1, 3):
                await state(camera, State.RUNNING)
                device.fault = unplugged()
                await opened(device, device.openings + 5)
                assert messages(caplog) == ["door: Camera unplugged: check the cable"] * outage
                device.fault = None


@in_loop
async def test_a_device_that_sends_nothing_more_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROZEN_S", 0.2)
    monkeypatch.setattr(module, "FROZEN_FRAMES", 0)
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            begun = time.monotonic()
            await state(camera, State.FAILED)
            assert time.monotonic() - begun > 0.18
            assert camera.faults == 1
            assert await notices(camera, 1)
            assert camera.fault
            assert camera.fault.what == "Camera stopped sending pictures"
            await becomes(lambda: hand.openings == 2)  # closed and opened again
            await becomes(lambda: device_threads() and camera.state is State.STARTING)
            openings = hand.openings
            while hand.openings == openings and camera.state is not State.RUNNING:
                hand.picture()
                await asyncio.sleep(0.001)
            assert camera.fault is None


@in_loop
async def test_a_slow_camera_has_as_long_as_some_frames_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROZEN_S", 0.0)
    hand = Hand()
    camera = Camera(CameraConfig(name="door", framerate=20), hand)
    camera.start()
    with camera.watching(Watcher()):
        await becomes(lambda: hand.publish)
        hand.picture()
        begun = time.monotonic()
        await state(camera, State.FAILED)
        assert time.monotonic() - begun > 0.9 * module.FROZEN_FRAMES / 20
    await camera.stop(LIMIT_S)


@in_loop
async def test_a_device_that_never_sends_anything_has_failed(monkeypatch: pytest.MonkeyPatch, no_retry: None) -> None:
    monkeypatch.setattr(module, "FIRST_FRAME_LIMIT_S", 0.3)
    device = FakeDevice(JPEGS)
    device.stalled = True
    async with started(device) as camera:
        begun = time.monotonic()
        with camera.watching(Watcher()):
            for words in await notices(camera, 2):
                assert re.fullmatch(r"Camera is starting, for \d+ s now", words)
            await state(camera, State.FAILED)
            assert time.monotonic() - begun > 0.28
            assert await notices(camera, 1, "Camera does not send any picture")
            await becomes(lambda: device.open == 0)
            assert device.openings == 1


@in_loop
async def test_an_unexpected_exception_is_logged_whole_and_is_a_fault(
    caplog: pytest.LogCaptureFixture, no_retry: None
) -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await pictures(camera, 1)
            device.fault = ZeroDivisionError("boom")
            assert await notices(camera, 1, "Camera failed in a way nobody expected")
            assert camera.state is State.FAILED
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "camera door: unexpected error"
    assert record.exc_info and isinstance(record.exc_info[1], ZeroDivisionError)


@in_loop
async def test_an_unexpected_exception_at_the_opening() -> None:
    device = FakeDevice(JPEGS)
    device.fault = ZeroDivisionError("boom")
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.FAILED)
            device.fault = None
            await pictures(camera, 1)


@in_loop
async def test_a_source_that_returns_by_itself_is_opened_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    hand, pauses = Hand(), Pauses(monkeypatch)
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.RUNNING)
            hand.end = "return"
            await becomes(lambda: hand.openings == 2)
            assert len(pauses.seconds) == 1
            assert (camera.faults, camera.fault) == (0, None)


@in_loop
async def test_between_its_runs_such_a_camera_is_starting_and_shows_no_old_picture(no_retry: None) -> None:
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.RUNNING)
            hand.end = "return"
            await state(camera, State.STARTING)
            assert camera.hub.newest is None
            assert all("Camera is starting" in words for words in await notices(camera, 3))
            assert hand.openings == 1  # and not in a tight loop


# --- a device that hangs ---


@in_loop
async def test_a_hanging_device_holds_up_nobody_and_is_not_opened_twice(
    caplog: pytest.LogCaptureFixture, stops_quickly: None
) -> None:
    hanging, other = Hand(), FakeDevice(JPEGS)
    hanging.hangs.clear()
    heard: list[Frame] = []
    async with started(hanging, "hangs") as camera, started(other, "other") as running:
        camera.hub.listeners.add(heard.append)
        with camera.watching(Watcher()), running.watching(Watcher()):
            await becomes(lambda: hanging.publish)
            hanging.picture()
            await state(camera, State.RUNNING)
            camera.switch(False)
            await state(camera, State.OFF)
            heard.clear()
            assert await notices(camera, 2, "switched off")
            await becomes(lambda: messages(caplog))
            camera.switch(True)
            assert await notices(camera, 2, "Camera hung")
            assert camera.state is State.FAILED
            camera.switch(False)  # and the switch still works
            await state(camera, State.OFF)
            camera.switch(True)
            await state(camera, State.FAILED)
            assert hanging.openings == 1
            assert len([thread for thread in device_threads() if thread.name == "camera hangs"]) == 1
            await pictures(running, 5)

            frames_before = camera.frames
            hanging.picture()  # the driver comes back to life with an old picture
            assert await notices(camera, 2)
            assert all(frame.notice for frame in heard)
            assert camera.frames == frames_before

            late, hanging.publish = hanging.publish, None
            hanging.hangs.set()
            await becomes(lambda: hanging.publish)
            assert hanging.openings == 2
            assert late
            late(b"old", 1, 64, 48)
            hanging.picture()
            await state(camera, State.RUNNING)
            assert camera.hub.newest and camera.hub.newest.jpeg == JPEGS[0]
            assert b"old" not in {frame.jpeg for frame in heard}
            assert camera.fault is None
    assert messages(caplog)[0] == "hangs: the device does not let go after 0.05 s"
    assert len([text for text in messages(caplog) if "let go" in text]) == 1


@in_loop
async def test_a_frozen_device_that_hangs_keeps_its_first_words(
    monkeypatch: pytest.MonkeyPatch, stops_quickly: None
) -> None:
    monkeypatch.setattr(module, "FROZEN_S", 0.05)
    monkeypatch.setattr(module, "FROZEN_FRAMES", 0)
    hand = Hand()
    hand.hangs.clear()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.FAILED)
            await asyncio.sleep(0)
            for words in await notices(camera, 6):
                assert words.startswith("Camera stopped sending pictures")
            assert hand.openings == 1
        await state(camera, State.IDLE)  # nobody watches any more, hanging or not
        assert camera.faults == 1


@in_loop
async def test_stop_leaves_a_hanging_device_behind(caplog: pytest.LogCaptureFixture) -> None:
    device = FakeDevice(JPEGS)
    device.hangs.clear()
    async with started(device) as camera:
        camera.watch(Watcher())
        await state(camera, State.RUNNING)
        await camera.stop(0.05)
        assert messages(caplog) == ["door: the device does not let go after 0.05 s"]
        assert device.open == 1


def test_a_device_that_comes_back_after_the_loop_has_ended_does_no_harm() -> None:
    hand = Hand()
    hand.hangs.clear()

    async def run() -> None:
        camera = Camera(CameraConfig(name="door"), hand)
        camera.start()
        camera.watch(Watcher())
        await becomes(lambda: hand.publish)
        await camera.stop(0.01)

    asyncio.run(run())
    hand.picture()
    hand.hangs.set()  # an exception in its thread would fail this test


# --- notices ---


class Drawing:
    """Takes the place of notice.draw, which it lets wait until the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.sizes: list[Size] = []
        monkeypatch.setattr(notice, "draw", self._draw)

    def _draw(self, title: str, words: str, size: Size) -> bytes:
        self.sizes.append(size)
        self.begun.set()
        assert self.go_on.wait(LIMIT_S)
        return b"drawn"


@pytest.mark.parametrize("idle_stop_s", [0, NEVER_S])
@in_loop
async def test_words_that_nobody_needs_any_more_when_they_are_drawn_are_not_shown(
    idle_stop_s: float, monkeypatch: pytest.MonkeyPatch, no_retry: None
) -> None:
    drawing, device, watcher = Drawing(monkeypatch), FakeDevice(JPEGS), Watcher()
    device.fault = unplugged()
    async with started(device, idle_stop_s=idle_stop_s) as camera:
        with camera.watching(watcher):
            await becomes(drawing.begun.is_set)
            await state(camera, State.FAILED)
        if not idle_stop_s:
            await state(camera, State.IDLE)
        drawing.go_on.set()
        looked = asyncio.Event()
        monkeypatch.setattr(camera, "_measure", looked.set)
        await asyncio.wait_for(looked.wait(), LIMIT_S)
        assert camera.hub.newest is None


@in_loop
async def test_a_first_picture_is_not_covered_by_a_notice_that_was_being_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawing, hand, heard = Drawing(monkeypatch), Hand(), list[str]()
    async with started(hand) as camera:
        camera.hub.listeners.add(lambda frame: heard.append(frame.notice))
        with camera.watching(Watcher()):
            await becomes(drawing.begun.is_set)  # "Camera is starting"
            run = camera._run
            assert run
            run._nudge = asyncio.Event()  # the picture is there, and the camera has not heard of it yet
            hand.picture()
            await becomes(lambda: heard)
            assert camera.state is State.STARTING
            looked = asyncio.Event()
            monkeypatch.setattr(camera, "_measure", looked.set)
            drawing.go_on.set()
            await asyncio.wait_for(looked.wait(), LIMIT_S)
            assert heard == [""]
            run._nudge = camera._nudge


@in_loop
async def test_drawing_a_notice_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, running, failing = Drawing(monkeypatch), FakeDevice(JPEGS), FakeDevice(JPEGS)
    failing.fault = unplugged()
    async with started(failing, "failing") as camera, started(running, "running") as other:
        with camera.watching(Watcher()), other.watching(Watcher()):
            await becomes(drawing.begun.is_set)
            await pictures(other, 3)
            drawing.go_on.set()
            assert drawing.sizes[0] == camera.config.resolution  # before the first picture: as large as configured


# --- snapshots ---


@in_loop
async def test_a_fresh_frame_was_taken_after_the_request() -> None:
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.RUNNING)
            asked = time.monotonic_ns()
            task = asyncio.create_task(camera.fresh_frame(Watcher(), LIMIT_S))
            await becomes(lambda: len(camera.watchers) == 2)
            hand.picture(captured_ns=asked - 1)  # was exposed before, and arrives now
            await asyncio.sleep(0.01)
            assert not task.done()
            hand.picture()
            frame = await task
            assert (frame.number, frame.captured_ns >= asked) == (3, True)
            assert len(camera.watchers) == 1
            assert not camera.hub.listeners


@in_loop
async def test_a_fresh_frame_wakes_an_idle_camera() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        frame = await camera.fresh_frame(Watcher(), LIMIT_S)
        assert frame.jpeg in JPEGS
        assert not frame.notice
        await state(camera, State.IDLE)
        assert device.openings == 1


@in_loop
async def test_a_fresh_frame_is_never_a_notice() -> None:
    device = FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device) as camera:
        task = asyncio.create_task(camera.fresh_frame(Watcher(), LIMIT_S))
        await notices(camera, 3)
        assert not task.done()
        device.fault = None
        assert not (await task).notice


@in_loop
async def test_why_there_is_no_fresh_frame() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        device.stalled = True
        with pytest.raises(NoFreshFrame, match=r"^No picture from door within 0\.05 s\. Camera is starting, for \d s"):
            await camera.fresh_frame(Watcher(), 0.05)
        await state(camera, State.IDLE)
        device.fault = unplugged()
        with camera.watching(Watcher()):
            await state(camera, State.FAILED)
            with pytest.raises(NoFreshFrame, match=r"Camera unplugged \d+ s ago: check the cable"):
                await camera.fresh_frame(Watcher(), 0.05)
        camera.switch(False)
        with pytest.raises(NoFreshFrame, match=r"^The camera door is switched off\.$"):
            await camera.fresh_frame(Watcher(), LIMIT_S)
        assert not camera.watchers
        assert not camera.hub.listeners


@in_loop
async def test_cancelling_a_snapshot_leaves_nothing() -> None:
    device = FakeDevice(JPEGS)
    device.stalled = True
    async with started(device) as camera:
        task = asyncio.create_task(camera.fresh_frame(Watcher(), LIMIT_S))
        await becomes(lambda: camera.hub.listeners)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not camera.watchers
        assert not camera.hub.listeners
        await state(camera, State.IDLE)


# --- what can be known ---


@in_loop
async def test_numbers_and_counts_go_on_over_restarts() -> None:
    hand = Hand()
    numbers: list[int] = []
    async with started(hand) as camera:
        camera.hub.listeners.add(lambda frame: numbers.append(frame.number))
        for run in range(1, 5):
            with camera.watching(Watcher()):
                await becomes(lambda: hand.publish)
                assert hand.openings >= run
                for _ in range(3):
                    hand.picture()
                await state(camera, State.RUNNING)
                assert camera.frames == 3 * run
                source = camera._run.source if camera._run else None
                assert source
                source.bad_frames = 2
                assert camera.bad_frames == 2 * run
                if run % 2:
                    hand.end = unplugged()
                    await state(camera, State.FAILED)
                    assert camera.frames == 3 * run
            await state(camera, State.IDLE)
            await becomes(lambda: camera._run is None)
            hand.end = hand.publish = None
            assert (camera.frames, camera.bad_frames) == (3 * run, 2 * run)
            # the second and fourth run end without one; an outage may have had further tries
            assert camera.faults >= (run + 1) // 2
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 4


@in_loop
async def test_describe_is_json_in_every_state(no_retry: None) -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()

    def described(camera: Camera) -> dict[str, Any]:
        found = json.loads(json.dumps(camera.describe(), allow_nan=False))
        assert isinstance(found, dict)
        assert found["state"] == camera.state.value
        return found

    async with started(device, idle_stop_s=0) as camera:
        idle = described(camera)
        assert (idle["on"], idle["message"], idle["viewers"]) == (True, "", [])
        assert idle["fault"] is idle["age_ms"] is idle["width"] is None
        device.stalled = True
        camera.watch(watcher)
        await state(camera, State.STARTING)
        starting = described(camera)
        assert "Camera is starting" in starting["message"]
        assert starting["width"] is None
        device.stalled = False
        await state(camera, State.RUNNING)
        await becomes(lambda: camera.fps > 0)
        running = described(camera)
        assert running.keys() == idle.keys()
        assert (running["width"], running["height"], running["encoder"]) == (64, 48, "fake")
        assert running["viewers"] == [{"kind": "test"}]
        assert running["age_ms"] >= 0
        assert running["frames"] > 0
        assert running["message"] == ""
        assert (running["fps"] > 0, running["negotiated"]) == (True, "64x48 fake")
        device.fault = unplugged()
        await state(camera, State.FAILED)
        failed = described(camera)
        assert failed["message"] == failed["fault"] == "Camera unplugged 0 s ago: check the cable"
        assert (failed["faults"], failed["width"], failed["age_ms"]) == (1, None, None)
        camera.switch(False)
        await state(camera, State.OFF)
        off = described(camera)
        assert (off["on"], off["name"]) == (False, "door")
        assert "switched off" in off["message"]


@in_loop
async def test_the_quality_can_be_changed_while_it_runs() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with pytest.raises(Unsupported, match="open its stream first"):
            camera.set_quality(50)
        assert camera.quality == camera.config.quality
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            camera.set_quality(50)
            assert camera.describe()["quality"] == 50


@in_loop
async def test_a_quality_that_the_source_cannot_change_stays() -> None:
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            with pytest.raises(Unsupported, match="pattern source cannot be changed"):
                camera.set_quality(50)
            assert camera.quality == camera.config.quality


# --- the end ---


async def _idle(camera: Camera, device: FakeDevice) -> None:
    await state(camera, State.IDLE)


async def _starting(camera: Camera, device: FakeDevice) -> None:
    device.stalled = True
    camera.watch(Watcher())
    await state(camera, State.STARTING)


async def _running(camera: Camera, device: FakeDevice) -> None:
    camera.watch(Watcher())
    await state(camera, State.RUNNING)


async def _idling(camera: Camera, device: FakeDevice) -> None:
    watcher = Watcher()
    camera.watch(watcher)
    await state(camera, State.RUNNING)
    camera.unwatch(watcher)


async def _failed(camera: Camera, device: FakeDevice) -> None:
    device.fault = unplugged()
    camera.watch(Watcher())
    await state(camera, State.FAILED)


async def _off(camera: Camera, device: FakeDevice) -> None:
    await _running(camera, device)
    camera.switch(False)
    await state(camera, State.OFF)


async def _just_begun(camera: Camera, device: FakeDevice) -> None:
    camera.watch(Watcher())


@pytest.mark.parametrize("reach", [_just_begun, _idle, _starting, _running, _idling, _failed, _off])
@in_loop
async def test_stop_in_every_state_leaves_no_thread_and_no_task(
    reach: Callable[[Camera, FakeDevice], Awaitable[None]], no_retry: None, caplog: pytest.LogCaptureFixture
) -> None:
    device = FakeDevice(JPEGS)
    camera = Camera(CameraConfig(name="door", idle_stop_s=NEVER_S), device)
    camera.start()
    await reach(camera, device)
    await camera.stop(LIMIT_S)
    assert device.open == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not [text for text in messages(caplog) if "unplugged" not in text]
    for thread in device_threads():
        thread.join(LIMIT_S)  # it has told that it ends as the last thing it did
    assert not device_threads()
    await camera.stop(LIMIT_S)  # twice does no harm
    openings = device.openings
    camera.watch(Watcher())
    await asyncio.sleep(0)
    assert device.openings == openings
