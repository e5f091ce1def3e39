"""How the parts talk to the person in front of them, and call other programs."""

import shutil
import subprocess
import sys

PACKAGES = {  # the programs that are called, and what Debian and Ubuntu have them in
    "sfdisk": "fdisk",
    "mcopy": "mtools",
    "losetup": "mount",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "e2fsck": "e2fsprogs",
    "resize2fs": "e2fsprogs",
}


class BuildError(Exception):
    """What went wrong and what to do, in words for who has called scripts/build-image."""


def say(text: str) -> None:
    print(f"piapp: {text}", file=sys.stderr, flush=True)


def check() -> None:
    """That all PACKAGES are there. Raises BuildError."""
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing:
        raise BuildError(f"more programs are needed, please run: sudo apt install {' '.join(missing)}")


def run(*command: object, text: str = "", worst: int = 0) -> str:
    """What it prints. `text` is what it reads. Raises BuildError with what it says, where it exits with > `worst`."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=text, capture_output=True, text=True, errors="replace", check=False)
    if not 0 <= done.returncode <= worst:
        raise BuildError(f"{words[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
