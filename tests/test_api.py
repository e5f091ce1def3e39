"""The API, /metrics and /health; which camera each address means."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import CONTROLS, FakeDevice, Running, pattern_jpegs, serving, unplugged, until
from wire import Answer, Stream, ask, patch

from piapp import camera
from piapp.config import CameraConfig

NAMES = {"camera": "camera", "Front door": "Front%20door", "Küche": "K%C3%BCche", "a.b-c_1": "a.b-c_1"}
KEYS = {
    *("name", "on", "state", "since_s", "message", "source", "device", "encoder", "negotiated", "controls"),
    *("width", "height", "age_ms", "fps", "kbit_per_s", "frames", "bad_frames", "faults", "fault", "recent_faults"),
    *("viewers", "viewer_count"),
}


class House:
    """piapp with a camera of each of these names. Each one's pictures are its own."""

    def __init__(self) -> None:
        self.devices = {name: FakeDevice([jpeg]) for name, jpeg in zip(NAMES, pattern_jpegs(4), strict=True)}
        self.cameras = tuple(CameraConfig(name=name, idle_stop_s=0) for name in NAMES)
        self.running: Running

    @property
    def port(self) -> int:
        return self.running.port

    def state(self, name: str = "camera") -> Any:
        return ask(self.port, f"/api/cameras/{NAMES[name]}").json()

    def jpeg(self, number: int) -> bytes:
        return list(self.devices.values())[number].jpegs[0]


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    with serving(lambda config: made.devices[config.name], made.cameras) as made.running:
        yield made


def metrics(answer: Answer) -> dict[tuple[str, str], float]:
    """(name, labels) → value, of Prometheus' text format 0.0.4: as strict as its own parser."""
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    found: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        if comment := re.fullmatch(r"# (HELP|TYPE) ([a-z_]+) (.+)", line):
            what, name, rest = comment.groups()
            if what == "TYPE":
                assert name not in kinds and rest in ("counter", "gauge")
                assert rest != "counter" or name.endswith("_total"), name
                kinds[name] = rest
            else:
                assert name not in helped
                helped.add(name)
            continue
        sample = re.fullmatch(r'([a-z_]+)((?:\{camera="(?:[^"\\]|\\["\\n])*"\})?) (\S+)', line)
        assert sample, line
        assert sample[1] in kinds and sample[1] in helped, line
        assert (sample[1], sample[2]) not in found
        found[sample[1], sample[2]] = float(sample[3])
    return found


def test_all_cameras_in_the_order_of_the_settings(house: House) -> None:
    cameras = ask(house.port, "/api/cameras").json()["cameras"]
    assert [each["name"] for each in cameras] == list(NAMES)
    assert all(set(each) == KEYS for each in cameras)


@pytest.mark.parametrize("name", NAMES)
def test_each_camera_by_its_name(house: House, name: str) -> None:
    told = house.state(name)
    assert told["name"] == name and (told["state"], told["on"], told["viewers"]) == ("idle", True, [])
    picture = ask(house.port, f"/cameras/{NAMES[name]}/snapshot.jpg")
    assert picture.body == house.devices[name].jpegs[0]
    with Stream(house.port, f"/cameras/{NAMES[name]}/stream") as viewer:
        assert next(viewer).jpeg == house.devices[name].jpegs[0]
    assert sum(device.openings for device in house.devices.values()) in (1, 2)  # nobody else's camera was opened


@pytest.mark.parametrize("number", range(4))
def test_each_camera_by_its_number(house: House, number: int) -> None:
    for path in (f"/snapshot_{number}", f"/snapshot_{number}.jpg", f"/?action=snapshot_{number}"):
        assert ask(house.port, path).body == house.jpeg(number), path
    assert ask(house.port, f"/webcam/?action=snapshot_{number}").body == house.jpeg(number)
    for path in (
        *(f"/stream_{number}", f"/stream_{number}.mjpg", f"/video_feed_{number}"),
        *(f"/?action=stream_{number}", f"/webcam/?action=stream_{number}"),
    ):
        with Stream(house.port, path) as viewer:
            assert next(viewer).jpeg == house.jpeg(number), path


