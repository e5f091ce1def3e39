"""scripts/first-boot.sh and its unit, with stand-ins for the network and for what it calls."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import needs

ROOT = Path(__file__).parents[1]
Start = Callable[..., tuple[subprocess.CompletedProcess[str], str]]


@pytest.fixture
def first_start(tmp_path: Path) -> Start:
    """Runs first-boot.sh with stand-ins: an install.sh that fails so many times, and a network that is there after so
    many looks. Returns how that ended, and what was called."""
    needs("sh")
    scripts, programs, calls = tmp_path / "piapp/scripts", tmp_path / "bin", tmp_path / "calls"
    scripts.mkdir(parents=True)
    programs.mkdir()
    for name in ("first-boot.sh", "common.sh"):
        shutil.copy(ROOT / "scripts" / name, scripts)

    def has(path: Path, script: str) -> None:
        path.write_text(f'#!/bin/sh\necho "{path.name} $*" >>{calls}\n{script}')
        path.chmod(0o755)

    def run(*options: str, failures: int = 0, looks: int = 0) -> tuple[subprocess.CompletedProcess[str], str]:
        has(scripts / "install.sh", f"[ $(grep -c ^install {calls}) -gt {failures} ]\n")
        has(programs / "ip", f"[ $(grep -c ^ip {calls}) -le {2 * looks} ] || echo default via 192.168.1.1\n")
        for name in ("sleep", "systemctl", "rm"):
            has(programs / name, "")
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "PIAPP_MODEL": ""}
        done = subprocess.run(
            [scripts / "first-boot.sh", *options],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        lines = [line for line in calls.read_text().splitlines() if not line.startswith("ip ")]
        return done, "\n".join(lines)

    return run


AWAY = """\
systemctl --quiet disable piapp-setup.service
rm /etc/systemd/system/piapp-setup.service
systemctl daemon-reload"""


def test_the_first_start_installs_and_never_comes_again(
    first_start: Start,
) -> None:
    done, calls = first_start("--usb")
    assert (done.returncode, calls) == (0, f"install.sh --usb\n{AWAY}")


def test_it_waits_for_the_network_and_says_so_once(
    first_start: Start,
) -> None:
    done, calls = first_start(looks=3)
    assert done.stderr.count("waiting for the network") == 1
    assert calls == f"sleep 1\nsleep 1\ninstall.sh \n{AWAY}"


def test_it_tries_again_with_longer_and_longer_pauses(
    first_start: Start,
) -> None:
    done, calls = first_start(failures=9)
    pauses = [int(line.split()[1]) for line in calls.splitlines() if line.startswith("sleep")]
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert "The next try is in 300 seconds" in done.stderr
    assert calls.endswith(AWAY)


def test_systemd_takes_the_unit_of_the_first_start(tmp_path: Path) -> None:
    needs("systemd-analyze")
    unit = tmp_path / "piapp-setup.service"
    text = (ROOT / "systemd/piapp-setup.service").read_text()
    unit.write_text(text.replace("/usr/lib/piapp/scripts/first-boot.sh", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert str(unit) not in done.stderr
