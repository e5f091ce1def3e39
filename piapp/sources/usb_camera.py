"""A USB camera (any V4L2 device), read through OpenCV.

The camera's own JPEGs are passed on untouched where it makes any: the bytes are copied once by OpenCV, out of the
driver's buffer, and once here, into the object that all viewers share; nothing is decoded. Only a camera without MJPG,
and a picture that is to be mirrored or turned, cost encoding. Its controls are the driver's, and those of Finish.

cv2 is imported when a camera is opened: piapp runs without it. Everything here runs in the source's thread.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources import encoder, jpeg, text, v4l2
from piapp.sources.control import Value
from piapp.sources.encoder import Pixels
from piapp.sources.finish import Finish
from piapp.sources.source import Publish, Source, plausible
from piapp.sources.v4l2_controls import DeviceControls

log = logging.getLogger(__name__)

Planes = tuple[Pixels, Pixels | None, Pixels | None]

SIMPLEJPEG, PASSED_ON = "simplejpeg", "the camera's own"  # what `encoder` says
SELECT_TIMEOUT_S = 2  # so long OpenCV waits for a frame; by itself it would be 10 s
FIRST_FRAME_LIMIT_S = 6.0  # some cameras need several seconds to wake up
BROKEN_LIMIT_S = 2.5  # a fault: nothing but broken pictures for so long
BURST_S = 10.0  # broken pictures closer together than this are one line in the log
DECODED_MORE = 2  # times the agreed number of pixels: a picture whose header claims more is not decoded


class UsbCamera(Source):
    """`device` is a path, a number n for /dev/videon, a name under /dev/v4l/by-id, or empty for the first camera."""

    kind = "usb"

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config)
        self._finish = Finish(config)
        self._of_driver: DeviceControls | None = None  # while the device is open
        self._sends_jpeg: bool | None = None  # None: not known before the camera is open
        self._agreed = config.resolution  # what the camera delivers, once it is open
        self._runs = False  # the first picture is about to be read
        self._refused: set[str] = set()  # controls that have been complained of
        self._last_bad = -BURST_S  # time.monotonic() of the newest broken picture
        self._turning = False  # the cost of turning pictures has been logged

    def load(self) -> None:
        _cv2()

    def check(self) -> None:
        _cv2()
        self.device = v4l2.find_path(self.config.device)
        v4l2.check(self.device)

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        self.check()
        cv2 = _cv2()
        fourcc = _choose(v4l2.formats(self.device), self.config.resolution)
        with contextlib.ExitStack() as stack:
            self._of_driver = DeviceControls(self._opened(stack), taken=Finish.NAMES)
            self._declare()
            self._obey()  # before the camera starts: its first picture shall be right
            capture = self._open(cv2, fourcc)
            stack.callback(capture.release)
            convert = self._converter(cv2, capture)
            self._declare()
            self._read(cv2, capture, convert, publish, stopping)

    def _opened(self, stack: contextlib.ExitStack) -> int:
        """A file descriptor for the controls."""
        try:
            return stack.enter_context(v4l2.opened(Path(self.device)))
        except OSError as error:
            v4l2.check(self.device)  # which says why
            raise SourceError("Camera cannot be opened", f"unplug it and plug it in again ({self.device})") from error

    def _open(self, cv2: Any, fourcc: str) -> Any:
        """An open cv2.VideoCapture that delivers bytes as the camera sends them."""
        width, height = self.config.resolution
        # In one go, before the first picture: a change of settings later would stop and start the camera each time
        settings = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter_fourcc(*fourcc),
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: self.config.framerate,
            cv2.CAP_PROP_CONVERT_RGB: 0,
        }
        capture = cv2.VideoCapture(self.device, cv2.CAP_V4L2, [int(n) for pair in settings.items() for n in pair])
        if not capture.isOpened():
            v4l2.check(self.device)  # unplugged or taken in this moment?
            raise SourceError("Camera cannot be opened", f"unplug it and plug it in again ({self.device})")
        return capture

    def _converter(self, cv2: Any, capture: Any) -> Callable[[Pixels], tuple[bytes, int, int]]:
        """What makes JPEG, width and height from what OpenCV reads; sets `negotiated`."""
        code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        fourcc = v4l2.c_string(code.to_bytes(4, "little")).strip()
        size = Size(int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        self._agreed = size if min(size) > 0 else self._agreed
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._negotiated(size, fourcc, round(fps) if 0 < fps < 1000 else 0)
        if fourcc in ("MJPG", "JPEG"):
            self._sends_jpeg = True
            return self._jpeg
        self._sends_jpeg = False
        log.info("%s: the camera sends %s, which is encoded to JPEG here", self.config.name, fourcc)
        split = _SPLIT.get(fourcc)
        # simplejpeg before 1.8 takes no planes in colour: then OpenCV's way to BGR costs a fifth of encoder.py's. Of
        # NV12 and NV21, though, OpenCV 4.6 makes RGB instead.
        takes_planes = hasattr(simplejpeg, "encode_jpeg_yuv_planes")
        if split is None or (not takes_planes and fourcc in ("YUYV", "UYVY", "YU12")):
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
            return self._encode_bgr
        return lambda raw: self._encode(split(raw.reshape(-1), *size))

    def _negotiated(self, size: Size, fourcc: str, fps: int) -> None:
        """Say what the camera agreed to, and in the log if that is not what was asked for. No fps: it does not tell."""
        asked = f"{self.config.resolution} at {self.config.framerate} fps"
        self.negotiated = f"{size} {fourcc} at {fps or '?'} fps"
        if size != self.config.resolution or fps not in (0, self.config.framerate):
            self.negotiated += f", asked for {asked}"
            log.warning("%s: the camera delivers %s", self.config.name, self.negotiated)

    def _read(
        self,
        cv2: Any,
        capture: Any,
        convert: Callable[[Pixels], tuple[bytes, int, int]],
        publish: Publish,
        stopping: threading.Event,
    ) -> None:
        """Publish until asked to stop; raises SourceError. Each grab() waits for a picture, so this never spins."""
        good, limit_s = time.monotonic(), FIRST_FRAME_LIMIT_S  # when the last good frame came; 0 after the first one
        self._runs = True
        while not stopping.is_set():
            self._obey()
            if not capture.grab():  # waits up to SELECT_TIMEOUT_S
                self._grab_failed(time.monotonic() - good, limit_s)
                stopping.wait(0.1)
                continue
            now_ns = time.monotonic_ns()
            captured_ns = plausible(int(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6), now_ns)
            try:
                # OpenCV's memory is ours: a new array for each frame
                arrived, raw = capture.retrieve()
                if not arrived:
                    raise ValueError("OpenCV could not read it")
                picture, width, height = convert(raw)
            except (ValueError, cv2.error) as error:
                self._bad_frame(error)
                if time.monotonic() - good > max(limit_s, BROKEN_LIMIT_S):
                    raise SourceError("Camera sent only broken pictures", "try another cable or USB port") from error
                continue
            publish(picture, captured_ns, width, height)
            good, limit_s = time.monotonic(), 0.0

    def _grab_failed(self, without_s: float, limit_s: float) -> None:
        """Raise the reason for no frame coming; return when it is too early to judge. `limit_s` is for the first one.

        A camera that never sends any is most often one too many for its USB controller.
        """
        if not v4l2.is_there(self.device):
            raise SourceError("Camera unplugged", "check the cable")
        if without_s > limit_s > 0:
            raise SourceError("Camera sends no pictures", "try another USB port, away from other cameras")
        if limit_s == 0:
            raise SourceError("Camera stopped sending pictures", "unplug it and plug it in again")

    def _bad_frame(self, error: Exception) -> None:
        self.bad_frames += 1
        now = time.monotonic()
        if now - self._last_bad > BURST_S:
            log.warning("%s: broken pictures are left out: %s", self.config.name, text.plain(error))
        self._last_bad = now

    # --- controls ---

    def _set(self, values: Mapping[str, Value]) -> None:
        self._finish.set(values)
        for name, value in values.items():
            if name not in Finish.NAMES and self._of_driver:
                try:
                    self._of_driver.set(name, value)
                except OSError as error:
                    self._complain(name, value, error)
        self._declare()

    def _complain(self, name: str, value: Value, error: OSError) -> None:
        """Once for each control; not of what a camera refuses at its opening, since another one may have taken it."""
        unplugged = error.errno == errno.ENODEV  # that will be told elsewhere
        if self._runs and not unplugged and name not in self._refused:
            self._refused.add(name)
            log.warning("%s: the camera does not take %s = %s (%s)", self.config.name, name, value, error.strerror)

    def _declare(self) -> None:
        """Read all controls anew: one that was set may have changed others."""
        self.encoder = self._encoder()
        if self._sends_jpeg and self.encoder == SIMPLEJPEG and not self._turning:
            self._turning = True
            log.info("%s: every picture is decoded and encoded again, to turn it", self.config.name)
        of_driver = self._of_driver.read() if self._of_driver else ()
        self.controls = (*self._finish.controls(encoding=self.encoder == SIMPLEJPEG), *of_driver)

    def _encoder(self) -> str:
        if self._sends_jpeg is None:
            return ""
        return PASSED_ON if self._sends_jpeg and not any(self._finish.turns) else SIMPLEJPEG

    # --- what makes JPEG of what OpenCV reads; ValueError for a broken picture ---

    def _jpeg(self, raw: Pixels) -> tuple[bytes, int, int]:
        picture, width, height = _pass(raw)
        if not any(self._finish.turns):
            return picture, width, height
        if width * height > DECODED_MORE * self._agreed.width * self._agreed.height:
            raise ValueError(f"its header says {width}x{height}, the camera agreed to {self._agreed}")
        return self._encode_bgr(simplejpeg.decode_jpeg(picture, "BGR"))

    def _encode_bgr(self, bgr: Pixels) -> tuple[bytes, int, int]:
        bgr = self._finish.turn(bgr)
        return encoder.encode_bgr(bgr, self._finish.quality), bgr.shape[1], bgr.shape[0]

    def _encode(self, planes: Planes) -> tuple[bytes, int, int]:
        y, u, v = planes
        if u is not None and v is not None:
            y, u, v = _stretch(y, _LUMA), _stretch(u, _CHROMA), _stretch(v, _CHROMA)
            if u.shape[0] == y.shape[0] and self.config.rotation in (90, 270):
                u, v = u[::2], v[::2]  # 4:2:2 on its side is nothing that JPEG encoders know: make it 4:2:0
            u, v = self._finish.turn(u), self._finish.turn(v)
        y = self._finish.turn(y)
        return encoder.encode_planes(y, u, v, self._finish.quality), y.shape[1], y.shape[0]


def _cv2() -> Any:
    """OpenCV. Raises SourceError where it is not installed."""
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(SELECT_TIMEOUT_S))  # read when cv2 is imported
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its warnings say less than our SourceErrors
    try:
        import cv2
    except ImportError as error:
        hint = "sudo apt install python3-opencv, or pip install opencv-python-headless"
        raise SourceError("OpenCV is not installed", hint) from error
    return cv2


def _choose(formats: list[v4l2.Format], size: Size) -> str:
    """The best format that has pictures of this size, else the best one: JPEG before what must be encoded here."""
    known = ["MJPG", "JPEG", *_SPLIT]
    offered = sorted((form for form in formats if form.fourcc in known), key=lambda form: known.index(form.fourcc))
    of_size = [form for form in offered if size in form.sizes or not form.sizes]
    return next((form.fourcc for form in of_size + offered), "MJPG")  # not offered: OpenCV takes what there is


def _pass(raw: Pixels) -> tuple[bytes, int, int]:
    """The camera's own JPEG, without the padding behind it. `raw` is of shape (1, bytes)."""
    whole = jpeg.complete(raw.reshape(-1).data)
    if whole is None:
        raise ValueError("torn, or no JPEG at all")
    return jpeg.with_huffman_tables(whole), *jpeg.size(whole)


# Colour video has 16 for black and 235 for white, JPEG 0 and 255 (ITU-R BT.601; what V4L2 means unless it says else)
_LUMA = bytes(min(max(round((level - 16) * 255 / 219), 0), 255) for level in range(256))
_CHROMA = bytes(min(max(round((level - 128) * 255 / 224) + 128, 0), 255) for level in range(256))


def _stretch(plane: Pixels, table: bytes) -> Pixels:
    """Every byte looked up in the table. Three times as fast as numpy does it."""
    return np.frombuffer(plane.tobytes().translate(table), np.uint8).reshape(plane.shape)


# --- raw formats, as one row of bytes, to planes; they are views, not copies ---


def _packed(y: int, u: int, v: int) -> Callable[[Pixels, int, int], Planes]:
    """4:2:2 in groups of four bytes for two pixels; y, u, v are where the first of each stands."""

    def split(raw: Pixels, width: int, height: int) -> Planes:
        rows = _whole(raw, width * height * 2).reshape(height, width * 2)
        return rows[:, y::2], rows[:, u::4], rows[:, v::4]

    return split


def _half_planar(u: int, v: int) -> Callable[[Pixels, int, int], Planes]:
    """4:2:0: a plane of brightness, then one of both colours by turns."""

    def split(raw: Pixels, width: int, height: int) -> Planes:
        rows = _whole(raw, width * height * 3 // 2).reshape(height * 3 // 2, width)
        return rows[:height], rows[height:, u::2], rows[height:, v::2]

    return split


def _planar(raw: Pixels, width: int, height: int) -> Planes:
    """4:2:0 in three planes, one after the other."""
    count = width * height
    u, v = _whole(raw, count * 3 // 2)[count:].reshape(2, height // 2, width // 2)
    return raw[:count].reshape(height, width), u, v


def _grey(raw: Pixels, width: int, height: int) -> Planes:
    return _whole(raw, width * height).reshape(height, width), None, None


def _whole(raw: Pixels, count: int) -> Pixels:
    if raw.size < count:
        raise ValueError(f"{raw.size} bytes of {count}")
    return raw[:count]


_SPLIT: dict[str, Callable[[Pixels, int, int], Planes]] = {
    "YUYV": _packed(0, 1, 3),
    "UYVY": _packed(1, 0, 2),
    "NV12": _half_planar(0, 1),
    "NV21": _half_planar(1, 0),
    "YU12": _planar,
    "GREY": _grey,
}
