"""A picture at the sensor's full resolution, beside the stream, or the reason why there is none."""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import Future

import pytest
from fakes import FakeDevice, unplugged

from piapp.camera import Camera, State
from piapp.errors import NoFreshFrame, SourceError, Unsupported
from piapp.sources.source import Publish, Source, Still

from .case import JPEGS, LIMIT_S, NEVER_S, QUICK, Hand, HandSource, Watcher, becomes, in_loop, pictures, started, state

FULL = b"all pixels"


def with_full() -> FakeDevice:
    device = FakeDevice(JPEGS)
    device.full = FULL
    return device


@in_loop
async def test_a_full_picture_wakes_a_sleeping_camera() -> None:
    device, asked_ns = with_full(), time.monotonic_ns()
    async with started(device) as camera:
        still = await camera.still(Watcher(), LIMIT_S)
        assert (still.jpeg, still.width, still.height) == (FULL, 128, 96)
        assert still.captured_ns >= asked_ns
        await state(camera, State.IDLE)
        assert device.openings == 1


@in_loop
async def test_the_stream_goes_on_meanwhile() -> None:
    device = with_full()
    device.full_comes.clear()
    async with started(device) as camera:
        with camera.watching(Watcher()):
            task = asyncio.create_task(camera.still(Watcher(), LIMIT_S))
            await becomes(lambda: device.stills)
            assert len(camera.watchers) == 2
            await pictures(camera, 5)
            assert not task.done()
            device.full_comes.set()
            assert (await task).jpeg == FULL
            assert device.openings == 1


@in_loop
async def test_a_camera_that_has_none_says_so() -> None:
    async with started(FakeDevice(JPEGS)) as camera:
        with pytest.raises(Unsupported, match=r"^This camera has no full pictures\.$"):
            await camera.still(Watcher(), LIMIT_S)
        assert not camera.watchers


@in_loop
async def test_how_it_fails() -> None:
    device = with_full()
    async with started(device) as camera:
        device.full = SourceError("Full picture failed", "out of memory")
        with pytest.raises(NoFreshFrame, match=r"^No full picture from door\. Full picture failed: out of memory$"):
            await camera.still(Watcher(), LIMIT_S)
        device.full = FULL
        camera.switch(False)
        with pytest.raises(NoFreshFrame, match=r"^The camera door is switched off\.$"):
            await camera.still(Watcher(), LIMIT_S)
        await state(camera, State.OFF)
        camera.switch(True)
        device.fault = unplugged()
        with pytest.raises(NoFreshFrame, match=r"^No full picture from door within 0\.1 s\. Camera unplugged"):
            await camera.still(Watcher(), 0.1)
        assert not camera.watchers


@in_loop
async def test_a_device_that_hangs_over_it_is_waited_for_no_longer_than_the_limit() -> None:
    device = with_full()
    device.full_comes.clear()
    async with started(device) as camera:
        with pytest.raises(NoFreshFrame, match=r"^No full picture from door within 0\.1 s\. The camera gives no full"):
            await camera.still(Watcher(), 0.1)
        assert not camera.watchers
        await becomes(device.stills[0].cancelled)


@pytest.mark.parametrize("how", ["unplugged", "off"])
@in_loop
async def test_who_waits_is_told_when_the_camera_ends(how: str, no_retry: None) -> None:
    device = with_full()
    device.full_comes.clear()
    async with started(device) as camera:
        with camera.watching(Watcher()):
            task = asyncio.create_task(camera.still(Watcher(), NEVER_S))
            await becomes(lambda: device.stills)
            if how == "off":
                camera.switch(False)
            else:
                device.fault = unplugged()
            with pytest.raises(NoFreshFrame) as told:
                await asyncio.wait_for(task, LIMIT_S)
            words = "switched off" if how == "off" else "Camera unplugged"
            assert str(told.value).startswith("No full picture from door. ") and words in str(told.value)


@in_loop
async def test_between_two_runs_there_is_none() -> None:
    """The picture that it waits for is the last one of a run that ends in this moment."""
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            task = asyncio.create_task(camera.still(Watcher(), LIMIT_S))
            await becomes(lambda: hand.publish)
            run = camera.run
            assert run
            hand.picture()
            run.stop()
            with pytest.raises(NoFreshFrame, match=r"^No full picture from door\. Camera "):
                await task


@in_loop
async def test_whoever_goes_away_leaves_nothing() -> None:
    device = with_full()
    device.full_comes.clear()
    async with started(device) as camera:
        task = asyncio.create_task(camera.still(Watcher(), NEVER_S))
        await becomes(lambda: device.stills)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await becomes(device.stills[0].cancelled)
        assert not camera.watchers
        await state(camera, State.IDLE)
        assert len(asyncio.all_tasks()) == 3  # this one, and the camera's two


class Late(HandSource):
    """Takes its full picture when nobody waits for it any more."""

    def __init__(self, hand: Hand, future: "Future[Still]") -> None:
        super().__init__(hand)
        self._future = future

    def still(self) -> "Future[Still]":
        assert self._future.set_running_or_notify_cancel()  # from now on it cannot be cancelled
        return self._future

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        publish(JPEGS[0], time.monotonic_ns(), 64, 48)
        super().run(publish, stopping)


@in_loop
async def test_a_picture_that_comes_too_late_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    hand, future = Hand(), Future[Still]()

    def open_source() -> Source:
        return Late(hand, future)

    camera = Camera(hand_config := Late(hand, future).config, open_source, limits=QUICK)
    camera.start()
    with pytest.raises(NoFreshFrame, match=f"No full picture from {hand_config.name}"):
        await camera.still(Watcher(), 0.05)
    future.set_result(Still(FULL, 1, 128, 96))
    assert await camera.stop(LIMIT_S)
    assert not caplog.records[1:]  # "running"
