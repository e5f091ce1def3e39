"""Which camera is opened, and what is said when it is not to be had."""

import os
import sys
from pathlib import Path

import pytest
from fake_picamera2 import MONO, PI, SECOND, USB, Module, Picamera2, World, installed, not_installed

from piapp.errors import DeviceStuck, SourceError
from piapp.sources import pi_device, pi_found

from .case import camera, failure, of_all_versions, running, settings, source_of

# libcamera numbers its cameras in an order of its own: here the USB camera is its first, and PI its last
ALL = [USB, SECOND, PI]


@of_all_versions
@pytest.mark.parametrize(
    ("device", "module"),
    [("", PI), ("0", PI), ("1", SECOND), (PI.id, PI), (SECOND.id, SECOND)],
)
def test_the_camera_that_the_settings_name(device: str, module: Module, world: World) -> None:
    """Numbers are those of Picamera2, which has its USB cameras last, whatever number libcamera has for each."""
    if not world.at_least("0.3.18"):
        world.cameras = [PI, SECOND, USB]  # it does not sort them
    else:
        world.cameras = ALL
    source = source_of(device=device)
    source.check()
    assert source.device == module.id
    with running(source):
        assert camera(world).module is module
    assert source.device == module.id


def test_in_0_3_12_cameras_have_no_number_and_no_order() -> None:
    world = World(cameras=ALL, version="0.3.12")
    with installed(world):
        assert pi_found.find_cameras() == [(1, SECOND.id, "ov5647"), (2, PI.id, "imx708")]
        with running(source_of(device="2")):
            assert camera(world).module is PI


def test_picamera2_s_number_is_not_libcamera_s(world: World) -> None:
    world.cameras = [SECOND, PI]
    assert [info["Num"] for info in _class(world).global_camera_info()] == [1, 0]
    assert pi_found.find_cameras() == [(0, PI.id, "imx708"), (1, SECOND.id, "ov5647")]
    with running(source_of(device="0")):
        assert camera(world).module is PI


@of_all_versions
def test_usb_cameras_go_another_way(world: World) -> None:
    world.cameras = [USB]
    assert pi_found.find_cameras() == []
    assert failure(source_of()).what == "Pi camera not found"
    assert failure(source_of(device=USB.id)).what == f"Pi camera {USB.id} not found"
    assert not world.opened


@pytest.mark.parametrize(("device", "what"), [("", "Pi camera not found"), ("1", "Pi camera 1 not found")])
@of_all_versions
def test_a_camera_that_is_not_there(device: str, what: str, world: World) -> None:
    world.cameras = [PI, USB] if device else []
    if not world.at_least("0.3.18") and device:
        world.cameras = [PI]
    with pytest.raises(SourceError) as raised:
        source_of(device=device).check()
    found = failure(source_of(device=device))
    assert found.what == raised.value.what == what
    assert "ribbon cable" in found.hint
    assert not isinstance(found, DeviceStuck)  # a new process would not find it either
    assert not world.opened


