"""What happens when piapp dies, hangs, or is told to end: on a real systemd."""

import itertools
import re
import socket
import time

from fakes import until

from .conftest import other_version
from .machine import Machine

VIEWERS = 50
END = (  # in place of where it has begun to serve
    "piapp/app.py",
    "    systemd = Systemd()",
    "    import os\n    os._exit(75)\n    systemd = Systemd()",
)


def drop_in(machine: Machine, *lines: str) -> None:
    """Lay these lines over the service's own, as `systemctl edit` does."""
    folder = machine.path("/etc/systemd/system/piapp.service.d")
    folder.mkdir(exist_ok=True)
    (folder / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))
    machine.run("systemctl", "daemon-reload")


def restarts_and_shows_pictures(machine: Machine, pid: str) -> None:
    until(lambda: machine.property("MainPID") not in ("0", pid), 60)
    until(machine.shows_picture, 60)


def test_killed_it_comes_back(installed: Machine) -> None:
    pid = installed.property("MainPID")
    installed.run("systemctl", "kill", "--signal=KILL", "piapp")
    restarts_and_shows_pictures(installed, pid)
    assert installed.property("NRestarts") == "1"


def test_a_program_that_stands_still_is_started_anew(installed: Machine) -> None:
    drop_in(installed, "WatchdogSec=2", "RestartSec=100ms")
    installed.run("systemctl", "restart", "piapp")
    pid = installed.property("MainPID")
    installed.run("systemctl", "kill", "--signal=STOP", "piapp")
    restarts_and_shows_pictures(installed, pid)
    assert "Watchdog timeout" in installed.journal()


def test_it_is_fed_the_watchdog_while_all_is_well(trixie: Machine) -> None:
    drop_in(trixie, "WatchdogSec=2")
    trixie.run("systemctl", "restart", "piapp")
    with socket.create_connection((trixie.address, 8080), 10) as viewer:
        viewer.sendall(b"GET /stream HTTP/1.1\r\nHost: piapp-test.local\r\n\r\n")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert viewer.recv(1 << 20)
    assert trixie.property("NRestarts") == "0"


def pauses(machine: Machine) -> list[float]:
    """How long systemd has waited each time before it started it again, in seconds."""
    told = re.findall(r"^\[ *([\d.]+)\].*(Failed with result|Scheduled restart job)", machine.journal(), re.M)
    found = []
    for (ended, failed), (again, scheduled) in itertools.pairwise(told):
        if (failed, scheduled) == ("Failed with result", "Scheduled restart job"):
            found.append(float(again) - float(ended))
    return found


def test_one_that_always_ends_is_started_ever_more_rarely_and_for_ever(installed: Machine, suite: str) -> None:
    broken = other_version(installed, "9.0.0", END)
    installed.run("systemctl", "stop", "piapp")
    installed.install("--no-start", checkout=broken)
    drop_in(installed, "RestartSec=100ms", "RestartMaxDelaySec=1500ms", "RestartSteps=2")
    installed.run("systemctl", "start", "piapp", check=False)
    until(lambda: len(pauses(installed)) >= 5, 60)
    assert installed.property("ActiveState") == "activating"
    found = pauses(installed)
    if suite == "trixie":  # Debian 12's systemd does not know how
        assert found[4] > found[0] + 0.8, found


def test_it_ends_at_once_with_many_viewers(installed: Machine) -> None:
    viewers = []
    for _ in range(VIEWERS):
        viewer = socket.create_connection((installed.address, 8080), 10)
        viewers.append(viewer)
        viewer.sendall(b"GET /stream HTTP/1.1\r\nHost: piapp-test.local\r\n\r\n")
        assert viewer.recv(1 << 16).startswith(b"HTTP/1.1 200")
    began = time.monotonic()
    installed.run("systemctl", "stop", "piapp")
    assert time.monotonic() - began < 2
    assert installed.property("Result") == "success"
    for viewer in viewers:
        viewer.settimeout(5)
        while viewer.recv(1 << 20):
            pass
        viewer.close()


def test_the_sandbox_is_tight(installed: Machine) -> None:
    said = installed.run("systemd-analyze", "security", "--no-pager", "piapp.service")
    found = re.search(r"Overall exposure level for piapp.service: ([\d.]+)", said)
    assert found and float(found[1]) <= 2.0, said
