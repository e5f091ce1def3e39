"""Cameras that come, go and fail while somebody watches, by the kernel's own drivers."""

import time
from collections.abc import Callable

import numpy as np
import simplejpeg
from fakes import until
from wire import Stream

from .conftest import configure
from .guest import Guest, by_id
from .viewer import goes_on, shows

TWO = """\
[[camera]]
name = "left"
source = "usb"
device = "usb-piapp_Test_camera_green"
resolution = "640x360"

[[camera]]
name = "right"
source = "usb"
device = "usb-piapp_Test_camera_blue"
resolution = "640x360"
"""
RAW = """\
[[camera]]
name = "raw"
source = "usb"
device = "{}"
resolution = "640x360"
"""


def test_pulled_out_and_put_in_again(guest: Guest, figure: Callable[[str], None]) -> None:
    piapp = guest.property("MainPID")
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        guest.unplug("green")
        shows(viewer, None)
        assert guest.camera()["fault"].startswith("Camera unplugged ")
        guest.plug("green")
        began = time.monotonic()
        shows(viewer, "green")
        figure(f"{time.monotonic() - began:.1f} s from a camera's return to its picture")
        goes_on(viewer, "green")
    assert [each["what"] for each in guest.camera()["recent_faults"]][0] == "Camera unplugged"
    assert guest.property("MainPID") == piapp


def test_one_that_comes_when_no_driver_was_ever_loaded(guest: Guest) -> None:
    """The service may use what is found later: numbers that the kernel gives out are known when it starts."""
    guest.unplug("green")
    guest.run("systemctl", "stop", "piapp")
    guest.run("modprobe", "-r", "uvcvideo", "videodev")
    assert "video4linux" not in guest.run("cat", "/proc/devices")
    guest.run("systemctl", "start", "piapp")
    guest.plug("green")
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")


def test_two_are_known_by_name_in_whatever_order_they_come(guest: Guest) -> None:
    guest.plug("blue", socket=1)
    configure(guest, TWO)
    before = guest.run("readlink", by_id("green"), by_id("blue"))
    with Stream(guest.port, "/cameras/left/stream") as left, Stream(guest.port, "/cameras/right/stream") as right:
        shows(left, "green")
        shows(right, "blue")
        for name in ("green", "blue"):
            guest.unplug(name)
        for viewer in (left, right):
            shows(viewer, None)
        for socket, name in enumerate(("blue", "green")):
            guest.plug(name, socket)
        assert guest.run("readlink", by_id("green"), by_id("blue")) != before
        shows(left, "green")
        shows(right, "blue")
        goes_on(left, "green")
        goes_on(right, "blue")


def test_one_that_stops_sending(guest: Guest) -> None:
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        guest.signal("green", "USR1")
        shows(viewer, None)
        assert guest.camera()["fault"].startswith("Camera stopped sending pictures ")
        guest.signal("green", "USR2")
        shows(viewer, "green")
        goes_on(viewer, "green")


def test_one_that_hangs_altogether(guest: Guest) -> None:
    """It does not even answer the driver any more, which waits for it in the kernel."""
    piapp = guest.property("MainPID")
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        guest.signal("green", "STOP")
        shows(viewer, None)
        assert guest.camera()["fault"].startswith("Camera stopped sending pictures ")
        guest.signal("green", "CONT")
        shows(viewer, "green")
    assert guest.property("MainPID") == piapp


def test_one_that_hangs_for_long(guest: Guest) -> None:
    """The thread that uses it is held in the kernel: only a fresh process may help, and comes."""
    piapp = guest.property("MainPID")
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        guest.signal("green", "STOP")
        for _ in viewer:  # until piapp ends
            pass
    guest.signal("green", "CONT")
    until(lambda: guest.property("MainPID") not in ("0", piapp), 60)
    until(guest.shows_picture, 120)
    assert "Camera hung: piapp ends, since only a fresh process may help" in guest.journal()


def test_raw_pictures(guest: Guest, figure: Callable[[str], None]) -> None:
    """Of vivid, a driver that paints moving test pictures, and knows no JPEG."""
    guest.run("modprobe", "vivid", "node_types=0x1")
    try:
        device = "/dev/" + guest.run("sh", "-c", "grep -l vivid /sys/class/video4linux/*/name | cut -d/ -f5 | head -n1")
        configure(guest, RAW.format(device))
        with Stream(guest.port, "/cameras/raw/stream") as viewer:
            until(lambda: guest.camera("raw")["state"] == "running", 60)
            first = viewer.take(10)[-1]
            began = time.monotonic()
            last = viewer.take(30)[-1]
            fps = 30 / (time.monotonic() - began)
            told = guest.camera("raw")
        assert (told["device"], told["encoder"]) == (device, "simplejpeg")
        assert told["negotiated"].startswith("640x360 YUYV at ")
        before, after = (simplejpeg.decode_jpeg(part.jpeg, "RGB") for part in (first, last))
        assert before.shape == (360, 640, 3)
        assert before.mean((0, 1)).std() < before.std()  # not all of one colour
        assert np.abs(before.astype(int) - after).max() > 50  # and it moves
        figure(f"{fps:.1f} raw pictures a second of 640x360, encoded by piapp: {told['negotiated']}")
    finally:
        guest.run("systemctl", "stop", "piapp")
        guest.run("modprobe", "-r", "vivid")
