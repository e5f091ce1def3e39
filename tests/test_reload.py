"""New settings while piapp runs: who watches a camera that stays as it is notices nothing."""

import contextlib
import dataclasses
import logging
import os
import pty
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from card import Card
from fakes import FakeDevice, Running, free_port, pattern_jpegs, serving, until
from live_wire import Page, Picture
from numbered import Numbered, number_in
from program import Program
from wire import Stream, ask, patch

from piapp import app
from piapp.config import CameraConfig

pytestmark = pytest.mark.usefixtures("no_errors")

HALL, YARD, ATTIC = (CameraConfig(name=name, framerate=100, idle_stop_s=0) for name in ("hall", "yard", "attic"))
OTHER_YARD = dataclasses.replace(YARD, quality=50)


@pytest.fixture
def devices() -> dict[str, Numbered]:
    return {name: Numbered() for name in ("hall", "yard", "attic")}


@pytest.fixture
def house(devices: dict[str, Numbered], caplog: pytest.LogCaptureFixture) -> Iterator[Running]:
    """piapp with the hall and the yard."""
    caplog.set_level(logging.INFO)
    with serving(lambda config: devices[config.name], (HALL, YARD), viewer_timeout_s=60.0) as running:
        for device in devices.values():
            device.loop = running.loop
        yield running


def names(port: int) -> list[str]:
    return [camera["name"] for camera in ask(port, "/api/cameras").json()["cameras"]]


def ended(stream: Stream) -> bool:
    """What was on its way comes still."""
    with contextlib.suppress(ConnectionError):
        for _ in stream:
            pass
    return True


def read_again(caplog: pytest.LogCaptureFixture, times: int = 1) -> None:
    until(lambda: sum("settings read again" in message for message in caplog.messages) == times)


# --- streams ---


def test_who_watches_a_camera_that_stays_loses_no_picture(
    house: Running, devices: dict[str, Numbered], caplog: pytest.LogCaptureFixture
) -> None:
    """Not one, whatever happens to the others; and the camera is not opened again."""
    hall_device = devices["hall"]
    hall_device.lockstep = True

    def take(count: int) -> None:
        for _ in range(count):
            seen.append(number_in(next(hall).jpeg))
            hall_device.gate.set()

    seen = list[int]()
    with Stream(house.port, "/cameras/hall/stream") as hall, Stream(house.port, "/cameras/yard/stream") as yard:
        take(5)
        next(yard)
        house.reload(ATTIC, HALL, OTHER_YARD)
        assert ended(yard)
        until(lambda: names(house.port) == ["attic", "hall", "yard"])
        with Stream(house.port, "/cameras/yard/stream") as anew:
            next(anew)
        read_again(caplog)
        take(20)
        house.reload(HALL)
        until(lambda: names(house.port) == ["hall"])
        take(20)
        assert seen == list(range(1, 46))
    assert devices["hall"].openings == 1 and devices["yard"].openings == 2
    until(lambda: not any(device.open for device in devices.values()))


def test_the_same_settings_again_change_nothing(
    house: Running, devices: dict[str, Numbered], caplog: pytest.LogCaptureFixture
) -> None:
    with Stream(house.port, "/cameras/hall/stream") as hall, Stream(house.port, "/cameras/yard/stream") as yard:
        next(hall), next(yard)
        house.reload(HALL, YARD)
        read_again(caplog)
        hall.take(10), yard.take(10)
    assert "settings read again; cameras that go on: hall, yard" in caplog.messages
    assert [devices[name].openings for name in ("hall", "yard", "attic")] == [1, 1, 0]


def test_a_new_camera_may_have_the_device_of_an_old_one() -> None:
    """It is opened only when the other one has let go of it."""
    device = FakeDevice(pattern_jpegs(2))
    with serving(lambda _: device, (YARD,)) as running, Stream(running.port, "/cameras/yard/stream") as yard:
        next(yard)
        device.hangs.clear()
        running.reload(ATTIC)
        assert ended(yard)
        with Stream(running.port, "/cameras/attic/stream") as attic:
            assert names(running.port) == ["attic"] and (device.openings, device.open) == (1, 1)
            device.hangs.set()
            next(attic)
            assert (device.openings, device.open) == (2, 1)


