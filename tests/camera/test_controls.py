"""Controls and what users chose of them, over everything that may happen to the device."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fakes import CONTROLS, FakeDevice, unplugged

from piapp import camera as module
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.errors import Unsupported
from piapp.sources.control import Control, Kind, Value
from piapp.sources.source import Publish

from .case import (
    JPEGS,
    LIMIT_S,
    NEVER_S,
    QUICK,
    Hand,
    HandSource,
    Watcher,
    becomes,
    in_loop,
    messages,
    pictures,
    started,
    state,
)


def values(camera: Camera) -> dict[str, Any]:
    return {control.name: control.value for control in camera.controls}


async def restart(camera: Camera, device: FakeDevice) -> None:
    """A fault, and what comes after it."""
    device.fault = unplugged()
    await state(camera, State.FAILED)
    device.fault = None
    await state(camera, State.RUNNING)


@in_loop
async def test_controls_are_known_once_it_has_run() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, idle_stop_s=0) as camera:
        assert not camera.controls
        with pytest.raises(Unsupported, match='"brightness" is known only once door has run: open its stream first'):
            camera.set_controls({"brightness": 50})
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            assert camera.controls == CONTROLS
            assert camera.describe()["controls"] == [control.describe() for control in CONTROLS]
        await state(camera, State.IDLE)
        assert camera.controls == CONTROLS


@in_loop
async def test_a_change_is_shown_at_once_and_made_before_the_next_picture() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            camera.set_controls({"brightness": 50, "hflip": True})
            assert (values(camera)["brightness"], values(camera)["hflip"]) == (50, True)
            await pictures(camera, 2)
            assert device.set == [("hflip", True), ("brightness", 50)]
            assert camera.kept() == {"on": True, "controls": {"brightness": 50, "hflip": True}}
            camera.set_controls({"brightness": None, "focus_once": True})
            assert values(camera)["brightness"] == 128
            await becomes(lambda: ("focus_once", True) in device.set)
            assert ("brightness", 128) in device.set
            await becomes(lambda: camera.kept() == {"on": True, "controls": {"hflip": True}})


@in_loop
async def test_all_changes_are_made_or_none() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            before = values(camera)
            for wrong, words in (
                ({"brightness": 256}, "brightness takes a whole number from 0 to 255."),
                ({"sharpness": 1}, 'door has no control "sharpness". There are: brightness, contrast, '),
                ({"exposure": None, "contrast": "much"}, "contrast takes a number from 0.0 to 2.0 in steps of 0.1."),
            ):
                with pytest.raises(Unsupported) as raised:
                    camera.set_controls({"hflip": True, **wrong})
                assert str(raised.value).startswith(words)
            assert values(camera) == before
            await pictures(camera, 2)
            assert device.set == []


@in_loop
async def test_listeners_hear_of_everything_a_page_shows(no_retry: None) -> None:
    device, heard = FakeDevice(JPEGS), list[tuple[str, bool, Any]]()
    async with started(device, idle_stop_s=0) as camera:

        def listen() -> None:
            heard.append((str(camera.state), camera.on, values(camera).get("brightness")))

        camera.listeners.add(listen)
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            assert ("starting", True, None) in heard and heard[-1] == ("running", True, 128)
            count = len(heard)
            await pictures(camera, 20)
            assert len(heard) == count  # pictures are no news
            camera.set_controls({"brightness": 3})
            assert heard[-1] == ("running", True, 3)
            await becomes(lambda: len(heard) > count + 1)  # the device has done it
            camera.switch(False)
            assert heard[-1] == ("running", False, 3)
            await state(camera, State.OFF)
            assert heard[-1] == ("off", False, 3)
            camera.switch(True)
            await state(camera, State.RUNNING)
            device.fault = unplugged()
            await state(camera, State.FAILED)
            assert heard[-1] == ("failed", True, 3)
            count = len(heard)
            camera.switch(True)
            await asyncio.sleep(0)
            assert len(heard) == count  # it was on
        await state(camera, State.IDLE)
        assert heard[-1] == ("idle", True, 3)
        camera.listeners.discard(listen)


@in_loop
async def test_what_was_chosen_is_chosen_again_at_each_opening() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            camera.set_controls({"exposure_time": 500, "exposure": "manual", "brightness": 7, "hflip": True})
            await becomes(lambda: len(device.set) == 4)
            camera.set_controls({"hflip": None, "focus_once": True})
            await becomes(lambda: len(device.set) == 6)
            for how in (restart, sleep):
                device.set.clear()
                await how(camera, device)
                # a switch that is back at its default, and a button, are left alone
                assert device.set[0] == ("exposure", "manual")
                assert sorted(device.set[1:]) == [("brightness", 7), ("exposure_time", 500)]


async def sleep(camera: Camera, device: FakeDevice) -> None:
    camera.switch(False)
    await state(camera, State.OFF)
    camera.switch(True)
    await state(camera, State.RUNNING)


@in_loop
async def test_what_is_changed_while_it_sleeps_holds_from_the_first_picture_on() -> None:
    device = FakeDevice(JPEGS)
    async with started(device, idle_stop_s=0) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            camera.set_controls({"contrast": 0.5})
            await becomes(lambda: device.set)
        await becomes(lambda: camera.run is None)
        device.set.clear()
        camera.set_controls({"brightness": 9, "contrast": None})
        assert (values(camera)["brightness"], values(camera)["contrast"]) == (9, 1.0)
        assert camera.kept()["controls"] == {"brightness": 9, "contrast": None}  # the device may remember the old one
        with pytest.raises(Unsupported, match="focus_once works only while door is running"):
            camera.set_controls({"focus_once": True})
        with camera.watching(Watcher()):
            await becomes(lambda: device.sent)
            await state(camera, State.RUNNING)
            assert sorted(device.set) == [("brightness", 9), ("contrast", 1.0)]
            assert camera.kept()["controls"] == {"brightness": 9}


@in_loop
async def test_changes_while_it_starts_are_not_lost() -> None:
    """The device is being opened, which takes seconds; no source can be told yet."""
    device, opening = FakeDevice(JPEGS), Slow()
    device.stalled = True

    async with started(device) as camera:
        with camera.watching(Watcher()):
            device.stalled = False
            await state(camera, State.RUNNING)
        camera.switch(False)
        await becomes(lambda: camera.run is None)
        camera._open_source = opening.before(device)
        camera.switch(True)
        with camera.watching(Watcher()):
            await becomes(lambda: opening.begun)
            camera.set_controls({"brightness": 11})
            camera.set_controls({"brightness": 12})
            assert values(camera)["brightness"] == 12
            opening.go_on()
            await state(camera, State.RUNNING)
            assert device.set == [("brightness", 12)]


class Slow:
    """Holds up an opening until the test says so."""

    def __init__(self) -> None:
        self.begun = False
        self._gate = threading.Event()
        self.go_on = self._gate.set

    def before(self, device: FakeDevice) -> Callable[[], Any]:
        def open_source() -> Any:
            self.begun = True
            assert self._gate.wait(LIMIT_S)
            return device()

        return open_source


@in_loop
async def test_another_camera_takes_what_it_can(caplog: pytest.LogCaptureFixture) -> None:
    """It is plugged in after a fault; when the first one comes back, it has all that was chosen."""
    device = FakeDevice(JPEGS)
    other = (
        Control("brightness", "Brightness", Kind.RANGE, 0.0, 0.0, -1.0, 1.0, 0.1),  # 200 is nothing here
        Control("hflip", "Mirror", Kind.SWITCH, False, False),
    )
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            chosen: dict[str, Value | None] = {"brightness": 200, "hflip": True, "exposure": "manual"}
            camera.set_controls(chosen)
            await becomes(lambda: len(device.set) == 3)
            device.controls, device.set = other, []
            await restart(camera, device)
            assert device.set == [("hflip", True)]
            assert values(camera) == {"brightness": 0.0, "hflip": True}
            device.controls, device.set = (), []
            await restart(camera, device)
            assert (camera.controls, device.set) == ((), [])
            device.controls = CONTROLS
            await restart(camera, device)
            assert dict(device.set) == chosen
            assert camera.kept()["controls"] == chosen
    assert set(messages(caplog)) == {"door: Camera unplugged: check the cable"}


class Changing(HandSource):
    """Its brightness changes by itself: with the second picture, and at the end."""

    def __init__(self, hand: Hand, again: threading.Event) -> None:
        super().__init__(hand)
        self._again = again

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        for value in (1, 2):
            self.controls = (replace(CONTROLS[0], value=value),)
            publish(JPEGS[0], time.monotonic_ns(), 64, 48)
            assert self._again.wait(LIMIT_S)
        super().run(publish, stopping)
        self.controls = (replace(CONTROLS[0], value=3),)


@in_loop
async def test_what_the_device_changes_by_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("NOTICE_EVERY_S", "FROZEN_S"):  # else it would be looked at soon in any case
        monkeypatch.setattr(module, limit, NEVER_S)
    hand, again, heard = Hand(), threading.Event(), list[object]()
    async with started(hand, idle_stop_s=0) as camera:
        camera._open_source = lambda: Changing(hand, again)
        camera.listeners.add(lambda: heard.append(values(camera).get("brightness")))
        hand.hangs.clear()
        with camera.watching(Watcher()):
            await becomes(lambda: heard[-1:] == [1])
            await becomes(lambda: camera.state is State.RUNNING and not camera._changed.is_set())
            again.set()
            await becomes(lambda: heard[-1] == 2)
            await becomes(lambda: hand.publish)
        await becomes(lambda: camera.state is State.IDLE and not camera._changed.is_set())
        hand.hangs.set()  # it stops late
        await becomes(lambda: heard[-1] == 3)


@in_loop
async def test_a_source_without_controls() -> None:
    hand = Hand()
    async with started(hand) as camera:
        with camera.watching(Watcher()):
            await becomes(lambda: hand.publish)
            hand.picture()
            await state(camera, State.RUNNING)
            assert camera.controls == ()
            with pytest.raises(Unsupported, match='The control "x"'):
                camera.set_controls({"x": 1})
            camera.set_controls({})


@in_loop
async def test_kept_choices_of_a_restarted_piapp() -> None:
    device = FakeDevice(JPEGS)
    kept = {"on": False, "controls": {"brightness": 1, "contrast": 0.26, "gone": 5, "hflip": "yes", "exposure": None}}
    camera = Camera(CameraConfig(name="door"), device, kept, limits=QUICK)
    assert (camera.on, camera.state, camera.controls) == (False, State.OFF, ())
    assert camera.describe()["message"] == "Camera switched off: switch it on at piapp's page"
    camera.start()
    with camera.watching(Watcher()):
        await asyncio.sleep(0.05)
        assert device.openings == 0
        camera.switch(True)
        await state(camera, State.RUNNING)
        assert sorted(device.set) == [("brightness", 1), ("contrast", 0.3), ("exposure", "auto")]
        # what it does not have stays for the camera that has it; what was to be reset is
        assert camera.kept()["controls"] == {"brightness": 1, "contrast": 0.26, "gone": 5, "hflip": "yes"}
    await camera.stop(LIMIT_S)
