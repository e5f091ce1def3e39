"""A stand-in for picamera2 and libcamera: what piapp uses of them, as picamera2 0.3.38 behaves.

`installed()` puts it where `import picamera2` finds it. A test steers the World that it gets; nothing here needs a Pi.
"""

import contextlib
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PI = {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 0}
SECOND = {"Model": "ov5647", "Location": 2, "Rotation": 0, "Id": "/base/soc/i2c0mux/i2c@0/ov5647@36", "Num": 1}
USB = {"Model": "HD Pro Webcam C920", "Id": "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1:1.0-046d:082d", "Num": 2}


@dataclass
class World:
    """What is there, what goes wrong, and what was done. All may be changed at any time."""

    cameras: list[dict[str, Any]] = field(default_factory=lambda: [PI])
    jpegs: list[bytes] = field(default_factory=lambda: [b"\xff\xd8 one \xff\xd9", b"\xff\xd8 two \xff\xd9"])
    arguments: int = 5  # that outputframe is called with: 3 up to 0.3.22
    memory: type = bytes  # of the frames: bytes, bytearray or memoryview
    interval_s: float = 0.001
    fails: dict[str, Exception] = field(default_factory=dict)  # what a step raises: "configure", "start", "stop"
    adjusted: tuple[int, int] | None = None  # the size that configure() makes of the one that was asked for
    opened: list["Picamera2"] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)  # in the encoder's thread, which ends of it

    @property
    def open(self) -> int:
        return sum(not camera.closed for camera in self.opened)


class Transform:
    """libcamera.Transform: keyword arguments only, no turn by 90 degrees."""

    def __init__(self, *, hflip: bool = False, vflip: bool = False) -> None:
        self.hflip, self.vflip = bool(hflip), bool(vflip)


class Output:
    """picamera2.outputs.Output."""

    def __init__(self, pts: str | None = None) -> None:
        self.recording = False

    def start(self) -> None:
        self.recording = True

    def stop(self) -> None:
        self.recording = False

    def outputframe(
        self, frame: bytes, keyframe: bool = True, timestamp: int | None = None, packet: Any = None, audio: bool = False
    ) -> None:
        """Called in the encoder's thread."""


class MJPEGEncoder:
    """picamera2.encoders.MJPEGEncoder: delivers JPEGs in a thread of its own until it is stopped."""

    def __init__(self, bitrate: int | None = None) -> None:
        self.output: Output | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, world: World) -> None:
        if self._thread:
            raise RuntimeError("Encoder already running")
        assert self.output
        self.output.start()
        self._thread = threading.Thread(target=self._deliver, args=(world, self.output), name="fake encoder")
        self._thread.start()

    def stop(self) -> None:
        if self._thread and self.output:
            self._stopping.set()
            self._thread.join()
            self.output.stop()

    def _deliver(self, world: World, output: Output) -> None:
        number = 0
        while not self._stopping.wait(world.interval_s):
            frame = world.memory(world.jpegs[number % len(world.jpegs)])
            more: tuple[Any, ...] = (True, number * 33_333, None, False)[: world.arguments - 1]
            number += 1
            try:
                output.outputframe(frame, *more)
            except BaseException as error:
                world.raised.append(error)
                return


class Picamera2:
    """picamera2.Picamera2."""

    world: World  # of the fixture, set on a subclass

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return [dict(info) for info in cls.world.cameras]

    def __init__(self, camera_num: int = 0) -> None:
        world = self.world
        self.closed = True
        world.opened.append(self)
        if error := world.fails.get("open"):
            raise error
        try:
            self.info = next(info for info in world.cameras if info["Num"] == camera_num)
        except StopIteration:
            raise IndexError("list index out of range") from None
        if any(not other.closed and other.info is self.info for other in world.opened):
            raise busy()
        self.closed = False
        self.encoder: MJPEGEncoder | None = None
        self.configuration: dict[str, Any] | None = None

    def create_video_configuration(
        self,
        main: dict[str, Any] | None = None,
        lores: dict[str, Any] | None = None,
        raw: dict[str, Any] | None = None,
        transform: Transform | None = None,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {
            "main": {"format": "XBGR8888", "size": (1280, 720), **(main or {})},
            "lores": lores,
            "raw": raw,
            "transform": transform or Transform(),
            "buffer_count": buffer_count,
            "controls": controls or {},
        }

    def configure(self, configuration: dict[str, Any]) -> None:
        if error := self.world.fails.get("configure"):
            raise error
        size = self.world.adjusted or tuple(configuration["main"]["size"])
        self.configuration = {**configuration, "main": {**configuration["main"], "size": size}}

    def camera_configuration(self) -> dict[str, Any] | None:
        return self.configuration

    def start_recording(self, encoder: MJPEGEncoder, output: Output, **_: Any) -> None:
        if self.configuration is None:
            raise RuntimeError("Camera must be configured")
        if not isinstance(output, Output):
            raise TypeError("output must be an Output")
        if error := self.world.fails.get("start"):
            raise error
        encoder.output, self.encoder = output, encoder
        encoder.start(self.world)

    def stop_recording(self) -> None:
        if self.encoder:
            self.encoder.stop()
        if error := self.world.fails.get("stop"):
            raise error

    def close(self) -> None:
        """Ends whatever still runs; twice does no harm."""
        if not self.closed and self.encoder:
            self.encoder.stop()
        self.closed = True


def busy() -> RuntimeError:
    """As Picamera2() raises it when another program has the camera."""
    error = RuntimeError("Camera __init__ sequence did not complete.")
    error.__cause__ = RuntimeError("Failed to acquire camera: Device or resource busy")
    return error


@contextlib.contextmanager
def installed(world: World) -> Iterator[None]:
    """`import picamera2` and `import libcamera` give the stand-ins; what was there before comes back."""
    modules: dict[str, dict[str, Any]] = {
        "picamera2": {"Picamera2": type("Picamera2", (Picamera2,), {"world": world})},
        "picamera2.encoders": {"MJPEGEncoder": type("MJPEGEncoder", (MJPEGEncoder,), {})},
        "picamera2.outputs": {"Output": Output},
        "libcamera": {"Transform": Transform},
    }
    before = {name: sys.modules.get(name) for name in modules}
    for name, content in modules.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(content)
    try:
        yield
    finally:
        _restore(before)


@contextlib.contextmanager
def not_installed() -> Iterator[None]:
    """`import picamera2` and `import libcamera` raise ImportError, also where they are installed."""
    names = ("picamera2", "picamera2.encoders", "picamera2.outputs", "libcamera")
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        _restore(before)


def _restore(modules: dict[str, types.ModuleType | None]) -> None:
    for name, module in modules.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
