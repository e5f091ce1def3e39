"""A Pi camera that hangs: in a way that piapp itself gets out of, and in one that takes systemd's watchdog.

The camera is the stand-in for picamera2, put where apt has the real one. There, too, Python code that waits for the
driver lets others run; libcamera's own calls let nobody.
"""

import shutil

import pytest
from fakes import until
from wire import Stream, ask

from .machine import ROOT, SETTINGS, Machine
from .test_survival import drop_in, restarts_and_shows_pictures

MODULES = "/usr/lib/python3/dist-packages"
WEDGE = "/etc/piapp/wedge"  # what is to hang: the number of a process, how, and which step; see fake_picamera2/world.py
PICAMERA2 = f"""\
import ctypes, os, time
import fake_picamera2
from piapp import stuck

class World(fake_picamera2.World):
    def step(self, step, module=None):
        super().step(step, module)
        if os.path.exists("{WEDGE}"):
            process, how, where = open("{WEDGE}").read().split()
            while (int(process), where) == (os.getpid(), step):
                ctypes.PyDLL(None).pause() if how == "locked" else time.sleep(1)

stuck.HUNG_LIMIT_S = 10.0  # of 15
fake_picamera2.here = fake_picamera2.installed(World(platform="PISP", video11=""))
fake_picamera2.here.__enter__()
"""
PI_CAMERA = '[[camera]]\nsource = "picamera2"\nidle_stop_s = 0\nresolution = "320x240"\n'


def has_pi_camera(machine: Machine, *of_service: str) -> None:
    shutil.copytree(ROOT / "tests/fake_picamera2", machine.path(f"{MODULES}/fake_picamera2"))
    machine.path(f"{MODULES}/picamera2.py").write_text(PICAMERA2)
    machine.path(SETTINGS).write_text(PI_CAMERA)
    drop_in(machine, "RestartSec=100ms", *of_service)
    machine.run("systemctl", "restart", "piapp")
    assert machine.shows_picture()
    until(lambda: not camera(machine)["negotiated"], 60)  # it is closed again


def camera(machine: Machine) -> dict[str, object]:
    found = ask(8080, "/api/cameras/camera", host=machine.address).json()
    assert isinstance(found, dict)
    return found


def wedge(machine: Machine, how: str, step: str) -> str:
    """From now on, for as long as this process lasts, which is returned."""
    pid = machine.property("MainPID")
    machine.path(WEDGE).write_text(f"{pid} {how} {step}")
    return pid


def test_the_camera_hangs_and_piapp_takes_a_fresh_process(trixie: Machine) -> None:
    has_pi_camera(trixie)
    pid = wedge(trixie, "free", "stop")
    assert trixie.shows_picture()  # and is closed, now that nobody watches
    with Stream(8080, host=trixie.address):
        until(lambda: "Camera hung" in str(camera(trixie)["message"]), 60)
        assert b"<title>" in trixie.get("/")
        restarts_and_shows_pictures(trixie, pid)
    said = trixie.journal()
    assert "camera: Camera hung: piapp ends, since only a fresh process may help" in said
    assert "exit code 75: start it again" in said
    assert "Watchdog timeout" not in said and trixie.property("NRestarts") == "1"


@pytest.mark.parametrize("step", ["start", "stop"])
def test_all_of_piapp_hangs_and_the_watchdog_ends_it(trixie: Machine, step: str) -> None:
    has_pi_camera(trixie, "WatchdogSec=4")
    pid = wedge(trixie, "locked", step)
    with Stream(8080, host=trixie.address) as viewer:
        if step == "start":
            restarts_and_shows_pictures(trixie, pid)
        else:
            next(viewer)  # and it is closed, now that nobody watches
    restarts_and_shows_pictures(trixie, pid)
    said = trixie.journal()
    assert "Watchdog timeout" in said
    assert "picamera2.py" in said.partition("Fatal Python error: Aborted")[2]  # where it hung
    assert "device does not let go" not in said and trixie.property("NRestarts") == "1"
