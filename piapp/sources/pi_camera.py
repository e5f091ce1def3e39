"""A camera on the Raspberry Pi's ribbon cable, through Picamera2.

Picamera2 captures in its own threads; the encoder hands each finished JPEG to HubOutput, which publishes it. picamera2
is imported when it is first needed: piapp runs without it.
"""

import threading
import time
from typing import Any, NamedTuple

from piapp.config import CameraConfig
from piapp.errors import SourceError
from piapp.sources.source import Publish, Source


class FoundCamera(NamedTuple):
    """One camera that libcamera knows."""

    number: int  # Picamera2's
    id: str
    model: str


def find_cameras() -> list[FoundCamera]:
    """The cameras on ribbon cables; none where picamera2 is not installed. Takes a second on a Pi."""
    try:
        return _list(_picamera2())
    except SourceError:
        return []


class PiCamera(Source):
    """`device` is the camera's number as Picamera2 counts, or its id; empty for the first."""

    kind = "picamera2"

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config)
        if config.rotation not in (0, 180):
            raise SourceError(
                f"A Pi camera cannot turn its picture by {config.rotation} degrees", "set rotation to 0 or 180"
            )

    def check(self) -> None:
        self._choose(_list(_picamera2()))

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        picamera2 = _picamera2()
        chosen = self._choose(_list(picamera2))
        try:
            camera = picamera2(chosen.number)
        except (IndexError, RuntimeError) as error:  # no camera is an IndexError up to 0.3.36, and busy a RuntimeError
            raise _opening_failed(error) from error
        try:
            self._record(camera, publish, stopping)
        except (OSError, RuntimeError) as error:
            raise SourceError(f"Pi camera failed ({error})", "look at the ribbon cable, then restart the Pi") from error
        finally:
            camera.close()

    def _choose(self, cameras: list[FoundCamera]) -> FoundCamera:
        """The one that the settings name. Raises SourceError."""
        for camera in cameras:
            if self.device in ("", str(camera.number), camera.id):
                self.device = camera.id
                return camera
        if not self.device:
            raise SourceError("Pi camera not found", "look at the ribbon cable, then restart the Pi")
        raise SourceError(f"Pi camera {self.device} not found", 'look at the ribbon cable, or set device to "0"')

    def _record(self, camera: Any, publish: Publish, stopping: threading.Event) -> None:
        """Configure, encode until asked to stop, and leave the camera stopped."""
        from libcamera import Transform
        from picamera2.encoders import MJPEGEncoder

        half_turn = self.config.rotation == 180
        camera.configure(
            camera.create_video_configuration(
                main={"size": self.config.resolution, "format": "YUV420"},
                raw=None,  # saves a raw buffer's worth of the Pi's contiguous memory
                buffer_count=4,
                controls={"FrameRate": self.config.framerate},
                transform=Transform(hflip=self.config.hflip != half_turn, vflip=self.config.vflip != half_turn),
            )
        )
        width, height = camera.camera_configuration()["main"]["size"]
        encoder = MJPEGEncoder()
        self.encoder = type(encoder).__name__
        self.negotiated = f"{width}x{height} at {self.config.framerate} fps"
        camera.start_recording(encoder, _hub_output(publish, width, height))
        try:
            stopping.wait()
        finally:
            camera.stop_recording()


def _picamera2() -> Any:
    """The class Picamera2. Raises SourceError."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise SourceError("Picamera2 is not installed", "sudo apt install python3-picamera2") from error
    return Picamera2


def _list(picamera2: Any) -> list[FoundCamera]:
    """libcamera lists USB cameras too; those go the cheaper way, through V4L2."""
    ribbon = [info for info in picamera2.global_camera_info() if "/usb" not in info["Id"]]
    return [FoundCamera(info["Num"], info["Id"], info.get("Model", "camera")) for info in ribbon]


def _opening_failed(error: Exception) -> SourceError:
    if "busy" in str(error.__cause__).lower():
        return SourceError("Pi camera is used by another program", "close that program")
    return SourceError("Pi camera not found", "look at the ribbon cable, then restart the Pi")


def _hub_output(publish: Publish, width: int, height: int) -> Any:
    """The encoder's receiver. A class made here, since its base class is only there when picamera2 is."""
    from picamera2.outputs import Output

    class HubOutput(Output):  # type: ignore[misc]
        """outputframe runs in picamera2's encoder thread, which an exception would kill for good: it must not raise."""

        def outputframe(self, frame: bytes, *_: object) -> None:
            """`frame` is a whole JPEG; up to 0.3.22 two more arguments follow, later four."""
            publish(bytes(frame), time.monotonic_ns(), width, height)

    return HubOutput()
