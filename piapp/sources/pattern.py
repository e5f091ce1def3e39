"""A test picture with a running clock, for machines without a camera and for measuring.

Three things move. The clock, to the millisecond: photograph it together with another clock to see the delay from
source to screen. A bright edge that crosses its track once a second, which shows every lost or late frame to the eye.
And a row of black and white squares that is the frame's count in binary, highest bit left, for programs that look
at pixels (`count_in`).
"""

import threading
import time
from collections.abc import Mapping
from datetime import datetime

import numpy as np

from piapp.config import CameraConfig
from piapp.sources import encoder, text
from piapp.sources.control import Value
from piapp.sources.encoder import Pixels
from piapp.sources.finish import Finish
from piapp.sources.source import Publish, Source, ticks

BITS = 24
_BARS = ((235, 128, 128), (210, 16, 146), (170, 166, 16), (145, 54, 34), (106, 202, 222), (81, 90, 240), (41, 240, 110))
_TRACK = 60  # brightness of the edge's track


class Pattern(Source):
    """Draws its frames itself; always works, at any size, turn and quality."""

    kind = "pattern"

    def __init__(self, config: CameraConfig, title: str = "Test picture") -> None:
        super().__init__(config)
        self.title = title
        self.encoder = "simplejpeg"
        self.negotiated = f"{config.resolution} drawn at {config.framerate} fps"
        self._finish = Finish(config)

    def check(self) -> None:
        """There is nothing that could be missing."""

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        still, u, v = _background(*self.config.resolution, self.title)
        self.controls = self._finish.controls()
        turns: tuple[bool, bool, int] | None = None  # of the colours
        for count, _ in enumerate(ticks(self.config.framerate, stopping), 1):
            captured_ns = time.monotonic_ns()
            self._obey()
            if turns != self._finish.turns:
                turns, turned = self._finish.turns, (self._finish.turn(u), self._finish.turn(v))
            y = self._finish.turn(_moving(still, datetime.now(), count))
            publish(encoder.encode_planes(y, *turned, self._finish.quality), captured_ns, y.shape[1], y.shape[0])

    def _set(self, values: Mapping[str, Value]) -> None:
        self._finish.set(values)
        self.controls = self._finish.controls()


def count_in(luma: Pixels) -> int:
    """The frame's count, read back from the brightness of a decoded, unturned test picture."""
    side = _square(luma.shape[1])
    row = luma[side // 2, side // 2 : side * BITS : side]
    return int("".join("1" if level > 128 else "0" for level in row), 2)


def _square(width: int) -> int:
    return max(2, width // 40)


def _background(width: int, height: int, title: str) -> tuple[Pixels, Pixels, Pixels]:
    """What never moves, as 4:2:0 planes: grey ramp above, colour bars, a dark field for the words."""
    y = np.full((height, width), 24, np.uint8)
    u, v = (np.full((height // 2, width // 2), 128, np.uint8) for _ in range(2))
    top, bottom = _square(width) // 2 * 2, height // 3 // 2 * 2
    for i, colour in enumerate(_BARS):
        left, right = (width * k // len(_BARS) // 2 * 2 for k in (i, i + 1))
        y[top:bottom, left:right] = colour[0]
        u[top // 2 : bottom // 2, left // 2 : right // 2] = colour[1]
        v[top // 2 : bottom // 2, left // 2 : right // 2] = colour[2]
    y[:top] = np.linspace(16, 235, width)
    size, lines = text.wrap(title, width - width // 16, height // 8)
    for i, words in enumerate(lines):
        text.draw(y, words, width // 32, bottom + height // 24 + i * size * 5 // 4, size)
    y[height * 11 // 12 :] = _TRACK
    return y, u, v


def _moving(still: Pixels, now: datetime, count: int) -> Pixels:
    """The brightness plane of one frame."""
    y = still.copy()
    height, width = y.shape
    side = _square(width)
    bits = np.array([int(bit) for bit in f"{count % (1 << BITS):0{BITS}b}"], np.uint8)
    y[:side, : side * BITS] = np.repeat(bits * 219 + 16, side)
    for top, words, share in (
        (24, f"{now:%H:%M:%S}.{now.microsecond // 1000:03d}", 0.25),
        (36, f"frame {count}", 0.12),
    ):
        size, _ = text.wrap(words, width - width // 16, int(height * share))
        text.draw(y, words, width // 32, height * top // 48, size)
    edge = now.microsecond * (width - side) // 1_000_000
    y[height * 11 // 12 :, edge : edge + side] = 235
    return y
