"""JSON as nobody should write it, and changes to a camera."""

import json
from random import Random

from .case import mutated

NAMES = (
    "on",
    "controls",
    "brightness",
    "contrast",
    "hflip",
    "exposure",
    "exposure_time",
    "focus_once",
    "",
    "ü",
    "\ud800",
)
WORDS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"',
        b"null",
        b"true",
        b"false",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
    ),
    *(b"-0", b"0x10", b"\\ud800", b"\\u0000", b"\xff", b"\xc3\xa4", b"\xef\xbb\xbf", b"\0", b"9" * 400, b"[" * 2000),
    *(b'{"on":', b'"controls":', b'"brightness"', b"128", b"1.5", b"1e308", b"-1", b" " * 50, b'"on"', b"\xed\xa0\x80"),
)
_ATOMS: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 128, 255, 256, 1.0, 0.1, -0.0, 1e308, 5e-324, 2**63, -(2**63), 10**400),
    *("", "auto", "manual", "x" * 300, "\0", "\ud800", "ü", float("nan"), float("inf"), "true"),
)


_RIGHT: dict[str, tuple[object, ...]] = {
    "brightness": (0, 128, 255, 1.5, None),
    "contrast": (0, 1, 0.1, 2.0, None),
    "hflip": (True, False, None),
    "exposure": ("auto", "manual", None),
    "exposure_time": (10, 250, 1000, 13, None),
    "focus_once": (True,),
}


def value(random: Random, depth: int = 3) -> object:
    """Anything that JSON can have, and some that it cannot."""
    kind = random.randrange(8) if depth else 0
    if kind == 6:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    if kind == 7:
        return {random.choice(NAMES): value(random, depth - 1) for _ in range(random.randrange(4))}
    return random.choice(_ATOMS)


def _controls(random: Random) -> dict[str, object]:
    """Of the fake device, mostly with values that they take."""
    names = random.sample(sorted(_RIGHT), random.randint(1, 3))
    return {name: random.choice(_RIGHT[name] if random.random() < 0.9 else _ATOMS) for name in names}


def changes(random: Random) -> bytes:
    """The body of a PATCH: often right, seldom far from it."""
    said: dict[str, object] = {}
    if random.random() < 0.3:
        said["on"] = True if random.random() < 0.8 else value(random)
    if random.random() < 0.8 or not said:
        said["controls"] = _controls(random) if random.random() < 0.8 else value(random)
    if random.random() < 0.1:
        said[random.choice(NAMES)] = value(random)
    text = json.dumps(said if random.random() < 0.95 else value(random), ensure_ascii=random.random() < 0.5)
    encoding = "utf-8" if random.random() < 0.95 else random.choice(("utf-16", "utf-32-le", "utf-8-sig", "latin-1"))
    data = text.encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")
    if random.random() < 0.5:
        data = mutated(data, random, WORDS, random.choice((1, 1, 2, 4)))
    if random.random() < 0.005:
        data *= 16 * 1024 // max(1, len(data)) + random.randrange(2)
    return data
