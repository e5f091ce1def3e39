"""The end comes while it is under attack: in good time, and what users chose is kept."""

import contextlib
import itertools
import json
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import until
from live_wire import Page
from wire import BROWSER, Stream, ask, connect, patch, read_all, request

from .raw import lines, switch
from .target import CURRENT, Target, oldest

ENDS_S = 3.0
GET = lines("GET /health HTTP/1.1", "Host: 127.0.0.1")


@contextlib.contextmanager
def siege(target: Target) -> Iterator[None]:
    """Everybody who could be in the way of its end."""
    over = threading.Event()

    def flood(data: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended
            while not over.is_set():
                with connect(target.port) as sock:
                    sock.sendall(data)
                    read_all(sock)

    def ask_on(sock: socket.socket) -> None:
        """And never read."""
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            for _ in range(100):
                sock.send(GET * 10)

    with contextlib.ExitStack() as stack:
        for number in range(45):
            sock = stack.enter_context(connect(target.port, receive_buffer=4096))
            if number < 20:
                ask_on(sock)
            elif number < 40:
                sock.sendall(request("GET", "/stream", BROWSER))
            else:
                sock.sendall(GET[: number - 40])
        for _ in range(5):
            stack.enter_context(Stream(target.port, "/stream?fps=0.1"))
            stack.enter_context(Page(target.port)).watch("camera")
        slow = stack.enter_context(connect(target.port))
        slow.sendall(switch(True)[:-3])
        pool = stack.enter_context(ThreadPoolExecutor(3))
        stack.callback(over.set)
        for data in (GET * 20, request("GET", "/snapshot.jpg", {"Connection": "close"}), b"\0"):
            pool.submit(flood, data)
        yield


@pytest.mark.parametrize("tornado", [oldest(), CURRENT])
@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_it_ends_in_good_time(fresh: Callable[..., Target], tornado: str, number: signal.Signals) -> None:
    target = fresh(tornado)
    with siege(target):
        with Stream(target.port) as viewer:
            viewer.take(3)
            assert patch(target.port, {"on": False}).status == 200
            assert target.stop(number) == 0
    assert target.stopped_s < ENDS_S
    assert not target.kept_on()
    assert "Traceback" not in target.new_log()


def test_killed_at_any_moment_it_starts_with_what_was_kept(tmp_path: Path) -> None:
    pick = random.Random(5)
    for _ in range(3):
        with Target(tmp_path, CURRENT) as target:
            kept = target.kept_on()
            assert target.camera()["on"] == kept
            ends = [connect(target.port) for _ in range(2)]
            with contextlib.ExitStack() as stack:
                for sock in ends:
                    stack.enter_context(sock)
                    sock.sendall(b"".join(map(switch, itertools.islice(itertools.cycle((False, True)), 150))))
                if not kept:
                    until(lambda: target.state_path.exists())
                target.busy(pick.uniform(0.1, 1.5))
                target.stop(signal.SIGKILL)
            assert "cannot be read" not in target.new_log()
        if target.state_path.exists():
            assert isinstance(json.loads(target.state_path.read_text())["cameras"], dict)
    with Target(tmp_path, CURRENT) as target:
        assert target.camera()["on"] == target.kept_on()
        assert ask(target.port, "/health").status == 200
        assert not list(target.state_path.parent.glob("*.broken"))
