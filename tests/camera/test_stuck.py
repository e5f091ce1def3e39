"""When a camera asks for a fresh process, and what it does until it gets one."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fakes import FakeDevice, unplugged

from piapp import camera as module
from piapp import stuck
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.errors import DeviceStuck, SourceError
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
    in_loop,
    messages,
    notices,
    opened,
    pictures,
    started,
    state,
)


class Asked:
    """In place of what ends piapp: notes after how many openings it was asked."""

    def __init__(self, device: FakeDevice | Hand, answer: bool = True) -> None:
        self.answer = answer
        self.after: list[int] = []
        self.device = device

    @property
    def times(self) -> int:
        return len(self.after)

    def __call__(self) -> bool:
        self.after.append(self.device.openings)
        return self.answer


def broken() -> DeviceStuck:
    return DeviceStuck("Camera failed", "look at the cable")


@asynccontextmanager
async def watched(asked: Asked, idle_stop_s: float = 0.01) -> AsyncIterator[Camera]:
    """A camera with one watcher, in camera.watchers."""
    device = asked.device
    camera = Camera(CameraConfig(name="door", source="pattern", idle_stop_s=idle_stop_s), device, None, asked, QUICK)
    camera.start()
    camera.watch(Watcher())
    try:
        yield camera
    finally:
        device.hangs.set()
        await camera.stop(LIMIT_S)


class Scripted(FakeDevice):
    """Fails at each opening so; after these it is `broken`."""

    def __init__(self, faults: list[SourceError | None]) -> None:
        super().__init__(JPEGS)
        self._faults = faults

    def __call__(self) -> Source:
        self.fault = self._faults.pop(0) if self._faults else broken()
        return super().__call__()


class OnePicture(Hand):
    """Sends one, and then nothing."""

    def __call__(self) -> Source:
        super().__call__()
        return OnePictureSource(self)


class OnePictureSource(HandSource):
    def run(self, publish: Publish, stopping: threading.Event) -> None:
        publish(JPEGS[0], time.monotonic_ns(), 64, 48)
        super().run(publish, stopping)


def leave(camera: Camera) -> None:
    for watcher in tuple(camera.watchers):
        camera.unwatch(watcher)


@pytest.fixture
def freezes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that sends nothing more has soon failed."""
    monkeypatch.setattr(module, "FROZEN_S", 0.02)
    monkeypatch.setattr(module, "FROZEN_FRAMES", 0)


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs is given up soon."""
    monkeypatch.setattr(Camera._end, "__defaults__", (0.02,))
    monkeypatch.setattr(stuck, "HUNG_LIMIT_S", 0.06)


# --- a device that fails again and again ---


@pytest.mark.parametrize("how", ["raises", "never sends", "stops sending"])
@in_loop
async def test_after_some_failures_in_a_row(
    how: str, freezes: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = OnePicture() if how == "stops sending" else FakeDevice(JPEGS)
    asked = Asked(device)
    if isinstance(device, FakeDevice):
        device.fault = broken() if how == "raises" else None
        device.stalled = True
        monkeypatch.setattr(module, "FIRST_FRAME_LIMIT_S", 0.02 if how == "never sends" else NEVER_S)
    async with watched(asked):
        await becomes(lambda: asked.times)
        assert asked.after[0] == stuck.FAILURES
    what = {"raises": "failed", "never sends": "does not send any picture", "stops sending": "stopped sending pictures"}
    assert messages(caplog, logging.ERROR) == [
        f"door: Camera {what[how]}, 5 times in a row: piapp ends, since only a fresh process may help"
    ]


@in_loop
async def test_what_a_fresh_process_would_not_help_does_not_count() -> None:
    device = FakeDevice(JPEGS)
    asked = Asked(device)
    device.fault = unplugged()
    async with watched(asked):
        await opened(device, stuck.FAILURES + 3)
        assert not asked.times


@in_loop
async def test_nor_does_it_break_the_row() -> None:
    device = Scripted([broken(), broken(), unplugged(), broken(), broken(), *[unplugged()] * 3])
    asked = Asked(device)
    async with watched(asked):
        await becomes(lambda: asked.times)
        assert asked.after[0] == 9


@pytest.mark.parametrize("worked", ["steadily", "until nobody watched"])
@in_loop
async def test_a_device_that_has_worked_begins_a_new_row(worked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Scripted([*[broken()] * (stuck.FAILURES - 1), None])
    asked = Asked(device)
    async with watched(asked) as camera:
        await pictures(camera, 2)
        await state(camera, State.RUNNING)
        if worked == "steadily":
            monkeypatch.setattr(module, "STEADY_S", 0.0)
        else:
            leave(camera)
            await state(camera, State.IDLE)
        device.fault = broken()
        camera.watch(Watcher())
        await state(camera, State.FAILED)
        await becomes(lambda: asked.times)
        # the run that was steady failed in the end, the other one did not
        assert asked.after[0] == 2 * stuck.FAILURES - (1 if worked == "steadily" else 0)


@in_loop
async def test_refused_it_keeps_trying_and_asks_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    async def note(_: Camera, limit_s: float) -> None:
        pauses.append(limit_s)
        await asyncio.sleep(0)

    monkeypatch.setattr(Camera, "_while_wanted", note)
    monkeypatch.setattr(module, "BACKOFF_S", (0.5, 30.0))
    device = FakeDevice(JPEGS)
    asked = Asked(device, answer=False)
    device.fault = broken()
    async with watched(asked) as camera:
        assert all(words.startswith("Camera failed: look at") for words in await notices(camera, 2))
        await becomes(lambda: asked.times >= 3)
        assert pauses[:7] == [0.5, 1, 2, 4, 30, 30, 30]
        assert messages(caplog) == [
            "door: Camera failed: look at the cable",
            "door: Camera failed, 5 times in a row: only a fresh process may help, but another camera is watched",
        ]
        device.fault = None  # it comes back by itself
        await state(camera, State.RUNNING)
        times = asked.times
        await pictures(camera, 3)
        assert asked.times == times
        device.fault = broken()  # which was too short to be well again
        asked.answer = True
        await becomes(lambda: asked.times > times)
    assert messages(caplog)[-1].endswith("times in a row: piapp ends, since only a fresh process may help")


@in_loop
async def test_it_asks_for_nothing_that_nobody_waits_for() -> None:
    device = FakeDevice(JPEGS)
    asked = Asked(device)
    device.fault = broken()
    async with watched(asked, idle_stop_s=NEVER_S) as camera:
        leave(camera)  # it is tried for a while yet
        await opened(device, stuck.FAILURES + 3)
        assert not asked.times
        camera.watch(Watcher())
        await becomes(lambda: asked.times)


# --- a device whose thread does not end ---


async def _hang(camera: Camera, hand: Hand) -> None:
    """It runs, and then its driver does not return."""
    hand.hangs.clear()
    await becomes(lambda: hand.publish)
    hand.picture()
    await becomes(lambda: camera.counts.frames)


@in_loop
async def test_a_thread_that_does_not_end(freezes: None, hung: None, caplog: pytest.LogCaptureFixture) -> None:
    hand = Hand()
    asked = Asked(hand)
    async with watched(asked) as camera:
        await _hang(camera, hand)
        await becomes(lambda: asked.times)
        assert hand.openings == 1
        run = camera.run
        assert run and run.overdue_s >= stuck.HUNG_LIMIT_S
    assert messages(caplog, logging.ERROR) == ["door: Camera hung: piapp ends, since only a fresh process may help"]


@in_loop
async def test_a_thread_that_ends_in_time_asks_for_nothing(
    freezes: None, hung: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck, "HUNG_LIMIT_S", NEVER_S)
    hand = Hand()
    asked = Asked(hand)
    async with watched(asked) as camera:
        await _hang(camera, hand)
        await notices(camera, 2, "unplug it, or restart the computer")
        hand.hangs.set()
        await opened(hand, 2)
        await notices(camera, 1, "check the cable; piapp keeps trying")  # which is true again
        assert not asked.times


@pytest.mark.parametrize("cause", ["Camera stopped sending pictures", "Camera hung"])
@in_loop
async def test_refused_it_says_so_on_the_picture_and_asks_again(
    cause: str, freezes: None, hung: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cause == "Camera hung":
        monkeypatch.setattr(module, "FROZEN_S", NEVER_S)
    hand = Hand()
    asked = Asked(hand, answer=False)
    async with watched(asked) as camera:
        await _hang(camera, hand)
        if cause == "Camera hung":
            camera.switch(False)
            await state(camera, State.OFF)
            camera.switch(True)
        for words in await notices(camera, 2, "piapp starts anew when no other camera is watched"):
            assert words.startswith(cause)
        assert (camera.state, hand.openings) == (State.FAILED, 1)
        times = asked.times
        await becomes(lambda: asked.times > times + 1)
        assert [text for text in messages(caplog) if "only a fresh" in text] == [
            "door: Camera hung: only a fresh process may help, but another camera is watched"
        ]
        asked.answer = True
        await becomes(lambda: messages(caplog, logging.ERROR))


@pytest.mark.parametrize("away", ["nobody watches", "off"])
@in_loop
async def test_a_hung_thread_is_still_hung_when_the_next_viewer_comes(away: str, hung: None) -> None:
    hand = Hand()
    asked = Asked(hand)
    async with watched(asked) as camera:
        await _hang(camera, hand)
        if away == "off":
            camera.switch(False)
        else:
            leave(camera)
        await becomes(lambda: camera.run and camera.run.overdue_s > 2 * stuck.HUNG_LIMIT_S)
        assert camera.state in (State.OFF, State.IDLE)
        assert not asked.times
        camera.switch(True)
        camera.watch(Watcher())
        await becomes(lambda: asked.times)
        assert hand.openings == 1


@in_loop
async def test_nor_does_one_ask_that_is_only_open_yet(freezes: None, hung: None) -> None:
    hand = Hand()
    asked = Asked(hand)
    async with watched(asked, idle_stop_s=NEVER_S) as camera:
        leave(camera)
        await _hang(camera, hand)
        await becomes(lambda: camera.run and camera.run.overdue_s > 2 * stuck.HUNG_LIMIT_S)
        assert camera.state is State.FAILED
        assert not asked.times
        camera.watch(Watcher())
        await becomes(lambda: asked.times)


@in_loop
async def test_without_anybody_to_ask_it_goes_on_trying() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            device.fault = broken()
            await opened(device, stuck.FAILURES + 3)
            device.fault = None
            await pictures(camera, 1)


# --- the end ---


@pytest.mark.parametrize("hangs", [False, True])
@in_loop
async def test_stop_says_whether_a_thread_is_left_behind(hangs: bool) -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        camera.watch(Watcher())
        await state(camera, State.RUNNING)
        if hangs:
            device.hangs.clear()
        assert await camera.stop(0.05 if hangs else LIMIT_S) is not hangs
