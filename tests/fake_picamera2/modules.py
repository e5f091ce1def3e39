"""Camera modules: what libcamera tells of some real sensors, as far as piapp asks for it.

The modes and ranges are those of libcamera's raspberrypi pipelines, from their sources and tuning files; they were not
read from cameras.
"""

from dataclasses import dataclass, field
from typing import Any

Size = tuple[int, int]
Range = tuple[Any, Any, Any]  # least, most, default


@dataclass(frozen=True, eq=False)
class Module:
    """One camera."""

    model: str
    id: str
    modes: dict[Size, float] = field(default_factory=dict)  # what the sensor delivers, with the fps at most
    bits: int = 10
    mono: bool = False
    lens: bool = False  # it can focus
    mirrors: bool = True
    lacks: tuple[str, ...] = ()  # controls that this libcamera does not have

    @property
    def whole(self) -> Size:
        """All pixels of the sensor."""
        return max(self.modes, key=lambda size: size[0] * size[1])

    def mode(self, wanted: Size) -> Size:
        """Which one the sensor delivers for a picture of this size: libcamera's score, as picamera2 has it in
        _make_libcamera_config, but for the bits, which are the same for all of them here.
        """

        def distance(desired: float, actual: float) -> float:
            return (desired - actual) * 2 if desired >= actual else (actual - desired) / 4

        def score(mode: Size) -> float:
            sides = distance(wanted[0], mode[0]) + distance(wanted[1], mode[1])
            return sides + 1500 * distance(wanted[0] / wanted[1], mode[0] / mode[1])

        return min(self.modes, key=score)

    def info(self) -> dict[str, Any]:
        """As global_camera_info() begins."""
        return {"Model": self.model, "Location": 2, "Rotation": 180, "Id": self.id}

    def properties(self) -> dict[str, Any]:
        if "/usb" in self.id:
            return {"Model": self.model}
        return {
            "Model": self.model,
            "PixelArraySize": self.whole,
            "PixelArrayActiveAreas": [(0, 0, *self.whole)],
            "ScalerCropMaximum": (0, 0, *self.whole),
            "ColorFilterArrangement": 4 if self.mono else 0,
            "Rotation": 180,
            "Location": 2,
        }

    def controls(self, mode: Size | None) -> dict[str, Range]:
        """camera_controls: their types are those of the default values. Without a mode, as before configure()."""
        fps = self.modes[mode] if mode else 30.0
        shortest_us = round(1e6 / fps)
        found: dict[str, Range] = {
            "Brightness": (-1.0, 1.0, 0.0),
            "Contrast": (0.0, 32.0, 1.0),
            "Sharpness": (0.0, 16.0, 1.0),
            "NoiseReductionMode": (0, 4, 0),
            "HdrMode": (0, 4, 0),
            "AeEnable": (False, True, True),
            "AeMeteringMode": (0, 3, 0),
            "AeConstraintMode": (0, 3, 0),
            "AeExposureMode": (0, 3, 0),
            "AeFlickerMode": (0, 1, 0),
            "AeFlickerPeriod": (100, 1000000, None),
            "ExposureValue": (-8.0, 8.0, 0.0),
            "ExposureTime": (26, 220417486 if mode else 66666, 20000),
            "AnalogueGain": (1.0, 16.0, 1.0),
            "FrameDurationLimits": (shortest_us, 220417486 if mode else 120000, (33333, 33333)),
            "ScalerCrop": ((0, 0, 64, 64), (0, 0, *self.whole), (0, 0, *self.whole)),
        }
        if not self.mono:
            found |= {
                "Saturation": (0.0, 32.0, 1.0),
                "AwbEnable": (False, True, None),
                "AwbMode": (0, 7, 0),
                "ColourGains": (0.0, 32.0, None),
            }
        if self.lens:
            found |= {
                "AfMode": (0, 2, 0),
                "AfRange": (0, 2, 0),
                "AfSpeed": (0, 1, 0),
                "AfMetering": (0, 1, 0),
                "AfTrigger": (0, 1, 0),
                "AfPause": (0, 2, 0),
                "AfWindows": ((0, 0, 0, 0), (65535, 65535, 65535, 65535), (0, 0, 0, 0)),
                "LensPosition": (0.0, 32.0, 1.0),
            }
        return {name: value for name, value in found.items() if name not in self.lacks}


PI = Module(  # Camera Module 3
    "imx708",
    "/base/soc/i2c0mux/i2c@1/imx708@1a",
    {(1536, 864): 120.13, (2304, 1296): 56.03, (4608, 2592): 14.35},
    lens=True,
)
SECOND = Module(  # Camera Module 1
    "ov5647",
    "/base/soc/i2c0mux/i2c@0/ov5647@36",
    {(640, 480): 58.92, (1296, 972): 46.34, (1920, 1080): 32.81, (2592, 1944): 15.63},
)
MONO = Module("ov9281", "/base/soc/i2c0mux/i2c@0/ov9281@60", {(640, 400): 309.79, (1280, 800): 143.66}, mono=True)
SMALL = Module(  # no camera on sale: its full resolution is what a stream of it has, or a little more
    "small", "/base/soc/i2c0mux/i2c@0/small@10", {(320, 240): 120.0, (800, 600): 60.0}
)
USB = Module("HD Pro Webcam C920", "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1:1.0-046d:082d", {(1920, 1080): 30.0})
