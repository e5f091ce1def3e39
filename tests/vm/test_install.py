"""scripts/install.sh where a USB camera is plugged in, and the next start of the computer."""

import re
import time
from collections.abc import Callable

import pytest
from fakes import until
from wire import Stream

from .conftest import Installed, configure
from .guest import Guest, by_id
from .viewer import goes_on, shows


def test_it_finds_the_camera_and_shows_it(installed: Installed) -> None:
    guest, said = installed.guest, installed.said
    assert "installing with apt:" in said
    assert re.search(r"installing with pip .*opencv", said)  # because the camera is there
    assert "piapp: it serves pictures\n" in said
    assert guest.property("ActiveState") == "active"
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        goes_on(viewer, "green")
        told = guest.camera()
    assert told["device"] == by_id("green")
    assert (told["source"], told["negotiated"]) == ("usb", "1280x720 MJPG at 30 fps")
    assert (told["width"], told["height"], told["encoder"]) == (1280, 720, "the camera's own")


def test_its_pictures_are_as_many_as_it_sends(guest: Guest, figure: Callable[[str], None]) -> None:
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        viewer.take(30)
        began = time.monotonic()
        viewer.take(150)
        fps = 150 / (time.monotonic() - began)
        told = guest.camera()
    figure(f"{fps:.1f} pictures a second of the camera's 30 came through, {told['bad_frames']} of them broken")
    assert told["bad_frames"] == 0


@pytest.mark.parametrize(
    ("size", "fps", "negotiated"),
    [
        ("640x360", 15, "640x360 MJPG at 15 fps"),
        ("1920x1080", 30, "1280x720 MJPG at 30 fps, asked for 1920x1080 at 30 fps"),
    ],
)
def test_sizes_and_rates_are_asked_of_the_camera(guest: Guest, size: str, fps: int, negotiated: str) -> None:
    configure(guest, f'[[camera]]\nsource = "usb"\nresolution = "{size}"\nframerate = {fps}\n')
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        told = guest.camera()
    assert told["negotiated"] == negotiated
    assert f"{told['width']}x{told['height']}" == negotiated.split()[0]


def test_check_finds_the_camera_while_piapp_uses_it(guest: Guest) -> None:
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        said = guest.run("/opt/piapp/current/bin/piapp", "check", check=False)
        goes_on(viewer, "green")
    assert by_id("green") in said


def test_controls_are_those_of_the_camera(guest: Guest) -> None:
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        controls = {each["name"]: each for each in guest.camera()["controls"]}
    assert (controls["brightness"]["low"], controls["brightness"]["high"]) == (-64, 64)


def test_after_a_start_of_the_computer_it_is_there_by_itself(guest: Guest, figure: Callable[[str], None]) -> None:
    reset = guest.reboot()
    until(guest.shows_picture, 300)
    shown = time.monotonic()
    guest.wait_started()
    since_kernel = float(guest.run("cat", "/proc/uptime").split()[0]) - (time.monotonic() - shown)
    figure(
        f"{since_kernel:.1f} s from the start of the kernel to the first picture, {shown - reset:.1f} s from the reset"
    )
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
    assert guest.camera()["source"] == "usb"
    assert guest.property("NRestarts") == "0"
