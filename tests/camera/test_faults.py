"""A device that fails: what is said of it, and when it is tried again."""

import asyncio
import itertools
import re
import threading
import time
from dataclasses import replace

import pytest
from fakes import FakeDevice, unplugged

from piapp import camera as module
from piapp import report
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.errors import DeviceAway, SourceError
from piapp.sources.source import Publish, Source

from .case import (
    JPEGS,
    LIMIT_S,
    NEVER_S,
    QUICK,
    Hand,
    HandSource,
    Watcher,
    becomes,
    device_threads,
    frames,
    in_loop,
    messages,
    notices,
    opened,
    pictures,
    started,
    state,
)


class Pauses:
    """Takes the place of the pauses between two tries: notes them, and lets them take no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []

        async def note(_: Camera, limit_s: float) -> None:
            self.seconds.append(limit_s)

        monkeypatch.setattr(Camera, "_while_wanted", note)


@in_loop
async def test_a_fault_is_said_in_notices_for_as_long_as_somebody_watches(no_retry: None) -> None:
    device, watcher = FakeDevice(JPEGS), Watcher()
    async with started(device, idle_stop_s=NEVER_S) as camera:
        camera.watch(watcher)
        await pictures(camera, 2)
        device.fault = unplugged()
        found = await frames(camera, lambda frame: bool(frame.notice), 6)
        assert camera.state is State.FAILED
        assert camera.faults.count == 1
        for frame in found:
            assert re.fullmatch(r"Camera unplugged \d+ s ago: check the cable", frame.notice)
            assert frame.jpeg.startswith(b"\xff\xd8")
            assert (frame.width, frame.height) == (64, 48)  # as large as the pictures were, not as configured
        # the first comes with the fault; then it is one every NOTICE_EVERY_S, or later on a busy machine
        for before, after in itertools.pairwise(found[1:]):
            assert after.number == before.number + 1
            assert after.captured_ns - before.captured_ns > 0.9 * module.NOTICE_EVERY_S * 1e9
        assert camera.faults.current
        camera.faults.current = replace(camera.faults.current, since=camera.faults.current.since - 300)
        assert await notices(camera, 1, "5 min") == ["Camera unplugged 5 min ago: check the cable"]

        camera.unwatch(watcher)
        camera.hub.forget()
        while_drawn = camera.counts.measure
        looked = asyncio.Event()

        def look() -> None:
            while_drawn()
            looked.set()

        camera.counts.measure = look  # type: ignore[method-assign]
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

    camera = Camera(CameraConfig(name="door"), open_source, limits=QUICK)
    camera.start()
    with camera.watching(Watcher()):
        await opened(device, len(steady) + 1)
    await camera.stop(LIMIT_S)
    assert pauses.seconds == [0.5, 1, 0.5, 1, 0.5, 0.5]


@in_loop
async def test_for_a_device_that_is_away_the_pauses_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.5, 30.0))
    monkeypatch.setattr(module, "AWAY_S", 2.0)
    pauses, device = Pauses(monkeypatch), Hand()

    class Away(HandSource):
        def run(self, publish: Publish, stopping: threading.Event) -> None:
            if device.openings > 5:
                raise unplugged()
            raise DeviceAway("Camera not found", "plug it in")

    def open_source() -> Source:
        device.openings += 1
        return Away(device)

    camera = Camera(CameraConfig(name="door"), open_source, limits=QUICK)
    camera.start()
    with camera.watching(Watcher()):
        await becomes(lambda: len(pauses.seconds) >= 9)
    await camera.stop(LIMIT_S)
    assert pauses.seconds[:9] == [0.5, 1, 2, 2, 2, 2, 4, 8, 16]  # it is back, and broken: they go on from there


@in_loop
async def test_what_is_loaded_slowly_is_no_fault_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_FRAME_LIMIT_S", 0.05)
    loading, loaded = threading.Event(), threading.Event()
    device = Hand()

    class Slow(HandSource):
        def load(self) -> None:
            loading.set()
            loaded.wait(LIMIT_S)

    camera = Camera(CameraConfig(name="door"), lambda: Slow(device), limits=QUICK)
    camera.start()
    with camera.watching(Watcher()):
        await asyncio.to_thread(loading.wait, LIMIT_S)
        await asyncio.sleep(5 * module.FIRST_FRAME_LIMIT_S)
        assert camera.state is State.STARTING and not camera.faults.count
        loaded.set()
        await becomes(lambda: bool(camera.faults.count))  # from then on the limit counts
        assert str(camera.faults.current).startswith("Camera does not send any picture")
    await camera.stop(LIMIT_S)


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
                assert camera.faults.current is None
                device.fault = unplugged()
                await notices(camera, 2, "Camera unplugged")
                assert camera.faults.count >= outage
                device.fault = None


@in_loop
async def test_an_outage_keeps_its_first_cause_and_its_beginning() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await pictures(camera, 2)
            device.fault = unplugged()
            await state(camera, State.FAILED)
            assert camera.faults.current
            since = camera.faults.current.since
            device.fault = SourceError("Camera not found", "plug it in")
            openings = device.openings
            found: list[str] = []
            while device.openings < openings + 4:
                found += await notices(camera, 1)
            assert all(words.startswith("Camera unplugged ") for words in found)
            assert camera.faults.current.since == since
            assert camera.faults.count >= 4


@in_loop
async def test_a_camera_that_never_ran_says_what_the_last_try_found() -> None:
    device = FakeDevice(JPEGS)
    device.fault = SourceError("Camera not found", "plug it in")
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await notices(camera, 1, "Camera not found")
            assert camera.faults.current
            since = camera.faults.current.since
            device.fault = SourceError("Camera is busy", "close the other program")
            await notices(camera, 1, "Camera is busy")
            assert camera.faults.current.since == since


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
            assert camera.faults.count == 1
            assert await notices(camera, 1)
            assert camera.faults.current
            assert camera.faults.current.what == "Camera stopped sending pictures"
            await becomes(lambda: hand.openings == 2)  # closed and opened again
            await becomes(lambda: device_threads() and camera.state is State.STARTING)
            openings = hand.openings
            while hand.openings == openings and camera.state is not State.RUNNING:
                hand.picture()
                await asyncio.sleep(0.001)
            assert camera.faults.current is None


@in_loop
async def test_a_slow_camera_has_as_long_as_some_frames_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROZEN_S", 0.0)
    hand = Hand()
    camera = Camera(CameraConfig(name="door", framerate=20), hand, limits=QUICK)
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
            assert (camera.faults.count, camera.faults.current) == (0, None)


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


class Raising(HandSource):
    """Raises what a driver's binding may: also what is no Exception."""

    def __init__(self, hand: Hand, error: BaseException, where: str) -> None:
        if where == "opening":
            raise error
        super().__init__(hand)
        self._error, self._where = error, where

    def load(self) -> None:
        if self._where == "load":
            raise self._error

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        publish(JPEGS[0], time.monotonic_ns(), 64, 48)
        raise self._error


