"""systemd/piapp.service, by systemd's own judgement, and what it shares with piapp."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from piapp import app
from piapp.__main__ import RESTART
from piapp.config import ServerConfig, rules
from piapp.system import systemd

UNIT = Path(__file__).parents[1] / "systemd/piapp.service"
TEXT = UNIT.read_text()
LARGEST_EXPOSURE = 2.0
SINCE_254 = {"RestartSteps", "RestartMaxDelaySec"}  # which systemd ignores before that
SECONDS = {"s": 1, "min": 60, "h": 3600}


def values(setting: str) -> list[str]:
    return re.findall(rf"^{setting}=(.*)$", TEXT, re.MULTILINE)


def seconds(setting: str) -> int:
    """Of one that stands there once, as in 30s."""
    (value,) = values(setting)
    number, unit = re.fullmatch(r"(\d+)(\D*)", value).groups()  # type: ignore[union-attr]
    return int(number) * SECONDS[unit]


def complaints(text: str, folder: Path) -> list[str]:
    """What systemd has to say about a unit, as on a computer that has piapp installed."""
    unit = folder / "piapp.service"
    unit.write_text(re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    lines = {line.removeprefix(f"{unit}:") for line in told.stderr.splitlines()}
    assert told.returncode == 0 or lines
    return sorted(lines)


def new(line: str) -> bool:
    """Whether it complains of a setting that newer versions know."""
    return bool(SINCE_254 & set(re.findall(r"Unknown key(?: name)? '(\w+)'", line)))


def relaxed(text: str, folder: Path) -> set[str]:
    """The settings of the sandbox that are not at their strictest."""
    unit = folder / "piapp.service"
    unit.write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--json=short", unit],
        capture_output=True,
        timeout=60,
        check=True,
    )
    found = {each["name"] for each in json.loads(told.stdout) if each["exposure"] is not None and not each["set"]}
    return {re.split("[=/]", name)[0] for name in found}


def explained(setting: str, text: str) -> bool:
    """Whether a comment names it, or it is in the lines that follow a comment."""
    comment = False
    for line in text.splitlines():
        if line.startswith("#"):
            comment = True
            if re.search(rf"\b{setting}=", line):
                return True
        elif line.startswith(f"{setting}="):
            return comment
        elif not line:
            comment = False
    return False


@pytest.mark.needs("systemd-analyze")
def test_systemd_understands_all_of_it(tmp_path: Path) -> None:
    assert [line for line in complaints(TEXT, tmp_path) if not new(line)] == []


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("WatchdogSec=30s", "WatchdogSec=often"),
        ("ProtectSystem=strict", "ProtectSytem=strict"),
        ("RestartSec=2s", "RestartsteadilySec=2s"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@nothing"),
        ("CPUWeight=200", "CPUWeight=0"),
        ("Type=notify", "Type=notified"),
    ],
)
def test_what_systemd_does_not_understand_is_found(line: str, other: str, tmp_path: Path) -> None:
    assert f"\n{line}\n" in TEXT
    told = complaints(TEXT.replace(f"\n{line}\n", f"\n{other}\n"), tmp_path)
    assert len([each for each in told if not new(each)]) == 1, told


@pytest.mark.needs("systemd-analyze")
def test_the_reboot_can_be_switched_on(tmp_path: Path) -> None:
    """As the comment says: its lines in place of the one above it."""
    text = re.sub(r"^#(StartLimit)", r"\1", TEXT.replace("\nStartLimitIntervalSec=0\n", "\n"), flags=re.MULTILINE)
    assert [line.split("=")[0] for line in text.splitlines() if line.startswith("StartLimit")] == [
        "StartLimitIntervalSec",
        "StartLimitBurst",
        "StartLimitAction",
    ]
    assert [line for line in complaints(text, tmp_path) if not new(line)] == []


@pytest.mark.needs("systemd-analyze")
def test_the_sandbox_is_tight() -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"Overall exposure level for piapp.service: ([\d.]+)", told.stdout)
    assert found and float(found[1]) <= LARGEST_EXPOSURE


@pytest.mark.needs("systemd-analyze")
def test_what_the_sandbox_leaves_open_has_its_reason(tmp_path: Path) -> None:
    found = relaxed(TEXT, tmp_path)
    assert {"PrivateDevices", "PrivateNetwork", "AmbientCapabilities"} <= found
    assert {setting for setting in found if not explained(setting, TEXT)} == set()


@pytest.mark.needs("systemd-analyze")
def test_what_is_left_open_without_a_reason_is_found(tmp_path: Path) -> None:
    text = TEXT.replace("\nProtectClock=yes\n", "\n").replace("\nLockPersonality=yes\n", "\nLockPersonality=no\n")
    text = re.sub(r"^# No PrivateDevices=.*\n", "", text, flags=re.MULTILINE)
    found = {setting for setting in relaxed(text, tmp_path) if not explained(setting, text)}
    assert found == {"ProtectClock", "LockPersonality", "PrivateDevices"}


def test_it_needs_no_network_and_no_clock() -> None:
    dependencies = {
        unit
        for setting in ("After", "Wants", "Requires", "BindsTo", "Requisite", "PartOf", "RequiresMountsFor")
        for value in values(setting)
        for unit in value.split()
    }
    assert dependencies == {"boot-firmware.mount", "boot.mount", "modprobe@videodev.service"}
    assert values("Requires") == values("BindsTo") == values("RequiresMountsFor") == []


def test_it_never_stays_down() -> None:
    assert values("Restart") == ["always"]
    assert values("StartLimitIntervalSec") == ["0"]
    assert values("StartLimitAction") == values("FailureAction") == []


def test_it_agrees_with_piapp() -> None:
    assert values("SuccessExitStatus") == [str(RESTART)]
    assert seconds("WatchdogSec") >= 10 * systemd.EVERY_S
    assert seconds("TimeoutStopSec") > 2 * app.STOP_LIMIT_S
    (files,) = values("LimitNOFILE")
    most = re.findall(r"\d+", rules(ServerConfig)["max_viewers"].allowed)[-1]
    assert int(files) > int(most) + 1000  # beside its viewers piapp has cameras, libraries, …
