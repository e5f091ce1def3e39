"""Frames on their way from the camera to whoever publishes them."""

import asyncio
import os
import threading
import time
from typing import Any

import pytest
from fake_picamera2 import World, look
from fakes import until

from piapp.config import Size
from piapp.hub import Hub
from piapp.run import Run

from .case import LIMIT_S, camera, matches, of_all_versions, of_both_encoders, running, source_of

ENCODER_THREADS = {"VC4": "fake hardware encoder", "PISP": "fake encoder output"}


@of_all_versions
@of_both_encoders
def test_each_frame_comes_once_in_order_with_the_time_of_its_exposure(world: World, platform: str) -> None:
    begun = time.monotonic_ns()
    with running(source_of()) as run:
        run.pictures(20)
        device = camera(world).device
    assert run.error is None
    assert run.threads == {ENCODER_THREADS[platform]}
    assert {(type(jpeg), *size) for jpeg, _, *size in run.taken} == {(bytes, 320, 240)}
    assert all(matches(picture, device) for picture in run.taken)
    assert [look(picture[0]).number for picture in run.taken[:20]] == list(range(20))
    stamps = [begun, *(picture[1] for picture in run.taken), time.monotonic_ns()]
    assert stamps == sorted(set(stamps))


@of_all_versions
@of_both_encoders
def test_pictures_look_as_the_scene(world: World) -> None:
    """With full range, as JPEG has it, and without the padding in the camera's memory."""
    for size in (Size(320, 240), Size(200, 150), Size(64, 64)):
        with running(source_of(resolution=size)) as run:
            seen = look(run.pictures(3)[-1][0])
        assert (Size(seen.width, seen.height), seen.corner) == (size, "top left")
        assert seen.brightness == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("ahead_s", [-3600, 5, 3600])
def test_a_clock_that_is_not_ours_is_not_believed(ahead_s: int, world: World) -> None:
    world.clock_ns = ahead_s * 10**9
    begun = time.monotonic_ns()
    with running(source_of()) as run:
        run.pictures(10)
    stamps = [begun, *(picture[1] for picture in run.taken), time.monotonic_ns()]
    assert stamps == sorted(stamps)


@of_all_versions
@of_both_encoders
def test_an_error_in_publishing_ends_neither_encoder_nor_camera(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with running(source_of()) as run:
        run.raises = ZeroDivisionError("publish")
        run.pictures(10)
        run.raises = None
        run.pictures(10)
        assert run.source.bad_frames >= 9
    assert run.error is None
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()


def test_outputframe_takes_whatever_comes(world: World) -> None:
    """With the arguments of every version, before and after the run, cut off or empty."""
    with running(source_of()) as run:
        output = world.encoders[0].output
        whole = run.taken[0][0]
        taken, bad = len(run.taken), run.source.bad_frames
        for rest in ((), (True,), (True, 5), (True, None), (False, 5, None), (True, 5, None, False)):
            output.outputframe(whole, *rest)
        output.outputframe(memoryview(whole))
        output.outputframe(bytearray(whole), True, 5)
        for torn in (b"", b"\xff\xd8", whole[:-100], whole[100:], None):
            output.outputframe(torn, True, 5)
        assert run.source.bad_frames == bad + 5
        until(lambda: len(run.taken) >= taken + 8)
    output.outputframe(whole, True, 5)
    assert all(type(picture[0]) is bytes for picture in run.taken)


def test_a_picture_that_does_not_fit_into_the_hardware_s_buffer_is_left_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with running(source_of(encoder="hardware")) as run:
        world.buffer = len(run.taken[0][0]) // 2
        bad = run.source.bad_frames
        until(lambda: run.source.bad_frames >= bad + 10)
        taken = len(run.taken)
        world.buffer = 512 << 10
        until(lambda: len(run.taken) > taken + 5)
    assert all(jpeg.endswith(b"\xff\xd9") for jpeg, *_ in run.taken)
    said = [record.getMessage() for record in caplog.records if "too large" in record.getMessage()]
    assert len(said) == 1 and "lower the quality" in said[0]


def test_padding_behind_a_picture_does_no_harm(world: World) -> None:
    with running(source_of()) as run:
        output, whole = world.encoders[0].output, run.taken[0][0]
        taken, bad = len(run.taken), run.source.bad_frames
        output.outputframe(whole + bytes(32), True, 5)
        until(lambda: len(run.taken) > taken)
        assert run.source.bad_frames == bad


def test_frames_that_come_after_the_end_are_dropped(world: World) -> None:
    """After the run was told to stop, and after piapp's event loop has ended."""
    outputs: list[Any] = []

    async def serve() -> None:
        hub, nudge = Hub(), asyncio.Event()
        run = Run("door", source_of, hub, nudge, {})
        async with asyncio.timeout(LIMIT_S):
            newest = await hub.newer_than(2)
        outputs.append(world.encoders[0].output)
        run.stop()
        frames, number = run.frames, hub.newest.number if hub.newest else 0
        outputs[0].outputframe(newest.jpeg, True, 5, None, False)
        assert (run.frames, hub.newest.number if hub.newest else 0) == (frames, number)
        async with asyncio.timeout(LIMIT_S):
            await run.ended.wait()
        assert run.error is None

    asyncio.run(serve())
    outputs[0].outputframe(b"\xff\xd8 later \xff\xd9", True)
    assert not outputs[0].recording


def test_opened_again_and_again(world: World) -> None:
    """The stand-in's threads are all gone after each, and so are its files."""
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with running(source_of()) as run:
            run.pictures()
        assert run.error is None
    assert len(world.opened) == 5
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_stop_that_came_before_the_opening(world: World) -> None:
    stopping = threading.Event()
    stopping.set()
    source_of().run(lambda *_: None, stopping)
    assert not world.opened
