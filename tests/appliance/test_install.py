"""scripts/install.sh on computers that have never seen piapp."""

import os
import re
import subprocess

import pytest

from .conftest import Machines, other_version
from .debs import offer
from .machine import CHECKOUT, CLEAN, SETTINGS, Failed, Machine

PICAMERA2 = """\
class Picamera2:
    @staticmethod
    def global_camera_info():
        return []
"""


def test_a_fresh_computer_shows_pictures(machines: Machines, suite: str) -> None:
    machine = machines.ready(suite)
    machine.boot()
    said = machine.install()
    assert f"watch at http://piapp-test.local:8080/ {machine.url()}/" in said
    assert machine.shows_picture()
    assert b"<title>" in machine.get("/")
    machine.power_off()
    machine.boot()
    assert machine.property("ActiveState") == "active"  # by itself
    assert machine.shows_picture()


def test_with_the_real_apt_and_pip(machines: Machines, suite: str) -> None:
    """And with settings that were there before."""
    machine = machines.fresh(suite)
    port = 20000 + os.getpid() % 10000
    settings = machine.path("/etc/piapp/config.toml")
    settings.parent.mkdir()
    settings.write_text(f'[server]\nhost = "127.0.0.1"\nport = {port}\n')
    for unit in ("service", "socket"):  # it would announce itself on the real network
        machine.path(f"/etc/systemd/system/avahi-daemon.{unit}").symlink_to("/dev/null")
    machine.boot(network=False, outside=True)
    said = machine.install(check=False)
    if "Is this computer online?" in said and os.environ.get("CI") != "true":
        pytest.skip(f"there is no network: {said}")
    assert "with apt: python3-tornado python3-numpy python3-venv avahi-utils" in said
    assert machine.ok("test", "-x", "/usr/bin/avahi-publish-service")
    assert said.endswith(f"piapp: it serves pictures\npiapp: watch at http://127.0.0.1:{port}/")
    assert settings.read_text() == f'[server]\nhost = "127.0.0.1"\nport = {port}\n'


def test_settings_with_a_mistake_that_were_there_before(machines: Machines) -> None:
    """There is nothing to show, but the page, which says why."""
    machine = machines.ready("trixie")
    machine.path(SETTINGS).parent.mkdir()
    machine.path(SETTINGS).write_text("[server]\nport = 8081\nprot = 1\n")
    machine.boot()
    said = machine.install()
    mistake = f"{SETTINGS}, line 3: prot is not a setting. Did you mean port?"
    assert f"it runs, but shows no picture: piapp cannot use its settings. {mistake}" in said
    assert said.endswith(f"\npiapp: there is a mistake in the settings: {mistake}")
    assert b"<title>" in machine.get("/", 8081)


def test_an_address_that_is_not_there_yet(machines: Machines) -> None:
    """It is installed all the same, and again: piapp listens already."""
    machine = machines.ready("trixie")
    machine.path(SETTINGS).parent.mkdir()
    machine.path(SETTINGS).write_text('[server]\nhost = "192.0.2.7"\n')
    machine.boot()
    for _ in range(2):
        said = machine.install()
        assert "it runs, but shows no picture: no network interface has the address" in said
        assert machine.property("ActiveState") == "active"
    assert "No network interface has the address 192.0.2.7" in machine.run("piapp", "check", check=False)


def test_again_changes_nothing(installed: Machine) -> None:
    before = installed.property("MainPID"), installed.run("ls", "-lR", "/opt/piapp", "/etc/piapp")
    said = installed.install()
    assert "installed already" in said
    assert (installed.property("MainPID"), installed.run("ls", "-lR", "/opt/piapp", "/etc/piapp")) == before


def test_again_mends_what_is_damaged(trixie: Machine) -> None:
    trixie.run("sh", "-c", "echo >/opt/piapp/current/piapp/app.py; rm /etc/systemd/system/piapp.service")
    trixie.install()
    trixie.run("systemctl", "restart", "piapp")
    assert trixie.shows_picture()


