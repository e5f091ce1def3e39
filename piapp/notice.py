"""Pictures made of words: what a viewer sees while there is no picture from the camera.

A stream never ends and never freezes without a word: the Camera publishes one of these a second instead.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from piapp.config import Size
from piapp.rate_limit import Rate, RateLimit
from piapp.sources import encoder, text

log = logging.getLogger(__name__)

_BACKGROUND, _DIM, _BRIGHT = 28, 150, 235


@dataclass(frozen=True)
class Limits:
    """Bounds on the cost of notices."""

    shortest: int = 48  # pixels a side; text is not legible on fewer
    longest: int = 1920  # pixels a side; the camera's picture, or its broken header, may claim any size
    drawn: Rate = Rate(5, 1.0)  # drawing one
    complaints: Rate = Rate(1, 600.0)  # logging that drawing fails


class Notice(NamedTuple):
    """A grey JPEG."""

    jpeg: bytes
    size: Size


class Notices:
    """The notices of one camera. Belongs to the event loop; drawing runs in a worker thread."""

    def __init__(self, title: str, limits: Limits = Limits()) -> None:
        self._title, self._limits = title, limits
        self._drawn, self._complaints = RateLimit(limits.drawn), RateLimit(limits.complaints)

    async def draw(self, words: str, like: Size) -> Notice | None:
        """Like draw(), but waits when called too often, and returns None when drawing fails (the log says why)."""
        while not self._drawn.allows():  # noqa: ASYNC110  # only time changes this
            await asyncio.sleep(self._drawn.wait_s)
        try:
            return await asyncio.to_thread(draw, self._title, words, like, self._limits)
        except Exception:
            if self._complaints.allows():
                log.exception("%s: no notice can be drawn", self._title)
            return None


def draw(title: str, words: str, like: Size, limits: Limits = Limits()) -> Notice:
    """The title and the time small, the words as large as they fit. Some milliseconds of work.

    It has the size `like`, or the same shape within the limits.
    """
    size = _within(like, limits)
    y = np.full((size.height, size.width), _BACKGROUND, np.uint8)
    margin = size.width // 16
    room = size.width - 2 * margin
    small, titles = text.wrap(title, room, size.height // 10)
    text.draw(y, "".join(titles[:1]), margin, size.height // 12, small, _DIM)
    text.draw(y, time.strftime("%H:%M:%S"), margin, size.height * 11 // 12 - small, small, _DIM)
    height, lines = text.wrap(words, room, size.height // 2)
    top = max(0, (size.height - len(lines) * height * 5 // 4) // 2)
    for i, line in enumerate(lines):
        text.draw(y, line, margin, top + i * height * 5 // 4, height, _BRIGHT)
    return Notice(encoder.encode_planes(y, None, None, quality=80), size)


def span(seconds: float) -> str:
    """A span of time as a person says it: 12 s, 5 min, 3 h, 2 days."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def _within(size: Size, limits: Limits) -> Size:
    """Scale down until the long side fits, then lengthen a side that is too short, at the cost of the shape."""
    scale = min(1.0, limits.longest / max(*size, 1))
    return Size(*(max(limits.shortest, round(side * scale)) for side in size))
