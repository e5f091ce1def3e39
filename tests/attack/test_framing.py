"""Requests whose beginning or end is not what HTTP/1.1 says: refused before anything else, the connection closed."""

import contextlib
import json
import time

import pytest
from wire import connect, read_head

from .raw import Talk, get, hear, lines, switch, talk, talk_all
from .target import Target

HOST = "Host: 127.0.0.1"
PATCH = "PATCH /api/cameras/camera HTTP/1.1"
JSON = "Content-Type: application/json"
OFF = b'{"on": false}'
HEAD_LIMIT = 16 << 10
CALM = 0.3  # of a processor, for a piapp that nobody asks for anything

REQUEST_LINES = {
    **{
        f"version {version!r}": f"GET /health{version}"
        for version in ("", " ", " HTTP", " HTTP/", " HTTP/1", " FTP/1.1")
    },
    **{f"version {version!r}": f"GET /health {version}" for version in ("HTTP/0.9", "HTTP/1.2", "HTTP/2", "HTTP/2.0")},
    **{
        f"version {version!r}": f"GET /health {version}"
        for version in ("HTTP/11.1", "HTTP/1.10", "HTTP/01.1", "http/1.1")
    },
    **{
        f"version {version!r}": f"GET /health {version}"
        for version in ("HTTP/1.1 ", "HTTP/1.1 x", "HTTP/-1.1", "HTTP/1,1")
    },
    "two spaces": "GET  /health HTTP/1.1",
    "two spaces before the version": "GET /health  HTTP/1.1",
    "a tab": "GET\t/health HTTP/1.1",
    "a tab before the version": "GET /health\tHTTP/1.1",
    "a space in front": " GET /health HTTP/1.1",
    "a space in the target": "GET /health x HTTP/1.1",
    "no target": "GET HTTP/1.1",
    "an empty target": "GET  HTTP/1.1",
    "no method": "/health HTTP/1.1",
    "an empty method": " /health HTTP/1.1",
    "a method of other characters": "G(T /health HTTP/1.1",
    "a method with a NUL": "G\0T /health HTTP/1.1",
    "a method with a colon": "GET: /health HTTP/1.1",
    "a method beyond ASCII": "G\xcbT /health HTTP/1.1",
    "a NUL in the target": "GET /hea\0lth HTTP/1.1",
    "an escape character in the target": "GET /hea\x1blth HTTP/1.1",
    "a vertical tab in the target": "GET /hea\x0blth HTTP/1.1",
    "a DEL in the target": "GET /hea\x7flth HTTP/1.1",
    "a bare CR in the line": "GET /health\rHTTP/1.1",
    "a bare CR at its end": "GET /health HTTP/1.1\r",
    "a next line character": "GET /health HTTP/1.1\x85",
}
HEADERS = {
    "no colon": "Nothing",
    "no name": ": value",
    "a space before the colon": "X-Name : value",
    "a tab before the colon": "X-Name\t: value",
    "a space in the name": "X Name: value",
    "a space in front of the name": " X-Name: value",
    "a folded line": "X-Name: value\r\n more",
    "a line folded by a tab": "X-Name: value\r\n\tmore",
    "an empty folded line": "X-Name: value\r\n ",
    **{
        f"{character!r} in the name": f"X{character}Name: value"
        for character in '\0\x01\x0b\x0c\x1b\x1c\x7f\x85\xa0\xe9"(),/;<=>?@[\\]{}'
    },
    **{
        f"{character!r} in the value": f"X-Name: a{character}b"
        for character in "\0\x01\x07\x08\x0b\x0c\x0e\x1b\x1c\x1d\x1e\x1f\x7f\r\n"
    },
    "a bare LF ends the line": "X-Name: value\nX-Other: value",
    "a bare CR ends the line": "X-Name: value\rX-Other: value",
    "CR CR LF ends the line": "X-Name: value\r",
}
HOSTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "two": (HOST, HOST),
    "two that differ": (HOST, "Host: localhost"),
    "two in different cases": (HOST, "hOST: 127.0.0.1"),
    "two in one": ("Host: 127.0.0.1, localhost",),
    "an empty one": ("Host:",),
    "one with a space before the colon": ("Host : 127.0.0.1",),
    "one with a space in it": ("Host: 127.0.0.1 x",),
}
LENGTHS = (
    *(
        "+13",
        "-1",
        "-0",
        "1_3",
        "1_0",
        "0x2",
        "0xd",
        "0b1",
        "0o7",
        "13.0",
        "1e1",
        "1 3",
        " 2 2",
        "13,13",
        "13, 13",
        "13;",
        "x",
        "",
    ),
    *(
        "13\t13",
        "13\0",
        "\x0b13",
        "13\x0c",
        "\xb2",
        "\xd9\xa1\xd9\xa3",
        "\xa013",
        "13\x85",
        '"13"',
        "99999999999999999999",
    ),
    *("9" * 400, "9" * 5000, "18446744073709551629", "9223372036854775821"),
)
TWO_LENGTHS = (("13", "13"), ("13", "0"), ("0", "13"), ("13", ""), ("", "13"), ("0", "0"))
CODINGS = (
    *(
        "chunked",
        "Chunked",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "xchunked",
        "",
    ),
    *("chunked;q=1", '"chunked"', ",chunked", "chunked,", "\tchunked", " chunked ", "chunked\0", "\x0bchunked"),
)
NOT_HTTP = {
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(190)),
    "TLS that has an end of line in it": bytes.fromhex("160301000d0a0d0a0d0a0d0a"),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "RTSP": b"OPTIONS rtsp://127.0.0.1/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "SIP": b"INVITE sip:camera@127.0.0.1 SIP/2.0\r\nVia: x\r\n\r\n",
    "a PROXY protocol header": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "LF only": b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\n",
    "CR only": b"GET /health HTTP/1.1\rHost: 127.0.0.1\r\r",
    "LF after CR LF": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\n",
    "LF in the middle": b"GET /health HTTP/1.1\nHost: 127.0.0.1\r\n\r\n",
    "a chunk": b"5\r\nhello\r\n0\r\n\r\n",
    "bytes": bytes(range(256)) + b"\r\n\r\n",
    "NULs": bytes(64) + b"\r\n\r\n",
    "UTF-16": "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode("utf-16") + b"\r\n\r\n",
}