@pytest.mark.parametrize("where", ["opening", "load", "run"])
@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), MemoryError(), Exception()])
@in_loop
async def test_whatever_a_driver_raises_is_a_fault_and_the_device_is_opened_again(
    error: BaseException, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    hand = Hand()

    def open_source() -> Source:
        hand.openings += 1
        return HandSource(hand) if hand.openings > 1 else Raising(hand, error, where)

    camera = Camera(CameraConfig(name="door"), open_source, limits=QUICK)
    camera.start()
    with camera.watching(Watcher()):
        await becomes(lambda: hand.publish)
        assert camera.faults.recent()[0]["what"] == "Camera failed in a way nobody expected"
        hand.picture()
        await state(camera, State.RUNNING)
    assert await camera.stop(LIMIT_S)
    (line,) = [record for record in caplog.records if record.exc_info]
    assert line.getMessage() == "camera door: unexpected error"
    assert line.exc_info and line.exc_info[1] is error


@in_loop
async def test_a_thread_that_cannot_be_started_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the system has no memory or no number for one more."""
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name.startswith("camera "):
            raise RuntimeError("can't start new thread")
        start(thread)

    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            with monkeypatch.context() as full:
                full.setattr(threading.Thread, "start", fail)
                await becomes(lambda: camera.faults.count >= 3)
                assert await notices(camera, 1, "Camera failed in a way nobody expected")
            await pictures(camera, 2)
            await state(camera, State.RUNNING)
        assert "can't start new thread" in caplog.text
        assert report.alive([camera])


@in_loop
async def test_a_bug_while_it_runs_closes_the_device_and_opens_it_again(caplog: pytest.LogCaptureFixture) -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:

        def forget() -> None:
            if camera.state is State.RUNNING and device.openings == 1:
                raise ZeroDivisionError

        camera.listeners.add(forget)
        with camera.watching(Watcher()):
            await opened(device, 2)
            await state(camera, State.RUNNING)
            assert (device.open, camera.faults.count) == (1, 1)
    assert "door: unexpected error" in messages(caplog)


@in_loop
async def test_texts_of_drivers_are_made_short_and_printable(caplog: pytest.LogCaptureFixture, no_retry: None) -> None:
    device = FakeDevice(JPEGS)
    device.fault = SourceError("Pi camera failed (\x1b[31m\n" + "x" * 10_000, "hint\r\n" * 10_000)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.FAILED)
            fault = camera.faults.recent()[0]
            for words in (fault["what"], fault["hint"]):
                assert len(words) <= 200 and words.isprintable()
            assert fault["what"].startswith("Pi camera failed (?[31m xxx")
            assert len(camera.describe()["fault"]) < 450
            (line,) = messages(caplog)
            assert len(line) < 450 and line.isprintable()


@in_loop
async def test_what_kind_of_fault_it_is_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.5, 30.0))
    pauses, device = Pauses(monkeypatch), FakeDevice(JPEGS)
    device.fault = DeviceAway("Camera not found " + "x" * 300, "plug it in")
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: len(pauses.seconds) >= 5)
    assert pauses.seconds[:5] == [0.5, 1, 2, 2, 2]  # as for one that is away
