"""A device whose driver does not return."""

import asyncio

import pytest
from fakes import FakeDevice

from piapp import camera as module
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.frame import Frame

from .case import (
    JPEGS,
    QUICK,
    Hand,
    Watcher,
    becomes,
    device_threads,
    in_loop,
    messages,
    notices,
    pictures,
    started,
    state,
)


@pytest.fixture
def stops_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that hangs is given up soon."""
    monkeypatch.setattr(Camera._end, "__defaults__", (0.05,))


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

            frames_before = camera.counts.frames
            hanging.picture()  # the driver comes back to life with an old picture
            assert await notices(camera, 2)
            assert all(frame.notice for frame in heard)
            assert camera.counts.frames == frames_before

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
            assert camera.faults.current is None
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
        assert camera.faults.count == 1


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
        camera = Camera(CameraConfig(name="door"), hand, limits=QUICK)
        camera.start()
        camera.watch(Watcher())
        await becomes(lambda: hand.publish)
        await camera.stop(0.01)

    asyncio.run(run())
    hand.picture()
    hand.hangs.set()  # an exception in its thread would fail this test
