"""The bytes of a WebSocket, the server's side of RFC 6455, without extensions. No I/O.

piapp has its own, since Tornado's takes every message through coroutines and copies every picture: one picture and its
acknowledgement cost three to four times what a plain stream's picture does, measured for a hundred viewers.
"""

import base64
import binascii
import enum
import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MESSAGE_LIMIT = 8 * 1024  # bytes; a page has little to say
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class Opcode(enum.IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(enum.IntEnum):
    """Why a side ends the conversation (RFC 6455, 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NOT_UNDERSTOOD = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013


class Message(NamedTuple):
    """TEXT or BINARY in one piece, or a control frame. Text is not decoded, nor known to be UTF-8."""

    opcode: Opcode
    payload: bytes


class WebSocketError(Exception):
    """The other side breaks the rules; close with `code`."""

    def __init__(self, code: CloseCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def valid_key(key: str) -> bool:
    """Whether a client may send this as Sec-WebSocket-Key."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def accept(key: str) -> str:
    """Sec-WebSocket-Accept for a client's key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def head(opcode: Opcode, length: int) -> bytes:
    """What stands before a payload of so many bytes, sent in one piece."""
    if length < 126:
        return struct.pack(">BB", 0x80 | opcode, length)
    if length < 0x10000:
        return struct.pack(">BBH", 0x80 | opcode, 126, length)
    return struct.pack(">BBQ", 0x80 | opcode, 127, length)


def message(opcode: Opcode, payload: bytes) -> bytes:
    return head(opcode, len(payload)) + payload


def close(code: CloseCode, reason: str = "") -> bytes:
    """`reason`: at most 123 bytes."""
    return message(Opcode.CLOSE, struct.pack(">H", code) + reason.encode())


_WHOLE = {0x80 | opcode: opcode for opcode in (Opcode.TEXT, Opcode.BINARY)}  # so begins a frame that is all of it


class Reader:
    """Assembles a client's messages from its bytes. Ignores all input after an error or a CLOSE.

    Buffers at most one message and one frame.
    """

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self.frames = 0  # number of frames read
        self._limit = limit  # bytes of a message
        self._over = False
        self._bytes = bytearray()  # of a frame that is not complete yet
        self._opcode: Opcode | None = None  # of a message of several frames, while it is incomplete
        self._parts = bytearray()

    def feed(self, data: bytes) -> Iterable[Message]:
        """The messages that are complete by now, in their order; then WebSocketError if there is an error."""
        # what a page says all the time, an acknowledgement or a ping, is one short frame that comes by itself
        short = 6 <= len(data) < 6 + 126 and data[1] == 0x80 | len(data) - 6
        if short and data[0] in _WHOLE and not (self._bytes or self._opcode or self._over):
            self.frames += 1
            return (Message(_WHOLE[data[0]], _unmask(data[2:6], data[6:])),)
        return self._feed(data)

    def stop(self) -> None:
        """Ignore all further input."""
        self._over = True
        self._bytes.clear()
        self._parts.clear()

    def _feed(self, data: bytes) -> Iterator[Message]:
        if self._over:
            return
        self._bytes += data
        try:
            while not self._over and (frame := self._next_frame()) is not None:
                self.frames += 1
                if message := self._add(*frame):
                    if message.opcode is Opcode.CLOSE:
                        self.stop()
                    yield message
        except WebSocketError:
            self.stop()
            raise

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        """Whether it is its message's last, what it is, and its payload, unmasked; None when there is no whole one."""
        have = self._bytes
        if len(have) < 2:
            return None
        final, code, length = bool(have[0] & 0x80), have[0] & 0x0F, have[1] & 0x7F
        if have[0] & 0x70:
            raise _broken("reserved bits are set, but no extension was agreed on")
        if not have[1] & 0x80:
            raise _broken("a client's frame must be masked")
        try:
            opcode = Opcode(code)
        except ValueError:
            raise _broken(f"there is no opcode {code}") from None
        if opcode >= Opcode.CLOSE and (length > 125 or not final):
            raise _broken("a control frame is too long or in parts")
        start = 2 + 4
        if length == 126:
            start += 2
            length = int.from_bytes(have[2:4])
        elif length == 127:
            start += 8
            length = int.from_bytes(have[2:10])
        if len(have) < start:
            return None
        if opcode < Opcode.CLOSE and length + len(self._parts) > self._limit:
            raise WebSocketError(CloseCode.TOO_BIG, f"messages have at most {self._limit} bytes")
        if len(have) < start + length:
            return None
        payload = _unmask(bytes(have[start - 4 : start]), bytes(have[start : start + length]))
        del have[: start + length]
        return final, opcode, payload

    def _add(self, final: bool, opcode: Opcode, payload: bytes) -> Message | None:
        """The message that this frame completes, if it does."""
        if opcode is Opcode.CLOSE:
            _check_close(payload)
        if opcode >= Opcode.CLOSE:
            return Message(opcode, payload)
        if (opcode is Opcode.CONTINUATION) == (self._opcode is None):
            raise _broken("a message's frames are out of order")
        if self._opcode is None and final:
            return Message(opcode, payload)
        self._opcode = self._opcode or opcode
        self._parts += payload
        if not final:
            return None
        message = Message(self._opcode, bytes(self._parts))
        self._opcode = None
        self._parts.clear()
        return message


def _check_close(payload: bytes) -> None:
    """Empty, or a code that may be sent, and the reason."""
    code = int.from_bytes(payload[:2])
    if payload and not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise _broken(f"a close frame must not say {code}")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketError(CloseCode.NOT_UNDERSTOOD, "a reason must be UTF-8") from None


def _broken(sentence: str) -> WebSocketError:
    return WebSocketError(CloseCode.PROTOCOL_ERROR, sentence)


def _unmask(mask: bytes, payload: bytes) -> bytes:
    """One big number at a time: byte by byte takes forty times as long."""
    length = len(payload)
    whole = mask * (length // 4 + 1)
    return (int.from_bytes(payload) ^ int.from_bytes(whole[:length])).to_bytes(length)
