"""The head of a request, against RFC 9112; its sections in brackets."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piapp.web import http1
from piapp.web.http1 import BadRequest, Head, take_head

HOST = b"Host: a\r\n"


def parse(data: bytes) -> Head:
    head = take_head(bytearray(data))
    assert head
    return head


def status_of(data: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        take_head(bytearray(data))
    assert str(caught.value).endswith(".")
    return caught.value.status


def test_a_request_of_a_browser() -> None:
    head = parse(
        b"GET /a%20b?c=\xc3\xa4 HTTP/1.1\r\nHost: pi:8080\r\nAccept: */*\t \r\nX-Empty:\r\nCookie: a=1; b\r\n\r\n"
    )
    assert head.line == ("GET", "/a%20b?c=Ã¤", "HTTP/1.1")
    assert dict(head.headers.get_all()) == {"Host": "pi:8080", "Accept": "*/*", "X-Empty": "", "Cookie": "a=1; b"}
    assert head.length == 0 and head.keep_alive


def test_what_follows_stays_in_the_buffer() -> None:
    buffer = bytearray(b"\r\nPATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET")
    head = take_head(buffer)  # [2.2] an empty line in front of it is ignored
    assert head and head.length == 2 and buffer == b"{}GET"
    assert take_head(buffer) is None and buffer == b"{}GET"


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: keep-alive\r\n", True),
        ("1.1", "Connection: Close\r\n", False),
        ("1.1", "Connection: TE, close\r\n", False),
        ("1.1", "Connection: TE\r\nConnection: close\r\n", False),
        ("1.1", "Connection: closed\r\n", True),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive\r\n", True),
    ],
)
def test_whether_the_connection_stays_open(version: str, connection: str, keeps: bool) -> None:
    """[9.3]"""
    assert parse(f"GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n".encode()).keep_alive is keeps


def test_an_old_client_names_no_host() -> None:
    assert parse(b"GET / HTTP/1.0\r\n\r\n").line.version == "HTTP/1.0"


@pytest.mark.parametrize(
    ("status", "data"),
    [
        *((400, b"%s / HTTP/1.1\r\n%s\r\n" % (method, HOST)) for method in (b"", b"G(T", b"G\xc3", b" GET", b"GET\t")),
        *((400, b"GET %s HTTP/1.1\r\n%s\r\n" % (target, HOST)) for target in (b"", b"/a b", b"/\x7f", b" /")),
        *((400, b"GET / %s\r\n%s\r\n" % (version, HOST)) for version in (b"HTTP/1", b"http/1.1", b"HTTP/1.1 ", b"x")),
        *((505, b"GET / HTTP/%s\r\n%s\r\n" % (version, HOST)) for version in (b"2.0", b"0.9", b"1.2")),
        *((400, b"GET / HTTP/1.1\r\n%s%s\r\n" % (HOST, field)) for field in (b"a\r\n", b" a: b\r\n", b": b\r\n")),
        *(
            (400, b"GET / HTTP/1.1\r\n%s%s\r\n" % (HOST, field))
            for field in (b"a : b\r\n", b"a\x80: b\r\n", b"(: b\r\n")
        ),
        *(
            (400, b"GET / HTTP/1.1\r\n%sa: b%sc\r\n\r\n" % (HOST, byte))
            for byte in (b"\0", b"\x1b", b"\x7f", b"\r", b"\n")
        ),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n c\r\n\r\n"),  # [5.2] folded
        (400, b"GET / HTTP/1.1\n" + HOST),  # as soon as that shows
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01"),  # TLS
        (400, b"GET / HTTP/1.1\r\n\r\n"),  # [3.2]
        (400, b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n"),
        (414, b"GET /" + b"a" * http1.TARGET_LIMIT + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * http1.FIELDS_LIMIT + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"a" * (http1.NAME_LIMIT + 1) + b": b\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * http1.HEAD_LIMIT),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * http1.HEAD_LIMIT + b"\r\n\r\n"),
    ],
)
def test_what_is_refused(status: int, data: bytes) -> None:
    assert status_of(data) == status


@pytest.mark.parametrize("length", ["", "+2", "-1", "1_0", "0x2", "2 2", "2,2", "2, 2", "²", "2.", "1e1", "1" * 16])
def test_a_length_is_a_number(length: str) -> None:
    """[6.3]"""
    data = f"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    assert status_of(data.encode()) == 400


def test_there_is_one_length() -> None:
    assert status_of(b"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n") == 400
    assert parse(b"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length:  007\t\r\n\r\n").length == 7


@pytest.mark.parametrize("coding", ["chunked", "identity", "", "gzip, chunked", "x"])
@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding", "TRANSFER-ENCODING"])
def test_no_body_comes_encoded(name: str, coding: str) -> None:
    assert status_of(f"PATCH / HTTP/1.1\r\nHost: a\r\n{name}: {coding}\r\n\r\n".encode()) == 501
    assert status_of(f"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{name}: {coding}\r\n\r\n".encode()) == 501


def test_an_empty_line_before_a_request_may_come_in_two_pieces() -> None:
    buffer = bytearray(b"\r")
    assert take_head(buffer) is None
    buffer += b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert take_head(buffer, 1)


@given(st.binary(max_size=60), st.lists(st.integers(1, 30), max_size=30))
def test_pieces_make_no_difference(junk: bytes, sizes: list[int]) -> None:
    whole = b"GET /x HTTP/1.1\r\nHost: a\r\nA: " + junk + b"\r\n\r\n"

    def outcome(pieces: list[bytes]) -> object:
        buffer, looked = bytearray(), 0
        try:
            for piece in pieces:
                buffer += piece
                if head := take_head(buffer, looked):
                    return list(head.headers.get_all())
                looked = len(buffer)
        except BadRequest as error:
            return error.status
        return None

    pieces, place = [], 0
    for size in sizes:
        pieces.append(whole[place : place + size])
        place += size
    assert outcome([*pieces, whole[place:]]) == outcome([whole])


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_head_or_refused_or_not_all_there(data: bytes) -> None:
    try:
        take_head(bytearray(data))
    except BadRequest as error:
        assert 400 <= error.status < 600


def test_parsing_takes_linear_time() -> None:
    slowest = 0.0
    for data in (b"a" * 16000, b"GET " + b"/" * 16000, b"GET / HTTP/1.1\r\nA:" + b" \t" * 8000 + b"\0\r\n\r\n"):
        began = time.perf_counter()
        assert status_of(data + b"\0") == 400
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.1  # a pattern that tries every way takes minutes


def test_an_answer() -> None:
    assert http1.response_head(404, [("A", "b"), ("C", "ä")]) == b"HTTP/1.1 404 Not Found\r\nA: b\r\nC: \xe4\r\n\r\n"
    for broken in ("a\r\nSet-Cookie: b", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="line break"):
            http1.response_head(200, [("A", broken)])
