"""A notice takes time to be drawn, and all may be different then."""

import asyncio
import threading

import pytest
from fakes import FakeDevice, unplugged

from piapp import notice
from piapp.camera import State
from piapp.config import Size

from .case import JPEGS, LIMIT_S, NEVER_S, Hand, Watcher, becomes, in_loop, pictures, started, state


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
