"""A notice takes time to be drawn, and all may be different then."""

import asyncio
import threading

import pytest
from fakes import FakeDevice, unplugged
from source_case import luma

from piapp import notice, report
from piapp.camera import Limits, State
from piapp.config import Size
from piapp.rate_limit import Rate

from .case import JPEGS, LIMIT_S, NEVER_S, Hand, Watcher, becomes, frames, in_loop, notices, pictures, started, state


class Drawing:
    """Takes the place of notice.draw, which it lets wait until the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.sizes: list[Size] = []
        monkeypatch.setattr(notice, "draw", self._draw)

    def _draw(self, title: str, words: str, like: Size, limits: notice.Limits) -> notice.Notice:
        self.sizes.append(like)
        self.begun.set()
        assert self.go_on.wait(LIMIT_S)
        return notice.Notice(b"drawn", like)


@pytest.mark.parametrize("idle_stop_s", [0, NEVER_S])
@in_loop
async def test_words_that_nobody_needs_any_more_when_they_are_drawn_are_not_shown(
    idle_stop_s: float, monkeypatch: pytest.MonkeyPatch, no_retry: None
) -> None:
    drawing, device, watcher = Drawing(monkeypatch), FakeDevice(JPEGS), Watcher()
    device.fault = unplugged()
    async with started(device, idle_stop_s=idle_stop_s) as camera:
        with camera.watching(watcher):
            await becomes(drawing.begun.is_set)
            await state(camera, State.FAILED)
        if not idle_stop_s:
            await state(camera, State.IDLE)
        drawing.go_on.set()
        looked = asyncio.Event()
        monkeypatch.setattr(camera.counts, "measure", looked.set)
        await asyncio.wait_for(looked.wait(), LIMIT_S)
        assert camera.hub.newest is None


@in_loop
async def test_a_first_picture_is_not_covered_by_a_notice_that_was_being_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawing, hand, heard = Drawing(monkeypatch), Hand(), list[str]()
    async with started(hand) as camera:
        camera.hub.listeners.add(lambda frame: heard.append(frame.notice))
        with camera.watching(Watcher()):
            await becomes(drawing.begun.is_set)  # "Camera is starting"
            run = camera.run
            assert run
            run._nudge = asyncio.Event()  # the picture is there, and the camera has not heard of it yet
            hand.picture()
            await becomes(lambda: heard)
            assert camera.state is State.STARTING
            looked = asyncio.Event()
            monkeypatch.setattr(camera.counts, "measure", looked.set)
            drawing.go_on.set()
            await asyncio.wait_for(looked.wait(), LIMIT_S)
            assert heard == [""]
            run._nudge = camera._nudge


@in_loop
async def test_drawing_a_notice_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, running, failing = Drawing(monkeypatch), FakeDevice(JPEGS), FakeDevice(JPEGS)
    failing.fault = unplugged()
    async with started(failing, "failing") as camera, started(running, "running") as other:
        with camera.watching(Watcher()), other.watching(Watcher()):
            await becomes(drawing.begun.is_set)
            await pictures(other, 3)
            drawing.go_on.set()
            assert drawing.sizes[0] == camera.config.resolution  # before the first picture: as large as configured


@in_loop
async def test_after_a_picture_with_a_broken_size_the_notice_has_one_that_can_be_drawn(no_retry: None) -> None:
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture(size=(65535, 65535))
            await state(camera, State.RUNNING)
            assert (camera.summary()["width"], camera.summary()["height"]) == (65535, 65535)
            hand.end = unplugged()
            (shown,) = await frames(camera, lambda frame: "Camera unplugged" in frame.notice)
            assert (shown.width, shown.height) == luma(shown.jpeg).shape[::-1] == (1920, 1920)


@in_loop
async def test_a_notice_that_cannot_be_drawn_costs_one_line_and_not_the_camera(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, no_retry: None
) -> None:
    tries: list[int] = []

    def fail(*_: object) -> notice.Notice:
        tries.append(1)
        raise MemoryError("no room for the notice")

    device = FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device) as camera:
        with camera.watching(Watcher()), monkeypatch.context() as broken:
            broken.setattr(notice, "draw", fail)
            await becomes(lambda: len(tries) > 3)
        with camera.watching(Watcher()):
            assert await notices(camera, 1, "Camera unplugged")
        assert report.alive([camera])
    (line,) = [record for record in caplog.records if record.exc_info]
    assert line.getMessage() == "door: no notice can be drawn"
    caplog.clear()


@in_loop
async def test_viewers_that_come_and_go_do_not_have_more_notices_drawn(
    monkeypatch: pytest.MonkeyPatch, no_retry: None
) -> None:
    drawn: list[Size] = []
    draw = notice.draw

    def counted(title: str, words: str, like: Size, limits: notice.Limits) -> notice.Notice:
        drawn.append(like)
        return draw(title, words, like, limits)

    monkeypatch.setattr(notice, "draw", counted)
    device = FakeDevice(JPEGS)
    device.fault = unplugged()
    async with started(device, limits=Limits(notices=notice.Limits(drawn=Rate(3, NEVER_S)))) as camera:
        for _ in range(50):
            with camera.watching(Watcher()):
                looked = asyncio.Event()
                monkeypatch.setattr(camera.counts, "measure", looked.set)
                if len(drawn) < 3:
                    await looked.wait()
                await asyncio.sleep(0)
        assert 0 < len(drawn) <= 3