def all_refused(target: Target, requests: dict[str, bytes], *statuses: int) -> None:
    """Each is answered with one of the statuses, once, and the connection closed."""
    talks = dict(zip(requests, talk_all(target.port, requests.values()), strict=True))
    wrong = [f"{name}: {talk}" for name, talk in talks.items() if not talk.refused(*statuses)]
    assert not wrong, "\n".join(wrong)


# --- the head ---


def test_a_right_request_is_answered(target: Target) -> None:
    """So that what is refused below is refused for what is wrong in it."""
    assert talk(target.port, get()).statuses == [200]
    assert talk(target.port, lines("GET /health HTTP/1.0", HOST)).statuses == [200]
    assert talk(target.port, switch(True, "Connection: close")).statuses == [200]
    value = "X-Name:\t a\tb \xe9\x85 \t"  # all that a value may have in it
    assert talk(target.port, lines("GET /health HTTP/1.1", HOST, value, "Connection: close")).statuses == [200]


def test_a_request_line_is_exact(target: Target) -> None:
    requests = {name: lines(line, HOST) for name, line in REQUEST_LINES.items()}
    all_refused(target, requests, 400, 501, 505)


def test_a_header_line_is_exact(target: Target) -> None:
    requests = {name: lines("GET /health HTTP/1.1", HOST, line) for name, line in HEADERS.items()}
    requests |= {f"{name}, first": lines("GET /health HTTP/1.1", line, HOST) for name, line in HEADERS.items()}
    all_refused(target, requests, 400)


def test_there_is_one_host(target: Target) -> None:
    start, end = "GET /health HTTP/1.1", "Connection: close"
    all_refused(target, {name: lines(start, *hosts, end) for name, hosts in HOSTS.items()}, 400, 421)


@pytest.mark.parametrize("name", NOT_HTTP)
def test_another_protocol_is_refused(target: Target, name: str) -> None:
    assert_refused(talk(target.port, NOT_HTTP[name]), 400, 505)


def test_a_head_has_at_most_16_kb(target: Target) -> None:
    requests = {
        "one long header": lines("GET /health HTTP/1.1", HOST, "X-Name: " + "x" * HEAD_LIMIT),
        "many headers": lines("GET /health HTTP/1.1", HOST, *(f"X-{count}: x" for count in range(3000))),
        "a long target": lines(f"GET /{'x' * HEAD_LIMIT} HTTP/1.1", HOST),
        "a long method": lines(f"{'G' * HEAD_LIMIT} / HTTP/1.1", HOST),
        "a head without an end": lines("GET /health HTTP/1.1", HOST, "X-Name: " + "x" * HEAD_LIMIT * 4)[:-4],
        "a line without an end": b"G" * HEAD_LIMIT * 4,
    }
    all_refused(target, requests, 431, 400, 414)
    all_refused(target, {"one long header": requests["one long header"]}, 431)
    most = lines("GET /health HTTP/1.1", HOST, "Connection: close", "X-Name: " + "x" * (HEAD_LIMIT - 200))
    assert talk(target.port, most).statuses == [200]


# --- the body ---


@pytest.mark.parametrize("start", [PATCH, "POST / HTTP/1.1", "GET /health HTTP/1.1"])
def test_a_length_is_digits(target: Target, start: str) -> None:
    requests = {
        length[:20]: lines(start, HOST, JSON, f"Content-Length: {length}", body=OFF) for length in LENGTHS
    } | {
        f"{one!r} and {two!r}": lines(start, HOST, JSON, f"Content-Length: {one}", f"Content-Length: {two}", body=OFF)
        for one, two in TWO_LENGTHS
    }  # fmt: skip
    all_refused(target, requests, 400, 413)
    assert target.camera()["on"]


