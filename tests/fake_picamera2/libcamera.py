"""libcamera below picamera2: its cameras, requests, transforms and colour spaces.

Cited is libcamera's Python binding, src/py/libcamera/py_main.cpp and py_helpers.cpp. Unlike there a call that hangs
holds up its own thread only: the real ones keep Python's lock.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import scene
from .modules import Module, Size
from .scene import Pixels, View
from .world import World

READOUT_NS = 1_000_000  # from the exposure's beginning, SensorTimestamp, to the finished frame


class Transform:
    """A turn by 90 degrees is a transpose with a flip, which the Pi's cameras cannot do."""

    def __init__(self, rotation: int = 0, hflip: bool = False, vflip: bool = False, transpose: bool = False) -> None:
        turns = {0: (False, False, False), 90: (True, False, True), 180: (True, True, False), 270: (False, True, True)}
        flips = turns[rotation]
        self.hflip, self.vflip = bool(hflip) != flips[0], bool(vflip) != flips[1]
        self.transpose = bool(transpose) != flips[2]


class ColorSpace:
    """Compared by its name here; picamera2 does so by the members (picamera2/__init__.py)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ColorSpace) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @staticmethod
    def Sycc() -> "ColorSpace":
        return ColorSpace("sYCC")

    @staticmethod
    def Smpte170m() -> "ColorSpace":
        return ColorSpace("SMPTE170M")

    @staticmethod
    def Rec709() -> "ColorSpace":
        return ColorSpace("Rec709")


@dataclass
class Stream:
    """One configured stream of a camera."""

    format: str
    size: Size
    buffer_count: int

    @property
    def stride(self) -> int:
        return scene.stride(self.format, self.size[0]) if self.format in scene.FORMATS else self.size[0] * 2

    @property
    def frame_size(self) -> int:
        return scene.frame_size(self.format, *self.size) if self.format in scene.FORMATS else self.stride * self.size[1]


class Request:
    """One frame on its way to the camera or back, with a buffer of each stream."""

    def __init__(self, cookie: int, streams: Mapping[str, Stream]) -> None:
        self.cookie = cookie  # picamera2's number of the camera
        self.complete = False
        self.metadata: dict[str, Any] = {}
        self.controls: dict[str, Any] = {}
        self._streams = streams
        self._view = View(0)
        self._pixels: dict[str, Pixels] = {}

    def reuse(self) -> None:
        self.complete, self.metadata, self.controls, self._pixels = False, {}, {}, {}

    def set_control(self, name: str, value: Any, types: Mapping[str, Any]) -> None:
        self.controls[name] = cast(name, value, types)

    def expose(self, view: View, metadata: dict[str, Any]) -> None:
        self._view, self.metadata, self.complete = view, metadata, True

    def pixels(self, name: str) -> Pixels:
        """The memory of a stream's buffer. Drawn when it is looked at, since most of it never is."""
        stream = self._streams[name]
        if name not in self._pixels:
            self._pixels[name] = scene.render(self._view, stream.format, *stream.size)
        return self._pixels[name]


