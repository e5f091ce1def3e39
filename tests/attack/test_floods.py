"""Much of everything: requests, changes, errors, viewers with long names. It costs what it may cost, and no more."""

import contextlib
import itertools
import json
import os
import re
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import until
from live_wire import Page
from wire import Stream, ask, connect, patch, read_all, read_head, request

from .raw import hear, lines, parse, switch, talk_all
from .target import Target, oldest

HOST = "Host: 127.0.0.1"
GET = lines("GET /health HTTP/1.1", HOST)
LAST = lines("GET /health HTTP/1.1", HOST, "Connection: close")
PER_S, BURST = 200, 400  # of all requests
CONTROLS = re.compile(rb"[\0-\x08\x0b-\x1f\x7f-\x9f]")
GROWTH = 24 << 20  # bytes of memory
AHEAD = 6 << 20  # of the same, for requests of some connections

once = pytest.mark.parametrize("target", [oldest()], indirect=True, scope="module")  # nothing of Tornado's is in it


def test_errors_by_the_thousand_are_few_lines_in_the_log(target: Target) -> None:
    """And nothing in them that a terminal would obey."""
    target.new_log()
    evil = "\x1b]0;evil\x07\x1b[2J\x9b31m\x08\r"
    shapes = (
        lines(f"GET /{evil} HTTP/1.1", HOST),
        lines(f"{evil} / HTTP/1.1", HOST),
        lines("GET / HTTP/1.1", HOST, f"X-Name: {evil}"),
        lines("GET / HTTP/1.1", HOST, f"{evil}: x"),
        lines("GET / HTTP/1.1", f"Host: {evil}"),
        lines("GET / HTTP/1.1", HOST, f"Content-Length: {evil}"),
        lines("GET / HTTP/1.1", HOST, f"Cookie: {evil}=x; a=\x9b; \xff"),
        lines("POST / HTTP/1.1", HOST, "Content-Type: multipart/form-data", "Content-Length: 3", body=b"\x1b[2"),
        lines(
            "POST / HTTP/1.1",
            HOST,
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 1",
            body=b"\xff",
        ),
        lines("GET /%1b%5b2J%0aforged?%1b%9b=%ff%1b HTTP/1.1", HOST, "Connection: close"),
        lines("GET /api/cameras/%1b%5b2J HTTP/1.1", "Host: \x9bevil.example", "Connection: close"),
        b"\x1b[2J\x1b]0;evil\x07\r\n\r\n",
        bytes.fromhex("16030100c8010000c40303"),
    )
    talks = talk_all(target.port, itertools.islice(itertools.cycle(shapes), 1300))
    assert all(talk.answered(400, 404, 405, 413, 415, 421, 501) for talk in talks)
    said = target.new_log()
    assert not CONTROLS.search(said.encode().replace(b"\n", b"")) and not re.search("[\x80-\x9f\x1b]", said), said
    assert said.count("\n") <= 20, said


@once
def test_requests_have_a_budget(target: Target) -> None:
    """More is delayed, or told to come back; none fails."""
    count, connections = BURST + 400, 8
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(target.port)) for _ in range(connections)]
        began = time.monotonic()
        for sock in socks:
            sock.sendall(GET * (count // connections - 1) + LAST)
        said = [hear(sock, limit_s=30.0) for sock in socks]
        took_s = time.monotonic() - began
    statuses = [status for each in said for status in each.statuses]
    assert set(statuses) <= {200, 503} and all(each.end == "closed" for each in said)
    assert PER_S <= statuses.count(200) <= BURST + PER_S * (took_s + 0.5)


@once
def test_requests_that_come_ahead_of_their_time_take_no_memory(target: Target) -> None:
    before, end = target.memory(), time.monotonic() + 3.0
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(target.port)) for _ in range(8)]
        for sock in socks:
            sock.setblocking(False)
        while time.monotonic() < end:
            for sock in socks:
                with contextlib.suppress(BlockingIOError):
                    sock.send(GET * 1000)
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 20)
            time.sleep(0.01)
        assert target.memory() - before < AHEAD


