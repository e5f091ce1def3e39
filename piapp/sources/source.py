"""What every source is: one opening of one device, run once in a thread of its own, then thrown away."""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from piapp.config import CameraConfig
from piapp.errors import Unsupported


class Publish(Protocol):
    """Hands one finished JPEG on. Callable from any thread, never blocks, never raises.

    `jpeg` is not touched by anyone afterwards. `captured_ns` is time.monotonic_ns() at the exposure,
    or when the picture arrived where the device does not tell.
    """

    def __call__(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None: ...


class Source(ABC):
    """Makes frames. Knows nothing of hubs, viewers or the web.

    The attributes are written by the thread in run() and read from others at any time.
    """

    kind: ClassVar[str]  # the word for it in config.toml

    def __init__(self, config: CameraConfig) -> None:
        self.config = config
        self.device = config.device  # what is really open: a path, a folder, a camera's id
        self.encoder = ""  # who makes the JPEG, in words
        self.negotiated = ""  # what the device agreed to: size, format, rate
        self.bad_frames = 0  # torn or broken pictures that were dropped

    @abstractmethod
    def check(self) -> None:
        """Raise the SourceError that run() would raise, as far as that shows without opening the device."""

    @abstractmethod
    def run(self, publish: Publish, stopping: threading.Event) -> None:
        """Open the device, publish its frames, close it.

        Returns soon after `stopping` is set; raises SourceError when the device fails or cannot be had.
        """

    def set_quality(self, quality: int) -> None:
        """Use another JPEG quality (1–100) from the next frame on. Called from the event loop."""
        raise Unsupported(
            f"The quality of a {self.kind} source cannot be changed: its JPEGs are passed on as they come."
        )