class Device:
    """libcamera.Camera: delivers frames into the requests that are queued with it, in a thread of its own."""

    def __init__(self, world: World, module: Module) -> None:
        self.world, self.module = world, module
        self.holder: object | None = None
        self.mode: Size | None = None
        self.exposures: list[int] = []  # SensorTimestamp of each frame, by its number
        self.applied: dict[str, Any] = {}  # controls in force
        self.starved = 0  # frames lost since all buffers were held
        self.used = 0  # bytes of memory
        self._transform, self._narrow = Transform(), False
        self._queue: deque[Request] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, holder: object) -> None:
        self.world.step("open", self.module)
        if self.holder or self.module.id in self.world.busy:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self.holder = holder

    def release(self) -> None:
        self.world.step("release", self.module)
        self.holder, self.mode, self.used, self.applied = None, None, 0, {}

    def configure(self, mode: Size, transform: Transform, colours: ColorSpace) -> None:
        self.world.step("configure", self.module)
        self.mode, self._transform, self._narrow = mode, transform, colours != ColorSpace.Sycc()

    def allocate(self, streams: Iterable[Stream]) -> None:
        """What picamera2's allocators do (allocators/dmaallocator.py; in 0.3.12 libcamera's own)."""
        self.world.step("allocate", self.module)
        self.used = 0
        wanted = sum(stream.buffer_count * stream.frame_size for stream in streams)
        if wanted + sum(device.used for device in self.world.devices.values()) > self.world.memory:
            if not self.world.at_least("0.3.18"):
                raise RuntimeError("Failed to allocate buffers: Cannot allocate memory")
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.used = wanted

    def types(self) -> dict[str, Any]:
        """A value of each control, whose type is the control's."""
        ranges = self.module.controls(self.mode)
        return {name: default if default is not None else low for name, (low, _, default) in ranges.items()}

    def start(self, controls: Mapping[str, Any]) -> None:
        self.world.step("start", self.module)
        types = self.types()
        self._apply({name: cast(name, value, types) for name, value in controls.items()})
        self._stopping.clear()
        self._queue.clear()
        self._thread = threading.Thread(target=self._run, name="fake sensor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.world.step("stop", self.module)
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def queue_request(self, request: Request) -> None:
        self.world.step("queue", self.module)
        self._queue.append(request)

    def _run(self) -> None:
        while not self._stopping.wait(self.world.interval_s):
            if self.module.id in self.world.stalled:
                continue
            if not self._queue:
                self.starved += 1
                continue
            request = self._queue.popleft()
            self._apply(request.controls)
            request.expose(self._view(), self._metadata())
            assert self.world.manager
            self.world.manager.completed(request)

    def _apply(self, controls: Mapping[str, Any]) -> None:
        for name, value in controls.items():
            if name in ("ExposureTime", "AnalogueGain") and not value:  # automatic again
                self.applied.pop(name, None)
            else:
                self.applied[name] = value

    def _view(self) -> View:
        transform, brightness = self._transform, self.applied.get("Brightness", 0.0)
        return View(len(self.exposures), brightness, transform.hflip, transform.vflip, self._narrow)

    def _metadata(self) -> dict[str, Any]:
        exposed_ns = time.monotonic_ns() - READOUT_NS + self.world.clock_ns
        self.exposures.append(exposed_ns)
        ranges, applied = self.module.controls(self.mode), self.applied
        shortest, longest = applied.get("FrameDurationLimits", (33333, 33333))
        duration = max(ranges["FrameDurationLimits"][0], shortest)
        found: dict[str, Any] = {
            "SensorTimestamp": exposed_ns,
            "FrameDuration": duration,
            "ExposureTime": min(applied.get("ExposureTime", 12000), max(duration, longest)),
            "AnalogueGain": applied.get("AnalogueGain", 1.5),
            "DigitalGain": 1.0,
            "Lux": 400.0,
            "ScalerCrop": applied.get("ScalerCrop", ranges["ScalerCrop"][2]),
        }
        if not self.module.mono:
            found |= {"ColourGains": applied.get("ColourGains", (2.1, 1.4)), "ColourTemperature": 4600}
        if self.module.lens:
            by_hand = applied.get("AfMode", 0) == 0
            found |= {
                "LensPosition": applied.get("LensPosition", 1.0) if by_hand else 2.5,
                "AfState": 0 if by_hand else 2,
            }
        return found


def cast(name: str, value: Any, types: Mapping[str, Any]) -> Any:
    """pyToControlValue(): a whole number is taken for a float, never the other way round. RuntimeError if it is not."""
    kind = types[name]
    if name in ("ScalerCrop", "AfWindows"):
        if value and isinstance(value[0], list | tuple):  # rectangles (picamera2/controls.py)
            return [cast(name, each, types) for each in value]
        x, y, width, height = (_number(int, part) for part in value)
        return (x, y, width, height)
    if isinstance(value, list | tuple):
        kind = kind[0] if isinstance(kind, tuple) else kind
        return tuple(_number(type(kind), part) for part in value)
    return bool(value) if isinstance(kind, bool) else _number(type(kind), value)


def _number(kind: type, value: Any) -> Any:
    if kind is float and isinstance(value, int | float):
        return float(value)
    if kind is int and hasattr(value, "__index__"):
        return int(value)
    raise RuntimeError(f"Unable to cast Python instance of type {type(value)} to C++ type '{kind.__name__}'")
