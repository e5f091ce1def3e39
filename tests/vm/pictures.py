"""What the cameras in the guest show: each a colour of its own, so that they cannot be taken for each other."""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
import simplejpeg

SIZES = ((640, 360), (1280, 720))
COLOURS = {"green": (30, 160, 60), "blue": (40, 60, 200)}
NOISE = 6  # makes them as large as real pictures


class Seen(NamedTuple):
    """A camera's picture, by what it says itself."""

    name: str
    sent: float  # time.time() of its computer when the camera began to send it


@cache
def jpegs() -> dict[str, bytes]:
    """For the cameras' folder."""
    random = np.random.default_rng(1)
    made = {}
    for name, colour in COLOURS.items():
        for width, height in SIZES:
            noise = random.integers(-NOISE, NOISE + 1, (height, width, 1))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            made[f"{name}-{width}x{height}.jpg"] = simplejpeg.encode_jpeg(pixels, 80, "RGB", "422")
    return made


def sent(jpeg: bytes) -> Seen | None:
    """What the camera has written into its picture; None: it is none of a camera's."""
    said = re.match(rb"\xff\xd8\xff\xfe..(\w+) ([\d.]+)", jpeg, re.S)
    return Seen(said[1].decode(), float(said[2])) if said else None


def look(jpeg: bytes) -> Seen | None:
    """The same, seen to be what it says. What is none of a camera's must be one of piapp's notices, which are grey."""
    seen = sent(jpeg)
    colour = simplejpeg.decode_jpeg(jpeg, "RGB").mean((0, 1))
    if seen:
        assert np.allclose(colour, COLOURS[seen.name], atol=8), f"{seen.name} shows {colour}"
    else:
        assert max(colour) - min(colour) < 3, f"neither a camera's picture nor a notice: {colour}"
    return seen
