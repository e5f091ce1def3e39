"""What can be known of a camera."""

import json
from typing import Any

from fakes import FakeDevice, unplugged

from piapp.camera import Camera, State

from .case import JPEGS, Hand, Watcher, becomes, in_loop, started, state


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
                assert camera.counts.frames == 3 * run
                source = camera.run.source if camera.run else None
                assert source
                source.bad_frames = 2
                assert camera.counts.bad_frames == 2 * run
                if run % 2:
                    hand.end = unplugged()
                    await state(camera, State.FAILED)
                    assert camera.counts.frames == 3 * run
            await state(camera, State.IDLE)
            await becomes(lambda: camera.run is None)
            hand.end = hand.publish = None
            assert (camera.counts.frames, camera.counts.bad_frames) == (3 * run, 2 * run)
            # the second and fourth run end without one; an outage may have had further tries
            assert camera.faults.count >= (run + 1) // 2
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
        await becomes(lambda: camera.counts.fps > 0)
        running = described(camera)
        assert running.keys() == idle.keys()
        assert camera.summary().keys() < running.keys()
        assert (idle["viewer_count"], running["viewer_count"]) == (0, 1)
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
async def test_a_remark_is_told_while_there_are_pictures() -> None:
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            source = camera.run.source if camera.run else None
            assert source
            source.remark = "This is not the front door."
            hand.picture()
            await state(camera, State.RUNNING)
            assert camera.summary()["message"] == source.remark
            assert not any(frame.notice for frame in [camera.hub.newest] if frame)
        await state(camera, State.IDLE)
        assert camera.summary()["message"] == ""
