"""Snapshots: one picture, taken after the request came, or a sentence that says why there is none."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import FakeDevice, Running, pattern_jpegs, serving, unplugged, until
from numbered import Numbered, number_in
from wire import Stream, ask, connect, patch, read_head, request

from piapp import camera
from piapp.config import CameraConfig
from piapp.errors import SourceError
from piapp.web.limits import LIMITS

ADDRESSES = [
    *("/cameras/camera/snapshot.jpg", "/snapshot", "/snapshot.jpg", "/snapshot_0", "/snapshot_0.jpg"),
    *("/?action=snapshot", "/?action=snapshot_0", "/webcam/?action=snapshot", "/webcam?action=snapshot"),
    *("/snapshot?&1608856928650", "/?action=snapshot&1608856928650", "/snapshot.jpg?cacheBust=1&timestamp=2"),
]


@contextlib.contextmanager
def shooting(device: Numbered, **settings: object) -> Iterator[Running]:
    with serving(lambda _: device, (CameraConfig(idle_stop_s=0),), LIMITS, **settings) as running:
        device.loop = running.loop
        yield running


def state(running: Running) -> dict[str, object]:
    found = ask(running.port, "/api/cameras/camera").json()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_gives_a_picture(address: str) -> None:
    with shooting(Numbered()) as running:
        answer = ask(running.port, address)
    assert answer.status == 200 and answer.headers["content-type"] == "image/jpeg"
    assert number_in(answer.body) > 0
    assert answer.headers["cache-control"] == "no-store"


def test_a_sleeping_camera_wakes_and_sleeps_again() -> None:
    device = Numbered()
    with shooting(device) as running:
        for opening in (1, 2):
            assert ask(running.port, "/snapshot").status == 200
            assert device.openings == opening
            until(lambda: device.open == 0 and state(running)["state"] == "idle")


def test_the_picture_is_taken_after_the_request() -> None:
    device = Numbered()
    with shooting(device) as running, Stream(running.port) as viewer:
        for _ in range(5):
            seen = number_in(next(viewer).jpeg)
            device.gate.clear()
            sent = device.sent  # another one may be on its way, but was taken before the request
            with connect(running.port) as sock:
                sock.sendall(request("GET", "/snapshot", {"Connection": "close"}))
                until(lambda: len(state(running)["viewers"]) == 2)  # type: ignore[arg-type]
                device.gate.set()
                head = read_head(sock)
                body = head.body
                while more := sock.recv(1 << 16):
                    body += more
            assert number_in(body) > max(seen, sent - 1)


def test_the_timestamp_is_that_of_the_picture() -> None:
    with shooting(Numbered()) as running:
        before = time.time()
        answer = ask(running.port, "/snapshot")
        # the wall clock may be set while this runs; what is looked for are other units or another clock
        assert before - 60 < float(answer.headers["x-timestamp"]) < time.time() + 60


def test_many_at_once_get_whole_pictures() -> None:
    with shooting(Numbered()) as running, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ask(running.port, "/snapshot"), range(40)))
    assert all(answer.status == 200 and number_in(answer.body) for answer in answers)


def test_head() -> None:
    with shooting(Numbered()) as running:
        answer = ask(running.port, "/snapshot", "HEAD")
    assert answer.status == 200 and int(answer.headers["content-length"]) > 20_000


def test_switched_off() -> None:
    device = Numbered()
    with shooting(device) as running:
        patch(running.port, {"on": False})
        answer = ask(running.port, "/snapshot")
        assert answer.status == 503 and "switched off" in answer.sentence() and "retry-after" in answer.headers
        patch(running.port, {"on": True})
        assert ask(running.port, "/snapshot").status == 200
    assert device.openings == 1


def test_a_camera_without_a_picture_is_told_with_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.Camera.fresh_frame, "__defaults__", (0.5,))
    device = Numbered()
    device.fault = unplugged()
    with shooting(device) as running:
        answer = ask(running.port, "/snapshot")
        assert answer.status == 503 and answer.sentence().startswith("No picture from camera within 0.5 s. ")
        assert "unplugged" in answer.sentence() and "retry-after" in answer.headers


@pytest.mark.parametrize("stalls", ["fault", "stalled"])
def test_it_never_shows_an_old_picture_or_a_notice(stalls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.Camera.fresh_frame, "__defaults__", (0.5,))
    monkeypatch.setattr(camera, "NOTICE_EVERY_S", 0.05)
    device = Numbered()
    with shooting(device) as running, Stream(running.port) as viewer:
        next(viewer)
        if stalls == "fault":
            device.fault = unplugged()
            until(lambda: device.open == 0)
        else:
            device.gate.clear()
            sent = 0
            while sent != device.sent:  # what was on its way is out
                sent = device.sent
                state(running)
                threading.Event().wait(2 / device.fps)
        assert ask(running.port, "/snapshot").status == 503


def test_who_waits_is_in_the_api_and_leaves_it() -> None:
    device = Numbered()
    device.gate.clear()
    with shooting(device) as running:
        with connect(running.port) as sock:
            sock.sendall(request("GET", "/snapshot", {"User-Agent": "the test"}))
            until(lambda: state(running)["viewers"])
            told = state(running)["viewers"]
            assert told == [{"kind": "snapshot", "address": "127.0.0.1", "agent": "the test"}]
            device.gate.set()
            assert read_head(sock).status == 200
        until(lambda: not state(running)["viewers"])


@pytest.mark.parametrize("how", [socket.SHUT_RDWR, socket.SHUT_WR], ids=["both ways", "one way"])
def test_one_that_goes_away_while_it_waits_is_forgotten(how: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.Camera.fresh_frame, "__defaults__", (600.0,))  # at once, and not in the end
    device = Numbered()
    device.gate.clear()
    with shooting(device) as running:
        with connect(running.port) as sock:
            sock.sendall(request("GET", "/snapshot", {}))
            until(lambda: state(running)["viewers"])
            sock.shutdown(how)
            until(lambda: not state(running)["viewers"])
        until(lambda: device.open == 0)


# --- at the sensor's full resolution ---


@contextlib.contextmanager
def with_full(full: bytes | SourceError | None = b"all pixels") -> Iterator[tuple[Running, FakeDevice]]:
    device = FakeDevice(pattern_jpegs(1))
    device.full = full
    with serving(lambda _: device, (CameraConfig(idle_stop_s=0),)) as running:
        yield running, device


@pytest.mark.parametrize(
    "address", ["/cameras/camera/snapshot.jpg", "/snapshot_0", "/?action=snapshot", "/webcam/?action=snapshot_0"]
)
@pytest.mark.parametrize("value", ["1", "true"])
def test_every_address_gives_a_full_picture(address: str, value: str) -> None:
    with with_full() as (running, _):
        answer = ask(running.port, f"{address}{'&' if '?' in address else '?'}full={value}")
        assert answer.status == 200 and answer.headers["content-type"] == "image/jpeg"
        assert answer.body == b"all pixels" and answer.headers["cache-control"] == "no-store"
        assert time.time() - 60 < float(answer.headers["x-timestamp"]) < time.time() + 60
        until(lambda: state(running)["state"] == "idle")


@pytest.mark.parametrize("query", ["full", "full=", "full=0", "full=false", "full=2", "full=1&full=0", "Full=1"])
def test_any_other_value_gives_one_of_the_stream(query: str) -> None:
    with with_full() as (running, device):
        assert ask(running.port, f"/snapshot?{query}").body == device.jpegs[0]


def test_a_full_picture_beside_a_stream() -> None:
    with with_full() as (running, device), Stream(running.port) as viewer:
        next(viewer)
        assert ask(running.port, "/snapshot?full=1").body == b"all pixels"
        viewer.take(3)
        assert device.openings == 1


def test_a_camera_without_full_pictures() -> None:
    with with_full(None) as (running, _):
        answer = ask(running.port, "/snapshot?full=1")
        assert (answer.status, answer.sentence()) == (409, "This camera has no full pictures.")
        assert ask(running.port, "/snapshot").status == 200


def test_a_full_picture_that_fails() -> None:
    with with_full(SourceError("Full picture failed", "out of memory")) as (running, _):
        answer = ask(running.port, "/snapshot?full=1")
        assert answer.status == 503 and "retry-after" in answer.headers
        assert answer.sentence() == "No full picture from camera. Full picture failed: out of memory"


def test_a_full_picture_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.Camera.still, "__defaults__", (0.3,))
    with with_full() as (running, device):
        device.full_comes.clear()
        answer = ask(running.port, "/snapshot?full=1")
        assert answer.status == 503 and answer.sentence().startswith("No full picture from camera within 0.3 s. ")


def test_who_waits_for_a_full_picture_and_goes_away_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.Camera.still, "__defaults__", (600.0,))
    with with_full() as (running, device):
        device.full_comes.clear()
        with connect(running.port) as sock:
            sock.sendall(request("GET", "/snapshot?full=1", {}))
            until(lambda: device.stills and state(running)["viewers"])
        until(lambda: device.stills[0].cancelled() and not state(running)["viewers"])


@pytest.mark.parametrize("number", [1, 7, 9999])
def test_no_such_camera(number: int) -> None:
    with shooting(Numbered()) as running:
        for path in (f"/snapshot_{number}", f"/stream_{number}", f"/?action=snapshot_{number}"):
            answer = ask(running.port, path)
            assert answer.status == 404 and str(number) in answer.sentence()
