"""What these tests share: a computer on which piapp is installed once, as people do. They run under scripts/test-vm."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .guest import Guest, by_id

DEBIAN = os.environ.get("PIAPP_VM", "")
collect_ignore_glob = [] if DEBIAN else ["test_*.py"]
FIGURES = pytest.StashKey[list[str]]()


class Installed(NamedTuple):
    guest: Guest
    said: str  # by scripts/install.sh
    settings: str  # that it has written


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Installed]:
    """With a camera plugged in before."""
    figures = request.config.stash.setdefault(FIGURES, [])
    began = time.monotonic()
    with Guest(tmp_path_factory.mktemp("guest"), Path(DEBIAN)) as guest:
        figures.append(f"{time.monotonic() - began:.0f} s until the computer was started")
        guest.plug("green")
        began = time.monotonic()
        said = guest.install()
        figures.append(f"{time.monotonic() - began:.0f} s for scripts/install.sh")
        yield Installed(guest, said, guest.run("cat", "/etc/piapp/config.toml"))


@pytest.fixture
def guest(installed: Installed) -> Iterator[Guest]:
    """The green camera is plugged in, and piapp runs with the settings that it comes with."""
    guest = installed.guest
    yield guest
    for name in guest.plugged - {"green"}:
        guest.unplug(name)
    if "green" not in guest.plugged:
        guest.plug("green")
    assert guest.ok("test", "-e", by_id("green")), "the camera has gone by itself"
    if guest.run("cat", "/etc/piapp/config.toml") != installed.settings:
        configure(guest, installed.settings)


def configure(guest: Guest, settings: str) -> None:
    """Have piapp run with these settings."""
    guest.write("/etc/piapp/config.toml", settings)
    guest.run("systemctl", "restart", "piapp")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes what was measured, to be printed at the end."""
    return request.config.stash[FIGURES].append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)
