"""The bytes of both stream formats, and which reader gets which."""

import time

import pytest
import wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numbered import BOUNDARIES, NEARLY, number_in, numbered

from piapp.frame import Frame
from piapp.web import multipart
from piapp.web.multipart import Format

JPEG = b"\xff\xd8 picture \xff\xd9"
STEADY = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
BOTH = pytest.mark.parametrize("form", list(Format))

# What the programs really send, as seen on the wire.
READERS = {
    "Chromium, img": ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", Format.ADVANCE),
    "Chromium, page": (
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
        "application/signed-exchange;v=b3;q=0.7",
        Format.ADVANCE,
    ),
    "Firefox, img": ("image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", Format.ADVANCE),
    "Firefox 91, img": ("image/webp,*/*", Format.ADVANCE),
    "Firefox, page": ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.ADVANCE),
    "WebKit, img": (
        "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,"
        "image/*;q=0.8,*/*;q=0.5",
        Format.ADVANCE,
    ),
    "WebKit, page": ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.ADVANCE),
    "a page's fetch()": ("*/*", Format.CLASSIC),
    "curl": ("*/*", Format.CLASSIC),
    "ffmpeg, OpenCV": ("*/*", Format.CLASSIC),
    "asks for multipart": ("multipart/x-mixed-replace", Format.CLASSIC),
    "GStreamer, mjpg-streamer's clients: no header": ("", Format.CLASSIC),
}


def frame(jpeg: bytes = JPEG, captured_ns: int = 0) -> Frame:
    return Frame(jpeg, 1, captured_ns, 64, 48)


def parts(form: Format, jpegs: list[bytes], piece: int = 1 << 20) -> list[bytes]:
    """The pictures that a reader gets out of a stream of these, when it comes in pieces of this size."""
    parser = wire.Parser(advance=form is Format.ADVANCE)
    body = multipart.opening(form) + b"".join(multipart.PARTS[form](frame(jpeg)) for jpeg in jpegs)
    found = [part for i in range(0, len(body), piece) for part in parser.feed(body[i : i + piece])]
    assert parser.rest == b""  # each picture is whole with its own bytes: no reader needs the next one for it
    return [part.jpeg for part in found]


def test_programs_get_a_header_with_the_length_in_front_of_each_picture() -> None:
    assert multipart.opening(Format.CLASSIC) == b"--frame\r\n"
    shot = frame(captured_ns=time.monotonic_ns())
    header, blank, rest = multipart.classic(shot).partition(b"\r\n\r\n")
    lines = header.split(b"\r\n")
    assert lines[:2] == [b"Content-Type: image/jpeg", b"Content-Length: %d" % len(JPEG)]
    assert lines[2].startswith(b"X-Timestamp: ") and len(lines) == 3
    assert blank + rest == b"\r\n\r\n" + JPEG + b"\r\n--frame\r\n"


def test_browsers_get_the_next_header_behind_each_picture() -> None:
    assert multipart.opening(Format.ADVANCE) == b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    assert multipart.advance(frame()) == JPEG + b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"


def test_the_boundary_is_a_bare_token() -> None:
    assert multipart.content_type() == "multipart/x-mixed-replace; boundary=frame"


@pytest.mark.parametrize(("accept", "form"), READERS.values(), ids=READERS)
def test_each_reader_gets_its_format(accept: str, form: Format) -> None:
    assert multipart.negotiate(accept, None) is form


@pytest.mark.parametrize(("accept", "form"), READERS.values(), ids=READERS)
def test_the_query_overrides_the_header(accept: str, form: Format) -> None:
    assert multipart.negotiate(accept, "1") is Format.ADVANCE
    assert multipart.negotiate(accept, "0") is Format.CLASSIC
    for nonsense in ("", "2", "true", "yes", " 1"):
        assert multipart.negotiate(accept, nonsense) is form


@BOTH
@STEADY
@given(jpegs=st.lists(st.binary().map(lambda b: b"\xff\xd8" + b + b"\xff\xd9"), max_size=5), piece=st.integers(1, 99))
def test_any_pictures_come_out_unchanged(form: Format, jpegs: list[bytes], piece: int) -> None:
    assert parts(form, jpegs, piece) == jpegs


@STEADY
@given(
    chunks=st.lists(
        st.sampled_from(
            [b"\r\n", b"--frame", b"--", b"\r\n\r\n", b"Content-Type: image/jpeg", BOUNDARIES, wire.DELIMITER]
        )
    ),
    piece=st.integers(1, 99),
)
def test_programs_may_get_pictures_that_hold_boundaries(chunks: list[bytes], piece: int) -> None:
    jpeg = b"\xff\xd8" + b"".join(chunks) + b"\xff\xd9"
    assert parts(Format.CLASSIC, [jpeg, JPEG, jpeg], piece) == [jpeg, JPEG, jpeg]


@BOTH
def test_nearly_a_boundary_is_none(form: Format) -> None:
    jpegs = [numbered(number, NEARLY) for number in range(1, 20)]
    assert [number_in(jpeg) for jpeg in parts(form, jpegs, 1000)] == list(range(1, 20))


@pytest.mark.parametrize("ago_s", [0, 5, 86400])
def test_the_timestamp_is_when_the_picture_was_taken(ago_s: int) -> None:
    shot = frame(captured_ns=time.monotonic_ns() - ago_s * 1_000_000_000)
    parser = wire.Parser(advance=False)
    [part] = parser.feed(multipart.opening(Format.CLASSIC) + multipart.classic(shot))
    # A busy box may take its time here, and so the limit is wide: what it must not be is the time of sending.
    assert abs(time.time() - ago_s - float(part.timestamp)) < 2
    assert abs(float(multipart.timestamp(shot.captured_ns)) - float(part.timestamp)) < 2


@pytest.mark.parametrize(
    "body",
    [
        b"--frame\r\nContent-Length: 1\r\nContent-Type: image/jpeg\r\nX-Timestamp: 1.000000\r\n\r\nx\r\n--frame\r\n",
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 1\r\nX-Timestamp: 1.000000\r\n\r\nxy\r\n--frame\r\n",
        b"\r\n--frame\r\n",
        b"--frame\n",
    ],
)
def test_the_reader_of_these_tests_is_strict(body: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.Parser(advance=False).feed(body)
