"""The live view: what an open page is told, and which pictures it gets when."""

import asyncio
import json
import socket
import struct
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeDevice, pattern_jpegs, serving, unplugged, until
from live_wire import UPGRADE, Page, Picture
from numbered import Numbered, number_in
from tornado.websocket import websocket_connect
from watching import for_connections, heard, numbers, rising, several, streaming, viewers
from wire import Stream, ask, patch

from piapp.camera import Camera
from piapp.config import CameraConfig
from piapp.web import guard, live, news
from piapp.web.guard import Site

pytestmark = pytest.mark.usefixtures("no_errors")
NEVER_S = 1e6


def now_ms() -> float:
    return time.monotonic_ns() / 1e6


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that beats fast."""
    monkeypatch.setattr(news, "HEARTBEAT_S", 0.05)


@pytest.fixture
def never_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only changes are told."""
    monkeypatch.setattr(news, "HEARTBEAT_S", NEVER_S)


# --- words ---


@pytest.mark.usefixtures("never_beats")
def test_what_a_page_is_told_first() -> None:
    devices = {"hall": Numbered(), "Küche 2": Numbered()}
    with several(devices, max_viewers=7) as running:
        begun_ms = now_ms()
        with Page(running.port) as page:
            hello, state, *controls = [next(page) for _ in range(4)]
        assert isinstance(hello, dict) and isinstance(state, dict)
        assert len(hello.pop("page")) > 8 and hello == {"type": "hello", "max_viewers": 7}
        assert controls == [{"type": "controls", "camera": name, "controls": []} for name in devices]
        assert begun_ms < state.pop("now_ms") < now_ms()
        cameras = state.pop("cameras")
        assert state == {"type": "state", "problem": ""}
        told = ask(running.port, "/api/cameras").json()["cameras"]
        assert [(each["id"], each["name"], each["state"]) for each in cameras] == [
            (0, "hall", "idle"),
            (1, "Küche 2", "idle"),
        ]
        for mine, others in zip(cameras, told, strict=True):
            assert {**mine, "since_s": 0} == {**{key: others[key] for key in mine if key != "id"}, "id": mine["id"]} | {
                "since_s": 0
            }
    assert not any(device.openings for device in devices.values())  # nobody has asked for pictures


def test_hello_tells_pages_of_another_version_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(guard, "PAGE", tmp_path)
    (tmp_path / "js").mkdir()
    for text in ("one", "one", "two"):
        (tmp_path / "js" / "main.js").write_text(text)
        with streaming(Numbered()) as running, Page(running.port) as page, Page(running.port) as other:
            told.append(page.told("hello")["page"])
            assert other.told("hello")["page"] == told[-1]
    assert told[0] == told[1] != told[2]


@pytest.mark.usefixtures("beats")
@pytest.mark.parametrize("on", [True, False])
def test_the_heart_beats_whatever_the_camera_does(on: bool) -> None:
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page:
        patch(running.port, {"on": on})
        page.watch(*["camera"] * (not on))
        times = [page.told("state")["now_ms"] for _ in range(10)]
        assert rising(times) and times[-1] < now_ms()
        [camera] = page.told("state")["cameras"]
        assert camera["on"] is on and camera["state"] == ("idle" if on else "off")
    assert device.openings == 0


@pytest.mark.usefixtures("never_beats")
def test_changes_are_told_at_once_to_all() -> None:
    device = FakeDevice(pattern_jpegs(3))
    with (
        serving(lambda _: device, (CameraConfig(idle_stop_s=0),)) as running,
        Page(running.port) as one,
        Page(running.port) as two,
    ):
        pages = (one, two)

        def told_state(page: Page, **wanted: object) -> None:
            while not wanted.items() <= page.told("state")["cameras"][0].items():
                pass

        one.watch("camera")
        for page in pages:
            while not (controls := page.told("controls")["controls"]):
                pass
            assert {each["name"] for each in controls} >= {"brightness", "exposure", "focus_once"}
        one.draw(1)
        assert patch(running.port, {"controls": {"brightness": 140}}).status == 200
        for page in pages:
            while {each["name"]: each["value"] for each in page.told("controls")["controls"]}["brightness"] != 140:
                pass
        assert patch(running.port, {"on": False}).status == 200
        for page in pages:
            told_state(page, on=False, state="off", width=None, height=None)
        assert patch(running.port, {"on": True}).status == 200
        for page in pages:
            told_state(page, on=True, state="running", width=64, height=48, viewer_count=1)