@pytest.fixture
def stuck() -> Iterator[FakeDevice]:
    """The yard's, which a test may have hang; afterwards it lets go."""
    device = FakeDevice(pattern_jpegs(2))
    yield device
    device.hangs.set()
    until(lambda: not any(thread.name == "camera yard" for thread in threading.enumerate()))


def test_a_device_that_does_not_let_go_keeps_nobody_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch, house: Running, devices: dict[str, Numbered], stuck: FakeDevice
) -> None:
    monkeypatch.setattr(app, "STOP_LIMIT_S", 0.1)
    stuck.hangs.clear()
    devices["yard"] = stuck  # type: ignore[assignment]
    house.reload(HALL, OTHER_YARD)
    until(lambda: names(house.port) == ["hall", "yard"])
    with Stream(house.port, "/cameras/yard/stream") as yard:
        next(yard)
    with Stream(house.port, "/cameras/hall/stream") as hall:
        house.reload(HALL, ATTIC)
        until(lambda: names(house.port) == ["hall", "attic"])
        with Stream(house.port, "/cameras/attic/stream") as attic:
            attic.take(3)
        hall.take(3)


def test_the_end_may_come_meanwhile(monkeypatch: pytest.MonkeyPatch, stuck: FakeDevice) -> None:
    """While a camera is closed for good; the one in its place is never opened."""
    monkeypatch.setattr(app, "STOP_LIMIT_S", 0.3)
    with serving(lambda _: stuck, (YARD,)) as running, Stream(running.port, "/cameras/yard/stream") as yard:
        next(yard)
        stuck.hangs.clear()
        running.reload(OTHER_YARD)
        assert ended(yard)
    assert running.ends == [app.End(restart=False, clean=False)]
    assert stuck.openings == 1


def test_what_a_user_has_switched_stays_so(house: Running) -> None:
    patch(house.port, {"on": False}, "yard")
    house.reload(HALL, OTHER_YARD)
    until(lambda: not ask(house.port, "/api/cameras/yard").json()["frames"])
    assert ask(house.port, "/api/cameras/yard").json()["on"] is False


# --- pages ---


def ids(state: dict[str, object]) -> dict[str, int]:
    cameras = state["cameras"]
    assert isinstance(cameras, list)
    return {camera["name"]: camera["id"] for camera in cameras}


def test_an_open_page_gets_the_new_cameras_by_itself(house: Running, devices: dict[str, Numbered]) -> None:
    with Page(house.port) as page:
        page.told("hello")
        before = ids(page.told("state"))
        page.watch("hall", "yard", "attic")  # the last one is not there yet
        until(lambda: {picture.camera for picture in page.draw(10)} == set(before.values()))
        house.reload(ATTIC, HALL, OTHER_YARD)
        page.told("hello")  # then it expects numbers to begin anew
        now = ids(page.told("state"))
        assert list(now) == ["attic", "hall", "yard"] and now["hall"] == before["hall"]
        assert not {now["attic"], now["yard"]} & set(before.values())  # pictures under way are not taken for theirs
        first = dict[int, int]()
        controls = set[str]()
        while len(first) < 3:
            match next(page):
                case Picture() as picture:
                    page.drawn(picture)
                    assert picture.camera in now.values()
                    first.setdefault(picture.camera, picture.number)
                case {"type": "controls", "camera": name}:
                    controls.add(name)
        assert first[now["attic"]] < 100 and first[now["yard"]] < 100 and controls == {"attic", "yard"}
        house.reload(HALL)
        page.told("hello")
        assert ids(page.told("state")) == {"hall": before["hall"]}
        page.draw(5)
    assert devices["hall"].openings == 1


def test_a_page_gets_every_picture_of_a_camera_that_stays(house: Running, devices: dict[str, Numbered]) -> None:
    device = devices["hall"]
    device.lockstep = True
    with Page(house.port) as page:
        page.watch("hall")
        for number in range(1, 20):
            [picture] = page.draw(1)
            assert number_in(picture.jpeg) == number
            if number == 5:
                house.reload(HALL, ATTIC)
            elif number == 10:
                until(lambda: names(house.port) == ["hall", "attic"])
            device.gate.set()


