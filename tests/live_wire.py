"""The live view's wire as a page sees it: a WebSocket client that forgives nothing.

Written from RFC 6455 and the description of the messages, not from piapp/web/websocket.py.
"""

import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from wire import Malformed, Refused, connect, read_head, request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
NO_WORD = (1006, "")  # how a WebSocket ends when the other side says nothing
_PICTURE = struct.Struct(">HHId")


class Picture(NamedTuple):
    """One picture out of the live view."""

    camera: int  # its id
    number: int
    captured_ms: float
    jpeg: bytes


class Control(NamedTuple):
    """A control frame other than CLOSE."""

    opcode: int
    payload: bytes


Message = dict[str, Any] | Picture | Control


class Closed(Exception):
    """The other side's last word: its code, 0 without one, and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A WebSocket frame as a client sends it; without a `mask` as none may. Written from RFC 6455, 5.2."""
    first, masked = opcode | 0x80 * final, 0x80 * bool(mask)
    if len(payload) < 126:
        head = struct.pack(">BB", first, masked | len(payload))
    elif len(payload) < 65536:
        head = struct.pack(">BBH", first, masked | 126, len(payload))
    else:
        head = struct.pack(">BBQ", first, masked | 127, len(payload))
    if mask:
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return head + mask + payload


class Messages:
    """Cuts what a server sends into messages, fed in pieces of any size. Raises Malformed."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def take(self) -> Message | None:
        """The next message, if all of it is here. Raises Closed for the last one."""
        rest = self.rest
        if len(rest) < 2:
            return None
        opcode, length, start = rest[0] & 0x0F, rest[1], 2
        if rest[0] & 0xF0 != 0x80 or length & 0x80 or opcode not in (TEXT, BINARY, CLOSE, PING, PONG):
            raise Malformed(f"frame begins {bytes(rest[:2])!r}")
        if length > 125:
            start, least = (4, 126) if length == 126 else (10, 65536)
            if len(rest) < start:
                return None
            length = int.from_bytes(rest[2:start])
            if length < least or opcode >= CLOSE:
                raise Malformed(f"length {length} of opcode {opcode}")
        if len(rest) < start + length:
            return None
        payload = bytes(rest[start : start + length])
        del rest[: start + length]
        return _message(opcode, payload)


def _message(opcode: int, payload: bytes) -> Message:
    if opcode == BINARY:
        camera, zero, number, captured_ms = _PICTURE.unpack_from(payload)
        assert zero == 0
        return Picture(camera, number, captured_ms, payload[_PICTURE.size :])
    if opcode == TEXT:
        message = json.loads(payload.decode(), parse_constant=_no_json)
        assert isinstance(message, dict) and isinstance(message["type"], str)
        return message
    if opcode == CLOSE:
        if len(payload) == 1:
            raise Malformed("half a close code")
        raise Closed(int.from_bytes(payload[:2]), payload[2:].decode())
    return Control(opcode, payload)


def _no_json(word: str) -> None:
    raise Malformed(f"{word} is no JSON")


class Page:
    """The live view as a page has it, to be used in a `with`. Says nothing by itself."""

    def __init__(
        self,
        port: int,
        client: str = "",
        headers: Mapping[str, str] = UPGRADE,
        *,
        host: str = "127.0.0.1",
        receive_buffer: int = 0,
    ) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        path = f"/api/live?client={client}" if client else "/api/live"
        self.socket = connect(port, host, receive_buffer=receive_buffer)
        try:
            self.socket.sendall(request("GET", path, {"Sec-WebSocket-Key": key, **headers}))
            self.head = read_head(self.socket)
            if self.head.status != 101:
                raise Refused(self.head)
            accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
            wanted = {
                **{"connection": "Upgrade", "upgrade": "websocket"},
                "sec-websocket-accept": base64.b64encode(accept).decode(),
            }
            assert wanted.items() <= self.head.headers.items()
            self._messages = Messages()
            self._messages.rest += self.head.body
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.socket.close()

    # --- out ---

    def send(self, opcode: int, payload: bytes = b"") -> None:
        self.socket.sendall(frame(opcode, payload))

    def say(self, type_: str, **more: object) -> None:
        self.send(TEXT, json.dumps({"type": type_, **more}).encode())

    def watch(self, *cameras: str) -> None:
        self.say("watch", cameras=cameras)

    def drawn(self, picture: Picture) -> None:
        """Acknowledge it."""
        self.send(BINARY, struct.pack(">HHI", picture.camera, 0, picture.number))

    def reset(self) -> None:
        """End it with an RST, as a page that crashes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- in ---

    def __next__(self) -> Message:
        """The next whole message. Raises Closed at the other side's last word, EOFError when it ends without one."""
        while (message := self.whole()) is None:
            if not self.receive(1 << 16):
                raise EOFError
        return message

    def receive(self, size: int) -> int:
        """Take at most so many bytes off the socket; how many came, 0 at the end."""
        data = self.socket.recv(size)
        self._messages.rest += data
        return len(data)

    def whole(self) -> Message | None:
        """A message that is here already, if one is."""
        return self._messages.take()

    def told(self, type_: str) -> dict[str, Any]:
        """The next message of this type; all else is passed over, pictures are acknowledged."""
        while True:
            message = next(self)
            if isinstance(message, dict) and message["type"] == type_:
                return message
            if isinstance(message, Picture):
                self.drawn(message)

    def picture(self) -> Picture:
        """The next picture, not acknowledged; all else is passed over."""
        while not isinstance(message := next(self), Picture):
            pass
        return message

    def draw(self, count: int) -> list[Picture]:
        """The next pictures, each acknowledged."""
        pictures = []
        for _ in range(count):
            pictures.append(self.picture())
            self.drawn(pictures[-1])
        return pictures

    def ended(self) -> tuple[int, str]:
        """Read to the end: the code and reason of the other side's last word, or NO_WORD."""
        try:
            while True:
                next(self)
        except Closed as closed:
            return closed.code, closed.reason
        except (EOFError, ConnectionError):
            return NO_WORD
