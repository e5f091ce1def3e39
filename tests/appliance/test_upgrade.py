"""Another version over the one that is there: newer, older, or one that does not work."""

import os
import re
import signal

import pytest
from fakes import until

from .conftest import other_version
from .machine import CHECKOUT, SETTINGS, Failed, Machine

STARTS = ("piapp/app.py", "    systemd = Systemd()", '    raise RuntimeError("broken")\n    systemd = Systemd()')
TAKES = "        self._waiting = asyncio.create_task("
PICTURES = ("piapp/web/pictures.py", TAKES, f'        raise RuntimeError("broken")\n{TAKES}')


def runs(machine: Machine, version: str) -> bool:
    """Is this the version that answers?"""
    return f'"version": "{version}"'.encode() in machine.get("/api/system")


def files(machine: Machine) -> str:
    """Everything that was installed, with contents."""
    folders = ("/opt/piapp", "/etc/piapp", "/etc/systemd/system")
    links = machine.run("find", *folders, "-type", "l", "-printf", "%p -> %l\n")
    return links + machine.run("find", *folders, "-type", "f", "-exec", "sha256sum", "{}", "+")


def versions(machine: Machine) -> list[str]:
    return [name.split("-")[0] for name in machine.run("ls", "/opt/piapp/versions").splitlines()]


def test_a_newer_version_takes_over(installed: Machine) -> None:
    settings = installed.path(SETTINGS)
    settings.write_text(settings.read_text().replace("quality = 80", "quality = 70"))
    before = settings.read_bytes()
    newer = other_version(installed, "9.0.0", ("config.toml", "max_viewers", "# who may\nmax_viewers"))
    installed.install(checkout=newer)
    assert runs(installed, "9.0.0")
    assert installed.shows_picture()
    assert settings.read_bytes() == before
    installed.power_off()
    installed.boot()
    assert runs(installed, "9.0.0")


def test_an_older_version_takes_over_and_one_version_before_is_kept(trixie: Machine) -> None:
    trixie.install(checkout=other_version(trixie, "0.0.9"))
    assert runs(trixie, "0.0.9")
    trixie.install(checkout=other_version(trixie, "0.0.8"))
    assert runs(trixie, "0.0.8")
    assert versions(trixie) == ["0.0.8", "0.0.9"]
    assert trixie.run("readlink", "/opt/piapp/previous").startswith("versions/0.0.9-")


def test_new_settings_are_named(trixie: Machine) -> None:
    field = "    port: int = setting(8080, takes.whole(1, 65535))\n"
    newer = other_version(
        trixie,
        "9.0.0",
        ("piapp/config.py", field, field + "    colour: bool = setting(True, takes.yes_no())\n"),
        ("config.toml", "max_viewers", "colour = true\nmax_viewers"),
    )
    said = trixie.install(checkout=newer)
    assert "new settings, explained in /opt/piapp/current/config.toml: [server] colour\n" in said
    assert "colour" not in trixie.path(SETTINGS).read_text()
    assert "new settings" not in trixie.install(checkout=newer)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (STARTS, "RuntimeError: broken"),
        (PICTURES, "piapp 9.0.0 does not answer"),
        (("piapp/__main__.py", "import argparse", "import argparse, piapp.nothing"), "this version does not run here"),
        (("piapp/config.py", "    max_viewers: int", "    most: int"), "max_viewers is not a setting"),
    ],
    ids=["start", "pictures", "import", "settings"],
)
def test_a_version_that_does_not_work_is_taken_away_again(
    trixie: Machine, change: tuple[str, str, str], why: str
) -> None:
    before = files(trixie)
    newer = other_version(trixie, "9.0.0", change, ("systemd/piapp.service", "WatchdogSec=", "# newer\nWatchdogSec="))
    if change == PICTURES:  # rather than to wait for a minute
        script = trixie.path(f"{newer}/scripts/install.sh")
        script.write_text(script.read_text().replace("PICTURE_LIMIT_S=60", "PICTURE_LIMIT_S=5"))
    with pytest.raises(Failed, match=": 1\n") as failure:
        trixie.install(checkout=newer)
    assert why in str(failure.value)
    assert "9.0.0" not in trixie.run("ls", "/opt/piapp/versions")
    assert trixie.shows_picture()
    assert not runs(trixie, "9.0.0")
    assert files(trixie) == before


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (SETTINGS, "[server]\nport 8081\n", ", line 2: Expected '=' after a key in a key/value pair"),
        (SETTINGS, "server = 5\n", ", line 1: server is a section: write [server] on a line of its own."),
        ("/boot/firmware/piapp.toml", "[server]\nport = 0\n", ", line 2: port = 0 is not allowed: it takes a whole"),
    ],
    ids=["no TOML", "no section", "boot partition"],
)
def test_a_mistake_in_the_settings_stops_no_upgrade(trixie: Machine, file: str, text: str, says: str) -> None:
    """It runs with the last good ones, as piapp did before, and at last the mistake is told."""
    trixie.path(file).parent.mkdir(parents=True, exist_ok=True)
    trixie.path(file).write_text(text)
    trixie.run("systemctl", "restart", "piapp")
    before = trixie.path(SETTINGS).read_bytes()
    said = trixie.install(checkout=other_version(trixie, "9.0.0"))
    assert runs(trixie, "9.0.0")
    assert trixie.shows_picture()
    assert "piapp: it serves pictures\npiapp: watch at http://" in said
    last = said.splitlines()[-1]
    assert last.startswith(f"piapp: there is a mistake in the settings: {file}{says}")
    assert re.search(r" Until that is mended piapp runs with the settings of [-\d]{10} [:\d]{5}\.$", last), last
    assert trixie.path(SETTINGS).read_bytes() == before


