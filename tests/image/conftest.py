"""What these tests share. They run under scripts/test-image only, which makes that card."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .board import Board, Model
from .card import Card

ROOT = Path(__file__).parents[2]
MADE = Path(os.environ.get("PIAPP_CARD", ""))  # a folder: the image of a card without piapp, and root's key to it
collect_ignore_glob = [] if "PIAPP_CARD" in os.environ else ["test_*.py"]

Start = Callable[[Model, Card], Board]
Build = Callable[..., Path]


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Gone at the end: what is made there has gigabytes."""
    with tempfile.TemporaryDirectory(prefix="image-disks-", dir=MADE.parent) as path:
        yield Path(path)


@pytest.fixture(scope="session")
def build(folder: Path) -> Build:
    """scripts/build-image with these options makes an image of this name."""

    def build(name: str, *options: str) -> Path:
        image = folder / name
        begun = time.monotonic()
        command = [str(ROOT / "scripts/build-image"), "--from", str(MADE / "card.img"), *options, str(image)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        print(f"{done.stdout}\n{name}: {time.monotonic() - begun:.0f} s")
        assert done.returncode == 0
        return image

    return build


@pytest.fixture(scope="session")
def image(build: Build) -> Path:
    """With piapp installed."""
    return build("piapp.img")


@pytest.fixture
def start(folder: Path) -> Start:
    """A computer with this card in it, to be used in a `with`."""
    return lambda model, card: Board(Path(tempfile.mkdtemp(dir=folder)), model, card, MADE / "key")