def test_a_running_camera(house: House) -> None:
    with Stream(house.port, headers={"Accept": "*/*", "User-Agent": "the test"}) as viewer:
        viewer.take(3)
        told = house.state()
        [watcher] = told["viewers"]
    assert set(watcher) == {"kind", "address", "agent", "fps", "age_ms", "sent", "skipped"}
    assert (watcher["kind"], watcher["agent"], watcher["address"]) == ("stream", "the test", "127.0.0.1")
    assert watcher["sent"] >= 3 and watcher["age_ms"] >= 0
    assert (told["state"], told["width"], told["height"], told["fault"]) == ("running", 64, 48, None)
    assert (told["source"], told["encoder"], told["negotiated"]) == ("pattern", "fake", "64x48 fake")
    assert told["frames"] >= 3 and told["age_ms"] >= 0 and told["message"] == ""
    until(lambda: not house.state()["viewers"])


def test_a_failing_camera(house: House) -> None:
    device = house.devices["camera"]
    device.fault = unplugged()
    with Stream(house.port):
        until(lambda: house.state()["state"] == "failed")
        told = house.state()
        assert told["fault"].startswith("Camera unplugged: ") and "check the cable" in told["message"]
        assert told["faults"] >= 1 and (told["width"], told["height"], told["age_ms"]) == (None, None, None)
        health = ask(house.port, "/health")
        assert health.status == 503 and set(health.json()["faults"]) == {"camera"}
        assert "unplugged" in health.json()["faults"]["camera"] and health.json()["status"] == "failing"
        found = metrics(ask(house.port, "/metrics"))
        assert found["piapp_camera_up", '{camera="camera"}'] == 0
        assert found["piapp_camera_faults_total", '{camera="camera"}'] >= 1
    until(lambda: ask(house.port, "/health").status == 200)  # nobody watches it, so nobody knows


def test_metrics(house: House) -> None:
    idle = metrics(ask(house.port, "/metrics"))
    for name in NAMES:
        assert idle["piapp_camera_up", f'{{camera="{name}"}}'] == 0
        assert idle["piapp_camera_on", f'{{camera="{name}"}}'] == 1
    with Stream(house.port, "/stream_1") as viewer, Stream(house.port, "/stream_1"):
        viewer.take(3)
        until(lambda: house.state("Front door")["state"] == "running")
        found = metrics(ask(house.port, "/metrics"))
        assert found["piapp_camera_up", '{camera="Front door"}'] == 1
        assert found["piapp_camera_viewers", '{camera="Front door"}'] == 2
        assert found["piapp_camera_frames_total", '{camera="Front door"}'] >= 3
        later = metrics(ask(house.port, "/metrics"))
    assert {key for key in idle if "_total" in key[0]} <= {key for key in later if later[key] >= idle[key]}
    assert ("process_cpu_seconds_total", "") in found


def test_health_of_idle_running_and_switched_off_cameras(house: House) -> None:
    good = {"status": "ok", "faults": {}, "problem": ""}
    assert ask(house.port, "/health").json() == good
    with Stream(house.port) as viewer:
        next(viewer)
        assert (ask(house.port, "/health").status, ask(house.port, "/health").json()) == (200, good)
        patch(house.port, {"on": False})
        until(lambda: house.state()["state"] == "off")
        assert ask(house.port, "/health").json() == good


@pytest.mark.parametrize("path", ["/", "/api/cameras", "/api/cameras/camera", "/health", "/metrics", "/style.css"])
def test_head(house: House, path: str) -> None:
    head, get = ask(house.port, path, "HEAD"), ask(house.port, path)
    assert head.status == get.status == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert abs(int(head.headers["content-length"]) - len(get.body)) < 100  # numbers in them grow


