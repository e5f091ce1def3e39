"""A computer into which a Pi's card is put, pretended by QEMU.

What the Pi's firmware does is done here: it takes the kernel, its initrd and its command line from the boot partition.
"""

import contextlib
import http.client
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qemu import Qemu

from .card import Card

PORTS = (8080, 80)  # on which piapp may listen
TREE = "bcm2710-rpi-3-b.dtb"
# Without drivers for those parts of a Pi that QEMU lacks it starts sooner; cdc_subset would be in the way of the one
# for QEMU's network on USB. And systemd is to be patient: all is late in there when this computer is busy.
QUICKER = (
    *("quiet", "mitigations=off", "nokaslr", "audit=0", "module_blacklist=vc4,hci_uart,efi_pstore,cdc_subset"),
    *(f"systemd.mask={unit}.service" for unit in ("e2scrub_reap", "modprobe@drm", "modprobe@efi_pstore")),
    *("systemd.default_device_timeout_sec=900", "systemd.default_timeout_start_sec=900"),
)
NO_SSH = 255  # how ssh ends when it is ssh that failed
BOOT_LIMIT_S = 600.0  # where it takes one minute, on a computer that is busy with other things


@dataclass(frozen=True)
class Model:
    arguments: Sequence[str]
    drive: str
    network: str
    serial: str  # what Linux calls the serial port whose text is in `serial`
    tree: str | None = None  # the file that tells Linux what there is; None: QEMU does


PI_3 = Model(("-machine", "raspi3b", "-m", "1G", "-serial", "null"), "sd", "usb-net", "ttyS1", TREE)
# It has a card slot only in name, but is twice as fast.
VIRT = Model(
    ("-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1G"), "virtio", "virtio-net-pci,romfile=", "ttyAMA0"
)


class Board(Qemu):
    """`key`: with which root may come in by ssh."""

    def __init__(self, folder: Path, model: Model, card: Card, key: Path) -> None:
        files = ["kernel8.img", "initramfs8", *([model.tree] if model.tree else [])]
        for name in files:
            (folder / name).write_bytes(card.read(name))
        line = card.read("cmdline.txt").decode().split()
        options = [*QUICKER, *(each for each in line if not each.startswith("console="))]
        super().__init__(
            folder,
            *(*model.arguments, "-no-reboot", "-kernel", folder / files[0], "-initrd", folder / files[1]),
            *(("-dtb", folder / model.tree) if model.tree else ()),
            *("-append", " ".join([*options, f"console={model.serial},115200"])),
            *("-drive", f"file={card.path},format=raw,if={model.drive},cache=unsafe"),
            program="qemu-system-aarch64",
            card=model.network,
            forward=(22, *PORTS),
        )
        self._key = key

    def run(self, command: str, check: bool = True) -> str:
        """What this says, in a shell of root's, as soon as ssh is there."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=60")
        ssh = ["ssh", "-q", "-i", str(self._key), "-p", str(self.port(22)), *(f"-o{each}" for each in options)]
        done = subprocess.CompletedProcess[str]([], NO_SSH)
        until_s = time.monotonic() + BOOT_LIMIT_S
        while done.returncode == NO_SSH and time.monotonic() < until_s and self._process.poll() is None:
            done = subprocess.run(
                [*ssh, "root@127.0.0.1", command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=BOOT_LIMIT_S,
            )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def power_off(self) -> None:
        self.run("systemctl poweroff --no-block", check=False)  # ssh may be ended, too
        self.wait_end(BOOT_LIMIT_S)

    def wait_page(self, port: int = PORTS[0], limit_s: float = BOOT_LIMIT_S) -> None:
        """Until piapp serves it there."""
        until_s = time.monotonic() + limit_s
        while not self._serves(port):
            assert time.monotonic() < until_s and self._process.poll() is None, f"{self.said}\n{self.serial}"
            time.sleep(0.5)  # it is slow enough in there without being asked all the time

    def _serves(self, port: int) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            asking = http.client.HTTPConnection("127.0.0.1", self.port(port), timeout=10)
            with contextlib.closing(asking):
                asking.request("GET", "/")
                return asking.getresponse().status == 200
        return False
