"""Requests by the hundred: the switch, the controls, full pictures."""

import asyncio
import logging
from concurrent.futures import Future

import pytest
from fakes import CONTROLS, FakeDevice

from piapp.camera import Limits, State
from piapp.errors import SourceError, Unsupported
from piapp.rate_limit import Rate
from piapp.run import Stills
from piapp.sources.source import Still

from .case import JPEGS, LIMIT_S, NEVER_S, UNLIMITED, Watcher, becomes, in_loop, messages, pictures, started, state


@in_loop
async def test_who_plays_with_the_switch_does_not_have_the_device_opened_each_time() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, limits=Limits(openings=Rate(3, NEVER_S))) as camera:
        with camera.watching(Watcher()):
            for _ in range(50):
                camera.switch(True)
                await state(camera, State.STARTING)
                camera.switch(False)
                await state(camera, State.OFF)
            assert device.openings == 3
            await becomes(lambda: device.open == 0)


@in_loop
async def test_viewers_that_come_and_go_do_not_have_the_device_opened_each_time() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, idle_stop_s=0, limits=Limits(openings=Rate(3, NEVER_S))) as camera:
        for _ in range(50):
            with camera.watching(Watcher()):
                await state(camera, State.STARTING)
            await state(camera, State.IDLE)
        assert device.openings == 3


@in_loop
async def test_after_its_pause_the_device_is_opened() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, limits=Limits(openings=Rate(1, 0.1))) as camera:
        with camera.watching(Watcher()):
            for opening in range(1, 4):
                await state(camera, State.RUNNING)
                assert device.openings == opening
                camera.switch(False)
                await state(camera, State.OFF)
                camera.switch(True)


@in_loop
async def test_the_log_has_only_the_first_of_many_switchings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with started(FakeDevice(JPEGS), limits=Limits(switch_lines=Rate(3, NEVER_S))) as camera:
        for _ in range(100):
            camera.switch(False)
            camera.switch(True)
    assert messages(caplog, logging.INFO) == [f"door: switched {word}" for word in ("off", "on", "off")]


@in_loop
async def test_and_later_what_it_has_come_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with started(FakeDevice(JPEGS), limits=Limits(switch_lines=Rate(1, 0.3))) as camera:
        camera.switch(False)
        camera.switch(True)
        assert messages(caplog, logging.INFO) == ["door: switched off"]
        await becomes(lambda: messages(caplog, logging.INFO)[1:])
        assert messages(caplog, logging.INFO) == ["door: switched off", "door: switched on"]


@in_loop
async def test_a_flood_of_changes_is_made_once_a_frame_and_leaves_nothing() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            run = camera.run
            assert run
            frames = run.frames
            for value in range(2000):
                camera.set_controls({"brightness": value % 256, "hflip": value % 2 == 0, "focus_once": True})
                _, asked = run.controls()
                assert len(asked) <= len(CONTROLS) and len(camera.kept()["controls"]) == 2
            await pictures(camera, 2)
            await becomes(lambda: not run.controls()[1])
            assert len(device.set) <= 3 * (run.frames - frames + 1)
            assert camera.kept()["controls"] == {"brightness": 1999 % 256, "hflip": False}


# --- full pictures ---