@once
def test_a_change_may_come_byte_by_byte_and_end_at_any(target: Target) -> None:
    target.new_log()
    change = switch(True)

    def send(missing: int) -> int:
        with connect(target.port) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in change[: len(change) - missing]:
                sock.send(bytes((byte,)))
                time.sleep(0.007)
            return 0 if missing else read_head(sock).status

    each = [*range(12)] * 3  # the body has 12 bytes
    with ThreadPoolExecutor(len(each)) as pool:
        assert list(pool.map(send, each)) == [0 if missing else 200 for missing in each]
    assert "Traceback" not in target.new_log()


@once
def test_a_flood_delays_no_viewer(target: Target) -> None:
    over = threading.Event()

    def ask_on() -> None:
        with contextlib.suppress(ConnectionError):
            while not over.is_set():
                with connect(target.port) as sock:
                    sock.sendall(GET * 50 + LAST)
                    read_all(sock)

    with ThreadPoolExecutor(4) as pool, Stream(target.port) as viewer, Page(target.port) as page:
        floods = [pool.submit(ask_on) for _ in range(4)]
        try:
            page.watch("camera")
            times = [float(picture.timestamp) for picture in viewer.take(30)]
            drawn = page.draw(10)
        finally:
            over.set()
        for each in floods:
            each.result()
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 1.0
    assert len({picture.number for picture in drawn}) == 10


@once
def test_changes_may_come_in_any_number(target: Target) -> None:
    """The file that keeps them is whole at any time, and nobody else's to read."""
    over, looks = threading.Event(), list[str]()

    def look() -> None:
        while not over.is_set():
            with contextlib.suppress(FileNotFoundError):
                looks.append(target.state_path.read_text())
                assert stat.S_IMODE(os.stat(target.state_path).st_mode) == 0o600
            time.sleep(0.002)

    body = [json.dumps({"on": on}).encode() for on in (False, True)]
    head = ("PATCH /api/cameras/camera HTTP/1.1", HOST, "Content-Type: application/json")
    changes = [lines(*head, f"Content-Length: {len(each)}", body=each) for each in body]
    with ThreadPoolExecutor(5) as pool:
        looking = pool.submit(look)
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                sock = stack.enter_context(connect(target.port))
                sock.sendall(b"".join(changes) * 40 + LAST)
                assert set(hear(sock, limit_s=30.0).statuses) <= {200, 503}
        assert patch(target.port, {"on": False}).status == 200
        until(lambda: not target.kept_on(), 15.0)
        over.set()
        looking.result()
    assert all(isinstance(json.loads(each)["cameras"], dict) for each in looks)
    assert patch(target.port, {"on": True}).status == 200
    assert [path.name for path in target.state_path.parent.iterdir() if "state" in path.name] == ["state.json"]


@once
def test_viewers_names_are_cut(target: Target) -> None:
    """The state of the cameras is asked for by every page, and 98 viewers must not make it large."""
    with contextlib.ExitStack() as stack:
        for number in range(98):
            agent = f"{number} \x9b<script>" + "\xe9" * 14_900
            sock = stack.enter_context(connect(target.port))
            sock.sendall(lines("GET /stream?fps=0.2 HTTP/1.1", HOST, f"User-Agent: {agent}"))
            assert next(iter(parse(sock.recv(1 << 16)))).status == 200
        answer = ask(target.port, "/api/cameras")
        viewers = answer.json()["cameras"][0]["viewers"]
        assert len(answer.body) < 150_000
        assert len(viewers) == 98 and max(len(viewer["agent"]) for viewer in viewers) <= 200
        with Page(target.port) as page:
            assert len(json.dumps(page.told("state"))) < 100_000
    until(lambda: not target.camera()["viewers"])


@once
def test_a_viewer_that_talks_is_not_listened_to_for_long(target: Target) -> None:
    before = target.memory()
    with connect(target.port) as sock:
        sock.sendall(request("GET", "/stream", {}))
        sock.setblocking(False)
        end = time.monotonic() + 1.0
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    sock.send(GET * 100)
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 16)
    assert target.memory() - before < GROWTH


@once
def test_snapshots_that_nobody_waits_for(target: Target) -> None:
    """They keep nothing awake."""
    for number in range(40):
        with connect(target.port) as sock:
            sock.sendall(request("GET", "/snapshot.jpg", {}))
            if number % 10 == 0:
                assert sock.recv(12) == b"HTTP/1.1 200"
    until(lambda: not target.camera()["viewers"])


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()
