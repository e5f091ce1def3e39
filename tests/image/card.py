"""An SD card of a Pi, or an image of one, in a file. Neither of its partitions needs to be mounted to look into it."""

import json
import subprocess
from pathlib import Path
from typing import Self

SECTOR = 512
SIZE = 4 << 30  # QEMU wants a power of two


class Card:
    def __init__(self, path: Path) -> None:
        self.path = path
        boot, system = json.loads(_call("sfdisk", "--json", path))["partitiontable"]["partitions"]
        self._boot = f"{path}@@{boot['start'] * SECTOR}"
        self._system = f"{path}?offset={system['start'] * SECTOR}"

    @classmethod
    def flashed(cls, image: Path, path: Path) -> Self:
        """A card with this image on it, and room behind that."""
        _call("cp", "--sparse=always", image, path)
        with path.open("r+b") as card:
            card.truncate(SIZE)
        return cls(path)

    def read(self, name: str) -> bytes:
        """A file of the boot partition, the one that every computer shows."""
        return _call("mcopy", "-n", "-i", self._boot, f"::{name}", "-")

    def write(self, name: str, content: bytes) -> None:
        subprocess.run(["mcopy", "-o", "-i", self._boot, "-", f"::{name}"], input=content, check=True)

    def look(self, name: str) -> bytes:
        """A file of the system's partition; empty where there is none."""
        return _call("debugfs", "-R", f'cat "{name}"', self._system)


def _call(*command: object) -> bytes:
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout
