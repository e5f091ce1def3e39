"""A PiCamera at work, without anything of piapp behind it, and how to read the pictures of the virtual cameras."""

import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import simplejpeg
from fakes import until

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources.encoder import Pixels
from piapp.sources.pi_camera import PiCamera

HD = CameraConfig(source="picamera2", device="Virtual0", resolution=Size(1280, 720))
SMALL = CameraConfig(source="picamera2", device="Virtual1", resolution=Size(640, 480))
LIMIT_S = 30.0  # for what must happen, on a machine that may be busy
BARS = "WYCGMRBK"  # white, yellow, cyan, green, magenta, red, blue, black: from left to right, again and again
_CODES = dict(zip(BARS, [7, 6, 3, 2, 5, 4, 1, 0], strict=True))  # red 4, green 2, blue 1
_EDGE = 16  # pixels beside an edge may be a mixture


class Frame(NamedTuple):
    jpeg: bytes
    captured_ns: int
    width: int
    height: int
    published_ns: int

    @property
    def delay_s(self) -> float:
        return (self.published_ns - self.captured_ns) / 1e9


class Filming:
    """In a `with`: from the camera's opening to its closing. Raises what the source has raised."""

    def __init__(self, config: CameraConfig = HD, failures: int = 0) -> None:
        """The first so many calls of publish fail."""
        self.source = PiCamera(config)
        self.frames: list[Frame] = []
        self._failures = failures
        self._errors: list[BaseException] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        if kind is None and self._errors:
            raise self._errors[0]

    def more(self, count: int) -> list[Frame]:
        """The next so many frames."""
        have = len(self.frames)
        until(lambda: len(self.frames) >= have + count or self._errors, LIMIT_S)
        if self._errors:
            raise self._errors[0]
        return self.frames[have : have + count]

    def _run(self) -> None:
        try:
            self.source.run(self._publish, self._stopping)
        except BaseException as error:
            self._errors.append(error)

    def _publish(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        if self._failures > 0:
            self._failures -= 1
            raise SourceError("Publishing failed", "this is a test")
        self.frames.append(Frame(jpeg, captured_ns, width, height, time.monotonic_ns()))


def fps(frames: list[Frame]) -> float:
    """As the camera's clock has it."""
    return (len(frames) - 1) / (frames[-1].captured_ns - frames[0].captured_ns) * 1e9


def pixels(jpeg: bytes) -> Pixels:
    """RGB, of a whole JPEG."""
    assert jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9")
    rgb: Pixels = simplejpeg.decode_jpeg(jpeg)
    return rgb


def place(rgb: Pixels) -> int:
    """How far the bars have moved, in pixels. Fails unless they are there, in their colours."""
    height, width, _ = rgb.shape
    bar = width // len(BARS)
    row = rgb[height // 2].astype(int)
    codes = (row > 127) @ np.array([4, 2, 1])
    (whites,) = np.nonzero((codes == _CODES["W"]) & (np.roll(codes, 1) == _CODES["K"]))
    assert len(whites) == 1, "not one edge from black to white"
    moved: int = (width - int(whites[0])) % width
    for number, name in enumerate(BARS):
        places = (np.arange(number * bar + _EDGE, (number + 1) * bar - _EDGE) - moved) % width
        pure = [255 * (_CODES[name] >> bit & 1) for bit in (2, 1, 0)]
        assert np.abs(row[places] - pure).max() < 8, f"{name} is {row[places].mean(axis=0).round()}"
    return moved
