"""Who watches decides when a camera's device is open."""

import asyncio
import time

import pytest
from fakes import FakeDevice, unplugged

from piapp.camera import State

from .case import JPEGS, NEVER_S, Hand, Watcher, becomes, in_loop, pictures, started, state


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
