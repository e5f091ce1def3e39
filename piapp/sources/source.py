"""What every source is: one opening of one device, run once in a thread of its own, then thrown away."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import ClassVar, NamedTuple, Protocol

from piapp.config import CameraConfig
from piapp.errors import Unsupported
from piapp.sources.control import Control, Kind, Value, merged


class Publish(Protocol):
    """Hands one finished JPEG on. Callable from any thread, never blocks, never raises.

    `jpeg` is not touched by anyone afterwards. `captured_ns` is time.monotonic_ns() at the exposure,
    or when the picture arrived where the device does not tell.
    """

    def __call__(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None: ...


class Still(NamedTuple):
    """A picture at the sensor's full resolution."""

    jpeg: bytes
    captured_ns: int  # as a frame's
    width: int
    height: int


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
        self.remark = ""  # what viewers should know although there are pictures, in a sentence
        self.bad_frames = 0  # torn or broken pictures that were dropped
        self.controls: tuple[Control, ...] = ()  # set once the device is open; replaced whole by every change
        self._asked: dict[str, Value | None] = {}
        self._asking = threading.Lock()  # guards `_asked`

    def load(self) -> None:  # noqa: B027  # most kinds need nothing
        """Import what run() needs, from a slow card perhaps. Called once, before it; raises SourceError."""

    @abstractmethod
    def check(self) -> None:
        """Raise the SourceError that run() would raise, as far as that shows without opening the device."""

    @abstractmethod
    def run(self, publish: Publish, stopping: threading.Event) -> None:
        """Open the device, publish its frames, close it. Calls _obey() before each frame.

        Returns soon after `stopping` is set; raises SourceError when the device fails or cannot be had.
        """

    def still(self) -> Future[Still]:
        """Ask for a picture at the sensor's full resolution, taken after this call, while the stream goes on.

        From any thread, never blocks. Raises Unsupported where there is none, in a sentence that says why. The future
        fails with SourceError when the device does, and is never done when the device hangs.
        """
        raise Unsupported("This camera has no larger pictures than those of its stream.")

    # --- controls: asked for from any thread, changed by the one in run() ---

    def adjust(self, changes: Mapping[str, Value | None]) -> None:
        """Ask for these values, None for the default; never blocks. Seen in `controls` before the next frame.

        May be called before run(). What the device does not have or take is left out without a word, and a value for
        a control without effect waits until it has one.
        """
        with self._asking:
            self._asked.update(changes)

    def asked(self) -> dict[str, Value | None]:
        """What was asked for and is not yet done."""
        with self._asking:
            return dict(self._asked)

    def _obey(self) -> None:
        """Do what was asked for. Switches and choices come first: they decide which of the others have an effect."""
        if not self._asked:
            return
        for first in (True, False):
            if due := self._due(first):
                self._set({name: value for name, (_, value) in due.items()})
                with self._asking:
                    for name, (asked, _) in due.items():
                        if self._asked.get(name) is asked:  # not another value by now
                            self._asked.pop(name, None)

    def _set(self, values: Mapping[str, Value]) -> None:
        """Give these values to the device, and replace `controls`. They were checked. Called in run()'s thread."""
        self.controls = merged(self.controls, values)

    def _due(self, first: bool) -> dict[str, tuple[Value | None, Value]]:
        """What can be done now: name → as it was asked for, and as it is to be set. Forgets what cannot ever."""
        known, due, refused = {control.name: control for control in self.controls}, {}, []
        for name, asked in self.asked().items():
            control = known.get(name)
            if control and (control.kind in (Kind.SWITCH, Kind.CHOICE)) is not first:
                continue
            try:
                if control is None or (control.kind is Kind.ACTION and not control.active):
                    raise ValueError("not here, or not now")
                value = control.check(control.default if asked is None else asked)
                if control.active:
                    due[name] = asked, value
            except ValueError:
                refused.append(name)
        if not due:  # else what is done now may make room for it, as a lower frame rate does for a longer exposure
            with self._asking:
                for name in refused:
                    self._asked.pop(name, None)
        return due


def ticks(rate: int, stopping: threading.Event) -> Iterator[None]:
    """One for each frame that is due, `rate` a second, until `stopping` is set.

    Whoever is late has frames skipped, rather than hurry after them.
    """
    interval, due = 1 / rate, time.monotonic()
    while not stopping.wait(max(0.0, due - time.monotonic())):
        yield
        due = max(due + interval, time.monotonic() - interval)


def plausible(stamp_ns: int, now_ns: int, oldest_s: float = 2.0) -> int:
    """A driver's time of capture where it can be one: most use our clock, some send zero or another's."""
    return stamp_ns if 0 <= now_ns - stamp_ns < oldest_s * 1e9 else now_ns
