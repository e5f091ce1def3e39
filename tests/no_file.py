"""What may stand where a file is expected, and must neither hang nor fill whoever reads it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "folder": Path.mkdir,
    "device": _device,
    "huge": _huge,
}
each_no_file = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
