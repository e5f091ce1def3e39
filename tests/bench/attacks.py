"""What badly behaved clients send: each attack is a few kinds of clients, run by flood.c."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

MANY = 50
PING, TEXT, BINARY = 0x89, 0x81, 0x82  # a whole WebSocket message each
TEXT_BEGINS, GOES_ON, ENDS = 0x01, 0x00, 0x80  # its fragments
WAIT, DEAF, UPGRADE, CLOSE = "-a", "-d", "-u", "-c"  # see flood.c


@dataclass(frozen=True)
class Clients:
    """Clients that all send the same: `opening` once, then `loop` over and over."""

    opening: bytes = b""
    loop: bytes = b""
    messages: int = 0  # in `loop`; 0: they only connect
    count: int = MANY
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attack:
    name: str
    clients: Sequence[Clients] = ()
    max_viewers: int = 100
    files: int = 0  # the server's `ulimit -n`, soft and hard; 0: as it is


def request(target: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + body


def patch(camera: str, body: bytes) -> bytes:
    return request(f"/api/cameras/{camera}", "Content-Type: application/json", method="PATCH", body=body)


def frame(first: int, payload: bytes) -> bytes:
    """A WebSocket frame. The mask of 0 leaves all bytes as they are."""
    return bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def asking(target: str, count: int = MANY) -> Clients:
    """Each sends the next request when the answer has come."""
    return Clients(loop=request(target), messages=1, count=count, options=(WAIT, "1"))


def watching(target: str = "/stream", count: int = MANY, *headers: str) -> Clients:
    return Clients(opening=request(target, *headers), count=count)


def _pages(loop: bytes, messages: int) -> Clients:
    headers = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    opening = request("/api/live?client=#######", *headers, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return Clients(opening, loop, messages, options=(UPGRADE,))


def _fragments(text: bytes) -> bytes:
    """A message in fragments of one byte."""
    begin, *middle, end = (bytes((byte,)) for byte in text)
    frames = [frame(TEXT_BEGINS, begin), *(frame(GOES_ON, byte) for byte in middle), frame(ENDS, end)]
    return b"".join(frames)


def _toggling() -> Clients:
    changes = (b'{"on": false, "controls": {"hflip": true}}', b'{"on": true, "controls": {"hflip": false}}')
    loop = b"".join(patch("other", change) for change in changes)
    return Clients(loop=loop, messages=2, options=(WAIT, "2"))


def _one_byte_a_packet(opening: bytes, loop: bytes) -> Clients:
    return Clients(opening, loop, len(loop), options=("-p", "1"))


_WATCH = frame(TEXT, b'{"type": "watch", "cameras": ["camera"]}')
_ACKS = frame(BINARY, struct.pack(">HHI", 0, 0, 4_000_000_000)) * 200
_FORM = request(
    "/api/cameras/camera", "Content-Type: application/x-www-form-urlencoded", method="POST", body=b"a=b&" * 15_000
)
_ESCAPES = b"GET /\x1b[31mred HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: \x1b]0;title\x07\r\n\r\n"
_NOTHING = request("/nothing")
_HEAD_BEGINS = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: "
_BODY_BEGINS = (
    b"PATCH /api/cameras/other HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 16000\r\n\r\n"
)
_IDLE = Clients(count=300)

ATTACKS = (
    Attack("nothing, to compare with"),
    Attack("WebSocket pings", [_pages(frame(PING, b"ping") * 200, 200)]),
    Attack("WebSocket fragments of one byte", [_pages(_fragments(b'{"type": "ping", "echo": 1}') * 10, 270)]),
    Attack("acks of unknown pictures", [_pages(_WATCH + _ACKS, 201)]),
    Attack("PATCHes that toggle a watched camera", [_toggling(), watching("/cameras/other/stream", 1)]),
    Attack("form POSTs of 60 kB", [Clients(loop=_FORM, messages=1, options=(WAIT, "1"))]),
    Attack("404s on keep-alive", [asking("/nothing")]),
    Attack("404s, pipelined", [Clients(loop=_NOTHING * 100, messages=100)]),
    Attack(
        "connects, 1,000/s, 50 viewers at most",
        [Clients(opening=request("/stream"), count=200, options=("-r", "1000"))],
        max_viewers=50,
    ),
    Attack("connects that close at once", [Clients(options=(CLOSE,))]),
    Attack("heads, one byte a packet", [_one_byte_a_packet(_HEAD_BEGINS, b"a" * 100)]),
    Attack("PATCH bodies, one byte a packet", [_one_byte_a_packet(_BODY_BEGINS, b" " * 100)]),
    Attack("raw data into open streams", [Clients(request("/stream"), b"raw data" * 8192, messages=1)]),
    Attack(
        "never-readers that pipeline GETs",
        [Clients(loop=request("/style.css") * 100, messages=100, count=45, options=(DEAF,))],
    ),
    Attack(
        "viewers with long User-Agents, polls",
        [watching("/stream", 98, "User-Agent: " + "a" * 15_000), asking("/api/cameras", 10)],
    ),
    Attack("idle sockets, ulimit -n 64", [_IDLE], files=64),
    Attack("idle sockets, ulimit -n 256", [_IDLE], files=256),
    Attack("snapshots", [asking("/snapshot.jpg")]),
    Attack("snapshots, full", [asking("/snapshot.jpg?full=1")]),
    Attack("malformed requests with ESC", [Clients(loop=_ESCAPES, messages=1, options=(WAIT, "1"))]),
    Attack("slow streams, fps=0.01", [watching("/stream?fps=0.01", 110)]),
    Attack("GET /api/cameras beside 60 viewers", [asking("/api/cameras"), watching(count=60)]),
)
