"""The switch, which is everybody's: off closes the device, and on opens it without a pause."""

import asyncio
import logging
import re

import pytest
from fakes import FakeDevice, unplugged

from piapp.camera import State
from piapp.errors import NoFreshFrame

from .case import JPEGS, NEVER_S, Watcher, becomes, in_loop, messages, notices, pictures, started, state


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
        assert (camera.faults.count, camera.faults.current) == (0, None)
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
