"""Streams over real sockets: every byte, every address, and the rates."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import serving
from numbered import BOUNDARIES, Numbered, number_in
from watching import numbers, rising, streaming
from wire import BROWSER, PROGRAM, Stream, ask, connect, read_all, request

from piapp.config import CameraConfig

FORMATS = pytest.mark.parametrize("headers", [PROGRAM, BROWSER], ids=["program", "browser"])
pytestmark = pytest.mark.usefixtures("no_errors")


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