def test_switching_off_and_on(house: House) -> None:
    device = house.devices["camera"]
    with Stream(house.port) as viewer:
        next(viewer)
        answer = patch(house.port, {"on": False})
        assert answer.status == 200 and answer.json()["on"] is False and set(answer.json()) == KEYS
        until(lambda: device.open == 0 and house.state()["state"] == "off")
        assert "switched off" in house.state()["message"]
        assert patch(house.port, {"on": False}).status == 200
        assert patch(house.port, {"on": True}).json()["on"] is True
        until(lambda: device.open == 1)
    assert [device.openings for device in house.devices.values()] == [2, 0, 0, 0]


def test_controls(house: House) -> None:
    asleep = patch(house.port, {"controls": {"brightness": 50}})
    assert asleep.status == 400 and "brightness" in asleep.sentence() and "open its stream" in asleep.sentence()
    with Stream(house.port) as viewer:
        next(viewer)
        until(lambda: house.state()["state"] == "running")
        declared = house.state()["controls"]
        assert [control["name"] for control in declared] == [control.name for control in CONTROLS]
        assert declared == [control.describe() for control in CONTROLS]
        for value, shown in ((140, 140), (0, 0), (77.4, 77), (None, 128), (255, 255)):
            [brightness, *_] = patch(house.port, {"controls": {"brightness": value}}).json()["controls"]
            assert brightness["value"] == shown  # at once, though the device has not heard of it yet
        changes = {"exposure": "manual", "exposure_time": 500, "hflip": True, "focus_once": True}
        answer = patch(house.port, {"on": True, "controls": changes})
        assert {c["name"]: c["value"] for c in answer.json()["controls"] if c["name"] in changes} == {
            **changes,
            "focus_once": None,
        }
        set_to = house.devices["camera"].set
        until(lambda: {("exposure_time", 500), ("focus_once", True)} <= set(set_to))
        assert set_to.index(("exposure", "manual")) < set_to.index(("exposure_time", 500))
        until(lambda: {c["name"]: c["active"] for c in house.state()["controls"]}["exposure_time"])
    assert all(not device.set for name, device in house.devices.items() if name != "camera")


def test_changes_are_all_made_or_none(house: House) -> None:
    with Stream(house.port) as viewer:
        next(viewer)
        until(lambda: house.state()["state"] == "running")
        for changes in (
            {"on": False, "controls": {"brightness": 256}},
            {"on": False, "controls": {"brightness": 1, "x": 1}},
            {"on": False, "controls": {"brightness": [1]}},
            {"on": 0, "controls": {"brightness": 1}},
            {"on": False, "x": 1},
        ):
            assert patch(house.port, changes).status == 400
            assert (house.state()["on"], house.state()["controls"][0]["value"]) == (True, 128), changes
        assert house.devices["camera"].set == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("brightness", 256, "a whole number from 0 to 255"),
        ("brightness", -1, "a whole number from 0 to 255"),
        ("brightness", True, "a whole number from 0 to 255"),
        ("brightness", "50", "a whole number from 0 to 255"),
        ("brightness", float("nan"), "a whole number from 0 to 255"),
        ("brightness", float("inf"), "a whole number from 0 to 255"),
        ("brightness", 10**400, "a whole number from 0 to 255"),
        ("contrast", 2.1, "a number from 0.0 to 2.0 in steps of 0.1"),
        ("hflip", 1, "true or false"),
        ("exposure", "automatic", 'one of "auto", "manual"'),
        ("exposure", 0, 'one of "auto", "manual"'),
        ("focus_once", False, "true: it is a button"),
        ("sharpness", 1, "There are: brightness, contrast, hflip"),
        ("sharpness", None, "There are: brightness, contrast, hflip"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: object, allowed: str, house: House) -> None:
    with Stream(house.port) as viewer:
        next(viewer)
        until(lambda: house.state()["controls"])
        answer = patch(house.port, {"controls": {name: value}})
        assert answer.status == 400 and name in answer.sentence() and allowed in answer.sentence()


