"""Brings piapp into the system of an image: installs it there, or leaves it to the first start to do so."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from .system import System
from .tools import BuildError, run, say

CHECKOUT = Path(__file__).parents[2]
PARTS = ("piapp", "scripts", "systemd", "config.toml", "pyproject.toml", "README.md")
PLACE = "usr/lib/piapp"  # where scripts/install.sh and the like remain, to add --usb or to uninstall
UNIT = "piapp-setup.service"
WANTED_BY = "etc/systemd/system/multi-user.target.wants"


def put_checkout(system: System) -> None:
    place = system.root / PLACE
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in PARTS:
        part = CHECKOUT / name
        if part.is_dir():
            shutil.copytree(part, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(part, place)
    run("chmod", "-R", "u=rwX,go=rX", place)  # whatever they are here


def install(system: System, options: list[str]) -> bool:
    """By scripts/install.sh. False: apt's archives cannot be reached, and nothing is changed. Raises BuildError."""
    with _as_in_a_chroot(system.root):
        system.check_runs()
        say("asking apt's archives what they have")
        if not system.runs("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"):
            return False
        say("installing piapp in the image" + ("" if _native(system) else ": minutes, since all of it is emulated"))
        if not system.runs(f"/{PLACE}/scripts/install.sh", *options):
            raise BuildError("piapp could not be installed in the image, see above")
    return True


def install_later(system: System, options: list[str]) -> None:
    unit = (CHECKOUT / "systemd" / UNIT).read_text()
    command = "ExecStart=/usr/lib/piapp/scripts/first-boot.sh"
    (system.root / "etc/systemd/system" / UNIT).write_text(unit.replace(command, " ".join([command, *options])))
    wanted = system.root / WANTED_BY / UNIT
    wanted.parent.mkdir(exist_ok=True)
    wanted.unlink(missing_ok=True)
    wanted.symlink_to(f"/etc/systemd/system/{UNIT}")


def _native(system: System) -> bool:
    return run("dpkg", "--print-architecture").strip() == system.architecture


@contextlib.contextmanager
def _as_in_a_chroot(root: Path) -> Iterator[None]:
    """Names are found as here, and no package starts its service."""
    with (
        _instead(root / "etc/resolv.conf", Path("/etc/resolv.conf").read_text(), 0o644),
        _instead(root / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755),
    ):
        yield


@contextlib.contextmanager
def _instead(path: Path, text: str, mode: int) -> Iterator[None]:
    """A file in place of what is there, often a symlink that leads nowhere, and which comes back."""
    kept = path.with_name(f"{path.name}.before-piapp")
    there = path.is_symlink() or path.exists()
    if there:
        path.rename(kept)
    path.write_text(text)
    path.chmod(mode)
    try:
        yield
    finally:
        path.unlink()
        if there:
            kept.rename(path)
