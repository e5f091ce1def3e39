"""Whole Cameras of piapp, which start and stop their PiCamera as it is wanted."""

import contextlib
import dataclasses
import gc
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from camera.case import Watcher, in_loop, notices, pictures, state

from piapp import camera as module
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.sources.pi_camera import PiCamera

from . import shim
from .conftest import Report
from .filming import HD, SMALL, pixels, place

PAGE = os.sysconf("SC_PAGE_SIZE")
WARM_UP, TIMES = 10, 50
SLACK = 5  # files and threads: those of pools come and go
GROWTH = 8 << 20  # bytes that the heap may wander; each opening has buffers of 2 MB


@contextlib.asynccontextmanager
async def started(config: CameraConfig) -> AsyncIterator[Camera]:
    config = dataclasses.replace(config, idle_stop_s=0, name=config.device)
    camera = Camera(config, lambda: PiCamera(config))
    camera.start()
    try:
        yield camera
    finally:
        await camera.stop()


async def once(camera: Camera) -> None:
    """Wake it, have a picture, let it sleep."""
    with camera.watching(Watcher()):
        await pictures(camera, 1)
    await state(camera, State.IDLE)


def held() -> tuple[int, int, int]:
    """Files and threads that this process has, also those that Python does not know; its memory, in bytes."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), resident


@in_loop
async def _start_and_stop(report: Report) -> None:
    async with started(SMALL) as camera:
        for _ in range(WARM_UP):
            await once(camera)
        before, began = held(), time.monotonic()
        for _ in range(TIMES):
            await once(camera)
        after = held()
        each_s = (time.monotonic() - began) / TIMES
        report(
            f"{TIMES} starts and stops: {each_s:.2f} s each, files {before[0]} → {after[0]},"
            f" threads {before[1]} → {after[1]}, memory {before[2] >> 20} → {after[2] >> 20} MB"
        )
        assert camera.faults.count == 0
        assert after[0] <= before[0] + SLACK
        assert after[1] <= before[1] + SLACK
        assert after[2] <= before[2] + GROWTH


def test_nothing_is_left_behind_by_many_starts_and_stops(report: Report) -> None:
    _start_and_stop(report)


@in_loop
async def test_one_of_two_cameras_starts_and_stops_while_the_other_streams() -> None:
    async with started(HD) as steady, started(SMALL) as other:
        with steady.watching(Watcher()):
            await pictures(steady, 5)
            since = steady._since
            for _ in range(5):
                await once(other)
                frame = (await pictures(steady, 1))[0]
                assert (frame.width, frame.height) == (1280, 720)
            frames = await pictures(steady, 5)
            assert [a.number < b.number for a, b in zip(frames, frames[1:], strict=False)] == [True] * 4
            place(pixels(frames[-1].jpeg))
            assert (steady.state, steady._since, steady.faults.count) == (State.RUNNING, since, 0)


def test_a_stall_is_told_and_ends_when_the_camera_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FROZEN_S", 1.0)
    monkeypatch.setattr(module, "NOTICE_EVERY_S", 0.1)
    monkeypatch.setattr(module, "BACKOFF_S", (0.1, 0.2))
    sensor = shim.sensor("Virtual1")

    @in_loop
    async def stall() -> None:
        async with started(SMALL) as camera:
            with camera.watching(Watcher()):
                await pictures(camera, 5)
                sensor.paused = True
                assert await notices(camera, 1, "Camera stopped sending pictures")
                before = time.monotonic_ns()
                sensor.paused = False
                frame = (await pictures(camera, 3))[-1]
                assert frame.captured_ns > before
                await state(camera, State.RUNNING)
                assert camera.faults.count == 1
        assert not [thread for thread in threading.enumerate() if thread.name == "sensor"]

    try:
        stall()
    finally:
        sensor.paused = False
