"""Images of cards of a few MB, on which scripts/build-image is tried. To read them none needs to be mounted."""

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from conftest import needs

from scripts.build_image.card import MIB

BOOT_MIB, ROOT_MIB = 8, 24
START = (4, 4 + BOOT_MIB)  # of the partitions, in MiB
MACHINES = {"arm64": 183, "armhf": 40}  # ELF's numbers


def write_system(folder: Path, architecture: str = "arm64") -> Path:
    """As much of a Raspberry Pi OS as is looked at. None of its programs can be run."""
    for name in ("dev", "etc/systemd/system", "proc", "run", "tmp", "usr/bin", "usr/lib", "usr/sbin"):
        (folder / name).mkdir(parents=True)
    for name in ("cache/apt", "lib/apt/lists", "lib/dpkg/info"):
        (folder / "var" / name).mkdir(parents=True)
    (folder / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    (folder / "etc/rpi-issue").touch()
    header = b"\x7fELF\x02\x01\x01".ljust(18, b"\0")
    (folder / "usr/bin/dpkg").write_bytes(header + struct.pack("<H", MACHINES[architecture]))
    (folder / "usr/bin/python3").symlink_to("python3.13")
    return folder


def add_program(folder: Path, path: str) -> None:
    """One of this computer, with the libraries that it loads."""
    told = subprocess.check_output(["ldd", path], text=True)
    for file in [path, *(word for word in told.split() if word.startswith("/"))]:
        (folder / file.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.lstrip("/"))


def make_image(path: Path, folder: Path, *, root_mib: int = ROOT_MIB, extra: str = "") -> Path:
    """A card with that on its root partition. `extra`: one more line for sfdisk."""
    needs("sfdisk", "mkfs.vfat", "mcopy", "mkfs.ext4")
    boot, root = path.with_suffix(".boot"), path.with_suffix(".root")
    for each, size in ((boot, BOOT_MIB), (root, root_mib), (path, START[1] + root_mib + 2)):
        with each.open("wb") as file:
            file.truncate(size * MIB)
    table = f"label: dos\nlabel-id: 0x1234abcd\nstart={START[0]}MiB, size={BOOT_MIB}MiB, type=c\n"
    table += f"start={START[1]}MiB, size={root_mib}MiB, type=83\n{extra}"
    subprocess.run(["sfdisk", "--quiet", path], input=table, text=True, check=True)
    subprocess.run(["mkfs.vfat", boot], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["mcopy", "-i", boot, "-", "::cmdline.txt"], input=b"root=PARTUUID=1234abcd-02", check=True)
    subprocess.run(["mkfs.ext4", "-q", "-d", folder, root], check=True)
    with path.open("r+b") as image:
        for each, start in ((boot, START[0]), (root, START[1])):
            image.seek(start * MIB)
            image.write(each.read_bytes())
    return path


@dataclass
class Made:
    image: Path
    told: str

    def look(self, name: str) -> str:
        """A file of the root partition."""
        return self.debugfs("cat", name)

    def debugfs(self, command: str, name: str) -> str:
        words = ["debugfs", "-R", f'{command} "/{name}"', f"{self.image}?offset={START[1] * MIB}"]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("debugfs 1."))

    def look_at_boot(self, name: str) -> str:
        command = ["mcopy", "-n", "-i", f"{self.image}@@{START[0] * MIB}", f"::{name}", "-"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
