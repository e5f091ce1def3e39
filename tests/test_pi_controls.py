"""sources/pi_controls.py and pi_declared.py: what a Pi camera's controls are, and what libcamera is told."""

import math
from typing import Any

import numpy as np
import pytest
from pi_cameras import CAMERAS, IMX219, IMX708, VIRTUAL, Set

from piapp.sources.control import Kind, Value

PICTURE = ["brightness", "contrast", "saturation", "sharpness", "noise_reduction"]
EXPOSURE = ["frame_rate", "auto_exposure", "exposure_time", "analogue_gain", "exposure_compensation", "metering"] + [
    *("exposure_mode", "exposure_constraint", "flicker_avoidance")
]
COLOUR = ["white_balance", "red_gain", "blue_gain"]
FOCUS = ["focus_mode", "autofocus", "lens_position", "focus_range", "focus_speed", "focus_area", "focus_x", "focus_y"]
ZOOM = ["zoom", "zoom_x", "zoom_y"]


# --- what there is ---


@pytest.mark.parametrize(
    ("camera", "names"),
    [
        ("imx708", PICTURE + EXPOSURE + COLOUR + FOCUS + ZOOM),
        ("imx219", PICTURE + EXPOSURE + COLOUR + ZOOM),
        ("ov9281", [name for name in PICTURE if name != "saturation"] + EXPOSURE + ZOOM),
        ("old", PICTURE + EXPOSURE[:-1] + COLOUR + ZOOM),
        ("virtual", []),
    ],
)
def test_a_camera_has_what_libcamera_declares_of_it(camera: str, names: list[str]) -> None:
    assert list(Set(CAMERAS[camera]).by_name) == names


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("by_hand", [True, False])
def test_libcamera_takes_all_that_can_be_set(camera: str, locks: bool, by_hand: bool) -> None:
    """The stand-in raises for names that it does not have, and for values of another type."""
    everything = Set(CAMERAS[camera], locks=locks)
    if by_hand:
        manual: dict[str, Value] = {"auto_exposure": False, "white_balance": "manual", "focus_mode": "manual"}
        everything(**{name: value for name, value in manual.items() if name in everything.by_name})
    for name in everything.by_name:
        kind = everything[name].kind
        for end in ("low", "high", "default") if kind is Kind.RANGE else ("default",):
            value = getattr(everything[name], end)  # now: a frame rate makes the exposure's range longer or shorter
            everything.controls.set({name: True if value is None else value}, everything.frames)
            assert everything.camera.given[-1], name
            assert everything[name].value == value
        for choice in everything[name].choices:
            everything.controls.set({name: choice}, everything.frames)
            assert everything.camera.given[-1]
        if kind is Kind.SWITCH:
            everything.controls.set({name: not everything[name].value}, everything.frames)
    for control in everything.by_name.values():
        assert control.label and control.group in ("Picture", "Exposure", "Colour", "Focus", "Zoom")
        if control.kind is not Kind.ACTION:
            assert control.check(control.default) == control.default
            assert control.check(control.value) == control.value
        if control.kind is Kind.RANGE:
            assert len({type(number) for number in (control.low, control.high, control.step, control.default)}) == 1


def test_ranges_are_the_cameras_own_on_whole_steps() -> None:
    camera = Set(IMX708)
    brightness, gain = camera["brightness"], camera["analogue_gain"]
    assert (brightness.low, brightness.high, brightness.default, brightness.step) == (-1.0, 1.0, 0.0, 0.05)
    assert (gain.low, gain.high, gain.default) == (1.13, 16.0, 1.13)  # libcamera's default is below its lowest
    assert (camera["lens_position"].high, camera["sharpness"].high) == (15.0, 16.0)
    assert camera(brightness=-0.35) == {"Brightness": -0.35}
    assert camera["brightness"].value == -0.35


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ((np.float32(0), np.float32(4), np.float32(1.5)), (0.0, 4.0, 1.5)),
        (((0.0, 0.0), (4.0, 4.0), (1.5, 1.5)), (0.0, 4.0, 1.5)),
        ((0, 4, 1), (0.0, 4.0, 1.0)),
        ((0.0, math.inf, None), (0.0, 32.0, 1.0)),
        ((-math.inf, 4.0, math.nan), (0.0, 4.0, 1.0)),
        ((None, None, None), (0.0, 32.0, 1.0)),
        ((2.0, 4.0, 9.0), (2.0, 4.0, 4.0)),
        ((2.0, 4.0, 0.0), (2.0, 4.0, 2.0)),
        ((np.float32(0.15), np.float32(0.35), np.float32(0.3)), (0.15, 0.35, 0.3)),  # not quite, as floats go
        ((0.0, 4.3, 1.0), (0.0, 4.3, 1.0)),
        ((2.0, 2.0, 2.0), None),
        ((2.0, 2.04, 2.0), None),  # less than a step
        ((50.0, 60.0, 55.0), None),  # nothing of it makes sense
        ((math.inf, math.inf, 3.0), None),
        ((4.0, 2.0, 3.0), None),
    ],
)
def test_strange_ranges(info: tuple[Any, Any, Any], found: tuple[float, ...] | None) -> None:
    camera = Set({"Contrast": info})
    contrast = camera.by_name.get("contrast")
    assert (contrast and (contrast.low, contrast.high, contrast.default)) == found
    if contrast:
        assert camera(contrast=contrast.high) == {"Contrast": contrast.high}


