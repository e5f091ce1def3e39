"""Makes the image of an SD card that has piapp in it, to be written by Raspberry Pi Imager.

With --from IMAGE, as root, out of a Raspberry Pi OS as it is downloaded. Without it, not as root, by Raspberry Pi's own
rpi-image-gen, which makes a small system of what systemd/image says.
"""

import argparse
import ctypes
import errno
import os
import shlex
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from piapp import __version__

from . import copying, manifest, setup, tools
from .card import MIB, Card
from .system import System
from .tools import BuildError, say

LAYER = setup.CHECKOUT / "systemd/image"
SAMPLE = LAYER / "piapp.toml"
ROOM_MIB = {"later": 64, "now": 1024, "usb": 2048}  # "usb": OpenCV is more than all else together
CLONE_NEWNS = 0x20000


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/build-image", description=__doc__, allow_abbrev=False)
    parser.add_argument("--from", dest="image", metavar="IMAGE", type=Path, help="a Raspberry Pi OS, .img or .img.xz")
    parser.add_argument("output", metavar="OUTPUT", type=Path, nargs="?", help="the new image, .img")
    parser.add_argument(
        "--offline", action="store_true", help="the Pi is to install piapp when it starts for the first time"
    )
    parser.add_argument("--usb", action="store_true", help="make it fit for USB cameras")
    parser.add_argument("--rpi-image-gen", metavar="FOLDER", type=Path, help="where rpi-image-gen is")
    asked = parser.parse_args()
    if asked.image is None:
        if asked.output or asked.offline or asked.usb:
            parser.error("--from IMAGE is missing")
        return run_rpi_image_gen(asked.rpi_image_gen)
    if asked.output is None:
        parser.error("OUTPUT is missing: the name of the new image")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    check(asked.image, asked.output)
    build(asked.image, asked.output, offline=asked.offline, options=["--usb"] if asked.usb else [])
    return 0


def run_rpi_image_gen(folder: Path | None) -> int:
    """In place of this program."""
    beside = folder or setup.CHECKOUT.parent / "rpi-image-gen"
    program = shutil.which("rpi-image-gen", path=beside) or (None if folder else shutil.which("rpi-image-gen"))
    if not program:
        raise BuildError(
            f"there is no rpi-image-gen in {beside}, please run: git clone https://github.com/raspberrypi/rpi-image-gen"
            f" {beside} && sudo {beside}/install_deps.sh; or make an image out of a Raspberry Pi OS, see --help"
        )
    os.execv(program, [program, "build", "-S", str(LAYER), "-c", "piapp.yaml"])


def check(image: Path, output: Path) -> None:
    """All that can be wrong before anything is begun. Raises BuildError."""
    if os.geteuid():
        arguments = shlex.join(sys.argv[1:])
        raise BuildError(f"an image can only be opened by root, please run: sudo scripts/build-image {arguments}")
    tools.check()
    if not image.is_file():
        raise BuildError(f"there is no file {image}")
    if output.exists() and (not output.is_file() or output.samefile(image)):
        raise BuildError(f"{output} must be a new file: Raspberry Pi Imager writes it onto a card afterwards")
    if not output.parent.is_dir():
        raise BuildError(f"there is no folder {output.parent}")


def build(image: Path, output: Path, *, offline: bool, options: list[str]) -> None:
    own_mounts()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="piapp-image-", dir="/var/tmp")))
        unfinished = output.with_name(f"{output.name}.unfinished")
        stack.callback(unfinished.unlink, missing_ok=True)
        copying.copy(image, unfinished)
        card = Card(unfinished)
        room = ROOM_MIB["later" if offline else "usb" if options else "now"] * MIB
        if shutil.disk_usage(output.parent).free < room:  # what is empty in the image takes none yet
            raise OSError(errno.ENOSPC, "")
        card.make_room(room)
        boot_files = card.boot_files()
        root = work / "root"
        root.mkdir()
        with card.mounted(root):
            system = System(root, work)
            setup.put_checkout(system)
            if offline or not setup.install(system, options):
                if not offline:
                    say("apt's archives cannot be reached from here, as told above")
                    offline = True
                setup.install_later(system, options)
            told = manifest.describe(system, boot_files, __version__)
        if SAMPLE.name not in boot_files:
            card.add_boot_file(SAMPLE)
        say("checking the image")
        card.verify()
        path = manifest.write(told, unfinished, output)
        for made in (unfinished, path):  # theirs who has called sudo, to be moved and edited
            os.chown(made, int(os.environ.get("SUDO_UID", -1)), int(os.environ.get("SUDO_GID", -1)))
        unfinished.rename(output)
    if offline:
        say("the Pi will install piapp when it starts for the first time and finds the internet")
    say(f"{output} is ready, {output.stat().st_size / 1e6:.0f} MB")
    say(f"to write it onto a card, open {path} with Raspberry Pi Imager")


def own_mounts() -> None:
    """What is mounted from now on nobody else sees, and it goes when this process ends, however it ends."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise BuildError(f"no mount namespace can be had here: {os.strerror(ctypes.get_errno())}")
    tools.run("mount", "--make-rprivate", "/")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BuildError as problem:
        sys.exit(f"piapp: {problem}")
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            sys.exit("piapp: the new image does not fit onto this disk")
        sys.exit(f"piapp: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