@pytest.mark.parametrize("echo", [0, 1, -5, 1.5, 1e300, 2**53, 1763726400123.25])
def test_a_ping_is_answered_with_what_it_said(echo: float) -> None:
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.say("ping", echo=echo, more="that nobody knows")
        before_ms = now_ms()
        pong = page.told("pong")
        assert pong.pop("now_ms") == pytest.approx(before_ms, abs=30_000)
        assert pong == {"type": "pong", "echo": echo}


@pytest.mark.usefixtures("never_beats")
def test_an_answer_overtakes_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of the picture that is on its way already the rest goes first."""
    for_connections(monkeypatch, socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    device = Numbered(noise=30_000)
    with streaming(device) as running, Page(running.port, receive_buffer=2048) as page:
        page.watch("camera")
        until(lambda: device.sent > 5)  # one of them is stuck between here and there
        for echo in range(3):
            page.say("ping", echo=echo)
            heard(running)
        page.picture()
        while (message := next(page)) and not (isinstance(message, dict) and message["type"] == "pong"):
            assert not isinstance(message, Picture)
        assert isinstance(message, dict) and message["echo"] == 2
        assert number_in(page.picture().jpeg)


def test_the_clocks_of_pictures_and_answers_are_one() -> None:
    with streaming(Numbered()) as running, Page(running.port) as page:
        begun_ms = now_ms()
        page.watch("camera")
        times = [picture.captured_ms for picture in page.draw(20)]
        page.say("ping", echo=1)
        whole = [begun_ms, *times, page.told("pong")["now_ms"], now_ms()]
        assert whole == sorted(whole)


# --- pictures ---


def test_pictures_are_the_sources_pictures() -> None:
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.watch("camera")
        pictures = page.draw(60)
    assert {picture.camera for picture in pictures} == {0}
    assert rising([picture.number for picture in pictures])
    got = [number_in(picture.jpeg) for picture in pictures]
    assert rising(got) and got[0] > 0


def test_one_picture_more_than_there_is_room_for_in_a_short_length() -> None:
    """From 64 KiB on a message's length is written otherwise."""
    device = Numbered(noise=30_000)
    with streaming(device) as running, Page(running.port) as page:
        page.watch("camera")
        for noise in (64_000, 64_700, 65_000, 65_200, 30_000, 20, 100):
            device.noise = noise
            before = device.sent
            while number_in(page.draw(1)[0].jpeg) <= before + 1:
                pass


@pytest.mark.usefixtures("never_beats")
def test_who_comes_later_gets_the_newest_picture_at_once() -> None:
    device = Numbered()
    device.lockstep = True
    with streaming(device) as running, Page(running.port) as first:
        first.watch("camera")
        first.draw(1)
        with Page(running.port) as second:
            second.watch("camera")
            assert number_in(second.draw(1)[0].jpeg) == device.sent == 1


@pytest.mark.usefixtures("beats")
def test_without_acknowledgements_no_more_than_two_pictures_come(monkeypatch: pytest.MonkeyPatch) -> None:
    assert live.WINDOW == 2
    monkeypatch.setattr(live, "SLOW_S", (NEVER_S, NEVER_S))
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page:
        page.watch("camera")
        waiting = [page.picture() for _ in range(live.WINDOW)]
        for _ in range(5):
            until(lambda sent=device.sent: device.sent > sent + 10)  # type: ignore[misc]
            assert idle(page)
            known = device.sent
            page.drawn(waiting.pop(0))
            waiting.append(page.picture())
            assert number_in(waiting[-1].jpeg) >= known  # the newest of all that came meanwhile
        for nonsense in (
            waiting[0]._replace(number=10**6),
            waiting[0]._replace(camera=3),
            waiting[1]._replace(number=0),
        ):
            page.drawn(nonsense)
        assert idle(page)
        [told] = viewers(running)
        assert told["kind"] == "page" and told["sent"] == live.WINDOW + 5
        assert isinstance(told["skipped"], int) and told["skipped"] >= 5 * 8
        page.drawn(waiting[1])  # in any order
        page.drawn(waiting[0])
        page.draw(5)


def idle(page: Page) -> bool:
    """Whether no picture comes while the heart beats three times."""
    for _ in range(3):
        while not isinstance(message := next(page), dict) or message["type"] != "state":
            if isinstance(message, Picture):
                return False
    return True


