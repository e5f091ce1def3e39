"""A stand-in for a configured Picamera2, as far as its controls go, and what some cameras declare.

The numbers are those of libcamera's source: src/ipa/rpi/common/ipa_base.cpp, and the sensors' drivers.
"""

import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from piapp.sources.control import Control, Value
from piapp.sources.pi_controls import PiControls

Info = dict[str, tuple[Any, Any, Any]]

INTS = {"AeMeteringMode", "AeExposureMode", "AeConstraintMode", "AeFlickerMode", "AeFlickerPeriod", "AfMetering"} | {
    *("AfMode", "AfRange", "AfSpeed", "AfTrigger", "AwbMode", "ExposureTime", "HdrMode", "NoiseReductionMode")
}
FLOATS = {"AnalogueGain", "Brightness", "Contrast", "ExposureValue", "LensPosition", "Saturation", "Sharpness"}
RECTANGLES = {"AfWindows", "ScalerCrops"}

COMMON: Info = {
    "AeConstraintMode": (0, 3, 0),
    "AeEnable": (False, True, True),
    "AeExposureMode": (0, 3, 0),
    "AeFlickerMode": (0, 1, 0),
    "AeFlickerPeriod": (100, 1000000, None),
    "AeMeteringMode": (0, 3, 0),
    "AnalogueGainMode": (0, 1, 0),
    "Brightness": (-1.0, 1.0, 0.0),
    "CnnEnableInputTensor": (False, True, False),
    "Contrast": (0.0, 32.0, 1.0),
    "ExposureTimeMode": (0, 1, 0),
    "ExposureValue": (-8.0, 8.0, 0.0),
    "HdrMode": (0, 4, 0),
    "NoiseReductionMode": (0, 4, 0),
    "Sharpness": (0.0, 16.0, 1.0),
    "StatsOutputEnable": (False, True, False),
    "SyncFrames": (100, 100000, 1000),
    "SyncMode": (0, 2, 0),
}
COLOUR: Info = {
    "AwbEnable": (False, True, None),
    "AwbMode": (0, 7, 0),
    "ColourCorrectionMatrix": (0.0, 8.0, None),
    "ColourGains": (0.0, 32.0, None),
    "ColourTemperature": (100, 100000, None),
    "Saturation": (0.0, 32.0, 1.0),
}
LENS: Info = {
    "AfMetering": (0, 1, 0),
    "AfMode": (0, 2, 0),
    "AfPause": (0, 2, 0),
    "AfRange": (0, 2, 0),
    "AfSpeed": (0, 1, 0),
    "AfTrigger": (0, 1, 0),
    "AfWindows": ((0, 0, 0, 0), (65535, 65535, 65535, 65535), [(0, 0, 0, 0)]),
    "LensPosition": (0.0, 15.0, 1.0),
}
# Camera Module 3, binned 2 by 2, of which a stream of 1280x720 takes all
IMX708: Info = {
    **COMMON,
    **COLOUR,
    **LENS,
    "AnalogueGain": (1.1228070259094238, 16.0, 1.0),
    "ExposureTime": (13, 112015443, 20000),
    "FrameDurationLimits": (17849, 220535846, (33333, 33333)),
    "ScalerCrop": ((0, 0, 128, 128), (0, 0, 4608, 2592), (0, 0, 4608, 2592)),
}
# Camera Module 2, where the same stream takes a strip of 16:9 out of the middle of 4:3
IMX219: Info = {
    **COMMON,
    **COLOUR,
    "AnalogueGain": (1.0, 10.666666984558105, 1.0),
    "ExposureTime": (75, 11766829, 20000),
    "FrameDurationLimits": (23928, 11767556, (33333, 33333)),
    "ScalerCrop": ((0, 0, 128, 128), (0, 0, 3280, 2464), (0, 310, 3280, 1844)),
}
# Without colours
OV9281: Info = {
    **COMMON,
    "AnalogueGain": (1.0, 15.9375, 1.0),
    "ExposureTime": (36, 596632, 20000),
    "FrameDurationLimits": (6949, 596860, (33333, 33333)),
    "ScalerCrop": ((0, 0, 64, 64), (0, 0, 1280, 800), (0, 40, 1280, 720)),
}
# libcamera 0.0.5, of 2023: few defaults, no flicker avoidance, no HDR; automatic exposure is within the range
OLD: Info = {
    "AeConstraintMode": (0, 3, 0),
    "AeEnable": (False, True, None),
    "AeExposureMode": (0, 3, 0),
    "AeMeteringMode": (0, 3, 0),
    "AnalogueGain": (1.0, 10.666666984558105, None),
    "AwbEnable": (False, True, None),
    "AwbMode": (0, 7, 0),
    "Brightness": (-1.0, 1.0, 0.0),
    "ColourCorrectionMatrix": (-16.0, 16.0, None),
    "ColourGains": (0.0, 32.0, None),
    "Contrast": (0.0, 32.0, 1.0),
    "ExposureTime": (75, 11766829, None),
    "ExposureValue": (-8.0, 8.0, 0.0),
    "FrameDurationLimits": (23928, 11767556, None),
    "NoiseReductionMode": (0, 4, 0),
    "Saturation": (0.0, 32.0, 1.0),
    "ScalerCrop": ((0, 0, 128, 128), (0, 0, 3280, 2464), (0, 310, 3280, 1844)),
    "Sharpness": (0.0, 16.0, 1.0),
}
# Without anything of a Pi: a camera that runs at one frame rate
VIRTUAL: Info = {"FrameDurationLimits": (33333, 33333, (33333, 33333))}
CAMERAS = {"imx708": IMX708, "imx219": IMX219, "ov9281": OV9281, "old": OLD, "virtual": VIRTUAL}


