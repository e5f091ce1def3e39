"""A picture for who asks now: taken after the request, or the reason why there is none."""

import asyncio
import contextlib
import time

import pytest
from fakes import FakeDevice, unplugged

from piapp import camera as module
from piapp.camera import State
from piapp.errors import NoFreshFrame

from .case import JPEGS, LIMIT_S, NEVER_S, Hand, Watcher, becomes, in_loop, notices, started, state


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
            with pytest.raises(NoFreshFrame, match=r"Camera unplugged: check the cable \(for \d+ s now\)"):
                await camera.fresh_frame(Watcher(), 0.05)
        camera.switch(False)
        with pytest.raises(NoFreshFrame, match=r"^The camera door is switched off\.$"):
            await camera.fresh_frame(Watcher(), LIMIT_S)
        assert not camera.watchers
        assert not camera.hub.listeners


@pytest.mark.parametrize("reached", [State.STARTING, State.RUNNING, State.FAILED])
@in_loop
async def test_switched_off_meanwhile_it_is_told_at_once(
    reached: State, monkeypatch: pytest.MonkeyPatch, no_retry: None
) -> None:
    monkeypatch.setattr(module, "NOTICE_EVERY_S", NEVER_S)  # the switch itself is what wakes it
    hand = Hand()
    async with started(hand) as camera:
        task = asyncio.create_task(camera.fresh_frame(Watcher(), NEVER_S))
        await becomes(lambda: hand.publish)
        if reached is State.RUNNING:
            hand.picture(captured_ns=1)  # long before the request
        elif reached is State.FAILED:
            hand.end = unplugged()
        await state(camera, reached)
        await asyncio.sleep(0.01)
        assert not task.done()
        camera.switch(False)
        with pytest.raises(NoFreshFrame, match=r"^The camera door was switched off\.$"):
            await asyncio.wait_for(task, LIMIT_S)
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