@pytest.mark.usefixtures("beats")
def test_a_page_that_draws_slowly_gets_one_picture_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SLOW_S", (0.02, 0.04))
    devices = {"a": Numbered(), "b": Numbered()}
    with several(devices) as running, Page(running.port) as page:
        page.watch("a", "b")
        waiting = list[Picture]()
        for _ in range(12):
            waiting.append(page.picture())
            until(lambda sent=devices["a"].sent: devices["a"].sent > sent + 8)  # type: ignore[misc]
            page.drawn(waiting.pop(0))
        page.draw(2 * live.WINDOW - 1)  # what was on its way before it was found to be slow
        got = Counter[int]()
        for _ in range(6):
            until(lambda sent=devices["a"].sent: devices["a"].sent > sent + 8)  # type: ignore[misc]
            picture = page.picture()
            got[picture.camera] += 1
            assert idle(page)
            known = devices["ab"[picture.camera]].sent
            page.drawn(picture)
        assert got == {0: 3, 1: 3}  # in turn
        assert known > 0
        page.draw(40)  # prompt again
        page.picture()
        assert not idle(page)  # another one comes without an acknowledgement


def test_watch_begins_and_ends_it() -> None:
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page:
        for opening in (1, 2, 3):
            page.watch("camera", "camera", "nobody")
            page.draw(3)
            page.watch("camera")  # again
            page.draw(3)
            assert (device.openings, device.open) == (opening, 1)
            page.watch(*["nobody"] * (opening == 2))
            until(lambda: device.open == 0)
        page.watch("camera")
        page.draw(1)
    until(lambda: device.open == 0)


def test_a_page_that_looks_away_takes_nothing_from_others() -> None:
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page, Stream(running.port) as stream:
        page.watch("camera")
        page.draw(3)
        numbers(stream, 1)
        page.watch()
        until(lambda: len(viewers(running)) == 1)
        assert rising(numbers(stream, 20)) and device.openings == 1
        page.watch("camera")
        page.draw(3)
        assert len(viewers(running)) == 2
        stream.reset()
        until(lambda: len(viewers(running)) == 1)
        assert rising([number_in(each.jpeg) for each in page.draw(20)]) and device.openings == 1


def test_of_several_cameras_only_those_that_are_watched() -> None:
    devices = {name: Numbered(extra=name.encode() * 3) for name in "abc"}
    with several(devices) as running, Page(running.port) as page:
        page.watch("a", "c")
        for picture in page.draw(40):
            assert number_in(picture.jpeg, {0: b"aaa", 2: b"ccc"}[picture.camera])
        page.watch("b", "c")
        until(lambda: devices["a"].open == 0)
        page.say("ping", echo=1)
        page.told("pong")
        assert {picture.camera for picture in page.draw(40)} == {1, 2}