class Shutter:
    """A Source.still whose pictures come when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Future[Still]] = []
        self.fails: Exception | None = None

    def __call__(self) -> Future[Still]:
        if self.fails:
            raise self.fails
        self.asked.append(Future())
        return self.asked[-1]

    def takes(self) -> Still:
        """The picture that was asked for last."""
        number = len(self.asked)
        assert self.asked[-1].set_running_or_notify_cancel()
        self.asked[-1].set_result(Still(b"%d" % number, number, 128, 96))
        return self.asked[-1].result()


Asking = asyncio.Task[Still]


async def ask(stills: Stills, count: int) -> list[Asking]:
    tasks = [asyncio.create_task(stills.next()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


@in_loop
async def test_whoever_asks_while_a_picture_is_taken_shares_the_next_one() -> None:
    shutter = Shutter()
    stills = Stills(shutter)
    first = await ask(stills, 1)
    others = await ask(stills, 300)
    assert len(shutter.asked) == 1
    taken = shutter.takes()
    assert await first[0] == taken
    await becomes(lambda: len(shutter.asked) == 2)
    late = await ask(stills, 300)  # the second one is being taken already
    assert not any(task.done() for task in others)
    taken = shutter.takes()
    assert set(await asyncio.gather(*others)) == {taken}
    await becomes(lambda: len(shutter.asked) == 3)
    taken = shutter.takes()
    assert set(await asyncio.gather(*late)) == {taken}
    assert len(shutter.asked) == 3


@in_loop
async def test_pictures_that_nobody_waits_for_any_more_are_not_taken() -> None:
    shutter = Shutter()
    stills = Stills(shutter)
    first, second = await ask(stills, 10), await ask(stills, 10)
    for task in (*first[1:], *second):
        task.cancel()
    await asyncio.sleep(0)
    assert not shutter.asked[0].cancelled()  # one still waits
    first[0].cancel()
    await becomes(shutter.asked[0].cancelled)
    third = await ask(stills, 1)
    await becomes(lambda: len(shutter.asked) == 2)
    taken = shutter.takes()
    assert await third[0] == taken


@in_loop
async def test_no_other_is_begun_before_the_one_that_cannot_be_called_off_is_done() -> None:
    shutter = Shutter()
    stills = Stills(shutter)
    for _ in range(100):
        (task,) = await ask(stills, 1)
        if len(shutter.asked) == 1 and not shutter.asked[0].running():
            shutter.asked[0].set_running_or_notify_cancel()
        task.cancel()
        await asyncio.sleep(0)
    waiting = await ask(stills, 3)
    assert len(shutter.asked) == 1
    shutter.asked[0].set_result(Still(b"for nobody", 1, 128, 96))
    await becomes(lambda: len(shutter.asked) == 2)
    taken = shutter.takes()
    assert set(await asyncio.gather(*waiting)) == {taken}


@in_loop
async def test_a_failure_is_told_to_all_who_share_it_and_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    shutter = Shutter()
    stills = Stills(shutter)
    for error, told in (
        (SourceError("Full picture failed", "x" * 10_000), "Full picture failed: xxx"),
        (SourceError("two\nlines\x1b", "try again"), r"two lines\?: try again"),
        (ZeroDivisionError("boom"), "Camera failed in a way nobody expected"),
        (ZeroDivisionError("boom"), "Camera failed in a way nobody expected"),
    ):
        first, sharing = await ask(stills, 1), await ask(stills, 3)
        count, taken = len(shutter.asked), shutter.takes()
        assert await first[0] == taken
        await becomes(lambda: len(shutter.asked) == count + 1)  # noqa: B023
        shutter.asked[-1].set_exception(error)
        for task in sharing:
            with pytest.raises(SourceError, match=told) as raised:
                await task
            assert len(str(raised.value)) < 500
    assert len([record for record in caplog.records if record.exc_info]) == 1
    shutter.asked.clear()
    (task,) = await ask(stills, 1)
    assert shutter.asked[0].cancel()  # the source gives up
    with pytest.raises(SourceError, match="Camera closed"):
        await task


@in_loop
async def test_a_source_without_full_pictures_says_so_to_everybody() -> None:
    shutter = Shutter()
    stills = Stills(shutter)
    first, waiting = await ask(stills, 1), await ask(stills, 3)
    shutter.fails = Unsupported("no such pictures")
    shutter.takes()
    await first[0]
    for task in (*waiting, *await ask(stills, 2)):
        with pytest.raises(Unsupported, match="no such pictures"):
            await task


@in_loop
async def test_hundreds_of_requests_for_a_full_picture() -> None:
    device = FakeDevice(JPEGS)
    device.full = b"all pixels"
    device.full_comes.clear()
    async with started(device) as camera:
        with camera.watching(Watcher()):
            first = asyncio.create_task(camera.still(Watcher(), LIMIT_S))
            await becomes(lambda: device.stills)
            others = [asyncio.create_task(camera.still(Watcher(), LIMIT_S)) for _ in range(300)]
            await pictures(camera, 3)
            assert len(device.stills) == 1
            device.full_comes.set()
            before = await first
            found = set(await asyncio.gather(*others))
            assert len(found) <= 2  # those that had to wait for a frame first may be later than the others
            assert before not in found


@in_loop
async def test_hundreds_of_requests_for_a_picture_wake_for_none_that_is_too_old() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, limits=Limits(openings=UNLIMITED)) as camera:
        asked = [asyncio.create_task(camera.fresh_frame(Watcher(), LIMIT_S)) for _ in range(300)]
        assert len({frame.number for frame in await asyncio.gather(*asked)}) == 1
        assert not camera.watchers and not camera.hub.listeners