@pytest.mark.parametrize(
    ("info", "words", "default"),
    [
        ((0, 3, 0), ("off", "fast", "high quality", "minimal"), "fast"),  # which is what picamera2 configures
        ((0, 99, 0), ("off", "fast", "high quality", "minimal"), "fast"),
        ((1, 2, 2), ("fast", "high quality"), "fast"),
        ((2, 3, 2), ("high quality", "minimal"), "high quality"),
        ((1, 1, 1), (), ""),
        ((None, None, None), (), ""),
    ],
)
def test_choices_are_words_for_the_numbers_that_the_camera_has(info: Any, words: tuple[str, ...], default: str) -> None:
    camera = Set({"NoiseReductionMode": info})
    control = camera.by_name.get("noise_reduction")
    assert control.choices == words if control else not words
    if control:
        assert control.default == control.value == default


def test_high_dynamic_range_is_for_the_pi_5() -> None:
    """Others declare it as well, but their tuning files have none of its modes."""
    camera = Set(IMX219, platform="PISP")
    assert camera["hdr"].choices == ("off", "multiple exposures", "single exposure", "night")
    assert camera(hdr="single exposure") == {"HdrMode": 3}
    assert "hdr" not in Set(IMX219).by_name


# --- exposure ---


def test_exposure_by_hand_begins_with_that_of_the_newest_frame() -> None:
    camera = Set()
    assert camera.active("exposure_time", "analogue_gain") == []
    assert camera(auto_exposure=False) == {"ExposureTime": 8120, "AnalogueGain": 2.5}
    assert (camera["exposure_time"].value, camera["analogue_gain"].value) == (8120, 2.5)
    assert camera.active("exposure_time", "analogue_gain", "exposure_compensation", "metering") == [
        *("exposure_time", "analogue_gain")
    ]
    assert camera(exposure_time=500) == {"ExposureTime": 500, "AnalogueGain": 2.5}
    assert camera(auto_exposure=False) == {"ExposureTime": 500, "AnalogueGain": 2.5}
    assert camera.frames.asked == 1
    assert camera(auto_exposure=True) == {"ExposureTime": 0, "AnalogueGain": 0.0}  # automatic, to libcamera
    camera.frames.frame = {**camera.frames.frame, "ExposureTime": 33_500, "AnalogueGain": 99.0}
    assert camera(auto_exposure=False) == {"ExposureTime": 33_330, "AnalogueGain": 16.0}


@pytest.mark.parametrize("frame", [{}, {"ExposureTime": None, "ColourGains": (), "LensPosition": "near"}])
def test_without_a_frame_to_begin_with_there_are_the_defaults(frame: dict[str, Any]) -> None:
    camera = Set()
    camera.frames.frame = frame
    given = camera(auto_exposure=False, white_balance="manual", focus_mode="manual")
    assert camera.frames.asked == 1
    assert given == {
        **{"ExposureTime": 20_000, "AnalogueGain": 1.13, "ColourGains": (2.0, 2.0)},
        **{"AfMode": 0, "LensPosition": 1.0},
    }


def test_what_is_asked_for_goes_before_what_the_frame_has() -> None:
    camera = Set()
    camera.controls.set({"auto_exposure": False, "exposure_time": 100}, camera.frames)
    assert camera.camera.given[-1] == {"ExposureTime": 100, "AnalogueGain": 2.5}


def test_nothing_waits_for_a_frame_without_need() -> None:
    camera = Set()
    for name, control in camera.by_name.items():
        if control.active and control.default is not None:
            camera(**{name: control.default})
    assert camera.frames.asked == 0


def test_an_exposure_takes_no_longer_than_its_frame() -> None:
    camera = Set(IMX708, framerate=25)
    assert (camera["exposure_time"].high, camera["frame_rate"].default) == (40_000, 25)
    assert camera(frame_rate=2) == {"FrameDurationLimits": (500_000, 500_000)}
    assert camera["exposure_time"].high == 500_000
    camera(auto_exposure=False)
    camera(exposure_time=400_000)
    assert camera(frame_rate=10) == {
        **{"FrameDurationLimits": (100_000, 100_000)},
        **{"ExposureTime": 100_000, "AnalogueGain": 2.5},
    }
    assert (camera["exposure_time"].value, camera["exposure_time"].high) == (100_000, 100_000)
    camera(frame_rate=2)
    assert camera["exposure_time"].value == 100_000