class PiCamera:
    """Takes what libcamera takes: only names that it has declared, and only values of the right kind."""

    def __init__(
        self,
        known: Info,
        size: tuple[int, int] = (1280, 720),
        lores: Mapping[str, Any] | None = None,
        platform: str = "VC4",
        locks: bool = True,  # picamera2 0.3.12 has none
    ) -> None:
        self.camera_controls = known
        self.camera_properties: dict[str, Any] = {}
        self.platform = SimpleNamespace(name=platform)
        self.streams = {"main": {"size": size}, "lores": lores, "controls": {"NoiseReductionMode": Fast()}}
        self.given: list[dict[str, Any]] = []  # by each call
        self.now: dict[str, Any] = {}
        if locks:
            self.request_lock = threading.Lock()

    def camera_configuration(self) -> dict[str, Any]:
        return self.streams

    def set_controls(self, controls: dict[str, Any]) -> None:
        assert not hasattr(self, "request_lock") or self.request_lock.locked()
        assert type(controls) is dict
        for name, value in controls.items():
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
            assert is_taken(name, value), (name, value)
        self.given.append(dict(controls))
        self.now |= controls


class Fast:
    """An enum of libcamera's Python bindings: no int, but can be turned into one."""

    def __index__(self) -> int:
        return 1


def is_taken(name: str, value: Any) -> bool:
    """Whether libcamera's and picamera2's Python take the value: they look at the exact type of rectangles."""
    if name in RECTANGLES:
        return type(value) is list and bool(value) and all(is_taken("ScalerCrop", each) for each in value)
    if name == "ScalerCrop":
        return type(value) is tuple and [type(each) for each in value] == [int] * 4 and min(value[2:]) > 0
    if name == "FrameDurationLimits":
        return type(value) is tuple and [type(each) for each in value] == [int] * 2
    if name == "ColourGains":
        return type(value) is tuple and [type(each) for each in value] == [float] * 2 and min(value) > 0
    return type(value) is (int if name in INTS else float if name in FLOATS else bool if name == "AwbEnable" else None)


FRAME = {"ExposureTime": 8123, "AnalogueGain": 2.5, "ColourGains": (2.356, 1.678), "LensPosition": 3.21, "Lux": 400.0}


class Frames:
    """Gives a frame's metadata, and counts how often it is asked for."""

    def __init__(self, frame: Mapping[str, Any] = FRAME) -> None:
        self.frame = frame
        self.asked = 0

    def __call__(self) -> Mapping[str, Any]:
        self.asked += 1
        return self.frame


class Set:
    """A camera, its controls, and what it was given by the newest set()."""

    def __init__(self, known: Info = IMX708, framerate: int = 30, **values: Any) -> None:
        self.camera = PiCamera(known, **values)
        self.controls = PiControls(self.camera, framerate)
        self.frames = Frames()

    def __call__(self, **values: Value) -> dict[str, Any]:
        """As a Source does it: what is not active or out of range never comes here."""
        for name, value in values.items():
            assert self[name].active, name
            assert self[name].check(value) == value
        before = len(self.camera.given)
        self.controls.set(values, self.frames)
        return {name: value for given in self.camera.given[before:] for name, value in given.items()}

    def __getitem__(self, name: str) -> Control:
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, Control]:
        return {control.name: control for control in self.controls.controls()}

    def active(self, *names: str) -> list[str]:
        return [name for name in names if self[name].active]
