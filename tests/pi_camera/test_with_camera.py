"""A Camera with a Pi camera: what viewers read, that nothing holds up the event loop, and that piapp ends."""

import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from camera.case import QUICK, Watcher, becomes, device_threads, in_loop, messages, notices, pictures, state
from fake_picamera2 import PI, SECOND, Module, World, look

from piapp import camera as module
from piapp.camera import Camera, State
from piapp.sources import pi_found
from piapp.sources.opener import Opener

from .case import LIMIT_S, of_both_encoders, settings


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.04))
    monkeypatch.setattr(module, "NOTICE_EVERY_S", 0.05)
    monkeypatch.setattr(module, "FROZEN_S", 0.2)
    monkeypatch.setattr(module, "FROZEN_FRAMES", 0)
    monkeypatch.setattr(module, "FIRST_FRAME_LIMIT_S", 0.5)
    monkeypatch.setattr(pi_found, "TURN_LIMIT_S", 0.05)
    monkeypatch.setattr(Camera._end, "__defaults__", (0.05,))  # a device that hangs is given up soon


@contextlib.asynccontextmanager
async def watched(of: Module = PI, name: str = "door", limit_s: float = LIMIT_S) -> AsyncIterator[Camera]:
    """A camera that somebody watches; closed at the end, or given up after the limit."""
    camera = Camera(
        settings(name=name, device=of.id, idle_stop_s=0.01), Opener(settings(name=name, device=of.id)), limits=QUICK
    )
    camera.start()
    try:
        with camera.watching(Watcher()):
            yield camera
    finally:
        await camera.stop(limit_s)


@in_loop
@of_both_encoders
async def test_it_runs_while_somebody_watches(world: World) -> None:
    async with watched() as camera:
        found = [look(frame.jpeg).number for frame in await pictures(camera, 5)]
        assert found == sorted(set(found))
        assert {control.name for control in camera.controls} >= {"quality", "hflip", "brightness", "zoom"}
    assert not world.open


@in_loop
@of_both_encoders
async def test_a_loose_ribbon_is_told_and_the_camera_comes_back(world: World) -> None:
    async with watched() as camera:
        await pictures(camera, 3)
        world.stalled.add(PI.id)
        assert await notices(camera, 1, "stopped sending pictures")
        await becomes(lambda: len(world.opened) >= 2)
        world.stalled.clear()
        await pictures(camera, 3)
        await state(camera, State.RUNNING)
    assert not world.open


@in_loop
async def test_a_camera_that_sends_nothing_from_the_beginning(world: World) -> None:
    world.stalled.add(PI.id)
    async with watched() as camera:
        assert await notices(camera, 1, "does not send any picture")
        world.stalled.clear()
        await pictures(camera, 3)


@pytest.mark.parametrize("step", ["stop", "release"])
@in_loop
@of_both_encoders
async def test_a_hang_at_the_end_holds_up_nobody(world: World, step: str, caplog: pytest.LogCaptureFixture) -> None:
    world.cameras = [PI, SECOND]
    async with watched(SECOND, "other") as other, watched() as camera:
        await pictures(other, 1)
        await pictures(camera, 1)
        with world.hang(step, PI) as hanging:
            camera.switch(False)
            await state(camera, State.OFF)
            await becomes(lambda: "door: the device does not let go after 0.05 s" in messages(caplog))
            camera.switch(True)
            assert await notices(camera, 1, "Camera hung")
            before = len(world.opened)
            await pictures(other, 5)
            assert other.state is State.RUNNING
            assert len(world.opened) == before  # not a second time while the first one hangs
            hanging.set()
            await pictures(camera, 3)
    assert not world.open


@in_loop
async def test_a_camera_that_can_be_opened_while_another_one_hangs(world: World) -> None:
    world.cameras = [PI, SECOND]
    async with watched() as camera:
        await pictures(camera, 1)
        with world.hang("stop", PI) as hanging:
            world.stalled.add(PI.id)
            await notices(camera, 1, "stopped sending pictures")
            async with watched(SECOND, "other") as other:
                await pictures(other, 3)
            world.stalled.clear()
            hanging.set()
        await pictures(camera, 3)


@pytest.mark.parametrize("step", ["open", "configure", "start", "stop", "release"])
@in_loop
async def test_piapp_ends_though_the_camera_hangs(world: World, step: str, caplog: pytest.LogCaptureFixture) -> None:
    with world.hang(step, PI) as hanging:
        async with watched(limit_s=0.05) as camera:
            await becomes(lambda: camera.state is State.RUNNING or (step, PI.id) in world.steps)
        assert "door: the device does not let go after 0.05 s" in messages(caplog)
        hanging.set()
        await becomes(lambda: not device_threads())
    assert not world.open


@in_loop
@of_both_encoders
async def test_an_event_loop_that_dies_is_replaced(world: World) -> None:
    def fail(request: object) -> None:
        raise ZeroDivisionError

    async with watched() as camera:
        await pictures(camera, 3)
        world.opened[-1].pre_callback = fail
        assert await notices(camera, 1, "stopped sending pictures")
        await pictures(camera, 3)
    world.raised.clear()


@in_loop
@of_both_encoders
async def test_an_encoder_that_dies_is_replaced(world: World) -> None:
    class Fails:
        def stop(self) -> None: ...

    async with watched() as camera:
        await pictures(camera, 3)
        world.encoders[-1].output = Fails()
        assert await notices(camera, 1, "stopped sending pictures")
        await pictures(camera, 3)
    world.raised.clear()


@in_loop
async def test_a_camera_in_use_is_told_and_had_when_it_is_free(world: World) -> None:
    world.busy.add(PI.id)
    async with watched() as camera:
        assert await notices(camera, 1, "Pi camera is in use")
        world.busy.clear()
        await pictures(camera, 3)


@in_loop
async def test_a_camera_that_is_plugged_in_later(world: World) -> None:
    world.cameras = []
    async with watched() as camera:
        assert await notices(camera, 1, f"Pi camera {PI.id} not found")
        world.cameras = [PI]
        await pictures(camera, 3)


@in_loop
async def test_memory_that_is_used_up_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.memory, memory = 1000, world.memory
    async with watched() as camera:
        assert await notices(camera, 1, "Not enough memory for the Pi camera")
        world.memory = memory
        await pictures(camera, 3)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@in_loop
async def test_what_users_choose_holds_for_the_next_opening(world: World) -> None:
    async with watched() as camera:
        await state(camera, State.RUNNING)
        camera.set_controls({"brightness": 0.5, "hflip": True})
        camera.switch(False)
        await state(camera, State.OFF)
        await becomes(lambda: not world.open)
        camera.switch(True)
        first = (await pictures(camera, 1))[0]
        seen = look(first.jpeg)
        assert seen.corner == "top right"
        assert seen.brightness == pytest.approx(0.5, abs=0.1)
