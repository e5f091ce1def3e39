"""Which Pi cameras there are, through Picamera2, which is imported when it is first needed: piapp runs without it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from piapp.config import CameraConfig
from piapp.errors import SourceError

TUNING = "LIBCAMERA_RPI_TUNING_FILE"  # libcamera reads it when it looks for cameras, one file for all of them
COMPATIBLE = Path("/proc/device-tree/compatible")
IPA = (Path("/usr/local/share/libcamera/ipa/rpi"), Path("/usr/share/libcamera/ipa/rpi"))


class FoundCamera(NamedTuple):
    """One camera that libcamera knows."""

    number: int  # as Picamera2() takes it
    id: str
    model: str  # the sensor, as in "imx708_wide"


def picamera2() -> Any:
    """The class Picamera2. Raises SourceError."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise SourceError("Picamera2 is not installed", "sudo apt install python3-picamera2") from error
    return Picamera2


def find_cameras() -> list[FoundCamera]:
    """The cameras on ribbon cables; none where picamera2 is not installed. Takes a second on a Pi."""
    try:
        return _list(picamera2())
    except SourceError:
        return []


def choose(device: str) -> FoundCamera:
    """The one that the settings name by number or id, or the first. Raises SourceError."""
    cameras = _list(picamera2())
    for camera in cameras:
        if device in ("", str(camera.number), camera.id):
            return camera
    if not device:
        raise SourceError("Pi camera not found", "look at the ribbon cable, then restart the Pi")
    raise SourceError(f"Pi camera {device} not found", 'look at the ribbon cable, or set device to "0"')


def use_tuning(cameras: Iterable[CameraConfig]) -> None:
    """Have libcamera use the tuning file that the settings name. To be called before anybody looks for cameras.

    What the environment says stays in force where the settings name none.
    """
    for camera in cameras:
        if camera.tuning:
            os.environ[TUNING] = str(_tuning_file(camera.tuning))


def check_tuning() -> None:
    """Raise SourceError when the file is not there: libcamera would find no camera, and not say why."""
    file = os.environ.get(TUNING)
    if file and not os.path.isfile(file):
        raise SourceError(f"Tuning file {file} not found", f"{IPA[-1]} has one for each sensor; or set tuning to empty")


def _tuning_file(name: str) -> Path:
    """A path as it is; of a bare name, the one that libcamera has for this kind of Pi."""
    if "/" in name:
        return Path(name)
    is_pi_5 = COMPATIBLE.exists() and b"bcm2712" in COMPATIBLE.read_bytes()
    files = [folder / ("pisp" if is_pi_5 else "vc4") / name for folder in IPA]
    return next((file for file in files if file.is_file()), files[-1])


def _list(picamera2: Any) -> list[FoundCamera]:
    """libcamera lists USB cameras too, behind the others; those go the cheaper way, through V4L2.

    Picamera2() counts in the order of this list. Its "Num" is libcamera's own number, which may differ, and which
    up to 0.3.12 is not there.
    """
    cameras = enumerate(picamera2.global_camera_info())
    return [
        FoundCamera(number, info["Id"], info.get("Model", "camera"))
        for number, info in cameras
        if "/usb" not in info["Id"]
    ]