def test_a_mistake_changes_nothing_and_is_told(house: Running, devices: dict[str, Numbered]) -> None:
    with Page(house.port) as page, Stream(house.port, "/cameras/yard/stream") as yard:
        page.watch("hall")
        page.draw(2)
        house.reload(HALL, YARD, problem="piapp cannot use its settings.")
        while page.told("state")["problem"] == "":
            pass
        assert ask(house.port, "/health").status == 503
        page.draw(5), yard.take(5)
        house.reload(HALL, YARD)
        while page.told("state")["problem"] != "":
            pass
        assert ask(house.port, "/health").status == 200
    assert [devices[name].openings for name in ("hall", "yard")] == [1, 1]


# --- [server] ---


def test_of_server_what_can_be_changed_is(house: Running, caplog: pytest.LogCaptureFixture) -> None:
    sent = {"Host": "cam.example.org"}
    assert ask(house.port, "/health", headers={}).status == 200
    house.reload(HALL, YARD, max_viewers=1, allowed_hosts=("cam.example.org",), port=1, viewer_timeout_s=0.2)
    read_again(caplog)
    with socket.create_connection(("127.0.0.1", house.port)) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: %s\r\n\r\n" % sent["Host"].encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    until(lambda: "the new port has no effect until piapp is started again" in caplog.messages)
    assert not any("the new host" in message or "the new tuning" in message for message in caplog.messages)
    with Stream(house.port, "/cameras/hall/stream", receive_buffer=2048):
        assert "1 viewers" in ask(house.port, "/stream").sentence()
        # it takes nothing: after the new time it is dropped
        until(lambda: not ask(house.port, "/api/cameras/hall").json()["viewers"])


# --- by the signal ---

MAIN = """[[camera]]
name = "hall"
source = "pattern"
resolution = "320x240"
[[camera]]
name = "yard"
source = "pattern"
resolution = "320x240"
"""


def test_sighup(appliance: Card, tmp_path: Path) -> None:
    appliance.write(MAIN)
    with Program(tmp_path) as running, Stream(running.port, "/cameras/hall/stream") as hall:
        with Stream(running.port, "/cameras/yard/stream") as yard, Page(running.port) as page:
            next(hall), next(yard)
            appliance.write(MAIN, '[[camera]]\nname = "yard"\nquality = 50\n[[camera]]\nname = "attic"\n')
            running.tell(signal.SIGHUP)
            assert ended(yard)
            hall.take(5)
            until(lambda: names(running.port) == ["hall", "yard", "attic"])
            appliance.over.write_text("[[camera]]\nframerate = 500\n")
            running.tell(signal.SIGHUP)
            while not (problem := page.told("state")["problem"]):
                pass
            assert "piapp.toml, line 2: framerate = 500 is not allowed" in problem
            assert "It goes on with those that it has." in problem
            appliance.over.unlink()
            appliance.main.write_text(MAIN.replace("yard", "shed"))
            running.tell(signal.SIGHUP)
            while ids(state := page.told("state")).keys() != {"hall", "shed"}:
                pass
            assert state["problem"] == ""
            hall.take(5)
        assert running.stop(signal.SIGTERM) == 0
        said = running.errors()
    assert said.count("settings read again") == 2 and said.count("ERROR") == 1 and "Traceback" not in said
    appliance.main.write_text("x")
    with Program(tmp_path) as again:  # what was read last is the last good one
        assert names(again.port) == ["hall", "shed"]


def test_settings_are_mended_without_a_new_start(appliance: Card, tmp_path: Path) -> None:
    appliance.write("[[camera]\n")
    with Program(tmp_path) as running, Page(running.port) as page:
        assert page.told("state")["cameras"] == []
        page.watch("hall")
        appliance.write(MAIN)
        running.tell(signal.SIGHUP)
        assert page.draw(3)
        assert ask(running.port, "/health").status == 200


def test_the_end_of_its_terminal_is_its_own(tmp_path: Path) -> None:
    """There SIGHUP means what it always has."""
    (tmp_path / "config.toml").write_text(MAIN)
    ours, its = pty.openpty()
    try:
        with (tmp_path / "errors").open("wb") as errors:
            process = subprocess.Popen(
                program.command("--host", "127.0.0.1", "--port", free_port()),
                cwd=tmp_path,
                env={**program.environment(), "STATE_DIRECTORY": str(tmp_path)},
                stdin=its,
                stderr=errors,
            )
        until(lambda: b"watch at" in (tmp_path / "errors").read_bytes(), program.LIMIT_S)
        process.send_signal(signal.SIGHUP)
        assert process.wait(program.LIMIT_S) == -signal.SIGHUP
    finally:
        os.close(ours)
        os.close(its)
