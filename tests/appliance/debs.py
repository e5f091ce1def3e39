"""Debian packages that are made for a test, offered to a machine's apt by a folder on it, and nothing else."""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence

from .machine import Machine

OFFERED = "/var/local/debs"


def offer(machine: Machine, name: str, modules: Mapping[str, str], wheels: Sequence[str] = ()) -> None:
    """One with these Python modules, and with what is in these wheels."""
    tree = machine.path(f"{OFFERED}/{name}")
    modules_folder = tree / "usr/lib/python3/dist-packages"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: for a test\n"
    (tree / "DEBIAN").chmod(0o755)
    (tree / "DEBIAN/control").write_text(control)
    for file, text in modules.items():
        (modules_folder / file).parent.mkdir(parents=True)
        (modules_folder / file).write_text(text)
    for wheel in wheels:
        with zipfile.ZipFile(machine.path(wheel)) as archive:
            archive.extractall(modules_folder)
    machine.run("dpkg-deb", "--build", f"{OFFERED}/{name}")
    deb = machine.path(f"{OFFERED}/{name}.deb").read_bytes()
    with machine.path(f"{OFFERED}/Packages").open("a") as packages:
        packages.write(
            f"{control}Filename: ./{name}.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n\n"
        )
    machine.path("/etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{OFFERED} ./\n")
