"""The bytes of an MJPEG stream (multipart/x-mixed-replace). No I/O.

Two formats, since no single one is prompt in all readers. Browsers show a part when the *next* part's header has come,
so they get that header right behind each picture, and no length. Programs cut at Content-Length and would be a frame
late with that.
"""

import enum
import time

from piapp.frame import Frame

_BOUNDARY = b"--frame\r\n"


class Format(enum.IntEnum):
    """Which reader the bytes are for."""

    CLASSIC = enum.auto()  # programs: header with Content-Length, picture, boundary
    ADVANCE = enum.auto()  # browsers: picture, boundary, the next part's header


def negotiate(accept: str, advance_headers: str | None) -> Format:
    """From the Accept header; the query parameter `advance_headers` ("0" or "1") overrides it."""
    if advance_headers in ("0", "1"):
        return Format.ADVANCE if advance_headers == "1" else Format.CLASSIC
    return Format.ADVANCE if "image/" in accept or "text/html" in accept else Format.CLASSIC


def content_type() -> str:
    return "multipart/x-mixed-replace; boundary=frame"


def opening(form: Format) -> bytes:
    """What stands once between the response's head and the first part."""
    return _BOUNDARY + (_bare_header() if form is Format.ADVANCE else b"")


def advance(frame: Frame) -> bytes:
    """All that is sent to a browser for one frame, to be written in one piece."""
    return b"".join((frame.jpeg, b"\r\n", _BOUNDARY, _bare_header()))


def classic(frame: Frame) -> bytes:
    """The same for a program."""
    size, taken = len(frame.jpeg), timestamp(frame.captured_ns)
    header = f"Content-Type: image/jpeg\r\nContent-Length: {size}\r\nX-Timestamp: {taken}\r\n\r\n"
    return b"".join((header.encode(), frame.jpeg, b"\r\n", _BOUNDARY))


def timestamp(captured_ns: int) -> str:
    """When the picture was taken, on the wall clock: seconds since 1970 with microseconds.

    (µStreamer's header of the same name tells when it was sent.)
    """
    captured_us = (time.time_ns() - time.monotonic_ns() + captured_ns) // 1000
    return f"{captured_us // 1_000_000}.{captured_us % 1_000_000:06d}"


def _bare_header() -> bytes:
    return b"Content-Type: image/jpeg\r\n\r\n"


PARTS = {Format.CLASSIC: classic, Format.ADVANCE: advance}
