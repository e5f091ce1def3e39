"""report.py: what systemd is told of the cameras."""

import time

import pytest

from piapp import report
from piapp.camera import State

from .case import Hand, Watcher, becomes, in_loop, started, state


@in_loop
async def test_each_camera_in_words() -> None:
    hand = Hand()
    async with started(hand) as camera:
        assert report.status([camera]) == "1 camera: door idle"
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.RUNNING)
            camera.counts.fps = 29.6
            assert report.status([camera]) == "1 camera: door running 30 fps, 1 viewer"
            camera.watch(Watcher())
            both = "door running 30 fps, 2 viewers; door running 30 fps, 2 viewers"
            assert report.status([camera, camera]) == f"2 cameras: {both}"
        camera.switch(False)
        await state(camera, State.OFF)
        assert report.status([camera]).startswith("1 camera: door Camera switched off")
    assert report.status([]) == "no camera"


@in_loop
async def test_a_camera_is_alive_whatever_it_says_of_its_device(no_retry: None) -> None:
    hand = Hand()
    async with started(hand) as camera, started(Hand()) as idle:
        assert report.alive([camera, idle])
        with camera.watching(Watcher()):
            assert report.alive([camera, idle])
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.RUNNING)
            assert report.alive([camera, idle])
            hand.end = ZeroDivisionError()
            await state(camera, State.FAILED)
            assert report.alive([camera, idle])


@in_loop
async def test_old_pictures_that_pass_for_new_are_no_sign_of_life() -> None:
    hand = Hand()
    async with started(hand) as camera, started(Hand()) as idle:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture(time.monotonic_ns() - 61_000_000_000)
            await state(camera, State.RUNNING)
            assert not report.alive([idle, camera])


def forget(what: str) -> None:
    raise ZeroDivisionError(what)


@in_loop
async def test_a_camera_that_nobody_looks_after_is_not_alive(caplog: pytest.LogCaptureFixture) -> None:
    """A bug that is there again while the camera recovers from it."""
    async with started(Hand()) as camera:
        camera.listeners.add(lambda: forget("the state"))
        camera.watch(Watcher())
        await becomes(lambda: not report.alive([camera]))
        assert "this is a bug in piapp" in caplog.text
        caplog.clear()
