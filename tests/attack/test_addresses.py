"""What one address may take of piapp, and that others hardly notice. In a network of piapp's own."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator

import pytest
from fakes import until
from wire import read_head, request

from . import network
from .network import OTHERS, Inside
from .raw import hear, is_refusal, lines, parse
from .target import Target, oldest

PLACES = 12
WAITING_OF_ONE = 32
BURST, PER_S = 200, 50
AT_ONCE_S = 2.0
HEALTH = lines("GET /health HTTP/1.1", "Host: 10.77.0.1")
LAST = lines("GET /health HTTP/1.1", "Host: 10.77.0.1", "Connection: close")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if why := network.missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no network of its own: {why}")
    folder, server = tmp_path_factory.mktemp("there"), f"max_viewers = {PLACES}\n"
    with Target(folder, oldest(), "--host", "", server=server, before=network.OWN) as target:
        yield target


@pytest.fixture(scope="module")
def inside(there: Target) -> Iterator[Inside]:
    with contextlib.closing(Inside(there.pid)) as inside:
        yield inside


def asked(inside: Inside, there: Target, source: str, data: bytes = LAST) -> tuple[list[int], float]:
    """The statuses that come back, and after how many seconds all are there."""
    began = time.monotonic()
    with inside.connect(source, there.port) as sock:
        sock.sendall(data)
        said = hear(sock, limit_s=30.0)
    assert said.end == "closed"
    return said.statuses, time.monotonic() - began


def test_one_address_has_few_connections_that_do_not_watch(there: Target, inside: Inside) -> None:
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(inside.connect(OTHERS[0], there.port)) for _ in range(WAITING_OF_ONE * 3)]
        until(lambda: len(many) - ended(many) <= WAITING_OF_ONE)
        assert len(many) - ended(many) >= WAITING_OF_ONE / 2  # a browser that opens some is served
        statuses, took_s = asked(inside, there, OTHERS[1])
        assert statuses == [200] and took_s < AT_ONCE_S
    until(lambda: asked(inside, there, OTHERS[0])[0] == [200])


def test_one_address_does_not_keep_all_places(there: Target, inside: Inside) -> None:
    with contextlib.ExitStack() as stack:

        def watches(source: str) -> int:
            sock = stack.enter_context(inside.connect(source, there.port))
            sock.sendall(request("GET", "/stream", {"Host": "10.77.0.1"}))
            return read_head(sock).status

        assert [watches(OTHERS[0]) for _ in range(PLACES)] == [200] * PLACES
        assert watches(OTHERS[0]) == 503
        began = time.monotonic()
        assert watches(OTHERS[1]) == 200
        assert time.monotonic() - began < AT_ONCE_S
        assert watches(OTHERS[2]) == 200
        assert watches(OTHERS[0]) == 503


def test_places_are_shared_evenly_in_the_end(there: Target, inside: Inside) -> None:
    """Those who come later get no more than those who came first."""
    with contextlib.ExitStack() as stack:
        statuses = {}
        for source in OTHERS[:3]:
            for _ in range(PLACES):
                sock = stack.enter_context(inside.connect(source, there.port))
                sock.sendall(request("GET", "/stream", {"Host": "10.77.0.1"}))
                statuses[sock] = source, read_head(sock).status
        given = [sock for sock, (_, status) in statuses.items() if status == 200]
        stay = [sock for sock in given if not ended([sock])]
        counts = [sum(statuses[sock][0] == source for sock in stay) for source in OTHERS[:3]]
        assert sum(counts) == PLACES and min(counts) >= PLACES / len(counts) - 1, counts


def test_one_address_asks_only_so_often(there: Target, inside: Inside) -> None:
    """More is delayed, and others are not."""
    beyond = 100
    with inside.connect(OTHERS[3], there.port) as sock:
        began = time.monotonic()
        sock.sendall(HEALTH * (BURST + beyond))
        statuses, took_s = asked(inside, there, OTHERS[4])
        assert statuses == [200] and took_s < AT_ONCE_S
        said = b""
        while said.count(b"HTTP/1.1 ") < BURST + beyond:
            said += sock.recv(1 << 16)
        assert time.monotonic() - began > beyond / PER_S * 0.9
    assert {answer.status for answer in parse(said)} <= {200, 503}


def test_many_connections_are_one_address(there: Target, inside: Inside) -> None:
    """They share its budget: those that would have to wait too long are told so."""
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        socks = [stack.enter_context(inside.connect(OTHERS[5], there.port)) for _ in range(WAITING_OF_ONE // 2)]
        for sock in socks:
            sock.sendall(HEALTH * 20 + LAST)
        statuses = [status for sock in socks for status in hear(sock, limit_s=30.0).statuses]
        took_s = time.monotonic() - began
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) <= BURST + PER_S * (took_s + 1)
    statuses, took_s = asked(inside, there, OTHERS[6])
    assert statuses == [200] and took_s < AT_ONCE_S


def test_a_name_of_others_is_refused_there_too(there: Target, inside: Inside) -> None:
    for host in ("evil.example", "evil.local", "127.0.0.1.evil.com"):
        request = lines("GET /api/cameras HTTP/1.1", f"Host: {host}", "Connection: close")
        assert is_refusal(asked(inside, there, OTHERS[7], request)[0][0])


def test_nothing_is_left_of_it(there: Target, inside: Inside) -> None:
    until(lambda: asked(inside, there, OTHERS[7])[0] == [200])
    assert "Traceback" not in there.new_log()


def ended(socks: list[socket.socket]) -> int:
    """How many of them the other side has ended."""
    ends = select.poll()
    for sock in socks:
        ends.register(sock, select.POLLRDHUP)
    return len(ends.poll(0))
