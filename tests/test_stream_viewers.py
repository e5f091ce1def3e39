"""Those who watch streams: who gets a place, that nobody is delayed or kept waiting for ever, what is left of them."""

import os
import socket

import pytest
import simplejpeg
from fakes import unplugged, until
from numbered import Numbered, number_in
from watching import for_connections, numbers, rising, streaming, viewers
from wire import BROWSER, PROGRAM, Stream, ask, connect, patch, read_all, request

from piapp.web import stream
from piapp.web.limits import Limits

FORMATS = pytest.mark.parametrize("headers", [PROGRAM, BROWSER], ids=["program", "browser"])
pytestmark = pytest.mark.usefixtures("no_errors")


# --- places ---


def test_above_max_viewers_the_answer_is_503_until_one_goes() -> None:
    with streaming(Numbered(), max_viewers=2) as running:
        with Stream(running.port) as first:
            with Stream(running.port, headers=BROWSER):
                for path in ("/stream", "/cameras/camera/stream", "/?action=stream"):
                    refused = ask(running.port, path)
                    assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
                    assert "2 viewers" in refused.sentence()
                assert ask(running.port, "/api/cameras").status == 200
            until(lambda: len(viewers(running)) == 1)
            with Stream(running.port) as second:
                assert rising(numbers(second, 3))
            assert rising(numbers(first, 3))


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_viewer_that_goes_leaves_nothing_behind(how: str) -> None:
    device = Numbered()
    with streaming(device) as running:
        with Stream(running.port) as stays:
            next(stays)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                with Stream(running.port) as goes:
                    next(goes)
                    if how == "reset":
                        goes.reset()
                    elif how == "half-close":
                        goes.socket.shutdown(socket.SHUT_WR)
                        read_all(goes.socket)
            until(lambda: len(viewers(running)) == 1)
            until(lambda: len(os.listdir("/proc/self/fd")) <= before)
            assert rising(numbers(stays, 5))
        until(lambda: device.open == 0)