def test_settings_as_only_piapp_reads_them_stop_no_upgrade(trixie: Machine) -> None:
    settings = '[[camera]]\nname = “hall”\nsource = "pattern"\n'.encode("utf-16")
    trixie.path(SETTINGS).write_bytes(settings)
    said = trixie.install(checkout=other_version(trixie, "9.0.0"))
    assert "mistake" not in said
    assert (trixie.cameras(), trixie.path(SETTINGS).read_bytes()) == (["hall"], settings)
    with pytest.raises(Failed, match=f"the port cannot be written into {SETTINGS}: write port = 8081 there yourself"):
        trixie.install("--port", "8081")
    assert trixie.shows_picture()


def test_a_camera_that_was_broken_before_is_no_reason_to_go_back(trixie: Machine) -> None:
    settings = trixie.path(SETTINGS)
    settings.write_text(settings.read_text().replace('source = "auto"', 'source = "usb"'))
    trixie.run("systemctl", "restart", "piapp")
    said = trixie.install(checkout=other_version(trixie, "9.0.0"))
    assert runs(trixie, "9.0.0")
    assert "it runs, but shows no picture: No picture from camera" in said


def test_interrupted_when_the_new_version_is_started_the_old_one_goes_on(trixie: Machine) -> None:
    newer = other_version(trixie, "9.0.0", PICTURES)
    installing = trixie.start(f"{newer}/scripts/install.sh")
    until(lambda: trixie.runs_program("appliance.py wait http://127.0.0.1:8080 60"), 60)
    os.killpg(installing.pid, signal.SIGINT)
    said, _ = installing.communicate(timeout=60)
    assert "it runs as before" in said
    assert trixie.shows_picture()
    assert versions(trixie) == [trixie.run("readlink", "/opt/piapp/current").split("/")[1].split("-")[0]]


def test_after_a_power_cut_in_the_middle_it_starts_and_can_be_upgraded(trixie: Machine) -> None:
    newer = other_version(trixie, "9.0.0")
    installing = trixie.start(f"{newer}/scripts/install.sh")
    until(lambda: trixie.runs_program("-m pip install"), 60)
    trixie.cut_power()
    installing.communicate(timeout=60)
    trixie.boot()
    assert trixie.shows_picture()
    assert not runs(trixie, "9.0.0")
    trixie.install(checkout=newer)
    assert runs(trixie, "9.0.0")
    trixie.install(checkout=CHECKOUT)
    assert len(versions(trixie)) == 2
