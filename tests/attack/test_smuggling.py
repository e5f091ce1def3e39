"""Requests that two programs would cut at different places, with a second request inside: it is never carried out.

Whoever puts piapp behind a proxy has two readers of the same bytes. Each shape here is cut at one place by some program
that exists, and at another one by some other. piapp refuses them all, so that it does not matter who cuts where.
"""

import itertools
from collections.abc import Iterator

import pytest
from wire import connect

from .raw import hear, is_refusal, lines, switch, talk, talk_all
from .target import Target

HOST = "Host: 127.0.0.1"
JSON = "Content-Type: application/json"
LINE_ENDS = "\n \r \x0b \x0c \x1c \x1d \x1e".split(
    " "
)  # and \x85: of str.splitlines(), by which Tornado 6.2 finds lines
SMUGGLED = switch(False, "Connection: close")
CHUNKED_END = b"0\r\n\r\n"  # after this a reader of chunks sees the next request
CODINGS = (
    *(
        "Transfer-Encoding: chunked",
        "transfer-encoding: chunked",
        "TRANSFER-ENCODING: CHUNKED",
        "Transfer-Encoding:chunked",
    ),
    *("Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer-Encoding\x0b: chunked"),
    *("Transfer-Encoding\0: chunked", "Transfer-Encoding\xa0: chunked", "\xa0Transfer-Encoding: chunked"),
    *(" Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked", "X-Name: x\r\n Transfer-Encoding: chunked"),
    *("Transfer-Encoding:\tchunked", "Transfer-Encoding: \tchunked", "Transfer-Encoding: chunked\t"),
    *("Transfer-Encoding:\x0bchunked", "Transfer-Encoding: \x0cchunked", "Transfer-Encoding: chunked\x0b"),
    *("Transfer-Encoding: chunked\0", "Transfer-Encoding: \0chunked", "Transfer-Encoding: chunked\x1f"),
    *("Transfer-Encoding: chunked\x85", "Transfer-Encoding: \xa0chunked", "Transfer-Encoding: chun\xadked"),
    *("Transfer-Encoding:\r\n chunked", "Transfer-Encoding:\n chunked", "Transfer-Encoding: chunked\r\n , identity"),
    *(
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding:",
    ),
    *(
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
    ),
    *("Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked;a=b", 'Transfer-Encoding: "chunked"'),
    *(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    ),
    *("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "transfer-encoding: chunked\r\nTransfer-Encoding: chunked"),
    *(f"X-Name: x{end}Transfer-Encoding: chunked" for end in LINE_ENDS),
)
BOTH_LENGTHS = ("Content-Length: 0", "Content-Length: {}")  # each is right but for the coding beside it
LENGTHS = (
    *("Content-Length : {}", "Content-Length\t: {}", "Content-Length\0: {}", " Content-Length: {}"),
    *(
        f"Content-Length: {wrong}"
        for wrong in ("+{}", "-{}", "0x{:x}", "{}.0", "{}e0", "0_{}", "{};", "184467440737095516{}")
    ),
    *(
        f"Content-Length: {wrong}"
        for wrong in ("", "0,{}", "{}, 0", "{},{}", "{} 0", "0\r\n {}", "1\r\n\t{}", "\r\n {}")
    ),
    *(f"Content-Length: {wrong}" for wrong in ("\x0b{}", "{}\x0c", "{}\0", "\xa0{}")),
    *(f"Content-Length: {one}\r\ncontent-length: {two}" for one, two in (("0", "{}"), ("{}", "0"), ("{}", "{}"))),
    *(f"X-Name: x{end}Content-Length: {{}}" for end in LINE_ENDS),
    *(f"Content-Length: 0{end}Content-Length: {{}}" for end in LINE_ENDS),
)
STARTS = ("POST / HTTP/1.1", "GET /health HTTP/1.1", "PATCH /api/cameras/camera HTTP/1.1")


def shapes_with_codings() -> Iterator[bytes]:
    """Chunks that end before the smuggled request, a length that ends behind it, before it, or that there is not."""
    body = CHUNKED_END + SMUGGLED
    lengths = ((), (f"Content-Length: {len(body)}",), (f"Content-Length: {len(CHUNKED_END)}",), ("Content-Length: 0",))
    for (number, coding), length in itertools.product(enumerate(CODINGS), lengths):
        start = STARTS[number % len(STARTS)]
        yield lines(start, HOST, JSON, *length, coding, body=body)
        if length and number % 4 == 0:
            yield lines(start, HOST, JSON, coding, *length, body=body)


def shapes_with_lengths() -> Iterator[bytes]:
    for number, length in enumerate(LENGTHS):
        start = STARTS[number % len(STARTS)]
        yield lines(start, HOST, JSON, length.format(len(SMUGGLED), len(SMUGGLED)), body=SMUGGLED)
    for start, length in itertools.product(STARTS, BOTH_LENGTHS):
        head = length.format(len(SMUGGLED)), "Transfer-Encoding: chunked"
        yield lines(start, HOST, JSON, *head, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))