def test_the_system(house: House) -> None:
    told = ask(house.port, "/api/system").json()
    assert set(told) == {"version", "hostname", "uptime_s", "temperature_c", "throttled"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"on": 1}, "on"),
        ({"on": "false"}, "on"),
        ({"on": None}, "on"),
        ({"quality": 50}, "quality"),
        ({"controls": {"brightness": 1}}, "brightness"),  # which has not run yet
        ({"controls": {"brightness": {}}}, "controls"),
        ({"controls": {"\ud800": 1}}, "\ud800"),
        ({"controls": []}, "controls"),
        ({"controls": None}, "controls"),
        ({"name": "other"}, "name"),
        ({"Küche": 1}, "Küche"),
        ({"\ud800": 1}, "\ud800"),  # half a character, which no UTF-8 has
        ({"": 1}, '""'),
        ({}, "JSON object"),
        ([], "JSON object"),
        (None, "JSON object"),
        ("on", "JSON object"),
        (float("nan"), "JSON object"),
    ],
)
def test_a_wrong_change_is_named(house: House, changes: object, named: str) -> None:
    before = {key: value for key, value in house.state().items() if key != "since_s"}
    answer = patch(house.port, changes)
    assert answer.status == 400 and named in answer.sentence()
    assert {key: value for key, value in house.state().items() if key != "since_s"} == before


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"on=false", b'{"on": false', b"\xff\xfe", b"\x00" * 9, b"[" * 16_000, b'{"on":' * 2700, b"1" * 5000],
    ids=["none", "half", "form", "cut", "no UTF-8", "zeros", "deep", "deep objects", "long number"],
)
def test_what_is_no_json_is_refused(house: House, body: bytes) -> None:
    answer = ask(house.port, "/api/cameras/camera", "PATCH", {"Content-Type": "application/json"}, body)
    assert answer.status == 400 and "JSON object" in answer.sentence()


def test_a_body_that_is_too_long(house: House) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str((16 << 10) + 1)}
    answer = ask(house.port, "/api/cameras/camera", "PATCH", headers)  # before any of it has come
    assert answer.status == 413 and "16 kB" in answer.sentence()
    assert house.state()["on"] is True


@pytest.mark.parametrize("path", ["/api/cameras/x", "/cameras/x/stream", "/cameras/x/snapshot.jpg"])
def test_an_unknown_camera_names_those_that_there_are(house: House, path: str) -> None:
    answer = ask(house.port, path)
    assert answer.status == 404
    for name in ("x", *NAMES):
        assert name in answer.sentence()


def test_an_unknown_camera_cannot_be_changed(house: House) -> None:
    assert patch(house.port, {"on": False}, "x").status == 404


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/nothing",
            "/api",
            "/api/",
            "/api/cameras/",
            "/api/cameras/camera/",
            "/cameras/camera",
            "/stream_",
            "/stream_x",
        ),
        *("/stream_99999", "/stream.jpg", "/snapshot_1x", "/js/", "/js/../index.html", "/..%2fconfig.toml", "/webcam/"),
        *("/webcam/?action=x", "/cameras/a/b/stream", "//", "/index.html/", "/streams", "/static/x"),
    ],
)
def test_nothing_at_this_address(house: House, path: str) -> None:
    answer = ask(house.port, path)
    assert answer.status == 404 and answer.sentence()


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/api/cameras", "/stream", "/snapshot", "/", "/metrics"])
def test_methods_that_there_are_not(house: House, method: str, path: str) -> None:
    answer = ask(house.port, path, method, {"Content-Type": "application/json"}, b"{}")
    assert answer.status == 405 and answer.sentence()


def test_an_error_in_piapp_is_answered_without_its_details(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: camera.Camera) -> dict[str, object]:
        raise RuntimeError("secret")

    monkeypatch.setattr(camera.Camera, "describe", fail)
    answer = ask(house.port, "/api/cameras")
    assert answer.status == 500 and answer.sentence() == "Internal Server Error." and b"secret" not in answer.body
    assert any(record.exc_info for record in caplog.records)  # it is told where it belongs
