"""Which controls a Pi camera has: what libcamera declares for it, in words and ranges for people.

Nothing is declared that this camera does not have. The numbers of libcamera's choices are part of its interface, from
its control_ids_core.yaml and control_ids_draft.yaml. Those without a word here are left out: "custom" ones have no
effect unless somebody wrote a tuning file for them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from piapp.sources.control import Control, Kind, Value
from piapp.sources.pi_zoom import Zoom

Known = Mapping[str, tuple[Any, Any, Any]]  # Picamera2.camera_controls: lowest, highest and default by libcamera's name

MANUAL, AUTO, CONTINUOUS = "manual", "auto", "continuous"
AUTOMATIC, SPOT = "automatic", "spot"  # where to focus


def _range(
    name: str, label: str, group: str, low: float, high: float, default: float, step: float, unit: str = ""
) -> Control:
    return Control(name, label, Kind.RANGE, default, default, low, high, step, unit=unit, group=group)


def _choice(name: str, label: str, group: str) -> Control:
    return Control(name, label, Kind.CHOICE, group=group)


# By libcamera's names: the widest range that makes sense, and a default for where libcamera has none.
RANGES = {
    "Brightness": _range("brightness", "Brightness", "Picture", -1.0, 1.0, 0.0, 0.05),
    "Contrast": _range("contrast", "Contrast", "Picture", 0.0, 32.0, 1.0, 0.05),
    "Saturation": _range("saturation", "Saturation", "Picture", 0.0, 32.0, 1.0, 0.05),
    "Sharpness": _range("sharpness", "Sharpness", "Picture", 0.0, 16.0, 1.0, 0.1),
    "ExposureValue": _range("exposure_compensation", "Exposure compensation", "Exposure", -8.0, 8.0, 0.0, 0.1, "EV"),
    # a sensor counts it in lines, which take 10 µs and more; 0 would mean automatic
    "ExposureTime": _range("exposure_time", "Exposure time", "Exposure", 10, 240_000_000, 20_000, 10, "µs"),
    "AnalogueGain": _range("analogue_gain", "Analogue gain", "Exposure", 1.0, 64.0, 1.0, 0.01, "×"),
    "LensPosition": _range("lens_position", "Lens position", "Focus", 0.0, 32.0, 1.0, 0.01, "dioptres"),
}
# And the words for libcamera's numbers.
CHOICES = {
    "NoiseReductionMode": (
        _choice("noise_reduction", "Noise reduction", "Picture"),
        {0: "off", 1: "fast", 2: "high quality", 3: "minimal"},
    ),
    "HdrMode": (
        _choice("hdr", "High dynamic range", "Picture"),
        {0: "off", 2: "multiple exposures", 3: "single exposure", 4: "night"},  # 1 shows dark and bright ones by turns
    ),
    "AeMeteringMode": (
        _choice("metering", "Metering", "Exposure"),
        {0: "centre-weighted", 1: "spot", 2: "matrix"},
    ),
    "AeExposureMode": (
        _choice("exposure_mode", "Exposure mode", "Exposure"),
        {0: "normal", 1: "short", 2: "long"},
    ),
    "AeConstraintMode": (
        _choice("exposure_constraint", "Exposure constraint", "Exposure"),
        {0: "normal", 1: "highlights", 2: "shadows"},
    ),
    "AwbMode": (
        _choice("white_balance", "White balance", "Colour"),
        {0: AUTO, 1: "incandescent", 2: "tungsten", 3: "fluorescent", 4: "indoor", 5: "daylight", 6: "cloudy"},
    ),
    "AfMode": (_choice("focus_mode", "Focus", "Focus"), {0: MANUAL, 1: AUTO, 2: CONTINUOUS}),
    "AfRange": (_choice("focus_range", "Focus range", "Focus"), {0: "normal", 1: "macro", 2: "full"}),
    "AfSpeed": (_choice("focus_speed", "Focus speed", "Focus"), {0: "normal", 1: "fast"}),
}
# AeFlickerMode, and AeFlickerPeriod in µs: lamps flicker twice in each period of the mains.
FLICKER = {"off": (0, None), "50 Hz": (1, 10_000), "60 Hz": (1, 8_333), AUTO: (2, None)}

_FRAME_RATE = _range("frame_rate", "Frame rate", "Exposure", 1, 1000, 30, 1, "fps")
# 0 would mean automatic; libcamera would take 32, but sensors need 1 to 4; its default, if any, would make all green
_RED_GAIN = _range("red_gain", "Red gain", "Colour", 0.1, 8.0, 2.0, 0.01, "×")


def declare(camera: Any, framerate: int, zoom: Zoom) -> Iterator[Control]:
    """Of a configured Picamera2, in the order of the page; with the values that it has when it is opened."""
    known: Known = camera.camera_controls
    configured: Mapping[str, Any] = camera.camera_configuration()["controls"]

    def plain(*names: str) -> Iterator[Control]:
        for name in names:
            lowest, highest, default = known.get(name, (None, None, None))
            if name in known and name in RANGES:
                yield from _narrow(_with_default(RANGES[name], default), lowest, highest)
            elif name in known:
                yield from _worded(name, lowest, highest, configured.get(name, default))

    yield from plain("Brightness", "Contrast", "Saturation", "Sharpness", "NoiseReductionMode")
    if getattr(getattr(camera, "platform", None), "name", "") == "PISP":  # other Pis declare it, and cannot do it
        yield from plain("HdrMode")
    yield from _frame_rate(known, framerate)
    if manual := list(plain("ExposureTime", "AnalogueGain")):
        yield Control("auto_exposure", "Automatic exposure", Kind.SWITCH, True, True, group="Exposure")
        yield from manual
    yield from plain("ExposureValue", "AeMeteringMode", "AeExposureMode", "AeConstraintMode")
    yield from _flicker(known)
    yield from _colour(known, list(plain("AwbMode")))
    yield from _focus(known, list(plain("AfMode")), list(plain("LensPosition", "AfRange", "AfSpeed")))
    if {"AfMetering", "AfWindows"} <= known.keys() and zoom.is_known:
        choices = (AUTOMATIC, SPOT)
        yield replace(_choice("focus_area", "Focus on", "Focus"), default=AUTOMATIC, value=AUTOMATIC, choices=choices)
        yield _range("focus_x", "Spot, left to right", "Focus", 0, 100, 50, 1, "%")
        yield _range("focus_y", "Spot, top to bottom", "Focus", 0, 100, 50, 1, "%")
    if zooms := list(_narrow(_range("zoom", "Zoom", "Zoom", 1.0, zoom.most, 1.0, 0.1, "×"), None, None)):
        yield from zooms
        yield _range("zoom_x", "Left to right", "Zoom", 0, 100, 50, 1, "%")
        yield _range("zoom_y", "Top to bottom", "Zoom", 0, 100, 50, 1, "%")


def narrowed(control: Control, low: float, high: float) -> Control:
    """A range within these bounds as well. Ends are moved to steps, default and value to within the ends."""
    first = math.ceil(min(max(control.low, low), control.high) / control.step - 1e-6)
    last = max(first, math.floor(max(min(control.high, high), control.low) / control.step + 1e-6))
    low, high = (round(count * control.step, 6) for count in (first, last))  # whole numbers stay whole
    control = replace(control, low=low, high=high)
    return replace(control, default=nearest(control, control.default), value=nearest(control, control.value))


def nearest(control: Control, number: Any) -> Value:
    """What the range allows next to this number."""
    return control.check(min(max(number, control.low), control.high))


def number_of(value: Any) -> float | None:
    """As libcamera's values come: a number of any kind, also one that is an enum, or a tuple of equals; or nothing."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _with_default(control: Control, default: Any) -> Control:
    number = number_of(default)
    return control if number is None else replace(control, default=number, value=number)


