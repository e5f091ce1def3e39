"""sources/v4l2_controls.py, over drivers that are stranger than fake_camera/'s: here Python answers the ioctls."""

import errno
import struct
from typing import Any

import pytest

from piapp.sources import v4l2_controls
from piapp.sources.v4l2_controls import DeviceControls

BRIGHTNESS, MENU = 0x00980900, 0x009A0901
QUERYCTRL, QUERYMENU, G_CTRL, S_CTRL = 0xC0445624, 0xC02C5625, 0xC008561B, 0xC008561C


class Driver:
    """One range, `ids` of them or without end, and one menu whose value has no word."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ids: list[int] = [BRIGHTNESS, MENU]
        self.endless = False
        self.repeats = False
        self.gone = False
        self.value = 5
        self.asked = 0
        self.clock = 0.0
        self.takes_s = 0.0
        monkeypatch.setattr(v4l2_controls.fcntl, "ioctl", self._ioctl)  # type: ignore[attr-defined]
        monkeypatch.setattr(v4l2_controls.time, "monotonic", lambda: self.clock)  # type: ignore[attr-defined]

    def _ioctl(self, fd: int, request: int, argument: bytes) -> bytes:
        self.asked += 1
        self.clock += self.takes_s
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        if request == QUERYCTRL:
            return self._describe(*struct.unpack_from("I", argument))
        if request == QUERYMENU:
            number, index = struct.unpack_from("2I", argument)
            if index in (1, 2):
                return struct.pack("2I 32s 4x", number, index, b"Same\xff\0rest")
            raise OSError(errno.EINVAL, "Invalid argument")
        if request == S_CTRL:
            self.value = struct.unpack("Ii", argument)[1]
            return argument
        assert request == G_CTRL
        return struct.pack("Ii", *struct.unpack_from("I", argument), self.value)

    def _describe(self, wanted: int) -> bytes:
        number = wanted & 0x7FFFFFFF
        if wanted & 0x80000000:
            if self.repeats and number:
                number = BRIGHTNESS
            elif self.endless:
                number = max(number + 1, BRIGHTNESS)
            else:
                number = next((each for each in self.ids if each > number), 0)
        if not number:
            raise OSError(errno.EINVAL, "Invalid argument")
        kind = 3 if number == MENU else 1
        return struct.pack("2I 32s 4i I 8x", number, kind, b"" if kind == 1 else b"Menu", 0, 9, 1, 1, 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def values(controls: DeviceControls) -> dict[str, Any]:
    return {control.name: control.value for control in controls.read()}


def test_names_and_words_that_a_driver_does_not_give_are_made(driver: Driver) -> None:
    controls = DeviceControls(0, taken={"control_980900"})
    assert values(controls) == {"control_980900_2": 5, "menu": "5"}
    menu = controls.read()[1]
    assert menu.choices == ("Same\ufffd", "Same\ufffd 2", "5")
    controls.set("menu", menu.choices[1])
    assert driver.value == 2
    assert controls.read()[1].choices == menu.choices[:2]


@pytest.mark.parametrize("how", ["endless", "repeats"])
def test_a_list_without_end_has_an_end(how: str, driver: Driver) -> None:
    setattr(driver, how, True)
    controls = DeviceControls(0)
    assert len(controls.read()) == {"endless": 250, "repeats": 1}[how]  # 6 of 256 are for audio
    assert driver.asked < 2000


def test_a_driver_that_knows_nothing_of_controls(driver: Driver) -> None:
    driver.ids = []
    assert DeviceControls(0).read() == ()


def test_what_cannot_be_read_any_more_is_as_it_was(driver: Driver) -> None:
    controls = DeviceControls(0)
    before = controls.read()
    driver.gone = True
    assert controls.read() == before
    with pytest.raises(OSError):
        controls.set("menu", before[1].choices[0])


def test_a_camera_that_does_not_answer_does_not_keep_us(driver: Driver) -> None:
    """Its driver waits 5 s for each answer."""
    driver.endless, driver.takes_s = True, 5.0
    controls = DeviceControls(0)
    controls.read()
    assert driver.asked < 10
    driver.takes_s = 0.0
    assert controls.read()