def shapes_with_bodies_where_none_may_be() -> Iterator[bytes]:
    """A right length, and a method or an address that takes no body: what leaves the body unread carries it out."""
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
        for path in ("/", "/health", "/stream", "/nothing"):
            yield lines(f"{method} {path} HTTP/1.1", HOST, JSON, f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED)
    for path in ("/", "/api/cameras", "/api/cameras/nobody/x", "/stream"):
        yield lines(f"PATCH {path} HTTP/1.1", HOST, JSON, f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED)


def shapes_with_requests_in_lines() -> Iterator[bytes]:
    """A whole request inside a line of another one, behind what some readers take for the end of a line."""
    hidden = SMUGGLED.decode()
    for end in LINE_ENDS:
        yield lines(f"GET /health{end}HTTP/1.1", HOST, body=SMUGGLED)
        yield lines("GET /health HTTP/1.1", HOST, f"X-Name: x{end}{end}{hidden}")
        yield lines("GET /health HTTP/1.1", f"{HOST}{end}{end}{hidden}")
        yield lines(f"GET /health HTTP/1.1{end}{HOST}{end}{end}{hidden}")
        yield lines("GET /health HTTP/1.1", HOST, f"X-Name: x{end}", "", hidden)
    yield lines("GET /health HTTP/1.1", HOST, " ", body=SMUGGLED)
    yield lines("GET /health HTTP/1.1", HOST, "\t", body=SMUGGLED)
    yield lines("GET /health HTTP/1.1", HOST, "\r", body=SMUGGLED)
    yield lines("GET /health HTTP/1.1", HOST, "X", body=SMUGGLED)


def shapes_with_values_beyond_ascii() -> Iterator[bytes]:
    """\\x85 may be in a value, and ends no line but for str.splitlines(): all the rest is body, which is no JSON."""
    body = CHUNKED_END + SMUGGLED
    own = STARTS[2], HOST, JSON, "Connection: close"
    for hidden in ("Transfer-Encoding: chunked", "Content-Length: 0", "Content-Length: 5"):
        for value in (f"X-Name: x\x85{hidden}", f"X-Name:\x85{hidden}", f"X-Name: x\x85\x85{hidden}"):
            yield lines(*own, f"Content-Length: {len(body)}", value, body=body)
            yield lines(*own, value, f"Content-Length: {len(body)}", body=body)
    yield lines(*own, f"X-Name: x\x85\x85{SMUGGLED.decode()}")


KINDS = {
    "codings": tuple(shapes_with_codings()),
    "lengths": tuple(shapes_with_lengths()),
    "bodies": tuple(shapes_with_bodies_where_none_may_be()),
    "values": tuple(shapes_with_values_beyond_ascii()),
    "lines": tuple(shapes_with_requests_in_lines()),
}


def test_there_are_many_shapes_and_none_twice() -> None:
    shapes = [shape for kind in KINDS.values() for shape in kind]
    assert len(shapes) == len(set(shapes)) > 300


def test_what_is_not_smuggled_is_carried_out(target: Target) -> None:
    """So that the other tests here would notice."""
    both = talk(target.port, lines("GET /health HTTP/1.1", HOST, body=SMUGGLED))
    assert both.statuses == [200, 200]
    assert not target.camera()["on"]
    assert talk(target.port, switch(True, "Connection: close")).statuses == [200]


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_is_carried_out_that_is_inside_another_one(target: Target, kind: str) -> None:
    talks = zip(KINDS[kind], talk_all(target.port, KINDS[kind]), strict=True)
    wrong = [f"{shape!r}: {talk}" for shape, talk in talks if not talk.refused(*range(400, 500), 501, 505)]
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong)
    assert target.camera()["on"]


@pytest.mark.parametrize("kind", KINDS)
def test_nor_is_it_behind_a_right_request(target: Target, kind: str) -> None:
    """That one is answered, the next is refused, and nothing after it is answered, though all come in one piece."""
    first = lines("GET /api/system HTTP/1.1", HOST)
    shapes = KINDS[kind][::3]
    wrong = []
    for shape, said in zip(shapes, talk_all(target.port, (first + shape for shape in shapes)), strict=True):
        if said.end == "open" or said.statuses[:1] != [200] or not all(map(is_refusal, said.statuses[1:])):
            wrong.append(f"{shape!r}: {said}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong)
    assert target.camera()["on"]


@pytest.mark.parametrize("place", [1, 3, 20])
def test_nor_in_pieces(target: Target, place: int) -> None:
    """Bytes that arrive one segment at a time are cut where those are that arrive at once."""
    shapes = [shape for kind in KINDS.values() for shape in kind[place::40]]
    for shape in shapes:
        head, end, rest = shape.partition(b"\r\n\r\n")
        with connect(target.port) as sock:
            for piece in (head[:place], head[place:], end[:3], end[3:] + rest[:place], rest[place:]):
                if piece:
                    try:
                        sock.sendall(piece)
                    except ConnectionError:
                        break
            said = hear(sock)
        assert said.answered(*range(400, 500), 501, 505), (shape, said)
    assert target.camera()["on"]


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()
