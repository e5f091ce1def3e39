"""Copies an image, unpacked, with holes where it is empty."""

import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .tools import BuildError, say

BLOCK = 1 << 20
TOLD_PERCENT = 10  # how often progress is told
XZ = b"\xfd7zXZ\0"
OTHERS = {b"PK\x03\x04": "unzip", b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd", b"BZh": "bunzip2"}


def copy(image: Path, output: Path) -> None:
    """Raises BuildError, also when there is no room."""
    try:
        with image.open("rb") as packed, output.open("wb") as target:
            size = os.fstat(packed.fileno()).st_size
            say(f"copying {image.name}, {size / 1e6:.0f} MB")
            told = 0
            for block in _blocks(packed, image):
                if block.count(0) == len(block):
                    target.seek(len(block), os.SEEK_CUR)
                else:
                    target.write(block)
                percent = packed.tell() * 100 // size
                if percent >= told + TOLD_PERCENT:
                    told = percent
                    say(f"  {percent} %")
            target.truncate()
    except (lzma.LZMAError, EOFError) as error:
        raise BuildError(f"{image} is damaged, or not all of it is there: {error}. Download it again") from error


def _blocks(packed: BinaryIO, image: Path) -> Iterator[bytes]:
    head = packed.read(len(XZ))
    packed.seek(0)
    for magic, program in OTHERS.items():
        if head.startswith(magic):
            raise BuildError(f"{image} is packed: unpack it first, with {program}")
    source = lzma.open(packed) if head == XZ else packed
    while block := source.read(BLOCK):
        yield block