def test_it_does_not_run_as_root(installed: Machine) -> None:
    status = installed.run("cat", f"/proc/{installed.property('MainPID')}/status")
    uid = installed.run("id", "-u", "piapp")
    assert re.search(rf"^Uid:\t{uid}\t{uid}\t{uid}\t{uid}$", status, re.M)
    assert re.search(r"^CapEff:\t0000000000000400$", status, re.M)  # CAP_NET_BIND_SERVICE


def test_on_a_pi_everything_comes_from_apt(machines: Machines, suite: str) -> None:
    """A Pi by name only, with stand-ins for those packages that only Raspberry Pi OS has."""
    machine = machines.ready(suite)
    (wheel,) = machine.path("/var/cache/wheels").glob("simplejpeg-*")

    machine.boot()
    offer(machine, "python3-picamera2", {"picamera2/__init__.py": PICAMERA2})
    offer(machine, "python3-simplejpeg", {}, wheels=[f"/var/cache/wheels/{wheel.name}"])
    said = machine.run("env", "PIAPP_MODEL=Raspberry Pi 5", f"{CHECKOUT}/scripts/install.sh")
    assert "installing with apt: python3-picamera2 python3-simplejpeg" in said
    assert "pip" not in said.replace("piapp", "")
    assert not machine.ok("test", "-e", "/opt/piapp/current/venv")
    assert machine.shows_picture()


def test_usb_brings_opencv_and_an_upgrade_keeps_it(trixie: Machine) -> None:
    has_opencv = ("sh", "-c", "/opt/piapp/current/venv/bin/python -c 'import cv2'")
    assert not trixie.ok(*has_opencv)
    trixie.install("--usb")
    assert trixie.ok(*has_opencv)
    trixie.install(checkout=other_version(trixie, "9.0.0"))
    assert trixie.ok(*has_opencv)
    assert trixie.shows_picture()


def test_no_start(machines: Machines) -> None:
    machine = machines.ready("trixie")
    machine.boot()
    assert "it starts when the computer does" in machine.install("--no-start")
    assert machine.property("ActiveState") == "inactive"
    machine.power_off()
    machine.boot()
    assert machine.shows_picture()


def test_in_an_image_that_is_not_running(machines: Machines, suite: str) -> None:
    machine = machines.ready(suite)
    checkout = other_version(machine, "9.0.0")
    install = ["chroot", str(machine.root), f"{checkout}/scripts/install.sh"]
    done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=CLEAN)
    assert done.returncode == 0, done.stdout
    machine.boot()
    assert machine.shows_picture()


def test_a_dry_run_changes_nothing(machines: Machines) -> None:
    machine = machines.fresh("trixie")
    machine.boot()

    def written() -> list[str]:
        places = [machine.disk / name for name in ("etc", "opt", "usr", "var/lib/dpkg", "var/lib/apt", "root", "home")]
        return sorted(str(path) for place in places for path in place.rglob("*"))

    before = written()
    said = machine.install("--dry-run", "--port", "80")
    assert "would install with apt: python3-tornado python3-numpy python3-venv" in said
    assert "would put piapp" in said
    assert "would write port = 80" in said
    assert written() == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--port", "0"], 1, "--port takes a number from 1 to 65535"),
        (["--port"], 1, "--port takes a number from 1 to 65535"),
        (["--port=99999"], 1, "--port takes a number from 1 to 65535"),
        (["--prot", "80"], 2, "there is no --prot"),
    ],
)
def test_slips_of_the_pen(machines: Machines, options: list[str], code: int, words: str) -> None:
    machine = machines.fresh("trixie")
    machine.boot()
    with pytest.raises(Failed, match=f": {code}\n(.*\n)*.*{words}"):
        machine.install(*options)


def test_without_root_it_says_how(machines: Machines) -> None:
    machine = machines.fresh("trixie")
    machine.boot()
    for script in ("install", "uninstall"):
        with pytest.raises(Failed, match=f"please run: sudo scripts/{script}.sh"):
            machine.run("setpriv", "--reuid=65534", "--clear-groups", f"{CHECKOUT}/scripts/{script}.sh")
