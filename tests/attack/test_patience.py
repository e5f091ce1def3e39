"""Attacks that take their time: connections that are held as long as piapp bears it. All at once, on each Tornado."""

import contextlib
import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from live_wire import Page
from wire import BROWSER, Refused, Stream, connect, read_head, request

from .conftest import Targets, need
from .raw import lines, switch
from .target import CURRENT, NAMES, Target, missing

HOST = "Host: 127.0.0.1"
LIMIT_S = 14.0
CUT_S = (6.0, 13.5)  # after 10 s, which is looked after once a second; never at once
PLACES = 10
GETS_IN_S = 13.5  # a newcomer, when those inside are slower than one picture in 10 s
GROWTH = 32 << 20  # bytes of memory
EVERY_S = 0.25


# --- how long it lasts ---


def lasts(sock: socket.socket, data: Iterator[bytes] | None = None) -> float:
    """Seconds until the other side ends it, LIMIT_S at most. Meanwhile `data` is sent piece by piece."""
    ends = select.poll()
    ends.register(sock, select.POLLRDHUP)  # what is an error is reported in any case
    began = time.monotonic()
    while (lasted := time.monotonic() - began) < LIMIT_S and not ends.poll(EVERY_S * 1000):
        if data:
            with contextlib.suppress(ConnectionError):
                sock.sendall(next(data))
    return lasted


def idle(target: Target) -> float:
    with connect(target.port) as sock:
        return lasts(sock)


def idle_after_an_answer(target: Target) -> float:
    with connect(target.port) as sock:
        sock.sendall(lines("GET /health HTTP/1.1", HOST))
        assert read_head(sock).status == 200
        return lasts(sock)


def idle_after_an_error(target: Target) -> float:
    with connect(target.port) as sock:
        sock.sendall(lines("GET /nothing HTTP/1.1", HOST))
        assert read_head(sock).status == 404
        return lasts(sock)


def half_a_line(target: Target) -> float:
    with connect(target.port) as sock:
        sock.sendall(b"GET /health HT")
        return lasts(sock)


def a_head_byte_by_byte(target: Target) -> float:
    with connect(target.port) as sock:
        return lasts(sock, bytes_of(lines("GET /health HTTP/1.1", HOST, "X-Name: " + "x" * 1000)))


def a_header_after_the_other(target: Target) -> float:
    with connect(target.port) as sock:
        sock.sendall(lines("GET /health HTTP/1.1", HOST)[:-2])
        return lasts(sock, (b"X-%d: x\r\n" % number for number in itertools.count()))


def empty_lines(target: Target) -> float:
    with connect(target.port) as sock:
        return lasts(sock, itertools.repeat(b"\r\n"))


def a_body_that_does_not_come(target: Target) -> float:
    with connect(target.port) as sock:
        sock.sendall(switch(True)[:-5])
        return lasts(sock)


def a_body_byte_by_byte(target: Target) -> float:
    with connect(target.port) as sock:
        head = lines(
            "PATCH /api/cameras/camera HTTP/1.1", HOST, "Content-Type: application/json", "Content-Length: 1000"
        )
        sock.sendall(head)
        return lasts(sock, itertools.repeat(b" "))


def a_body_that_was_announced(target: Target) -> float:
    with connect(target.port) as sock:
        sock.sendall(switch(True, "Expect: 100-continue")[:-12])
        assert read_head(sock).status == 100
        return lasts(sock)


def answers_that_are_not_read(target: Target) -> float:
    """Asked for as fast as they are taken."""
    asks = lines("GET /api/cameras HTTP/1.1", HOST) * 50
    with connect(target.port, receive_buffer=4096) as sock:
        sock.setblocking(False)
        began, ends = time.monotonic(), select.poll()
        ends.register(sock, select.POLLRDHUP)
        with contextlib.suppress(ConnectionError):
            while (lasted := time.monotonic() - began) < LIMIT_S and not ends.poll(EVERY_S * 1000):
                with contextlib.suppress(BlockingIOError):
                    while time.monotonic() - began < 2.0:  # the rest is for the kernel
                        sock.send(asks)
                        time.sleep(0.01)
        return lasted


def a_stream_that_is_not_read(target: Target) -> float:
    with connect(target.port, receive_buffer=4096) as sock:
        sock.sendall(request("GET", "/stream", BROWSER))
        return lasts(sock)


def a_page_that_says_nothing(target: Target) -> float:
    with Page(target.port) as page:
        page.watch("camera")
        return lasts(page.socket)


CUT: dict[str, Callable[[Target], float]] = {
    each.__name__: each
    for each in (
        *(idle, idle_after_an_answer, idle_after_an_error, half_a_line, a_head_byte_by_byte, a_header_after_the_other),
        *(empty_lines, a_body_that_does_not_come, a_body_byte_by_byte, a_body_that_was_announced),
        *(answers_that_are_not_read, a_stream_that_is_not_read, a_page_that_says_nothing),
    )
}


# --- who stays ---


def a_viewer(target: Target) -> float:
    """At one picture in two seconds."""
    began = time.monotonic()
    with Stream(target.port, "/stream?fps=0.5") as viewer:
        while time.monotonic() - began < LIMIT_S:
            next(viewer)
    return time.monotonic() - began


