"""One input, made from its seed alone; what was found with it; and the shortest input that still shows it."""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import NamedTuple

MINIMISING_S = 60.0


class Case(NamedTuple):
    """Bytes, in the pieces in which they are sent, or the files that they are."""

    seed: int
    pieces: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


class Finding(Exception):
    """What is wrong, and the cases that may have brought it about."""

    def __init__(self, what: str, suspects: Sequence[Case] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.suspects = list(suspects)

    def is_like(self, other: "Finding") -> bool:
        """Whether it is the same, but for its details."""
        return _kind(self.what) == _kind(other.what)


def _kind(what: str) -> str:
    return re.sub(r"\d+|'[^']*'|\"[^\"]*\"|b'.*", "", what)[:60]


async def minimised(data: bytes, fails: Callable[[bytes], Awaitable[bool]]) -> bytes:
    """A shorter input that fails as well: ever smaller parts are left out, as long as it does."""
    end, size = time.monotonic() + MINIMISING_S, max(1, len(data) // 2)
    while size:
        place, before = 0, len(data)
        while place < len(data):
            if time.monotonic() > end:
                return data
            shorter = data[:place] + data[place + size :]
            if await fails(shorter):
                data = shorter
            else:
                place += size
        if len(data) == before or size > 1:
            size //= 2
    return data


def split(data: bytes, random: Random, most: int = 4) -> tuple[bytes, ...]:
    """The same in up to so many more pieces, cut anywhere."""
    places = sorted(random.randrange(len(data) + 1) for _ in range(random.randint(1, most)))
    cuts = [0, *places, len(data)]
    return tuple(data[a:b] for a, b in zip(cuts, cuts[1:], strict=False) if a < b) or (b"",)


def mutated(data: bytes, random: Random, words: Sequence[bytes], times: int) -> bytes:
    """The same with so many changes, which put in some of the words, too."""
    changed = bytearray(data)
    for _ in range(times):
        size = len(changed)
        start = random.randrange(size + 1)
        end = min(size, start + 1 + int(random.expovariate(1 / 8)))
        match random.randrange(10):
            case 0 if start < size:
                changed[start] ^= 1 << random.randrange(8)
            case 1:
                changed[start:start] = random.randbytes(random.randint(1, 4))
            case 2:
                del changed[start:end]
            case 3:
                changed[start:start] = changed[start:end]
            case 4:
                changed[start:end] = random.choice(words)
            case 5:
                del changed[start:]
            case 6:
                changed[start:start] = changed[start:end] * random.choice((2, 5, 50))
            case 7:
                changed[start:end] = bytes(changed[start:end]).swapcase()
            case 8:
                other = random.randrange(size + 1)
                changed[start:start] = changed[other : other + 20]
            case _:
                changed[start:start] = random.choice(words)
    return bytes(changed)
