"""Which Pi cameras there are, through Picamera2, which is imported when it is first needed: piapp runs without it."""

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError

TUNING = "LIBCAMERA_RPI_TUNING_FILE"  # libcamera reads it when it looks for cameras, one file for all of them
COMPATIBLE = Path("/proc/device-tree/compatible")
IPA = (Path("/usr/local/share/libcamera/ipa/rpi"), Path("/usr/share/libcamera/ipa/rpi"))
TURN_LIMIT_S = 5.0

_turn = threading.RLock()


class FoundCamera(NamedTuple):
    """One camera that libcamera knows."""

    number: int  # as Picamera2() takes it
    id: str
    model: str  # the sensor, as in "imx708_wide"

    def is_called(self, device: str) -> bool:
        """Whether `device` in the settings means this one; empty means any."""
        return device in ("", str(self.number), self.id)


class Modes(NamedTuple):
    """What a sensor can deliver with so many bits for each pixel."""

    bits: int
    sizes: tuple[Size, ...]


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """libcamera's manager is one for the process, and picamera2 does not guard its making and its end: whoever looks
    for cameras, opens or closes one does it inside of this. A closing that hangs must not keep the others out, hence
    the limit.
    """
    got = _turn.acquire(timeout=TURN_LIMIT_S)
    try:
        yield
    finally:
        if got:
            _turn.release()


def picamera2() -> Any:
    """The class Picamera2. Raises SourceError."""
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")  # else it tells a long story at each opening
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise SourceError("Picamera2 is not installed", "sudo apt install python3-picamera2") from error
    logging.getLogger("picamera2.picamera2").setLevel(logging.CRITICAL)  # it logs what it raises as well
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
        if camera.is_called(device):
            return camera
    if not device:
        raise SourceError("Pi camera not found", "look at the ribbon cable, then restart the Pi")
    raise SourceError(f"Pi camera {device} not found", 'look at the ribbon cable, or set device to "0"')


def modes(camera: FoundCamera) -> list[Modes]:
    """The sensor's own, with most bits first; none where libcamera does not tell. The camera is neither opened nor
    changed, so that nobody who uses it is disturbed.
    """
    from libcamera import CameraManager, StreamRole

    found = dict[int, list[Size]]()
    with one_at_a_time():
        camera_now = next((each for each in CameraManager.singleton().cameras if each.id == camera.id), None)
        raw = camera_now.generate_configuration([StreamRole.Raw]) if camera_now else None
        if raw is not None and raw.size:
            formats = raw.at(0).formats
            for pixels in formats.pixel_formats:
                if bits := _bits(str(pixels)):
                    found.setdefault(bits, []).extend(Size(size.width, size.height) for size in formats.sizes(pixels))
    # the same mode may come packed in more than one way
    return [Modes(bits, tuple(sorted(set(found[bits]), reverse=True))) for bits in sorted(found, reverse=True)]


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


def _bits(pixels: str) -> int:
    """Of a raw format, which libcamera calls SRGGB10_CSI2P or R8 say; 0 for others."""
    order, _, packing = pixels.partition("_")
    found = re.fullmatch(r"S?(?:[RGB]{4}|R)(\d*)", order)
    if packing.startswith("PISP_COMP"):  # a Pi 5 compresses 16 bits to 8
        return 16
    return int(found[1] or 0) if found else 0


def _list(picamera2: Any) -> list[FoundCamera]:
    """libcamera lists USB cameras too, behind the others; those go the cheaper way, through V4L2.

    Picamera2() counts in the order of this list. Its "Num" is libcamera's own number, which may differ, and which
    up to 0.3.12 is not there.
    """
    with one_at_a_time():
        infos = picamera2.global_camera_info()
    return [
        FoundCamera(number, info["Id"], info.get("Model", "camera"))
        for number, info in enumerate(infos)
        if "/usb" not in info["Id"]
    ]
