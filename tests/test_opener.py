"""sources/opener.py: which source a camera gets."""

import threading

import pytest
from fakes import until
from source_case import LIMIT_S, running, settings

from piapp.config import CameraConfig, Size
from piapp.sources import opener, pi_found, usb_camera, v4l2
from piapp.sources.images import Images
from piapp.sources.opener import NoCamera, Opener
from piapp.sources.pattern import Pattern
from piapp.sources.pi_camera import PiCamera
from piapp.sources.source import Source
from piapp.sources.usb_camera import UsbCamera


class Found:
    """What the find functions say is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pi: list[pi_found.FoundCamera] = []
        self.usb: list[v4l2.FoundCamera] = []
        self.asked = threading.Event()
        monkeypatch.setattr(pi_found, "find_cameras", lambda: self.pi)
        monkeypatch.setattr(v4l2, "find_cameras", self._find_usb)

    def _find_usb(self) -> list[v4l2.FoundCamera]:
        self.asked.set()
        return self.usb


PI = [pi_found.FoundCamera(0, "/base/soc/i2c0mux/imx708", "imx708"), pi_found.FoundCamera(1, "/base/other", "ov5647")]
USB = [v4l2.FoundCamera("/dev/video7", "Webcam"), v4l2.FoundCamera("/dev/video9", "Other")]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    monkeypatch.setattr(opener, "LOOK_AGAIN_S", 0.01)
    return Found(monkeypatch)


def test_auto_prefers_the_pi_s_camera(found: Found) -> None:
    found.pi, found.usb = PI, USB
    source = Opener(CameraConfig(source="auto"))()
    assert isinstance(source, PiCamera)
    assert source.device == PI[0].id


def test_auto_takes_the_first_usb_camera(found: Found) -> None:
    found.usb = USB
    source = Opener(CameraConfig(source="auto"))()
    assert isinstance(source, UsbCamera)
    assert source.device == "/dev/video7"


def test_what_was_found_is_kept(found: Found) -> None:
    """When that camera fails, viewers read so, and do not see another room."""
    found.usb = USB[:1]
    open_source = Opener(CameraConfig(source="auto"))
    assert isinstance(open_source(), UsbCamera)
    found.pi, found.usb = PI, USB[1:]
    again = open_source()
    assert isinstance(again, UsbCamera)
    assert again.device == "/dev/video7"
    found.pi, found.usb = [], []
    assert isinstance(open_source(), UsbCamera)
    assert isinstance(Opener(CameraConfig(source="auto"))(), NoCamera)  # for this camera only


@pytest.mark.parametrize(
    ("device", "source", "opened"),
    [("1", "picamera2", PI[1].id), (PI[1].id, "picamera2", PI[1].id), ("/dev/video9", "usb", "/dev/video9")],
)
def test_auto_takes_the_one_that_is_named(device: str, source: str, opened: str, found: Found) -> None:
    found.pi, found.usb = PI, USB
    chosen = Opener(CameraConfig(source="auto", device=device))()
    assert (chosen.kind, chosen.device) == (source, opened)


def test_other_settings_are_kept_by_auto(found: Found) -> None:
    found.usb = USB
    source = Opener(settings(source="auto", quality=33, name="door"))()
    assert (source.config.quality, source.config.name, source.config.resolution) == (33, "door", Size(320, 240))


def test_without_a_camera_there_is_a_test_picture_until_one_is_plugged_in(
    found: Found, caplog: pytest.LogCaptureFixture
) -> None:
    open_source = Opener(settings(source="auto", name="door"))
    source = open_source()
    assert isinstance(source, NoCamera) and "No camera found" in source.remark
    assert source.kind == "pattern"
    assert "No camera found" in source.title
    assert [record.getMessage() for record in caplog.records] == ["door: no camera found: showing the test picture"]
    with running(source) as (taken, stopping, thread):
        until(lambda: len(taken) >= 3)
        found.asked.clear()
        assert found.asked.wait(LIMIT_S)
        assert thread.is_alive()
        found.usb = USB
        thread.join(LIMIT_S)
        assert not thread.is_alive()
        assert not stopping.is_set()
    assert isinstance(open_source(), UsbCamera)


def test_a_pi_camera_that_is_ready_later_than_piapp_is_taken(found: Found) -> None:
    """At boot its driver may be slower."""
    open_source = Opener(settings(source="auto"))
    source = open_source()
    assert isinstance(source, NoCamera)
    with running(source) as (taken, stopping, thread):
        until(lambda: taken)
        found.pi = PI
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    assert isinstance(open_source(), PiCamera)


def test_the_test_picture_ends_when_it_is_asked_to(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opener, "LOOK_AGAIN_S", 1000.0)
    with running(NoCamera(settings(framerate=1))) as (taken, stopping, thread):
        until(lambda: taken)
        stopping.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "look for cameras"])


def test_the_test_picture_ends_when_looking_for_cameras_fails(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    """Else nothing could ever stop it."""

    def fail() -> list[v4l2.FoundCamera]:
        raise ZeroDivisionError

    raised: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))
    monkeypatch.setattr(v4l2, "find_cameras", fail)
    with running(NoCamera(settings())) as (_, _, thread):
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    until(lambda: raised == [ZeroDivisionError])


@pytest.mark.parametrize(
    ("name", "kind"), [("pattern", Pattern), ("images", Images), ("usb", UsbCamera), ("picamera2", PiCamera)]
)
def test_a_named_source_is_opened_without_looking(name: str, kind: type[Source], found: Found) -> None:
    found.pi, found.usb = PI, USB
    source = Opener(CameraConfig(source=name, device="/some/where"))()
    assert type(source) is kind
    assert source.device == "/some/where"
    assert not found.asked.is_set()


def test_two_openers_know_nothing_of_each_other(found: Found) -> None:
    first, second = Opener(settings(source="auto")), Opener(settings(source="auto"))
    found.usb = USB
    assert isinstance(first(), UsbCamera)
    found.usb = []
    assert isinstance(second(), NoCamera)


def test_a_usb_camera_keeps_what_it_is_given() -> None:
    assert usb_camera.UsbCamera.kind == "usb"
    assert {kind.kind for kind in (Pattern, Images, UsbCamera, PiCamera)} == {"pattern", "images", "usb", "picamera2"}


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(1), MemoryError()])
def test_what_goes_wrong_while_looking_for_cameras_is_raised_by_the_source(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, found: Found
) -> None:
    def fail() -> list[v4l2.FoundCamera]:
        raise error

    monkeypatch.setattr(v4l2, "find_cameras", fail)
    with pytest.raises(type(error)) as raised:
        NoCamera(settings()).run(lambda *_: None, threading.Event())
    assert raised.value is error