@pytest.mark.parametrize("linger", [False, True], ids=["close", "reset"])
def test_clients_that_close_before_the_answer(linger: bool) -> None:
    with streaming(Numbered()) as running:
        before = len(os.listdir("/proc/self/fd"))
        for path in ("/stream", "/snapshot", "/stream?fps=x", "/", "/nothing") * 10:
            for method in ("GET", "HEAD"):
                with connect(running.port) as sock:
                    sock.sendall(request(method, path, PROGRAM))
                    if linger:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        until(lambda: not viewers(running))
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize(
    "half",
    [
        *(b"", b"GET /str", b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"),
        request("PATCH", "/api/cameras/camera", {"Content-Type": "application/json"}, b"{}")[:-1],
    ],
)
def test_a_half_sent_request_is_closed(half: bytes) -> None:
    device = Numbered()
    with streaming(device, max_viewers=1, limits=Limits(request_s=0.3)) as running:
        with connect(running.port) as sock:
            sock.sendall(half)
            with Stream(running.port) as viewer:  # it holds no place
                next(viewer)
                assert b"200 OK" not in read_all(sock)
                assert rising(numbers(viewer, 5))  # an open stream has no such limit
        with Stream(running.port) as viewer:
            next(viewer)


def test_the_camera_opens_for_viewers_only() -> None:
    device = Numbered()
    with streaming(device) as running:
        for path in ("/", "/api/cameras", "/api/cameras/camera", "/metrics", "/health", "/style.css", "/nothing"):
            ask(running.port, path)
        assert device.openings == 0
        for opening in (1, 2):
            with Stream(running.port) as viewer:
                next(viewer)
                assert (device.openings, device.open) == (opening, 1)
            until(lambda: device.open == 0)
            until(lambda: ask(running.port, "/api/cameras/camera").json()["state"] == "idle")


# --- slow and dead viewers ---


def test_a_viewer_that_reads_nothing_delays_nobody_and_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SWEEP_S", 0.1)
    device = Numbered(fps=100)
    with streaming(device, viewer_timeout_s=1.0) as running, Stream(running.port) as good:
        numbers(good, 3)
        before = len(os.listdir("/proc/self/fd"))
        with Stream(running.port, receive_buffer=2048, headers=BROWSER) as dead:
            # From here on the next picture is sent when the good viewer has the one before: nothing may hold it up.
            device.lockstep = True
            got = numbers(good, 1)
            while len(viewers(running)) > 1:
                device.gate.set()
                got += numbers(good, 1)
            until(lambda: len(os.listdir("/proc/self/fd")) == before + 1)  # that one is our end of it
            read_all(dead.socket)  # ends: the connection is gone, not just forgotten
        device.lockstep = False
        device.gate.set()
        got += numbers(good, 5)
    assert got == list(range(got[0], got[0] + len(got)))


def test_a_viewer_that_the_kernel_gives_up_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a Wi-Fi goes: the connection ends with ETIMEDOUT, which is no ConnectionError."""
    for_connections(monkeypatch, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
    with streaming(Numbered(), viewer_timeout_s=600.0) as running, Stream(running.port, receive_buffer=2048):
        until(lambda: not viewers(running), 30)


@FORMATS
@pytest.mark.parametrize("send_buffer", [4096, 0], ids=["partial writes", "whole writes"])
def test_a_slow_viewer_gets_whole_frames_in_order(
    headers: dict[str, str], send_buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if send_buffer:  # a fifth of a picture, so that the kernel never has room for all of one
        for_connections(monkeypatch, socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    device = Numbered(fps=100)
    mark = {**headers, "User-Agent": "slow"}
    with streaming(device) as running, Stream(running.port) as fast:
        parser_headers = BROWSER if headers is BROWSER else PROGRAM
        raw = request("GET", "/stream", mark)
        with Stream(running.port, headers=parser_headers, raw=raw, receive_buffer=2048) as slow:
            seen, pace = list[int](), list[int]()
            while len(seen) < 12:
                pace.append(number_in(next(fast).jpeg))
                slow.receive(4000)  # a fifth of a picture in the time of one
                seen += [number_in(part.jpeg) for part in slow.whole()]
            [told] = [viewer for viewer in viewers(running) if viewer["agent"] == "slow"]
    assert rising(seen) and rising(pace)
    skipped = seen[-1] - seen[0] + 1 - len(seen)
    assert skipped > 0
    assert isinstance(told["skipped"], int) and told["skipped"] >= skipped
    assert isinstance(told["sent"], int) and told["sent"] >= len(seen)
    assert told["kind"] == "stream" and told["address"] == "127.0.0.1"


# --- while there is no picture ---


def notices(viewer: Stream, count: int) -> None:
    """Wait for so many of them; each is a picture that decodes, of the camera's size."""
    while count:
        jpeg = next(viewer).jpeg
        if not number_in(jpeg):
            assert simplejpeg.decode_jpeg(jpeg).shape == (48, 64, 3)
            count -= 1


def pictures_again(viewer: Stream) -> None:
    while not number_in(next(viewer).jpeg):
        pass


@FORMATS
@pytest.mark.usefixtures("quick")
def test_the_stream_goes_on_while_the_camera_fails(headers: dict[str, str]) -> None:
    device = Numbered()
    with streaming(device) as running, Stream(running.port, headers=headers) as viewer:
        first = numbers(viewer, 3)
        device.fault = unplugged()
        notices(viewer, 3)
        device.fault = None
        pictures_again(viewer)
        device.stalled = True
        notices(viewer, 3)
        device.stalled = False
        pictures_again(viewer)
    assert rising(first)


@FORMATS
@pytest.mark.usefixtures("quick")
def test_the_stream_goes_on_while_the_camera_is_off(headers: dict[str, str]) -> None:
    device = Numbered()
    with streaming(device) as running, Stream(running.port, headers=headers) as viewer:
        next(viewer)
        assert patch(running.port, {"on": False}).status == 200
        until(lambda: device.open == 0)
        notices(viewer, 3)
        with Stream(running.port, headers=headers) as late:  # a viewer that comes now reads it, too
            notices(late, 1)
        assert patch(running.port, {"on": True}).status == 200
        pictures_again(viewer)
