"""What can be known of a camera, and its quality."""

import json
from typing import Any

import pytest
from fakes import FakeDevice, FakeSource, unplugged

from piapp.camera import Camera, State
from piapp.errors import Unsupported

from .case import JPEGS, Hand, Watcher, becomes, in_loop, messages, pictures, started, state


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


def opened_source(camera: Camera) -> FakeSource:
    assert camera._run
    assert isinstance(camera._run.source, FakeSource)
    return camera._run.source


async def restart(camera: Camera, device: FakeDevice) -> None:
    """A fault, and what comes after it."""
    device.fault = unplugged()
    await state(camera, State.FAILED)
    device.fault = None
    await state(camera, State.RUNNING)


@in_loop
async def test_a_quality_that_was_set_is_set_again_after_a_restart() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            first = opened_source(camera)
            await restart(camera, device)
            second = opened_source(camera)
            assert second is not first
            assert (first.quality, second.quality) == (None, None)  # nobody has changed it yet
            camera.set_quality(50)
            await restart(camera, device)
            third = opened_source(camera)
            assert third is not second
            assert (second.quality, third.quality, camera.quality) == (50, 50, 50)
        await state(camera, State.IDLE)
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            assert opened_source(camera) is not third
            assert opened_source(camera).quality == 50


@in_loop
async def test_a_camera_whose_quality_cannot_be_set_again_runs_with_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another one may be plugged in after the fault."""
    device, refused = FakeDevice(JPEGS), list[int]()

    def refuse(_: FakeSource, quality: int) -> None:
        refused.append(quality)
        raise Unsupported("not here")

    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            camera.set_quality(50)
            monkeypatch.setattr(FakeSource, "set_quality", refuse)
            await restart(camera, device)
            assert refused == [50]
            await pictures(camera, 3)
            assert (camera.state, camera.fault) == (State.RUNNING, None)
            camera.switch(False)  # and all goes on
            await state(camera, State.OFF)
            camera.switch(True)
            await state(camera, State.RUNNING)
            assert refused == [50]  # it is not asked of a camera that has refused it
            assert camera.quality == camera.config.quality
    assert messages(caplog) == ["door: Camera unplugged: check the cable"]
