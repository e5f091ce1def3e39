"""sources/v4l2.py: which cameras the kernel tells of. The ioctls are answered by fake_camera/ in another process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_camera import FakeCamera

from piapp.config import Size
from piapp.errors import SourceError
from piapp.sources import v4l2

SIZE = Size(640, 480)


def test_without_any_device_there_is_no_camera(tmp_path: Path) -> None:
    assert v4l2.find_cameras(tmp_path / "dev", tmp_path / "sys") == []
    assert v4l2.formats(str(tmp_path / "video0")) == []


def test_what_is_no_camera_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "video0").write_text("")
    (tmp_path / "video1").mkdir()
    assert v4l2.find_cameras(tmp_path, tmp_path) == []
    assert v4l2.formats(str(tmp_path / "video0")) == []


@pytest.mark.parametrize(
    ("device", "path"),
    [
        ("0", "video0"),
        ("12", "video12"),
        ("usb-Cam_1", "v4l/by-id/usb-Cam_1-video-index0"),
        ("usb-Cam_1-video-index0", "v4l/by-id/usb-Cam_1-video-index0"),
        ("usb-Other", "v4l/by-id/usb-Other-video-index0"),
    ],
)
def test_how_a_device_can_be_written(tmp_path: Path, device: str, path: str) -> None:
    by_id = tmp_path / "v4l/by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Cam_1-video-index0").symlink_to("../../video0")
    (tmp_path / "video0").touch()
    assert v4l2.find_path(device, tmp_path, tmp_path) == str(tmp_path / path)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert v4l2.find_path("/dev/video7", tmp_path, tmp_path) == "/dev/video7"


def test_no_device_named_and_no_camera_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Camera not found: plug it in, or set device in config.toml"):
        v4l2.find_path("", tmp_path, tmp_path)


def missing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "what"),
    [(missing, "Camera not found"), (Path.touch, "is no camera"), (Path.mkdir, "is no camera")],
)
def test_why_a_device_cannot_be_had(tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    path = tmp_path / "video0"
    make(path)
    with pytest.raises(SourceError, match=what):
        v4l2.check(str(path))
    assert not v4l2.is_there(str(path))


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_device_that_the_user_may_not_open(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    path = tmp_path / "video0"
    path.touch(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(SourceError, match="add the user to group video"):
            v4l2.check(str(path))
    finally:
        os.seteuid(0)


ASK = """
import json, sys
from pathlib import Path
from piapp.errors import SourceError
from piapp.sources import v4l2

dev, sysfs = map(Path, sys.argv[1:])
cameras = v4l2.find_cameras(dev, sysfs)
v4l2.check(str(dev / "video3"))
print(json.dumps([cameras, v4l2.formats(str(dev / "video3")), v4l2.find_path("", dev, sysfs) if cameras else None]))
"""


def ask(dev: Path, sysfs: Path) -> Any:
    """What is found where video3 is the fake camera: cameras, its formats, the path of the first camera."""
    with FakeCamera(dev / "fake", {"MJPG": [b""], "NV12": [b""]}, SIZE, device=dev / "video3") as camera:
        asked = subprocess.run(
            [sys.executable, "-c", ASK, dev, sysfs],
            env=os.environ | camera.env,
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(asked.stdout)


@pytest.mark.needs("cc")
def test_a_usb_camera_is_found(tmp_path: Path) -> None:
    (tmp_path / "video10").touch()  # something else
    path = str(tmp_path / "video3")
    assert ask(tmp_path, tmp_path / "sys") == [
        [[path, "Fake Camera"]],
        [["MJPG", "Format MJPG", [list(SIZE)]], ["NV12", "Format NV12", [list(SIZE)]]],
        path,
    ]


@pytest.mark.needs("cc")
def test_the_name_that_survives_replugging_is_preferred(tmp_path: Path) -> None:
    by_id = tmp_path / "v4l/by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Fake-video-index0").symlink_to("../../video3")
    (by_id / "usb-Fake-video-index1").symlink_to("../../video4")  # the metadata of UVC cameras
    cameras, _, first = ask(tmp_path, tmp_path / "sys")
    assert cameras == [[str(by_id / "usb-Fake-video-index0"), "Fake Camera"]]
    assert first == str(by_id / "usb-Fake-video-index0")


@pytest.mark.needs("cc")
@pytest.mark.parametrize(("bus", "found"), [("usb", 1), ("platform", 0), ("pci", 0)])
def test_only_what_is_on_usb_is_found(tmp_path: Path, bus: str, found: int) -> None:
    """The Pi's codecs and scalers are on another bus. Named in the settings, though, each can be opened."""
    device = tmp_path / "sys/video3/device"
    device.mkdir(parents=True)
    (tmp_path / bus).mkdir()
    (device / "subsystem").symlink_to(tmp_path / bus)
    cameras, formats, _ = ask(tmp_path, tmp_path / "sys")
    assert len(cameras) == found
    assert len(formats) == 2
