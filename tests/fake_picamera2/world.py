"""What is there, what goes wrong, and what was done: tests steer the stand-in through a World."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .modules import PI, Module

if TYPE_CHECKING:
    from .events import Manager
    from .libcamera import Device
    from .picamera2 import Picamera2

TUNING = "LIBCAMERA_RPI_TUNING_FILE"


@dataclass
class World:
    """All of it may be changed at any time, from any thread, but the version and the platform.

    `fails` and hang() go by the step: open, configure, allocate, start, queue, stop, release (libcamera's), streamon
    and streamoff (the hardware encoder's).
    """

    cameras: list[Module] = field(default_factory=lambda: [PI])  # in libcamera's order, which is not picamera2's
    version: str = "0.3.38"  # picamera2's
    platform: str = "VC4"  # what picamera2 believes: that, or PISP on a Pi 5
    video11: str = "bcm2835-codec-encode"  # what the hardware encoder calls itself; empty where there is none
    memory: int = 256 << 20  # bytes for the cameras' buffers, the Pi's CMA
    buffer: int = 512 << 10  # bytes that the hardware encoder has for one JPEG
    interval_s: float = 0.002  # of the sensors, whatever frame rate they are told
    clock_ns: int = 0  # how far SensorTimestamp is ahead of CLOCK_MONOTONIC
    adjusted: tuple[int, int] | None = None  # the size that libcamera makes of the main stream's
    fails: dict[str, BaseException] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)  # ids of the cameras that another program has
    stalled: set[str] = field(default_factory=set)  # ids of those whose ribbon is loose: no frame, and no error

    opened: list["Picamera2"] = field(default_factory=list)  # also those that could not be opened
    steps: list[tuple[str, str]] = field(default_factory=list)  # what libcamera was told: step, id of the camera
    encoders: list[Any] = field(default_factory=list)  # that were started, or were to be
    raised: list[BaseException] = field(default_factory=list)  # each has ended a thread of picamera2's
    devices: dict[str, "Device"] = field(default_factory=dict)
    manager: "Manager | None" = None
    _hanging: dict[tuple[str, str], threading.Event] = field(default_factory=dict)
    _tuning: str | None = None  # the file that libcamera has read; it does so only once
    _enumerated: bool = False

    def at_least(self, version: str) -> bool:
        return [int(part) for part in self.version.split(".")] >= [int(part) for part in version.split(".")]

    @property
    def open(self) -> int:
        return sum(camera.is_open for camera in self.opened)

    def found(self) -> list[Module]:
        """The cameras as libcamera has them. With a tuning file that is not there it finds none of the Pi's."""
        if not self._enumerated:
            self._tuning, self._enumerated = os.environ.get(TUNING), True
        lost = self._tuning is not None and not os.path.exists(self._tuning)
        return [module for module in self.cameras if not lost or "/usb" in module.id]

    def step(self, step: str, module: Module | None = None) -> None:
        """Called by the stand-in: raises, or hangs, as the test wants it."""
        name = module.id if module else ""
        self.steps.append((step, name))
        if error := self.fails.get(step):
            raise error
        if event := self._hanging.get((step, name)) or self._hanging.get((step, "")):
            event.wait()

    @contextlib.contextmanager
    def hang(self, step: str, module: Module | None = None) -> Iterator[threading.Event]:
        """This step does not return before the end of the block, or before the event is set."""
        event = threading.Event()
        self._hanging[step, module.id if module else ""] = event
        try:
            yield event
        finally:
            event.set()
            self._hanging = {key: value for key, value in self._hanging.items() if value is not event}
