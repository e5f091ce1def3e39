"""Connections and requests: in pieces, pipelined, too slow, too many."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from fakes import Running, until
from numbered import Numbered
from watching import heard, streaming
from wire import Answer, Stream, ask, connect, patch, read_all, read_head, request

from piapp.rate_limit import Rate
from piapp.web.limits import Limits

JSON = {"Content-Type": "application/json"}
QUICK = Limits(request_s=0.3, write_s=0.5)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with streaming(Numbered()) as made:
        yield made


def answers(sock: socket.socket, count: int) -> list[Answer]:
    """The next answers on this connection, each with its whole body."""
    found, rest = [], b""
    for _ in range(count):
        while b"\r\n\r\n" not in rest:
            rest += sock.recv(65536)
        head, _, rest = rest.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(rest) < length:
            rest += sock.recv(65536)
        found.append(Answer(int(status.split()[1]), headers, rest[:length]))
        rest = rest[length:]
    assert rest == b""
    return found


# --- requests on one connection ---


def test_one_after_the_other(running: Running) -> None:
    with connect(running.port) as sock:
        for path, status in (("/health", 200), ("/nothing", 404), ("/style.css", 200), ("/stream?fps=x", 400)):
            sock.sendall(request("GET", path, {}))
            [answer] = answers(sock, 1)
            assert answer.status == status and "connection" not in answer.headers


def test_all_at_once_are_answered_in_their_order(running: Running) -> None:
    paths = ["/health", "/nothing", "/snapshot", "/style.css", "/api/cameras/x"] * 5
    with connect(running.port) as sock:
        sock.sendall(b"".join(request("GET", path, {}) for path in paths))
        assert [each.status for each in answers(sock, len(paths))] == [200, 404, 200, 200, 404] * 5


def test_with_bodies_between_them(running: Running) -> None:
    body = json.dumps({"on": True}).encode()
    change = request("PATCH", "/api/cameras/camera", JSON, body)
    with connect(running.port) as sock:
        sock.sendall((change + request("GET", "/health", {})) * 3)
        found = answers(sock, 6)
    assert [each.status for each in found] == [200] * 6 and found[-1].json()["status"] == "ok"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_in_pieces(running: Running, size: int) -> None:
    whole = request("PATCH", "/api/cameras/camera", JSON, b'{"on": true}')
    with connect(running.port) as sock:
        for place in range(0, len(whole), size):
            sock.sendall(whole[place : place + size])
        assert answers(sock, 1)[0].status == 200


def test_a_client_of_http_1_0(running: Running) -> None:
    with connect(running.port) as sock:
        sock.sendall(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answers(sock, 1)[0].headers["connection"] == "keep-alive"
        sock.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        head = read_head(sock)
        assert head.status == 200 and head.headers["connection"] == "close"
        read_all(sock)


def test_head_is_answered_without_a_body(running: Running) -> None:
    with connect(running.port) as sock:
        sock.sendall(request("HEAD", "/style.css", {}) + request("HEAD", "/health", {"Connection": "close"}))
        said = read_all(sock)
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2 and said.endswith(b"\r\n\r\n") and b"{" not in said


def test_a_client_that_asks_before_it_sends_its_body(running: Running) -> None:
    head, _, body = request("PATCH", "/api/cameras/camera", {**JSON, "Expect": "100-continue"}, b"{}").partition(b"{}")
    with connect(running.port) as sock:
        sock.sendall(head)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}" + body)
        assert answers(sock, 1)[0].status == 400


def test_a_half_closed_client_gets_its_response(running: Running) -> None:
    with connect(running.port, receive_buffer=2048) as sock:
        sock.sendall(request("GET", "/js/view.js", {}) * 20)
        time_to_fill = ask(running.port, "/health")  # by now its answers have filled the buffers between us
        assert time_to_fill.status == 200
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).count(b"HTTP/1.1 200 OK\r\n") >= 1


def test_a_change_is_made_though_its_client_half_closes_at_once(running: Running) -> None:
    with connect(running.port) as sock:
        sock.sendall(request("PATCH", "/api/cameras/camera", JSON, b'{"on": true}'))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_of_http_1_0_gets_no_interim_response(running: Running) -> None:
    headers = "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    with connect(running.port) as sock:
        sock.sendall(f"PATCH /api/cameras/camera HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}\r\n{{}}".encode())
        assert read_all(sock).startswith(b"HTTP/1.1 400 ")


# --- unwanted bodies ---


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/", JSON, 405),
        ("GET", "/", {}, 413),
        ("GET", "/stream", {}, 413),
        ("GET", "/snapshot", {}, 413),
        ("GET", "/api/cameras/camera", JSON, 413),
        ("PATCH", "/nothing", JSON, 413),
        ("PATCH", "/api/cameras/camera", {**JSON, "Origin": "http://evil.example"}, 403),
        ("PATCH", "/api/cameras/camera", {**JSON, "Host": "evil.example"}, 421),
        ("PATCH", "/api/cameras/camera", JSON, 413),
    ],
)
@pytest.mark.parametrize("sent", [0, 60_000], ids=["not sent", "sent"])
def test_they_are_refused_before_they_are_read(
    running: Running, method: str, path: str, headers: dict[str, str], status: int, sent: int
) -> None:
    with connect(running.port) as sock:
        sock.sendall(request(method, path, {**headers, "Content-Length": "60000"}))
        sock.sendall(b"x" * sent)
        head = read_head(sock)
        assert head.status == status and head.headers["connection"] == "close"
        assert len(head.body + read_all(sock)) == int(head.headers["content-length"])


@pytest.mark.parametrize("sent", [0, 3_000_000], ids=["nothing else", "much else"])
def test_the_answer_to_what_cannot_be_read_arrives(running: Running, sent: int) -> None:
    with connect(running.port) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n" + b"x" * sent)
        head = read_head(sock)
        assert head.status == 501 and head.headers["connection"] == "close"
        assert b"Content-Length" in head.body + read_all(sock)


# --- too slow ---


@pytest.mark.parametrize("half", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_clients_without_a_request_time_out(half: bytes) -> None:
    with streaming(Numbered(), QUICK) as running, connect(running.port) as sock:
        sock.sendall(half)
        began = time.monotonic()
        assert (b"200 OK" in read_all(sock)) is half.endswith(b"\r\n\r\n")
        assert time.monotonic() - began > 0.2


def test_sending_bytes_does_not_restart_the_timeout() -> None:
    with streaming(Numbered(), QUICK) as running, connect(running.port) as sock:
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                sock.sendall(b"a")
                time.sleep(0.01)


@pytest.mark.usefixtures("no_errors")
@pytest.mark.parametrize("path", ["/style.css", "/metrics", "/snapshot"])
def test_a_reset_during_the_response_is_no_error(running: Running, path: str) -> None:
    for _ in range(3):
        with connect(running.port, receive_buffer=2048) as sock:
            sock.sendall(request("GET", path, {}) * 100)
            heard(running)  # by now its answers have filled the buffers between us
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        heard(running)


@pytest.mark.parametrize("path", ["/js/view.js", "/api/cameras", "/nothing"])
def test_clients_that_read_no_responses_are_disconnected(path: str) -> None:
    with streaming(Numbered(), QUICK) as running, connect(running.port, receive_buffer=2048) as sock:
        sock.settimeout(0.05)
        with pytest.raises(ConnectionError):
            while True:
                try:
                    sock.sendall(request("GET", path, {}) * 100)
                except TimeoutError:
                    pass
        assert ask(running.port, "/health").status == 200


def test_a_handler_that_never_responds_holds_no_connection() -> None:
    device = Numbered()
    device.stalled = True
    with streaming(device, Limits(answer_s=0.3)) as running, connect(running.port) as sock:
        sock.sendall(request("GET", "/snapshot", {}))
        assert read_all(sock) == b""


# --- too many ---


def test_requests_above_the_rate_are_delayed() -> None:
    limits = Limits(requests=Rate(5, 0.1))
    with streaming(Numbered(), limits) as running, connect(running.port) as sock:
        began = time.monotonic()
        sock.sendall(request("GET", "/health", {}) * 25)
        assert [each.status for each in answers(sock, 25)] == [200] * 25
        assert time.monotonic() - began > 0.35


def test_requests_far_above_the_rate_get_503() -> None:
    limits = Limits(requests=Rate(1, 10.0))
    with streaming(Numbered(), limits) as running:
        assert ask(running.port, "/health").status == 200
        refused = ask(running.port, "/health")
        assert refused.status == 503 and refused.headers["retry-after"] == "5" and "requests" in refused.sentence()


def test_a_refused_head_request_gets_no_body() -> None:
    limits = Limits(requests=Rate(1, 1000.0))
    with streaming(Numbered(), limits) as running, connect(running.port) as sock:
        assert ask(running.port, "/health").status == 200
        sock.sendall(request("HEAD", "/health", {}))
        said = read_all(sock)
        assert said.startswith(b"HTTP/1.1 503 ") and said.endswith(b"\r\n\r\n")


def test_a_stream_costs_no_budget_once_it_runs() -> None:
    limits = Limits(requests=Rate(1, 10.0))
    with streaming(Numbered(), limits) as running, Stream(running.port) as viewer:
        viewer.take(20)


def test_new_connections_evict_idle_ones() -> None:
    with streaming(Numbered(), Limits(waiting=5)) as running:
        idle = [connect(running.port) for _ in range(12)]
        try:
            assert ask(running.port, "/health").status == 200  # after the seconds until the first can be evicted
            idle[0].settimeout(1)
            assert read_all(idle[0]) == b""
        finally:
            for sock in idle:
                sock.close()


def test_pipelining_clients_do_not_keep_all_connections() -> None:
    """They are never idle, so nothing evicts them; instead, each response on a full server closes its connection."""
    with streaming(Numbered(), Limits(waiting=4)) as running:
        done = threading.Event()

        def hog() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError), connect(running.port) as sock:
                    sock.settimeout(0.5)
                    while not done.is_set():
                        sock.sendall(request("GET", "/health", {}) * 20)
                        for _ in range(5):
                            if not sock.recv(65536):
                                raise ConnectionError

        hogs = [threading.Thread(target=hog) for _ in range(4)]
        for each in hogs:
            each.start()
        try:
            time.sleep(0.5)
            assert ask(running.port, "/health").status == 200
        finally:
            done.set()
            for each in hogs:
                each.join()


def test_a_viewer_that_keeps_sending_is_disconnected() -> None:
    with streaming(Numbered()) as running, Stream(running.port) as viewer:
        viewer.take(2)
        viewer.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        viewer.take(2)
        with pytest.raises((ConnectionError, StopIteration)):
            for _ in range(1000):
                viewer.socket.sendall(b"x" * 1000)
                next(viewer)


def test_the_user_agent_is_shortened(running: Running) -> None:
    agent = {"Accept": "*/*", "User-Agent": "x" * 15_000}
    with Stream(running.port, headers=agent):
        [viewer] = ask(running.port, "/api/cameras/camera").json()["viewers"]
    assert viewer["agent"] == "x" * 200


def test_no_change_is_lost_to_rate_limiting(running: Running) -> None:
    for on in (False, True) * 5:
        assert patch(running.port, {"on": on}).json()["on"] is on
    until(lambda: ask(running.port, "/api/cameras/camera").json()["on"])
