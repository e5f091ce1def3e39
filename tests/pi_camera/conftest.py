"""The stand-in for picamera2, and that nothing of it is left after a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_picamera2 import World, installed, threads
from fakes import until

from piapp.sources import pi_camera, pi_device, pi_encoder, pi_found, v4l2


@pytest.fixture
def version() -> str:
    """picamera2's, unless a test is parametrized with others."""
    return "0.3.38"


@pytest.fixture
def platform() -> str:
    """A Pi 4, or with "PISP" a Pi 5."""
    return "VC4"


@pytest.fixture
def world(version: str, platform: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(version=version, platform=platform, video11="" if platform == "PISP" else "bcm2835-codec-encode")
    _see_hardware(world, monkeypatch)
    monkeypatch.setattr(pi_camera, "LOOK_EVERY_S", 0.002)
    for ids in ("_open_ids", "_lost_ids"):  # what a failed test leaves in them is not for others
        monkeypatch.setattr(pi_device, ids, set())
    monkeypatch.setenv(pi_found.TUNING, "")  # so that it is put back whatever becomes of it
    monkeypatch.delenv(pi_found.TUNING)
    others = threading.enumerate()
    with installed(world):
        yield world
        assert not world.raised
        assert not world.open
        until(lambda: not threads(but=others))


def _see_hardware(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """piapp asks the World instead of the kernel for the hardware encoder."""

    @contextmanager
    def opened(path: Path) -> Iterator[int]:
        assert path == pi_encoder.HARDWARE
        if not world.video11:
            raise FileNotFoundError
        yield 0

    monkeypatch.setattr(v4l2, "opened", opened)
    monkeypatch.setattr(v4l2, "name", lambda fd: world.video11)
