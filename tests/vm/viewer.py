"""Somebody who watches, from outside the guest, and never connects again."""

import time

from wire import Part, Stream

from .pictures import look

LIMIT_S = 120.0  # piapp itself may look for a camera only every 30 s


def shows(viewer: Stream, name: str | None, limit_s: float = LIMIT_S) -> Part:
    """Watch until there is a picture of this camera; None: one of piapp's notices. The picture."""
    end = time.monotonic() + limit_s
    for part in viewer:
        seen = look(part.jpeg)
        if (seen.name if seen else None) == name:
            return part
        assert time.monotonic() < end, f"no picture of {name} within {limit_s} s"
    raise AssertionError("the stream has ended")


def goes_on(viewer: Stream, name: str, count: int = 30) -> None:
    """So many pictures of this camera, and nothing else, each newer than the one before."""
    before = 0.0
    for _ in range(count):
        seen = look(next(viewer).jpeg)
        assert seen and seen.name == name and seen.sent > before
        before = seen.sent