@pytest.mark.parametrize(
    ("limits", "framerate", "found"),
    [
        ((17849, 220535846, None), 30, (1, 56, 30)),
        ((17849, 220535846, None), 120, (1, 56, 56)),
        ((33348, 120000, None), 30, (8, 30, 30)),  # 29.99
        ((33333, 33333, (33333, 33333)), 30, None),
        ((0, 120000, None), 30, None),
        ((1, 10**12, None), 30, (1, 1000, 30)),
    ],
)
def test_frame_rates(limits: Any, framerate: int, found: tuple[int, ...] | None) -> None:
    rate = Set({"FrameDurationLimits": limits}, framerate).by_name.get("frame_rate")
    assert (rate and (rate.low, rate.high, rate.value)) == found


def test_an_exposure_without_a_control_for_the_frame_rate_goes_by_the_setting() -> None:
    assert Set({**IMX708, **VIRTUAL}, framerate=30)["exposure_time"].high == 33_330
    assert Set({"ExposureTime": (0, 66666, None)}, framerate=50)["exposure_time"].high == 20_000


def test_exposure_is_a_switch_where_only_one_of_both_can_be_set() -> None:
    camera = Set({"AnalogueGain": (1.0, 16.0, 1.0), "ExposureTime": (20_000, 20_000, 20_000)})
    assert list(camera.by_name) == ["auto_exposure", "analogue_gain"]
    assert camera(auto_exposure=False) == {"AnalogueGain": 2.5}
    assert camera(auto_exposure=True) == {"AnalogueGain": 0.0}


def test_flicker_avoidance() -> None:
    camera = Set()
    assert camera["flicker_avoidance"].choices == ("off", "50 Hz", "60 Hz")
    assert camera(flicker_avoidance="50 Hz") == {"AeFlickerMode": 1, "AeFlickerPeriod": 10_000}
    assert camera(flicker_avoidance="60 Hz") == {"AeFlickerMode": 1, "AeFlickerPeriod": 8_333}
    assert camera(flicker_avoidance="off") == {"AeFlickerMode": 0}
    clever = Set({**IMX708, "AeFlickerMode": (0, 2, 2)})
    assert clever["flicker_avoidance"].default == "auto"
    assert clever(flicker_avoidance="auto") == {"AeFlickerMode": 2}
    assert "flicker_avoidance" not in Set({**IMX708, "AeFlickerMode": (0, 0, 0)}).by_name


def test_other_choices_of_exposure_are_for_the_automatic() -> None:
    camera = Set()
    assert camera(metering="spot", exposure_mode="short", exposure_compensation=-1.5) == {
        **{"AeMeteringMode": 1, "AeExposureMode": 1},
        **{"ExposureValue": -1.5},
    }
    camera(auto_exposure=False)
    assert not camera.active("metering", "exposure_mode", "exposure_constraint", "flicker_avoidance")


# --- colour ---


def test_white_balance_by_hand_begins_with_that_of_the_newest_frame() -> None:
    camera = Set(IMX219)
    assert camera(white_balance="daylight") == {"AwbEnable": True, "AwbMode": 5}
    assert not camera.active("red_gain", "blue_gain")
    assert camera(white_balance="manual") == {"ColourGains": (2.36, 1.68)}
    assert camera(blue_gain=3.0) == {"ColourGains": (2.36, 3.0)}
    assert camera(white_balance="auto") == {"AwbEnable": True, "AwbMode": 0}
    assert camera["red_gain"].low > 0  # which would be automatic


def test_white_balance_without_gains() -> None:
    camera = Set({name: info for name, info in IMX219.items() if name != "ColourGains"})
    assert camera["white_balance"].choices[-1] == "cloudy"
    assert "red_gain" not in camera.by_name


@pytest.mark.parametrize(
    ("asked", "can"),
    [
        ({"brightness": 0.5, "auto_exposure": True}, True),
        ({"auto_exposure": False}, False),
        ({"auto_exposure": False, "exposure_time": 5000}, False),
        ({"auto_exposure": False, "exposure_time": 5000, "analogue_gain": 2.0}, True),
        ({"focus_mode": "manual"}, False),
        ({"focus_mode": "manual", "lens_position": None}, True),
        ({"focus_mode": "auto"}, True),
    ],
)
def test_what_can_be_set_before_there_is_a_frame(asked: dict[str, Any], can: bool) -> None:
    assert Set().controls.can_begin(asked) is can


def test_what_a_camera_does_not_have_need_not_be_told() -> None:
    assert Set(IMX219).controls.can_begin({"focus_mode": "manual"})
