"""Pictures made of words: what a viewer sees while there is no picture from the camera.

A stream never ends and never freezes without a word: the Camera publishes one of these a second instead.
"""

import time

import numpy as np

from piapp.config import Size
from piapp.sources import encoder, text

_BACKGROUND, _DIM, _BRIGHT = 28, 150, 235


def draw(title: str, words: str, size: Size) -> bytes:
    """A grey JPEG: the title and the time small, the words as large as they fit. Some milliseconds of work."""
    y = np.full((size.height, size.width), _BACKGROUND, np.uint8)
    margin = size.width // 16
    room = size.width - 2 * margin
    small, titles = text.wrap(title, room, size.height // 10)
    text.draw(y, titles[0], margin, size.height // 12, small, _DIM)
    text.draw(y, time.strftime("%H:%M:%S"), margin, size.height * 11 // 12 - small, small, _DIM)
    height, lines = text.wrap(words, room, size.height // 2)
    top = max(0, (size.height - len(lines) * height * 5 // 4) // 2)
    for i, line in enumerate(lines):
        text.draw(y, line, margin, top + i * height * 5 // 4, height, _BRIGHT)
    return encoder.encode_planes(y, None, None, quality=80)


def span(seconds: float) -> str:
    """A span of time as a person says it: 12 s, 5 min, 3 h, 2 days."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
