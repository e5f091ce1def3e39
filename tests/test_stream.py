"""Streams over real sockets: every byte, who gets a place, and that nobody is delayed or kept waiting for ever."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import simplejpeg
from fakes import Running, serving, unplugged, until
from numbered import BOUNDARIES, NEARLY, Numbered, number_in
from wire import BROWSER, PROGRAM, Stream, ask, connect, patch, read_all, request

from piapp import camera
from piapp.config import CameraConfig, Size
from piapp.web import server, stream

FORMATS = pytest.mark.parametrize("headers", [PROGRAM, BROWSER], ids=["program", "browser"])


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever viewers do, nothing unexpected is logged."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@contextlib.contextmanager
def streaming(device: Numbered, **settings: object) -> Iterator[Running]:
    config = CameraConfig(resolution=Size(*device.size), framerate=round(device.fps), idle_stop_s=0)
    with serving(lambda _: device, (config,), **settings) as running:
        device.loop = running.loop
        yield running


def viewers(running: Running) -> list[dict[str, object]]:
    found = ask(running.port, "/api/cameras/camera").json()["viewers"]
    assert isinstance(found, list)
    return found


def numbers(open_stream: Stream, count: int, extra: bytes = NEARLY) -> list[int]:
    return [number_in(part.jpeg, extra) for part in open_stream.take(count)]


def rising(values: list[int]) -> bool:
    return all(a < b for a, b in zip(values, values[1:], strict=False))


def for_connections(monkeypatch: pytest.MonkeyPatch, level: int, option: int, value: int) -> None:
    """Set a socket option on the server's end of every connection, which inherits it from the listening socket."""
    bind = server.bind

    def bind_and_set(host: str, port: int) -> list[socket.socket]:
        sockets = bind(host, port)
        for sock in sockets:
            sock.setsockopt(level, option, value)
        return sockets

    monkeypatch.setattr(server, "bind", bind_and_set)


# --- the bytes ---


@FORMATS
def test_frames_are_the_sources_frames(headers: dict[str, str]) -> None:
    with streaming(Numbered()) as running, Stream(running.port, headers=headers) as viewer:
        assert viewer.head.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        got = numbers(viewer, 50)
    assert rising(got) and got[0] > 0


def test_programs_may_get_pictures_that_hold_boundaries() -> None:
    device = Numbered(extra=BOUNDARIES)
    with streaming(device) as running, Stream(running.port) as viewer:
        assert rising(numbers(viewer, 30, BOUNDARIES))


def test_many_viewers_of_both_formats_at_once() -> None:
    def watch(headers: dict[str, str]) -> list[int]:
        with Stream(running.port, headers=headers) as viewer:
            return numbers(viewer, 30)

    with streaming(Numbered(fps=50)) as running, ThreadPoolExecutor(12) as pool:
        for got in pool.map(watch, [PROGRAM, BROWSER] * 6):
            assert rising(got) and got[0] > 0


def test_two_cameras_are_never_mixed() -> None:
    devices = {"a": Numbered(extra=b"aaa"), "b": Numbered(extra=b"bbb")}
    cameras = tuple(CameraConfig(name=name) for name in devices)
    with (
        serving(lambda config: devices[config.name], cameras) as running,
        Stream(running.port, "/cameras/a/stream") as a,
        Stream(running.port, "/stream_1", BROWSER) as b,
    ):
        for _ in range(20):
            assert number_in(next(a).jpeg, b"aaa") and number_in(next(b).jpeg, b"bbb")


@pytest.mark.parametrize(
    "address",
    [
        *("/cameras/camera/stream", "/stream", "/stream.mjpg", "/stream_0", "/stream_0.mjpg", "/video_feed"),
        *("/video_feed_0", "/?action=stream", "/?action=stream_0", "/webcam/?action=stream", "/webcam?action=stream_0"),
        *("/webcam/?action=stream&1608856928650", "/?&1608856928650&action=stream"),
        *(
            "/stream?&1608856928650",
            "/stream?cacheBust=1608856928650",
            "/stream?timestamp=1",
            "/stream?fps=",
            "/stream?",
        ),
        *("/stream?action=snapshot", "/stream?fps=1000", "/stream?advance_headers=0", "/stream?advance_headers=x"),
    ],
)
def test_addresses_and_parameters_that_readers_use(address: str) -> None:
    with streaming(Numbered()) as running, Stream(running.port, address) as viewer:
        assert number_in(next(viewer).jpeg) > 0


