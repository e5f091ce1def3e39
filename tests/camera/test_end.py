"""The end of a camera, whatever it does at that moment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fakes import FakeDevice, unplugged

from piapp.camera import Camera, State
from piapp.config import CameraConfig

from .case import JPEGS, LIMIT_S, NEVER_S, QUICK, Watcher, device_threads, in_loop, messages, state


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
    camera = Camera(CameraConfig(name="door", idle_stop_s=NEVER_S), device, limits=QUICK)
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
