"""The image of a card as all systems for the Raspberry Pi have it: an MBR, partition 1 FAT, partition 2 ext4.

The kernel is not asked to look for partitions, which not every computer lets it do in a file: all programs called here
are told where in the file to work.
"""

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .tools import BuildError, run, say

MTOOLS = {"MTOOLS_SKIP_CHECK": "1"}  # which also wants whole cylinders
MIB = 1 << 20


@dataclass(frozen=True)
class Partition:
    start: int  # bytes, as all here
    size: int


class Card:
    """Raises BuildError unless it is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_table()
        self.free = self._free()

    def _read_table(self) -> None:
        try:
            table = json.loads(run("sfdisk", "--json", self.path))["partitiontable"]
        except BuildError:
            raise BuildError("that is no image of a card: it has no partition table") from None
        if table["label"] != "dos" or len(table["partitions"]) < 2:
            raise BuildError("that is no image as Raspberry Pi OS has it: an MBR with a FAT and an ext4 partition")
        unit = table.get("sectorsize", 512)
        found = [Partition(each["start"] * unit, each["size"] * unit) for each in table["partitions"]]
        self.boot, self.root = found[:2]
        self._last = max(found, key=lambda each: each.start)
        if self.path.stat().st_size < self.root.start + self.root.size:
            raise BuildError("the image is not all there: it ends before its partitions do. Download it again")
        head = self._bytes(self.boot.start, 512)
        if b"FAT" not in head[54:62] + head[82:90]:
            raise BuildError("partition 1 of the image is no FAT")

    def _free(self) -> int:
        """What ordinary users may still fill on the root partition, from its superblock."""
        block = self._bytes(self.root.start + 1024, 1024)
        if block[56:58] != b"\x53\xef":
            raise BuildError("partition 2 of the image is no ext4")
        reserved, free = struct.unpack_from("<II", block, 8)
        reserved_high, free_high = struct.unpack_from("<II", block, 0x154)
        (log_size,) = struct.unpack_from("<I", block, 24)
        blocks = free + (free_high << 32) - reserved - (reserved_high << 32)
        return int(max(blocks, 0) * (1024 << log_size))

    def _bytes(self, start: int, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    @contextlib.contextmanager
    def _device(self) -> Iterator[str]:
        """The root partition as a block device."""
        where = ("--offset", self.root.start, "--sizelimit", self.root.size)
        device = run("losetup", "--find", "--show", *where, self.path).strip()
        try:
            yield device
        finally:
            run("losetup", "--detach", device)

    def make_room(self, wanted: int) -> None:
        """Let the root partition have so much free, in an image that grows. It keeps its number and the disk its
        identity, by which the kernel command line and fstab call it; and it still ends the card, so that a system that
        makes it fill the card on its first start can do so."""
        if self.free >= wanted:
            return
        if self._last != self.root:
            raise BuildError(f"only {self.free // MIB} MB of {wanted // MIB} are free in the image, and it cannot grow")
        more = (wanted - self.free) * 6 // 5 // MIB * MIB + MIB  # ext4 keeps some for root, and has tables
        say(f"making room: the image grows by {more // MIB} MB")
        end = self.root.start + self.root.size + more
        os.truncate(self.path, max(end, self.path.stat().st_size))
        run("sfdisk", "--quiet", "--no-reread", "--partno", "2", self.path, text=", +\n")
        self._read_table()
        with self._device() as device:  # told of an offset in a file, resize2fs cuts that file short
            run("e2fsck", "-f", "-p", device, worst=1)  # 1: it has mended something
            run("resize2fs", device)
        self.free = self._free()

    @contextlib.contextmanager
    def mounted(self, folder: Path) -> Iterator[None]:
        """The root partition."""
        with self._device() as device:  # the kernel keeps it until it is unmounted
            run("mount", "-t", "ext4", device, folder)
        try:
            yield
        except BaseException:
            run("umount", "--lazy", folder)
            raise
        run("umount", folder)

    # --- the FAT partition ---

    def boot_files(self) -> set[str]:
        """Their names in its topmost folder, in small letters."""
        lines = self._mtools("mdir", "-b", "::").splitlines()
        return {line.removeprefix("::/").lower() for line in lines}

    def add_boot_file(self, path: Path) -> None:
        self._mtools("mcopy", path, "::")

    def _mtools(self, program: str, *arguments: object) -> str:
        variables = [f"{name}={value}" for name, value in MTOOLS.items()]
        return run("env", *variables, program, "-i", f"{self.path}@@{self.boot.start}", *arguments)

    # ---

    def verify(self) -> None:
        """That both partitions are whole. Raises BuildError."""
        with self._device() as device:
            run("e2fsck", "-f", "-n", device)
        self.boot_files()