def _narrow(control: Control, lowest: Any, highest: Any) -> Iterator[Control]:
    """The range as this camera has it; nothing when there is nothing to choose."""
    low, high = number_of(lowest), number_of(highest)
    control = narrowed(control, control.low if low is None else low, control.high if high is None else high)
    if control.low < control.high:
        yield control


def _worded(name: str, lowest: Any, highest: Any, default: Any) -> Iterator[Control]:
    """The choice as this camera has it."""
    control, words = CHOICES[name]
    low, high = number_of(lowest), number_of(highest)
    if low is not None and high is not None:
        there = {number: word for number, word in words.items() if low <= number <= high}
        if len(there) > 1:
            word = there.get(int(number_of(default) or 0), next(iter(there.values())))
            yield replace(control, default=word, value=word, choices=tuple(there.values()))


def _frame_rate(known: Known, framerate: int) -> Iterator[Control]:
    shortest, longest = map(number_of, known.get("FrameDurationLimits", (None, None))[:2])
    if shortest and longest:
        control = replace(_FRAME_RATE, default=framerate, value=framerate)
        yield from _narrow(control, round(1e6 / longest), round(1e6 / shortest))


def _flicker(known: Known) -> Iterator[Control]:
    if {"AeFlickerMode", "AeFlickerPeriod"} <= known.keys():
        low, high, default = map(number_of, known["AeFlickerMode"])
        words = tuple(word for word, (mode, _) in FLICKER.items() if (low or 0) <= mode <= (high or 0))
        if len(words) > 1:
            word = AUTO if AUTO in words and default == FLICKER[AUTO][0] else words[0]
            control = _choice("flicker_avoidance", "Flicker avoidance", "Exposure")
            yield replace(control, default=word, value=word, choices=words)


def _colour(known: Known, white_balance: list[Control]) -> Iterator[Control]:
    gains: list[Control] = []
    if "ColourGains" in known and white_balance:
        lowest, highest, _ = known["ColourGains"]
        gains = list(_narrow(_RED_GAIN, lowest, highest))
    for control in white_balance:
        yield replace(control, choices=(*control.choices, MANUAL)) if gains else control
    for gain in gains:
        yield gain
        yield replace(gain, name="blue_gain", label="Blue gain")


def _focus(known: Known, mode: list[Control], others: list[Control]) -> Iterator[Control]:
    for control in mode:
        best = CONTINUOUS if CONTINUOUS in control.choices else control.default
        yield replace(control, default=best, value=best)
        if AUTO in control.choices and "AfTrigger" in known:
            yield Control("autofocus", "Focus now", Kind.ACTION, group="Focus")
    yield from others
