"""What a page says over its WebSocket, and what no page would."""

import json
import struct
from random import Random

from live_wire import BINARY, CLOSE, PING, PONG, TEXT

from . import bodies
from .case import Case, mutated, split

_NAMES = ("camera", "Küche 2", "steady", "nobody", "", "\ud800", "x" * 200)
_CODES = (1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 2999, 3000, 4999, 5000, 0, 65535)
_SIZES = (0, 1, 124, 125, 126, 127, 200, 8191, 8192, 8193, 65535, 65536)
WORDS = (
    *(
        b"\x81\x80",
        b"\x82\x88",
        b"\x88\x82",
        b"\x89\x80",
        b"\x01\x80",
        b"\x80\x80",
        b"\x81\xfe\x20\x01",
        b"\0\0\0\0",
        b"\xff" * 8,
    ),
    *(
        b"\x81\xff" + b"\xff" * 8,
        b"\x81\xfe\0\0",
        b"\x00",
        b"\x8a\x80",
        b"\x83\x80",
        b"\xc1\x80",
        b"\x81\x00",
        b"\x88\x81",
    ),
)


def frame(opcode: int, payload: bytes, random: Random, *, final: bool = True) -> bytes:
    """As RFC 6455, 5.2 has it, mostly: masked, in the shortest form of length."""
    first = opcode | 0x80 * final | (random.choice((0x10, 0x20, 0x40)) if random.random() < 0.01 else 0)
    size, form = len(payload), random.random()
    if size < 126 and form > 0.03:
        length = struct.pack(">B", 0x80 | size)
    elif size < 65536 and form > 0.015:
        length = struct.pack(">BH", 0x80 | 126, size)
    else:
        length = struct.pack(">BQ", 0x80 | 127, size)
    mask = random.randbytes(4) if random.random() < 0.9 else b"\0\0\0\0"
    whole = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(whole)).to_bytes(size)
    return bytes((first,)) + length + mask + masked


def _said(random: Random) -> bytes:
    """Nine times in ten what a page may say."""
    numbers: tuple[object, ...] = (1, 0.5, -1, 2**53, 1e300, True)
    match random.randrange(20):
        case 0:
            said: object = {"type": "ping", "echo": random.choice((10**400, float("nan"), float("inf"), None, "1"))}
        case 1:
            kinds = ("watch", "ping", "pong", "", 1)
            said = {"type": random.choice(kinds), "cameras": bodies.value(random), "echo": bodies.value(random)}
        case 2:
            said = {"type": "watch", "cameras": ["camera", "x"] * random.choice((50, 300, 600))}
        case kind if kind < 10:
            said = {"type": "ping", "echo": random.choice(numbers)}
        case _:
            said = {"type": "watch", "cameras": [random.choice(_NAMES) for _ in range(random.randrange(4))]}
    data = json.dumps(said).encode()
    return mutated(data, random, bodies.WORDS, 1) if random.random() < 0.05 else data


def _message(random: Random) -> bytes:
    """One message, in one frame or in several."""
    match random.randrange(12):
        case 0 | 1 | 2 | 3:
            opcode, payload = TEXT, _said(random)
        case 4 | 5 | 6:
            camera, number = (
                random.choice((0, 1, 2, 9, 65535)),
                random.choice((0, 1, random.randrange(5000), 2**32 - 1)),
            )
            opcode, payload = BINARY, struct.pack(">HHI", camera, random.choice((0, 0, 7)), number)
            payload = payload[: random.randrange(9)] if random.random() < 0.03 else payload
        case 7:
            return frame(
                random.choice((PING, PONG)),
                random.randbytes(random.choice((0, 1, 124, 125, 125 + random.randrange(2)))),
                random,
            )
        case 8 if random.random() < 0.5:
            reason = random.choice((b"", b"", b"bye", "ü".encode(), b"\xff", b"x" * 123, b"x" * 124))
            return frame(
                CLOSE, struct.pack(">H", random.choice(_CODES))[: random.choice((2, 2, 2, 1, 0))] + reason, random
            )
        case 9 if random.random() < 0.3:
            opcode, payload = random.choice((TEXT, BINARY)), random.randbytes(random.choice(_SIZES))
        case 10 if random.random() < 0.3:
            opcode, payload = random.randrange(16), random.randbytes(random.randrange(8))
        case _:
            opcode, payload = TEXT, b'{"type": "ping", "echo": 1}'
    if random.random() > 0.15:
        return frame(opcode, payload, random)
    parts = split(payload, random)
    frames = [frame(0 if i else opcode, part, random, final=i == len(parts) - 1) for i, part in enumerate(parts)]
    if random.random() < 0.3:
        frames.insert(random.randrange(len(frames) + 1), frame(PING, b"between", random))
    return b"".join(frames)


def case(seed: int) -> Case:
    """Some messages, of which some are mutated, in one piece or several."""
    random = Random(seed)
    data = b"".join(_message(random) for _ in range(random.choice((1, 1, 2, 3, 5))))
    if random.random() < 0.3:
        data = mutated(data, random, WORDS, random.choice((1, 1, 2, 3)))
    return Case(seed, split(data, random) if random.random() < 0.2 else (data,))
