"""Who makes the JPEGs of a Pi camera: the hardware that Pi 0 to 4 have, or simplejpeg on the processor.

A Pi 5 has no such hardware. There the name MJPEGEncoder stands for ffmpeg's encoder, which is always a frame late, and
after a moment of load three: so it is never used, and picamera2's JpegEncoder is.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import simplejpeg

from piapp.config import Size
from piapp.errors import SourceError
from piapp.sources import v4l2

HARDWARE = Path("/dev/video11")
HARDWARE_NAME = "bcm2835-codec-encode"
LARGEST = 1920  # pixels a side: with more, its STREAMON fails (picamera2 issue 473)
CAPTURE_BUFFER = 512 * 1024  # bytes that picamera2 has for one picture of the hardware's

# Where picamera2 puts the qualities of both encoders on a level (its Quality from VERY_LOW to VERY_HIGH): simplejpeg's
# quality, and the hardware's Mbit/s for 1920x1080 at 30 fps. The first and the last pair continue the line.
_LEVELS = ((0, 0.0), (25, 16.0), (35, 20.0), (50, 30.0), (65, 40.0), (80, 50.0), (100, 100.0))
_AT = 1920 * 1080


class Choice(NamedTuple):
    """Which encoder, and why."""

    hardware: bool
    why: str  # as it stands in a sentence behind the encoder's name; empty when there is nothing to explain

    def __str__(self) -> str:
        name = "the Pi's hardware" if self.hardware else "simplejpeg on the processor"
        return f"{name}: {self.why}" if self.why else name


def choose(setting: str, size: Size, device: Path = HARDWARE) -> Choice:
    """For `encoder` as in config.toml. Raises SourceError for hardware that is not there or cannot do the size."""
    lacks = _lacks(size, device)
    if setting == "hardware" and lacks:
        raise SourceError(f"Hardware encoder cannot be used ({lacks})", 'set encoder = "auto" in config.toml')
    if setting == "software":
        return Choice(False, "set in config.toml")
    return Choice(not lacks, lacks)


def software(quality: int) -> Any:
    """picamera2's JpegEncoder; a change of its `q` holds from the next picture on."""
    from picamera2.encoders import JpegEncoder

    return JpegEncoder(num_threads=threads(), q=quality)


def hardware(quality: int, size: Size) -> Any:
    """picamera2's MJPEGEncoder. RuntimeError where picamera2 believes that there is no hardware."""
    from picamera2.encoders.mjpeg_encoder import MJPEGEncoder  # not the one of the package: see above

    return MJPEGEncoder(bitrate=bitrate(quality, size))


def release(encoder: Any) -> None:
    """Once it was stopped: JpegEncoder leaves its pool's threads waiting."""
    if hasattr(encoder, "threads"):
        encoder.threads.shutdown(wait=False)


def threads() -> int:
    """Pictures that simplejpeg works on at once, each on a core of its own."""
    return min(4, os.cpu_count() or 1)


def takes_planes() -> bool:
    """Whether JpegEncoder encodes YUV420, which spares half the memory: picamera2 0.3.26, simplejpeg 1.8 and later."""
    from picamera2.encoders import JpegEncoder

    function = "encode_jpeg_yuv_planes"
    # the package's own version is not to be had everywhere, so look whether its code calls it
    return function in JpegEncoder.encode_func.__code__.co_names and hasattr(simplejpeg, function)


def bitrate(quality: int, size: Size) -> int:
    """What the hardware is told, in bit/s. It spends as much on each picture as 30 of them a second may cost.

    picamera2 never tells it another frame rate (V4L2Encoder._enable_framerate).
    """
    below, above = next(pair for pair in zip(_LEVELS, _LEVELS[1:], strict=False) if quality <= pair[1][0])
    share = (quality - below[0]) / (above[0] - below[0])
    mbit = below[1] + share * (above[1] - below[1])
    # a picture that is larger than the buffer is cut off; single ones are larger than their mean
    most = CAPTURE_BUFFER * 8 * 30 // 2
    return min(round(mbit * 1e6 * size.width * size.height / _AT), most)


def _lacks(size: Size, device: Path) -> str:
    """Why the hardware cannot be used; empty if it can."""
    try:
        with v4l2.opened(device) as fd:
            name = v4l2.name(fd)
    except FileNotFoundError:
        name = ""  # as on a Pi 5
    except OSError as error:
        return f"{device} cannot be opened, {(error.strerror or str(error)).lower()}"
    if name != HARDWARE_NAME:
        return "this computer has no hardware for it"
    if max(size) > LARGEST:
        return f"{size} is more than the hardware takes, {LARGEST} pixels a side"
    return ""
