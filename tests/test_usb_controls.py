"""The controls of a UsbCamera, over real ioctls that fake_camera/ answers in a process of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from fake_camera import FakeCamera
from test_usb_camera import JPEGS, SIZE, Driver, corners, driving, picture, raw

pytestmark = pytest.mark.needs("cc")
pytest.importorskip("cv2")

NAMES = [
    *("quality", "hflip", "vflip"),
    *("brightness", "contrast", "white_balance_automatic", "do_white_balance", "gain", "power_line_frequency"),
    *("white_balance_temperature", "contrast_2", "auto_exposure", "exposure_time_absolute", "auto_exposure_bias"),
]


@pytest.fixture
def mjpg(tmp_path: Path) -> Iterator[FakeCamera]:
    with FakeCamera(tmp_path, {"MJPG": JPEGS}, SIZE) as camera:
        yield camera


@pytest.fixture
def yuyv(tmp_path: Path) -> Iterator[FakeCamera]:
    with FakeCamera(tmp_path, {"YUYV": [raw("YUYV", picture())]}, SIZE) as camera:
        yield camera


def adjust(driver: Driver, **changes: Any) -> None:
    driver.say(f"adjust {json.dumps(changes)}")


def brightness(jpeg: bytes) -> float:
    """Of the darkest quarter, in which nothing is cut off."""
    return float(np.mean(simplejpeg.decode_jpeg(jpeg, "GRAY")[130:230, 10:150]))


def declared(driver: Driver) -> dict[str, dict[str, Any]]:
    driver.frame()
    driver.say("declared")
    controls = driver.next("declared")["controls"]
    assert len({control["name"] for control in controls}) == len(controls)
    return {control["name"]: control for control in controls}


def test_what_the_driver_declares_is_what_there_is(mjpg: FakeCamera) -> None:
    with driving(mjpg) as driver:
        controls = declared(driver)
        frame = driver.frame()
    assert list(controls) == NAMES  # nothing disabled, read-only, unreadable, of one value, audio or a codec's
    of_range = {"kind": "range", "choices": [], "unit": "", "group": "Picture", "active": True}
    assert controls["brightness"] == of_range | {
        **{"name": "brightness", "label": "Brightness", "low": -64, "high": 64, "step": 1, "default": 0, "value": 0}
    }
    assert controls["contrast"]["step"] == 10 and controls["contrast_2"]["step"] == 1
    assert (controls["gain"]["default"], controls["gain"]["value"]) == (255, 10)  # the driver says 300, of 255
    of_switch: dict[str, Any] = {"low": None, "high": None, "step": None, "choices": [], "unit": "", "active": True}
    assert controls["white_balance_automatic"] == of_switch | {
        **{"name": "white_balance_automatic", "label": "White Balance, Automatic", "kind": "switch"},
        **{"group": "Picture", "default": True, "value": True},
    }
    assert controls["power_line_frequency"] == of_switch | {
        **{"name": "power_line_frequency", "label": "Power Line Frequency", "kind": "choice", "group": "Picture"},
        **{"default": "50 Hz", "value": "50 Hz", "choices": ["Disabled", "50 Hz", "60 Hz"]},
    }
    assert controls["auto_exposure"]["choices"] == ["Manual Mode", "Aperture Priority Mode"]
    assert (controls["auto_exposure"]["value"], controls["auto_exposure"]["group"]) == (
        "Aperture Priority Mode",
        "Camera",
    )
    assert controls["auto_exposure_bias"]["choices"] == ["-1000", "0", "1000"]
    assert (controls["do_white_balance"]["kind"], controls["do_white_balance"]["value"]) == ("action", None)
    assert (controls["exposure_time_absolute"]["unit"], controls["exposure_time_absolute"]["value"]) == (
        "× 100 µs",
        250,
    )
    assert frame["inactive"] == ["quality", "white_balance_temperature", "exposure_time_absolute"]
    assert driver.log == []


def test_a_change_is_seen_in_the_next_pictures(yuyv: FakeCamera) -> None:
    with driving(yuyv) as driver:
        dark = brightness(driver.frame()["jpeg"])
        adjust(driver, brightness=50)
        for _ in range(10):  # some may be on their way
            bright = driver.frame()
            if brightness(bright["jpeg"]) > dark + 30:
                break
        else:
            raise AssertionError("it stays dark")
        assert bright["controls"]["brightness"] == 50
        adjust(driver, brightness=None)
        driver.frame(lambda frame: frame["controls"]["brightness"] == 0 and brightness(frame["jpeg"]) < dark + 10)
        assert declared(driver)["brightness"]["value"] == 0
    assert len(driver.log) == 1 and "YUYV" in driver.log[0]


def test_one_control_puts_another_in_effect(mjpg: FakeCamera) -> None:
    with driving(mjpg) as driver:
        driver.frame()
        adjust(driver, exposure_time_absolute=500)  # it waits
        driver.frame()
        assert driver.frame()["controls"]["exposure_time_absolute"] == 250
        adjust(driver, auto_exposure="Manual Mode", power_line_frequency="60 Hz", auto_exposure_bias="-1000")
        frame = driver.frame(lambda frame: frame["controls"]["exposure_time_absolute"] == 500)
        assert frame["inactive"] == ["quality", "white_balance_temperature"]
        values = ("Manual Mode", "60 Hz", "-1000")
        names = ("auto_exposure", "power_line_frequency", "auto_exposure_bias")
        assert tuple(frame["controls"][name] for name in names) == values
        adjust(driver, do_white_balance=True)
        driver.frame(lambda frame: frame["controls"]["white_balance_temperature"] == 5000)
        adjust(driver, white_balance_temperature=3333, white_balance_automatic=False)
        driver.frame(lambda frame: frame["controls"]["white_balance_temperature"] == 3330)  # in steps of 10
        adjust(driver, auto_exposure=None)
        frame = driver.frame(lambda frame: frame["controls"]["auto_exposure"] == "Aperture Priority Mode")
        assert frame["inactive"] == ["quality", "exposure_time_absolute"]
    assert driver.log == []


def test_what_was_chosen_before_holds_from_the_first_picture_on(yuyv: FakeCamera) -> None:
    with driving(yuyv) as driver:
        dark = brightness(driver.frame()["jpeg"])
        driver.say("stop")
        driver.next("stopped")
        adjust(
            driver,
            **{"exposure_time_absolute": 77, "auto_exposure": "Manual Mode", "brightness": 60, "quality": 20},
            **{"contrast": 1000, "nothing": 1, "hflip": True, "gain": 250, "sharpness": 3, "vflip": "no"},
        )
        driver.say("start")
        frame = driver.frame()
        assert brightness(frame["jpeg"]) > dark + 30
        assert corners(simplejpeg.decode_jpeg(frame["jpeg"], "BGR"))[1] == "R"
        kept = {
            "exposure_time_absolute": 77,
            "brightness": 60,
            "hflip": True,
            "vflip": False,
            "contrast": 50,
            "gain": 10,
        }
        assert {name: value for name, value in frame["controls"].items() if name in kept} == kept
        small = driver.frame(lambda frame: frame["controls"]["quality"] == 20)
        driver.say("stop")
        driver.next("stopped")
        driver.say("start")
        frame = driver.frame()
        assert (frame["controls"]["brightness"], frame["controls"]["quality"]) == (
            60,
            80,
        )  # that is the camera's memory
        assert len(small["jpeg"]) < len(frame["jpeg"])
    assert all("YUYV" in line for line in driver.log)  # what another camera may have taken is left out without a word


def test_a_value_that_the_driver_refuses_is_said_once(mjpg: FakeCamera) -> None:
    with driving(mjpg) as driver:
        driver.frame()
        for value in (201, 255):
            adjust(driver, gain=value, brightness=value - 200)
            while (frame := driver.frame())["controls"]["brightness"] != value - 200:
                pass
            assert frame["controls"]["gain"] == 10  # as it is
        adjust(driver, gain=200)
        driver.frame(lambda frame: frame["controls"]["gain"] == 200)
    assert driver.log == ["camera: the camera does not take gain = 201 (Input/output error)"]


def test_controls_are_like_new_after_unplugging(mjpg: FakeCamera) -> None:
    with driving(mjpg) as driver:
        driver.frame()
        adjust(driver, brightness=33, gain=200)
        driver.frame(lambda frame: frame["controls"]["brightness"] == 33)
        mjpg.unplug()
        adjust(driver, brightness=34)  # while it is away
        assert driver.next("failed")["what"] == "Camera unplugged"
        mjpg.say("run")
        driver.say("start")
        assert driver.frame()["controls"]["brightness"] == 0
    assert driver.log == []


def test_mirrored_while_it_runs_and_back(mjpg: FakeCamera) -> None:
    """The camera's own pictures are passed on untouched before and after."""
    with driving(mjpg) as driver:
        assert driver.frame()["jpeg"] in JPEGS
        for _ in range(2):
            adjust(driver, hflip=True)
            frame = driver.frame(lambda frame: frame["controls"]["hflip"])
            assert corners(simplejpeg.decode_jpeg(frame["jpeg"], "BGR")) == "GRBW"
            assert frame["encoder"] == "simplejpeg" and "quality" not in frame["inactive"]
            adjust(driver, vflip=True, quality=30)
            smaller = driver.frame(lambda frame: frame["controls"]["vflip"] and frame["controls"]["quality"] == 30)
            assert corners(simplejpeg.decode_jpeg(smaller["jpeg"], "BGR")) == "WBRG"
            assert len(smaller["jpeg"]) < len(frame["jpeg"])
            adjust(driver, hflip=None, vflip=False, quality=None)
            frame = driver.frame(lambda frame: not frame["controls"]["hflip"] and not frame["controls"]["vflip"])
            assert frame["jpeg"] in JPEGS
            assert frame["encoder"] == "the camera's own" and "quality" in frame["inactive"]
    assert driver.log == ["camera: every picture is decoded and encoded again, to turn it"]


def test_a_camera_that_is_turned_already_is_mirrored(mjpg: FakeCamera) -> None:
    with driving(mjpg, rotation=90, hflip=True) as driver:
        assert corners(simplejpeg.decode_jpeg(driver.frame()["jpeg"], "BGR")) == "WGRB"
        adjust(driver, hflip=False)
        frame = driver.frame(lambda frame: not frame["controls"]["hflip"])
        assert corners(simplejpeg.decode_jpeg(frame["jpeg"], "BGR")) == "BRGW"
        assert declared(driver)["hflip"]["default"] is True  # as the settings have it