@of_all_versions
def test_a_camera_that_goes_between_looking_and_opening(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """IndexError up to 0.3.36, RuntimeError then; up to 0.3.12 a RuntimeError that tells nothing."""
    chosen = pi_found.choose("")
    world.cameras = []
    monkeypatch.setattr(pi_found, "choose", lambda device: chosen)
    files = _open_files()
    found = failure(source_of())
    assert (found.what, found.hint) == ("Pi camera not found", "look at the ribbon cable, then restart the Pi")
    assert isinstance(found.__cause__, IndexError if "0.3.18" <= world.version <= "0.3.36" else RuntimeError)
    assert not isinstance(found, DeviceStuck)
    world.opened.clear()
    found.__cause__ = found.__context__ = None
    assert _open_files() == files
    world.cameras = [PI]
    with running(source_of()) as run:
        run.pictures()


@of_all_versions
def test_a_camera_that_another_program_uses(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure has a cause from 0.3.36 on, and only a context before."""
    monkeypatch.setattr(pi_device, "PROC", tmp_path)
    world.busy.add(PI.id)
    found = failure(source_of())
    assert (found.what, found.hint) == ("Pi camera is in use", "another program uses it: close that")
    assert not isinstance(found, DeviceStuck)

    _program(tmp_path, 17, "motion", "/dev/media3")
    _program(tmp_path, 18, "bash", "/dev/pts/1")
    assert failure(source_of()).hint == "motion uses it: close that"

    world.busy.clear()
    with running(source_of()) as run:
        run.pictures(3)


def test_tries_at_a_camera_that_is_in_use_leave_no_files_open(world: World) -> None:
    """picamera2 opens a pipe before it looks for the camera."""
    world.busy.add(PI.id)
    files = _open_files()
    for _ in range(10):
        assert failure(source_of()).what == "Pi camera is in use"
        world.opened.clear()  # so that they can go, as picamera2's do
    assert _open_files() == files


@of_all_versions
def test_two_settings_with_the_same_camera_do_not_stop_its_frames(world: World) -> None:
    """Up to 0.3.36 picamera2 hands all further frames to whoever tried last, and its manager's thread dies of it."""
    with running(source_of(name="first")) as first:
        found = failure(source_of(name="second"))
        assert found.what == "Pi camera is in use"
        first.pictures(10)
    assert first.error is None


@of_all_versions
def test_two_cameras_at_once(world: World) -> None:
    """One ends and begins again, and the other goes on undisturbed."""
    world.cameras = [PI, SECOND]
    with running(source_of(device=PI.id)) as first:
        for _ in range(3):
            with running(source_of(device=SECOND.id)) as second:
                second.pictures(3)
                first.pictures(3)
            assert second.error is None
        first.pictures(3)
    assert first.error is None
    assert [opened.module for opened in world.opened] == [PI, SECOND, SECOND, SECOND]


@of_all_versions
def test_a_camera_without_colours(world: World) -> None:
    world.cameras = [MONO]
    with running(source_of()) as run:
        run.pictures(3)
        assert not {"saturation", "white_balance"} & run.controls().keys()


# --- tuning files ---


def test_the_tuning_file_stays_in_force_at_every_opening(world: World, tmp_path: Path) -> None:
    """picamera2 takes it out of the environment when it is not named again."""
    file = tmp_path / "imx708_noir.json"
    file.touch()
    pi_found.use_tuning([settings(tuning=str(file))])
    for _ in range(2):
        with running(source_of()) as run:
            run.pictures()
        assert os.environ[pi_found.TUNING] == str(file)


def test_a_tuning_file_that_is_not_there(world: World, tmp_path: Path) -> None:
    """libcamera finds no camera then, and does not say why."""
    file = tmp_path / "imx219_noir.json"
    pi_found.use_tuning([settings(tuning=str(file))])
    source = source_of()
    with pytest.raises(SourceError, match=f"Tuning file {file} not found"):
        source.check()
    assert failure(source).what == f"Tuning file {file} not found"


def test_without_a_tuning_file_none_is_set(world: World) -> None:
    pi_found.use_tuning([settings()])
    with running(source_of()) as run:
        run.pictures()
        assert pi_found.TUNING not in os.environ


# --- without picamera2 ---


def test_without_picamera2_it_says_what_to_install() -> None:
    with not_installed():
        assert pi_found.find_cameras() == []
        source = source_of()
        with pytest.raises(SourceError) as raised:
            source.check()
        assert str(raised.value) == str(failure(source))
    assert str(raised.value) == "Picamera2 is not installed: sudo apt install python3-picamera2"


def test_the_stand_in_leaves_nothing_behind() -> None:
    before = sys.modules.get("picamera2")
    with installed(World()):
        assert issubclass(sys.modules["picamera2"].Picamera2, Picamera2)
    assert sys.modules.get("picamera2") is before


def _class(world: World) -> type[Picamera2]:
    from picamera2 import Picamera2 as Installed

    found: type[Picamera2] = Installed
    assert found.world is world
    return found


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _program(proc: Path, number: int, name: str, file: str) -> None:
    """As /proc shows one that has this file open."""
    folder = proc / str(number) / "fd"
    folder.mkdir(parents=True)
    (folder / "3").symlink_to(file)
    (folder.parent / "comm").write_text(f"{name}\n")
