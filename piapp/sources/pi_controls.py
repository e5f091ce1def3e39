"""How the controls of a Pi camera are set.

Each of libcamera's automatics can be switched off, and what it decides is then set by hand, beginning with what it had
decided last: the picture does not jump.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from piapp.sources.control import Control, Kind, Value
from piapp.sources.pi_declared import (
    AUTO,
    AUTOMATIC,
    CHOICES,
    FLICKER,
    MANUAL,
    RANGES,
    SPOT,
    declare,
    narrowed,
    nearest,
    number_of,
)
from piapp.sources.pi_zoom import Zoom

Latest = Callable[[], Mapping[str, Any]]

_NUMBERS = {control.name: known for known, control in RANGES.items()}  # libcamera's names
_WORDS = {control.name: (known, words) for known, (control, words) in CHOICES.items()}

# The automatics: the value that switches each off, and what then begins with what of a frame's metadata.
_AUTOMATICS: dict[str, tuple[Value, dict[str, tuple[str, int]]]] = {
    "auto_exposure": (False, {"exposure_time": ("ExposureTime", 0), "analogue_gain": ("AnalogueGain", 0)}),
    "white_balance": (MANUAL, {"red_gain": ("ColourGains", 0), "blue_gain": ("ColourGains", 1)}),
    "focus_mode": (MANUAL, {"lens_position": ("LensPosition", 0)}),
}


class PiControls:
    """What libcamera declares for a configured camera, as Controls, and how they are set.

    For as long as the configuration holds, from the opening of the camera. All in the source's thread.
    """

    def __init__(self, camera: Any, framerate: int) -> None:
        """`camera` is a Picamera2 whose configuration asks for this frame rate, started or not.

        Its focus is made continuous where there is such a thing: libcamera would leave the lens where it is.
        """
        self._camera = camera
        self._zoom = Zoom(camera)
        self._framerate = framerate
        self._controls = {control.name: control for control in declare(camera, framerate, self._zoom)}
        self._exposure_time = self._controls.get("exposure_time")  # with the range that the sensor has
        self._settle()
        if "focus_mode" in self._controls:
            self._give(self._meaning("focus_mode"))

    def controls(self) -> tuple[Control, ...]:
        """With the values of now."""
        return tuple(self._controls.values())

    def can_begin(self, asked: Mapping[str, Value | None]) -> bool:
        """Whether these can be set before there is any frame: an automatic that is switched off without a word on what
        it decided cannot, as nobody knows yet."""
        return not any(
            asked.get(name) == off and any(follower in self._controls and follower not in asked for follower in begins)
            for name, (off, begins) in _AUTOMATICS.items()
        )

    def set(self, values: Mapping[str, Value], latest: Latest) -> None:
        """Values that were checked against controls(). They show in one of the next frames.

        `latest` waits for the newest frame's metadata, and gives {} if none comes. It is called only where an
        automatic is switched off; without a frame, that begins with what was set by hand last, or with defaults.
        """
        values = {**self._begun(values, latest), **values}
        for name, value in values.items():
            if self._controls[name].kind is not Kind.ACTION:
                self._controls[name] = replace(self._controls[name], value=value)
        self._settle()
        given: dict[str, Any] = {}
        for name in values:
            given |= self._meaning(name)
        self._give(given)

    def _begun(self, values: Mapping[str, Value], latest: Latest) -> dict[str, Value]:
        """What begins to be set by hand, as the automatics have it in the newest frame."""
        wanted: dict[str, tuple[str, int]] = {}
        for name, (off, begins) in _AUTOMATICS.items():
            if name in values and values[name] == off != self._value(name):
                wanted |= begins
        begun: dict[str, Value] = {}
        frame = latest() if wanted else {}
        for name, (known, place) in wanted.items():
            found = frame.get(known)
            number = number_of(found[place : place + 1] if isinstance(found, tuple | list) else found)
            if number is not None and name in self._controls:
                begun[name] = nearest(self._controls[name], number)
        return begun

    def _settle(self) -> None:
        """What one control has to say about others: whether they have an effect, and how long an exposure can be."""
        if self._exposure_time:
            frame_us = 1e6 / float(self._value("frame_rate") or self._framerate)
            exposure_time = replace(self._exposure_time, value=self._value("exposure_time"))
            self._controls["exposure_time"] = narrowed(exposure_time, exposure_time.low, frame_us)
        self._controls = {
            name: replace(control, active=self._is_active(name)) for name, control in self._controls.items()
        }

    def _is_active(self, name: str) -> bool:
        by_hand = self._value("auto_exposure") is False
        focus = self._value("focus_mode")
        match name:
            case "exposure_time" | "analogue_gain":
                return by_hand
            case "exposure_compensation" | "metering" | "exposure_mode" | "exposure_constraint" | "flicker_avoidance":
                return not by_hand
            case "red_gain" | "blue_gain":
                return self._value("white_balance") == MANUAL
            case "lens_position":
                return focus in (MANUAL, None)
            case "autofocus":
                return focus == AUTO
            case "focus_range" | "focus_speed" | "focus_area":
                return focus != MANUAL
            case "focus_x" | "focus_y":
                return focus != MANUAL and self._value("focus_area") == SPOT
            case "zoom_x" | "zoom_y":
                return self._number("zoom") > 1
        return True

    # --- what libcamera is told ---

    def _give(self, given: Mapping[str, Any]) -> None:
        known = self._camera.camera_controls
        # picamera2's own thread hands its list of controls to libcamera and then makes a new one, both under this lock:
        # what is added to the old one in between is lost. Old versions, as 0.3.12, have no such lock.
        with getattr(self._camera, "request_lock", contextlib.nullcontext()):
            self._camera.set_controls({name: value for name, value in given.items() if name in known})

    def _meaning(self, name: str) -> dict[str, Any]:
        """What this control means to libcamera, with those that go with it."""
        match name:
            case "frame_rate":
                duration_us = int(1e6 / self._number("frame_rate"))
                by_hand = self._value("auto_exposure") is False  # it may have become shorter
                return {"FrameDurationLimits": (duration_us, duration_us)} | (self._exposure() if by_hand else {})
            case "auto_exposure" | "exposure_time" | "analogue_gain":
                return self._exposure()
            case "flicker_avoidance":
                mode, period_us = FLICKER[str(self._value(name))]
                return {"AeFlickerMode": mode} | ({"AeFlickerPeriod": period_us} if period_us else {})
            case "white_balance" | "red_gain" | "blue_gain":
                if self._value("white_balance") == MANUAL:
                    return {"ColourGains": (self._number("red_gain"), self._number("blue_gain"))}
                return {"AwbEnable": True} | self._worded("white_balance")
            case "focus_mode" | "lens_position":
                by_hand = self._value("focus_mode") in (MANUAL, None) and "lens_position" in self._controls
                lens = {"LensPosition": self._number("lens_position")} if by_hand else {}
                return self._worded("focus_mode") | lens
            case "autofocus":
                return {"AfTrigger": 0}  # start
            case "focus_area" | "focus_x" | "focus_y":
                return self._focus_window()
            case "zoom" | "zoom_x" | "zoom_y":
                return self._zoom.crop(*self._view()) | self._focus_window()
        return self._worded(name) or {_NUMBERS[name]: self._number(name)}

    def _exposure(self) -> dict[str, Any]:
        """Zero is automatic; picamera2 sets libcamera's ExposureTimeMode and AnalogueGainMode by that."""
        auto = self._value("auto_exposure")
        given: dict[str, Any] = {}
        if "exposure_time" in self._controls:
            given["ExposureTime"] = 0 if auto else int(self._number("exposure_time"))
        if "analogue_gain" in self._controls:
            given["AnalogueGain"] = 0.0 if auto else self._number("analogue_gain")
        return given

    def _focus_window(self) -> dict[str, Any]:
        """libcamera counts its windows on the sensor: they must go with the zoom, also where none was asked for."""
        area = self._value("focus_area")
        zoomed = "zoom" in self._controls and self._number("zoom") > 1
        if area is None or (area == AUTOMATIC and not zoomed):
            return {"AfMetering": 0}
        point = (self._number("focus_x"), self._number("focus_y")) if area == SPOT else None
        return {"AfMetering": 1, "AfWindows": [self._zoom.window(*self._view(), point)]}

    def _view(self) -> tuple[float, float, float]:
        """How much zoom, and where."""
        if "zoom" not in self._controls:
            return 1.0, 50.0, 50.0
        return self._number("zoom"), self._number("zoom_x"), self._number("zoom_y")

    def _worded(self, name: str) -> dict[str, Any]:
        """The number that stands for a choice's word."""
        known, words = _WORDS.get(name, ("", {}))
        value = self._value(name)
        number = next((number for number, word in words.items() if word == value), None)
        return {} if number is None else {known: number}

    def _number(self, name: str) -> float:
        return float(self._controls[name].value or 0)

    def _value(self, name: str) -> Value | None:
        control = self._controls.get(name)
        return control.value if control else None