def test_advance_headers_overrides_accept() -> None:
    with streaming(Numbered()) as running:
        as_browser = request("GET", "/stream?advance_headers=0", BROWSER)
        with Stream(running.port, raw=as_browser) as viewer:  # read as programs do
            assert number_in(next(viewer).jpeg) > 0


def test_http_1_0_without_host() -> None:
    with streaming(Numbered()) as running, Stream(running.port, raw=b"GET /stream HTTP/1.0\r\n\r\n") as viewer:
        assert rising(numbers(viewer, 5))


def test_ipv6() -> None:
    with contextlib.ExitStack() as stack:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 here")
        running = stack.enter_context(streaming(Numbered(), host="::1"))
        raw = request("GET", "/stream", {"Host": f"[::1]:{running.port}"})
        viewer = stack.enter_context(Stream(running.port, host="::1", raw=raw))
        assert rising(numbers(viewer, 5))


def test_head_answers_the_head_alone_and_wakes_nobody() -> None:
    device = Numbered()
    with streaming(device) as running:
        with connect(running.port) as sock:
            sock.sendall(request("HEAD", "/stream", PROGRAM))
            head = read_all(sock)
        with Stream(running.port) as viewer:
            told = viewer.head.headers
        assert head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"\r\n\r\n")
        assert head.count(b"\r\n") == len(told) + 2  # the same lines, and nothing behind them
        for name in ("content-type", "cache-control", "x-accel-buffering", "connection", "vary"):
            assert f"{name}: {told[name]}\r\n".encode() in head.lower().replace(b"accept", b"Accept"), name
    assert device.openings == 1


# --- rates ---


@pytest.mark.parametrize("cap", [10, 25])
def test_fps_caps_the_rate(cap: int) -> None:
    device = Numbered(fps=50)
    with streaming(device) as running:
        began = time.monotonic()
        with Stream(running.port, f"/stream?fps={cap}") as capped:
            got = numbers(capped, 15)
        lasted_s = time.monotonic() - began
    # Never more than its share of the time, which only grows on a busy box; and never much less than its share of
    # the pictures, of which the device never makes more than 50 a second.
    assert len(got) <= cap * lasted_s + 2  # the first one at once, and one a little early
    assert max(b - a for a, b in zip(got, got[1:], strict=False)) <= 2 * device.fps / cap + 3
    assert rising(got)


def test_a_viewer_that_pauses_on_a_fast_link_finds_no_old_frames_waiting() -> None:
    """Only what its own kernel has taken, here very little; the link's measured rate would allow megabytes more."""
    device = Numbered(fps=50)
    with (
        streaming(device) as running,
        Stream(running.port, receive_buffer=65536) as pauses,
        Stream(running.port) as other,
    ):
        numbers(pauses, 5)
        waited = numbers(other, 60)[-1]
        got = numbers(pauses, 20)
    assert len([number for number in got if number < waited]) <= 10
    assert rising(got)


@pytest.mark.parametrize("fps", ["abc", "0", "-1", "1e9", "nan", "inf", "-inf", "1,5", "0x10", "1%20000", "%C3%BC"])
def test_a_bad_fps_is_refused(fps: str) -> None:
    device = Numbered()
    with streaming(device) as running:
        answer = ask(running.port, f"/stream?fps={fps}")
        assert answer.status == 400 and "fps" in answer.sentence()
    assert device.openings == 0


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
    "half", [b"", b"GET /str", b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n", request("PATCH", "/", {}, b"{}")[:-1]]
)
def test_a_half_sent_request_is_closed(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_LIMIT_S", 0.3)
    device = Numbered()
    with streaming(device, max_viewers=1) as running:
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "NOTICE_EVERY_S", 0.05)
    monkeypatch.setattr(camera, "FROZEN_S", 0.3)
    monkeypatch.setattr(camera, "BACKOFF_S", (0.05, 0.1))


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