def a_page(target: Target) -> float:
    """One that nobody looks at: it says only that it is there."""
    began = time.monotonic()
    with Page(target.port) as page:
        while time.monotonic() - began < LIMIT_S:
            page.say("ping", echo=1)
            page.told("pong")
            time.sleep(1.0)
    return time.monotonic() - began


def a_client_that_asks_again(target: Target) -> float:
    """On the same connection, before it is closed as idle."""
    began = time.monotonic()
    with connect(target.port) as sock:
        for _ in range(3):
            sock.sendall(lines("GET /health HTTP/1.1", HOST))
            assert read_head(sock).status == 200
            time.sleep(LIMIT_S / 3)
    return time.monotonic() - began


STAY: dict[str, Callable[[Target], float]] = {
    each.__name__: each for each in (a_viewer, a_page, a_client_that_asks_again)
}


# --- a place for a newcomer ---


def newcomer(target: Target) -> float:
    """Seconds until somebody who asks again and again gets pictures."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < LIMIT_S:
        with contextlib.suppress(Refused), Stream(target.port) as viewer:
            viewer.take(2)
            break
        time.sleep(EVERY_S)
    return waited


def places_held_by_slow_streams(target: Target) -> float:
    """Half of all. The others take a picture in three seconds, as they wish, and keep their places."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Stream(target.port, "/stream?fps=0.01")) for _ in range(PLACES // 2)]
        fine = [stack.enter_context(Stream(target.port, "/stream?fps=0.33")) for _ in range(PLACES - PLACES // 2)]
        assert slow and len(target.camera()["viewers"]) == PLACES
        waited = newcomer(target)
        for viewer in fine:
            viewer.take(3)
        return waited


def places_held_by_slow_readers(target: Target) -> float:
    """1.5 kB every 4 s: they make progress all the time, and get a picture in half a minute."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(target.port, receive_buffer=2304)) for _ in range(PLACES)]
        for sock in socks:
            sock.sendall(request("GET", "/stream", BROWSER))
            sock.recv(100)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        came = pool.submit(newcomer, target)
        reads = time.monotonic()
        while not came.done():
            if time.monotonic() > reads:
                reads += 4.0
                for sock in socks:
                    with contextlib.suppress(ConnectionError):
                        sock.recv(1500, socket.MSG_DONTWAIT)
            time.sleep(EVERY_S)
        return came.result()


HELD: dict[str, Callable[[Target], float]] = {
    each.__name__: each for each in (places_held_by_slow_streams, places_held_by_slow_readers)
}

# --- all at once ---

Outcomes = dict[tuple[str, str], Future[float]]
AVAILABLE = [name for name in NAMES if not missing(name)]


@pytest.fixture(scope="module")
def growths() -> dict[str, int]:
    """What each piapp has come to need, by its Tornado, once it is all over."""
    return {}


@pytest.fixture(scope="module")
def outcomes(targets: Targets, growths: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """How many seconds each lasted, by its Tornado and its name."""
    with contextlib.ExitStack() as stack:
        few = {
            name: Target(tmp_path_factory.mktemp(name), CURRENT, server=f"max_viewers = {PLACES}\n") for name in HELD
        }
        for target in few.values():
            stack.push(target)
        for target in few.values():
            target.__enter__()
        pool = stack.enter_context(ThreadPoolExecutor(100))
        made: Outcomes = {(CURRENT, name): pool.submit(attack, few[name]) for name, attack in HELD.items()}
        before = {}
        for tornado in AVAILABLE:
            target = targets(tornado)
            target.calm()
            before[tornado] = target.memory()
            for name, attack in (CUT | STAY).items():
                made[tornado, name] = pool.submit(attack, target)
        for each in made.values():
            each.exception()
        for tornado in AVAILABLE:
            growths[tornado] = targets(tornado).memory() - before[tornado]
        yield made


@pytest.mark.parametrize("tornado", NAMES)
@pytest.mark.parametrize("name", CUT)
def test_it_is_cut_after_ten_seconds(outcomes: Outcomes, tornado: str, name: str) -> None:
    need(tornado)
    assert CUT_S[0] < outcomes[tornado, name].result() < CUT_S[1]


@pytest.mark.parametrize("tornado", NAMES)
@pytest.mark.parametrize("name", STAY)
def test_it_is_not_cut(outcomes: Outcomes, tornado: str, name: str) -> None:
    need(tornado)
    assert outcomes[tornado, name].result() >= LIMIT_S - 0.1


@pytest.mark.parametrize("name", HELD)
def test_a_newcomer_gets_a_place(outcomes: Outcomes, name: str) -> None:
    assert outcomes[CURRENT, name].result() < GETS_IN_S


@pytest.mark.parametrize("tornado", NAMES)
def test_none_of_it_takes_memory(outcomes: Outcomes, growths: dict[str, int], tornado: str) -> None:
    need(tornado)
    assert outcomes and growths[tornado] < GROWTH


@pytest.mark.parametrize("tornado", NAMES)
def test_nothing_is_left_of_it(outcomes: Outcomes, targets: Targets, tornado: str) -> None:
    assert outcomes
    targets(tornado).check()


def bytes_of(data: bytes) -> Iterator[bytes]:
    return (data[place : place + 1] for place in range(len(data)))