@pytest.mark.parametrize("start", [PATCH, "POST / HTTP/1.1", "GET /health HTTP/1.1", "GET /health HTTP/1.0"])
def test_there_is_no_transfer_coding(target: Target, start: str) -> None:
    requests = {
        f"{coding!r} {length}": lines(start, HOST, JSON, f"Transfer-Encoding: {coding}", *length, body=b"0\r\n\r\n")
        for coding in CODINGS
        for length in ((), ("Content-Length: 5",))
    }
    all_refused(target, requests, 400, 501)


@pytest.mark.parametrize("start", [f"{method} / HTTP/1.1" for method in ("GET", "POST", "PUT", "DELETE", "BREW")])
def test_only_a_patch_has_a_body(target: Target, start: str) -> None:
    """Refused before the body is there."""
    head = lines(start, HOST, JSON, "Content-Length: 13")
    with connect(target.port) as sock:
        sock.sendall(head)
        assert_refused(hear(sock), 400, 405, 413, 415)
    assert_refused(talk(target.port, head + OFF), 400, 405, 413, 415)
    assert_refused(talk(target.port, head.replace(b": 13", b": 60000") + bytes(60_000)), 400, 405, 413, 415)
    much = talk(target.port, head.replace(b": 13", b": 1000000") + bytes(1_000_000))
    assert much.answered(400, 405, 413, 415), much


def test_only_the_patch_of_a_camera_has_a_body(target: Target) -> None:
    paths = ("/", "/health", "/api/cameras", "/api/live", "/stream", "/style.css", "/nothing")
    requests = {path: lines(f"PATCH {path} HTTP/1.1", HOST, JSON, "Content-Length: 13", body=OFF) for path in paths}
    all_refused(target, requests, 400, 404, 405, 413, 415)


def test_a_patch_has_at_most_16_kb(target: Target) -> None:
    """The answer can be read although all of the body has been sent."""
    for size in (HEAD_LIMIT + 1, 60_000):
        assert_refused(talk(target.port, lines(PATCH, HOST, JSON, f"Content-Length: {size}", body=bytes(size))), 413)
    head = lines(PATCH, HOST, JSON, "Content-Length: 1000000")
    assert_refused(talk(target.port, head), 413)
    much = talk(target.port, head + bytes(1_000_000))
    assert much.answered(413), much
    most = OFF.replace(b"false", b"true").ljust(HEAD_LIMIT)
    request = lines(PATCH, HOST, JSON, "Connection: close", f"Content-Length: {len(most)}", body=most)
    assert talk(target.port, request).statuses == [200]


def test_a_body_may_be_announced(target: Target) -> None:
    """As curl does with Expect: 100-continue."""
    body = json.dumps({"on": True}).encode()
    expects = ("Expect: 100-continue", "Connection: close", f"Content-Length: {len(body)}")
    with connect(target.port) as sock:
        sock.sendall(lines(PATCH, HOST, JSON, *expects))
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert read_head(sock).status == 200
    with connect(target.port) as sock:  # curl does not wait for it for long
        sock.sendall(lines(PATCH, HOST, JSON, *expects, body=body))
        assert hear(sock).statuses[-1:] == [200]


def test_a_body_that_would_be_refused_is_not_asked_for(target: Target) -> None:
    for start, size in ((PATCH, 1_000_000), ("POST / HTTP/1.1", 13)):
        answer = talk(target.port, lines(start, HOST, JSON, "Expect: 100-continue", f"Content-Length: {size}"))
        assert_refused(answer, 400, 405, 413, 415, 417)


# --- what is left of it ---


@pytest.mark.parametrize("start", ["POST / HTTP/1.1", PATCH])
def test_a_chunk_has_no_size_that_matters(target: Target, start: str) -> None:
    head = lines(start, HOST, JSON, "Transfer-Encoding: chunked")
    sizes = ("-2", "-1", "-0", "+5", "0x5", "1_0", "", "g", "f" * 17)
    all_refused(target, {size: head + f"{size}\r\n".encode() for size in sizes}, 400, 501)


def test_a_negative_chunk_costs_nothing(target: Target) -> None:
    """It makes Tornado 6.2 read the same nothing for ever, also after the client has gone."""
    starts = ("POST / HTTP/1.1", PATCH, "GET /health HTTP/1.1", "POST /nothing HTTP/1.0")
    talks = talk_all(
        target.port, (lines(start, HOST, "Transfer-Encoding: chunked", body=b"-2\r\n") for start in starts)
    )
    assert target.busy() < CALM
    assert all(talk.refused(400, 501) for talk in talks), talks


def test_what_comes_after_a_refusal_does_not_count(target: Target) -> None:
    """Not even on the same connection, a moment later."""
    with connect(target.port) as sock:
        sock.sendall(lines("GET /health HTTP/1.1", HOST, "X-Name : value"))
        assert read_head(sock).status == 400
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                sock.sendall(switch(False))
                time.sleep(0.005)
    assert target.camera()["on"]


def assert_refused(talk: Talk, *statuses: int) -> None:
    assert talk.refused(*statuses), talk


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()
