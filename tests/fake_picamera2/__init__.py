"""A stand-in for picamera2 and libcamera: what piapp uses of them, as their sources say that it behaves.

`with installed(world):` puts it where `import picamera2` finds it. A test steers the World that it gives; nothing here
needs a Pi. Versions that differ in what piapp notices: 0.3.12, 0.3.18, 0.3.22, 0.3.36 and 0.3.38. Every thread of it
has a name that begins with "fake ".
"""

import contextlib
import sys
import threading
import types
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Any

from .encoders import (
    Encoder,
    JpegEncoder,
    LibavMjpegEncoder,
    MJPEGEncoder,
    OldJpegEncoder,
    Output,
    Quality,
    hardware_is_available,
)
from .events import Manager
from .libcamera import ColorSpace, Device, Transform
from .modules import MONO, PI, SECOND, SMALL, USB, Module
from .picamera2 import Picamera2
from .requests import CompletedRequest
from .scene import Seen, look
from .world import World

__all__ = [
    "MONO",
    "PI",
    "SECOND",
    "SMALL",
    "USB",
    "VERSIONS",
    "CompletedRequest",
    "Device",
    "Module",
    "Picamera2",
    "Seen",
    "World",
    "installed",
    "look",
    "not_installed",
    "threads",
]

PLATFORMS = Enum("PLATFORMS", "VC4 PISP")  # picamera2/platform.py
VERSIONS = ("0.3.12", "0.3.18", "0.3.22", "0.3.36", "0.3.38")
NAMES = (
    "picamera2",
    "picamera2.encoders",
    "picamera2.encoders.mjpeg_encoder",
    "picamera2.outputs",
    "libcamera",
)


@contextlib.contextmanager
def installed(world: World) -> Iterator[None]:
    """`import picamera2` and `import libcamera` give the stand-ins; what was there before comes back."""
    world.manager = Manager(world)
    jpeg = JpegEncoder if world.at_least("0.3.26") else OldJpegEncoder
    hardware = _of(world, MJPEGEncoder)
    libav = _of(world, LibavMjpegEncoder)
    found: list[dict[str, Any]] = [
        {"Picamera2": _camera_class(world)},
        {
            "Encoder": Encoder,
            "JpegEncoder": _of(world, jpeg),
            "LibavMjpegEncoder": libav,
            "MJPEGEncoder": hardware if hardware_is_available(world) else libav,
            "Quality": Quality,
        },
        {"MJPEGEncoder": hardware},
        {"Output": Output},
        {"Transform": Transform, "ColorSpace": ColorSpace},
    ]
    modules: dict[str, types.ModuleType | None] = {}
    for name, content in zip(NAMES, found, strict=True):
        module = modules[name] = types.ModuleType(name)
        module.__dict__.update(content)
    with _in_place(modules):
        yield


@contextlib.contextmanager
def not_installed() -> Iterator[None]:
    """`import picamera2` and `import libcamera` raise ImportError, also where they are installed."""
    with _in_place(dict.fromkeys(NAMES)):
        yield


def threads(but: Collection[threading.Thread] = ()) -> list[str]:
    """The stand-in's threads that still run, but for these."""
    return [each.name for each in threading.enumerate() if each.name.startswith("fake ") and each not in but]


def _of(world: World, kind: type) -> type:
    return type(kind.__name__, (kind,), {"world": world})


def _camera_class(world: World) -> type:
    members: dict[str, Any] = {"world": world, "_cm": world.manager}
    if world.at_least("0.3.18"):
        members["platform"] = PLATFORMS[world.platform]
    if world.at_least("0.3.22"):
        members["cancel_all_and_flush"] = Picamera2.flush
    return type("Picamera2", (Picamera2,), members)


@contextlib.contextmanager
def _in_place(modules: dict[str, types.ModuleType | None]) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)  # type: ignore[arg-type]  # None: import raises
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
