"""Connections by the hundred that want nothing, or nothing yet: they are few at any time, and a newcomer gets in."""

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Iterable, Iterator

from wire import Stream, ask, connect

from .raw import lines
from .target import Target

HOST = "Host: 127.0.0.1"
COUNT = 180
CAP = 160  # descriptors that so many connections may take
GETS_IN_S = 5.0
GROWTH = 24 << 20  # bytes of memory
BEGINNINGS = {
    "idle": b"",
    "half a line": b"GET / HT",
    "half a head": lines("GET / HTTP/1.1", HOST, "X-Name: " + "x" * 10_000)[:-2],
    "half a body": lines("PATCH /api/cameras/camera HTTP/1.1", HOST, "Content-Length: 16000", body=bytes(15_000)),
    "an answered request": lines("GET /health HTTP/1.1", HOST),
    "a refused request": b"\0",
}
MIXED = tuple(BEGINNINGS.values())


@contextlib.contextmanager
def crowd(target: Target, beginnings: Iterable[bytes], count: int = COUNT) -> Iterator[None]:
    """So many connections that have said these, in turn."""
    with contextlib.ExitStack() as stack:
        for beginning in itertools.islice(itertools.cycle(beginnings), count):
            sock = stack.enter_context(connect(target.port))
            with contextlib.suppress(ConnectionError):
                sock.sendall(beginning)
        yield


def newcomer_waits_s(target: Target) -> float:
    """Until it has an answer, and pictures."""
    began = time.monotonic()
    assert ask(target.port, "/health").status == 200
    with Stream(target.port) as viewer:
        viewer.take(2)
    return time.monotonic() - began


def test_a_newcomer_gets_in(target: Target) -> None:
    before, memory = target.held(), target.memory()
    with Stream(target.port) as viewer, crowd(target, MIXED):
        assert newcomer_waits_s(target) < GETS_IN_S
        assert target.held().descriptors - before.descriptors < CAP
        assert target.memory() - memory < GROWTH
        viewer.take(2)
    assert newcomer_waits_s(target) < GETS_IN_S


def test_a_crowd_costs_little(target: Target) -> None:
    with crowd(target, MIXED[:1]):
        assert target.busy(0.5) < 0.25


def test_connections_that_break_off_cost_little(target: Target) -> None:
    """As port scanners do, with a FIN or an RST, at any point."""
    for number in range(300):
        sock = connect(target.port)
        if number % 3:
            sock.sendall(BEGINNINGS["half a head" if number % 2 else "an answered request"])
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert newcomer_waits_s(target) < GETS_IN_S
    assert target.new_log().count("\n") < 20


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()
