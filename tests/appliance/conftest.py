"""What these tests share. They run under scripts/test-appliance only, which makes the Debians and shuts them in."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from piapp import __version__

from .machine import CHECKOUT, ROOT, Machine

DEBIANS = os.environ.get("PIAPP_DEBIANS", "")
collect_ignore_glob = [] if DEBIANS else ["test_*.py"]
SUITES = ("trixie", "bookworm")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """For the machines' disks: beside the Debians, since an overlay's disk cannot be on every file system."""
    path = Path(tempfile.mkdtemp(prefix="appliance-disks-", dir=Path(DEBIANS).parent))
    yield path
    shutil.rmtree(path)


class Machines:
    """Made when they are first asked for; each is booted once, and all end with the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._installed: dict[str, list[Path]] = {}
        self._made: list[Machine] = []

    def fresh(self, suite: str) -> Machine:
        """As it comes: piapp has never been there, and nothing that it needs but Python."""
        return self._make([Path(DEBIANS, suite, "fresh")])

    def ready(self, suite: str) -> Machine:
        """It has the packages of apt, and pip has its in a folder."""
        return self._make([Path(DEBIANS, suite, "ready"), Path(DEBIANS, suite, "fresh")])

    def installed(self, suite: str, disk_mb: int | None = None) -> Machine:
        """It is off after piapp was installed, with the defaults, and has served a picture."""
        if suite not in self._installed:
            machine = self.ready(suite)
            machine.boot()
            machine.install()
            machine.power_off()
            machine.remove()
            self._made.remove(machine)
            self._installed[suite] = [machine.disk, *machine.layers]
        return self._make(self._installed[suite], disk_mb)

    def _make(self, layers: list[Path], disk_mb: int | None = None) -> Machine:
        self._made.append(Machine(Path(tempfile.mkdtemp(dir=self._folder)), layers, disk_mb))
        return self._made[-1]

    def remove(self) -> None:
        for machine in self._made:
            machine.remove()
        self._made.clear()


@pytest.fixture(scope="session")
def all_machines(folder: Path) -> Machines:
    return Machines(folder)


@pytest.fixture
def machines(all_machines: Machines) -> Iterator[Machines]:
    """Those that a test has asked for are gone after it."""
    yield all_machines
    all_machines.remove()


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def installed(machines: Machines, suite: str) -> Machine:
    """A machine on which piapp is installed and runs, on each Debian."""
    machine = machines.installed(suite)
    machine.boot()
    return machine


@pytest.fixture
def trixie(machines: Machines) -> Machine:
    """The same on one, where the other would not differ."""
    machine = machines.installed("trixie")
    machine.boot()
    return machine


def other_version(machine: Machine, version: str, *changes: tuple[str, str, str]) -> str:
    """A checkout on the machine that differs: in the version, and by (file, what stands there, what in its place)."""
    folder = machine.path(f"{CHECKOUT}-{version}")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "docs", "build"))
    for file, old, new in (("piapp/__init__.py", f'"{__version__}"', f'"{version}"'), *changes):
        text = (folder / file).read_text()
        assert old in text, f"{old} in {file}"
        (folder / file).write_text(text.replace(old, new))
    return f"{CHECKOUT}-{version}"