def test_cameras_share_a_slow_link_fairly(monkeypatch: pytest.MonkeyPatch) -> None:
    for_connections(monkeypatch, socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    devices = {"a": Numbered(100), "b": Numbered(60), "c": Numbered(30)}
    with several(devices) as running, Page(running.port, receive_buffer=2048) as page, Stream(running.port) as fast:
        page.watch(*devices)
        got, pace = list[Picture](), list[int]()
        while len(got) < 30:
            pace += numbers(fast, 1)
            for _ in range(3):
                page.receive(4000)  # half a picture in the time of one
            while (message := page.whole()) is not None:
                if isinstance(message, Picture):
                    got.append(message)
                    page.drawn(message)
    for camera in range(3):
        mine = [picture for picture in got[6:] if picture.camera == camera]
        assert 6 <= len(mine) <= 10
        assert rising([number_in(picture.jpeg) for picture in mine])
    assert rising(pace)


@pytest.mark.usefixtures("quick", "beats")
def test_notices_are_not_sent_as_pictures() -> None:
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page, Stream(running.port) as stream:
        page.watch("camera")
        last = page.draw(3)[-1].number
        for _ in range(2):
            device.fault = unplugged()
            while (camera := page.told("state")["cameras"][0])["state"] != "failed":
                pass
            assert "unplugged" in camera["message"]
            for _ in range(3):  # the stream gets them
                while number_in(next(stream).jpeg):
                    pass
            device.fault = None
            while (camera := page.told("state")["cameras"][0])["state"] != "running":
                pass
            assert camera["message"] == ""
            [*pictures] = page.draw(10)
            assert all(number_in(picture.jpeg) for picture in pictures)
            assert rising([last, *(picture.number for picture in pictures)])
            last = pictures[-1].number
        patch(running.port, {"on": False})
        while (camera := page.told("state")["cameras"][0])["state"] != "off":
            pass
        assert not camera["on"] and camera["message"]
        assert idle(page)


@pytest.mark.usefixtures("quick")
def test_what_is_no_picture_is_not_counted_as_skipped() -> None:
    device = Numbered(fps=20)
    with streaming(device) as running, Page(running.port) as page:
        page.watch("camera")
        page.draw(2)
        device.stalled = True
        until(lambda: ask(running.port, "/api/cameras/camera").json()["state"] == "failed")
        until(lambda: ask(running.port, "/api/cameras/camera").json()["since_s"] >= 0.5)  # ten notices long
        device.stalled = False
        page.draw(2)
        [told] = viewers(running)
        assert isinstance(told["skipped"], int) and told["skipped"] <= 2


# --- what is known of a page ---


def test_the_camera_knows_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Numbered(fps=50)
    with streaming(device) as running, Page(running.port, headers={**UPGRADE, "User-Agent": "test/1"}) as page:
        page.watch("camera")
        began = time.monotonic()
        while time.monotonic() < began + 1.2:  # one sweep
            page.draw(1)
        [told] = viewers(running)
        assert list(told) == ["kind", "address", "agent", "fps", "age_ms", "sent", "skipped"]
        assert (told["kind"], told["address"], told["agent"]) == ("page", "127.0.0.1", "test/1")
        assert isinstance(told["age_ms"], float) and 0 < told["age_ms"] < 10_000
        assert isinstance(told["fps"], float) and 1 < told["fps"] < 60
        before = told["age_ms"]
        picture = page.picture()
        until(lambda: device.sent > number_in(picture.jpeg) + 50)  # for about a second
        page.drawn(picture)
        heard(running)
        [told] = viewers(running)
        assert isinstance(told["age_ms"], float) and told["age_ms"] > before + 500


@pytest.mark.usefixtures("never_beats")
def test_a_page_that_reads_nothing_takes_no_memory(sites: list[Site], monkeypatch: pytest.MonkeyPatch) -> None:
    for_connections(monkeypatch, socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    configs = tuple(CameraConfig(name=f"camera {number}") for number in range(20))
    changes = 1000

    async def change(camera: Camera) -> None:
        for _ in range(changes):
            camera.switch(not camera.on)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with serving(lambda _: Numbered(), configs) as running, Page(running.port, receive_buffer=2048) as page:
        cameras = list(sites[0].cameras.values())
        heard(running)
        tracemalloc.start()
        try:
            for _ in range(2):
                before = tracemalloc.get_traced_memory()[0]
                asyncio.run_coroutine_threadsafe(change(cameras[0]), running.loop).result(60)
                grown = tracemalloc.get_traced_memory()[0] - before
            assert grown < 200_000  # of some 7 MB that were to be told
        finally:
            tracemalloc.stop()
        cameras[-1].on = False
        running.loop.call_soon_threadsafe(cameras[0].switch, False)
        states = 1
        while not [each["on"] for each in page.told("state")["cameras"]] == [False, *[True] * 18, False]:
            states += 1
        assert states < 100  # the newest only, behind what had gone before


# --- another client ---


def test_a_client_that_others_wrote() -> None:
    async def watch(port: int) -> list[Picture]:
        pictures, types = list[Picture](), list[str]()
        connection = await websocket_connect(f"ws://127.0.0.1:{port}/api/live?client=x", compression_options={})
        await connection.write_message(json.dumps({"type": "ping", "echo": 1.5}))
        await connection.write_message(json.dumps({"type": "watch", "cameras": ["camera"]}))
        while len(pictures) < 30:
            message: Any = await connection.read_message()
            if isinstance(message, str):
                types.append(json.loads(message)["type"])
                continue
            camera, _, number, captured_ms = struct.unpack_from(">HHId", message)
            pictures.append(Picture(camera, number, captured_ms, message[16:]))
            await connection.write_message(struct.pack(">HHI", camera, 0, number), binary=True)
        assert types[:2] == ["hello", "state"] and set(types) == {"hello", "state", "controls", "pong"}
        connection.close(1000, "enough")
        while await connection.read_message() is not None:
            pass
        assert connection.close_code == 1000
        return pictures

    with streaming(Numbered()) as running:
        assert rising([number_in(picture.jpeg) for picture in asyncio.run(watch(running.port))])
        until(lambda: not viewers(running))
