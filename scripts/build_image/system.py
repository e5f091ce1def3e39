"""The system on the root partition, as it lies mounted in a folder: what it is, and how its programs are run."""

import os
import struct
import subprocess
from pathlib import Path

from .tools import BuildError

OLDEST_PYTHON = 11  # 3.11
MACHINES = {183: "arm64", 40: "armhf", 62: "amd64", 3: "i386"}  # ELF's numbers, Debian's names
EMULATORS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TERM")
CHROOT = Path(__file__).with_name("chroot.sh")


class System:
    """Raises BuildError unless it is a Debian that piapp can run on."""

    def __init__(self, root: Path, work: Path) -> None:
        """`work`: for what its programs write that is not to stay."""
        self.root, self._work = root, work
        try:
            header = (root / "usr/bin/dpkg").read_bytes()[:20]
        except OSError:
            raise BuildError("there is no Raspberry Pi OS or Debian in the image") from None
        self.architecture = MACHINES.get(struct.unpack_from("<H", header, 18)[0], "unknown")
        python = root / "usr/bin/python3"
        if python.is_symlink():  # else apt will bring one
            version = os.readlink(python).removeprefix("python3.")
            if version.isdecimal() and int(version) < OLDEST_PYTHON:
                raise BuildError("the system in the image is too old: piapp needs the Raspberry Pi OS of 2023 or newer")

    @property
    def name(self) -> str:
        """As in Debian GNU/Linux 13 (trixie)."""
        for line in (self.root / "etc/os-release").read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
        return "Debian"

    @property
    def is_raspberry_pi_os(self) -> bool:
        return (self.root / "etc/rpi-issue").exists()

    def has(self, package: str) -> bool:
        return (self.root / f"var/lib/dpkg/info/{package}.list").exists()

    def runs(self, *command: str) -> bool:
        """Run one of its programs as root, with this computer's network, and nothing else of it; True if that went
        well. What it starts ends with it, and it ends with this process, however that ends."""
        variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PIP_NO_CACHE_DIR": "1",
            # Which kind of computer it is for: scripts/common.sh cannot see it here.
            "PIAPP_MODEL": "Raspberry Pi" if self.is_raspberry_pi_os else "",
        }
        alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        words = [*alone, "sh", str(CHROOT), str(self.root), str(self._work), *command]
        return not subprocess.run(words, stdin=subprocess.DEVNULL, env=variables, check=False).returncode

    def check_runs(self) -> None:
        """That its programs run here, which are for another processor perhaps. Raises BuildError."""
        if self.runs("/bin/true"):
            return
        why = f"this computer cannot run the programs of the image, which are for {self.architecture}"
        emulator = BINFMT / EMULATORS.get(self.architecture, "")
        if emulator.is_file() and "F" not in _flags(emulator.read_text()):
            why += f"; {emulator} lacks the flag F"
        raise BuildError(
            f"{why}, please run: sudo apt install qemu-user-static binfmt-support; or use --offline, which runs none"
        )


def _flags(entry: str) -> str:
    """Of a file in binfmt_misc."""
    return next((line.partition(":")[2] for line in entry.splitlines() if line.startswith("flags:")), "")
