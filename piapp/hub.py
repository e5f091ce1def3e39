"""The newest frame of one camera, and the telling of whoever waits for it.

There is no queue, here or anywhere: a reader that is late takes the newest frame and never hears of the others. The
device's thread stores the frame and, if no wake-up is on its way yet, sends one to the event loop; however many wait,
that is one call_soon_threadsafe a frame, and none while the loop is behind.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

from piapp.frame import Frame


class Watcher(Protocol):
    """Something that wants frames: a viewer, a snapshot, a consumer."""

    def describe(self) -> dict[str, Any]:
        """What the API reports about it."""


class Hub:
    """`publish` may be called from any thread; all else belongs to the event loop."""

    def __init__(self) -> None:
        self.newest: Frame | None = None
        # Called in the event loop with each newest frame. They must not block or raise, and may be added and removed
        # at any time.
        self.listeners: set[Callable[[Frame], None]] = set()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards `newest`, the order of numbers and `_waking`
        self._number = 0
        self._waking = False

    def publish(self, jpeg: bytes, captured_ns: int, width: int, height: int, notice: str = "") -> None:
        """Make this the newest frame. Returns at once; never raises, not even after the event loop has ended."""
        with self._lock:
            self._number += 1
            self.newest = Frame(jpeg, self._number, captured_ns, width, height, notice)
            wake, self._waking = not self._waking, True
        if wake:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
                self._loop.call_soon_threadsafe(self._wake)

    async def newer_than(self, number: int, wanted: Callable[[Frame], bool] = lambda frame: True) -> Frame:
        """Wait for a frame with a higher number that `wanted` accepts, and return it; 0 for any number.

        `wanted` is called in the event loop and must not block or raise. Other frames do not wake the waiting task.
        """
        if self.newest and self.newest.number > number and wanted(self.newest):
            return self.newest
        future: asyncio.Future[Frame] = self._loop.create_future()

        def listener(frame: Frame) -> None:
            if frame.number > number and not future.done() and wanted(frame):
                future.set_result(frame)

        self.listeners.add(listener)
        try:
            return await future
        finally:
            self.listeners.discard(listener)

    def forget(self) -> None:
        """Drop the newest frame: it is about to be old, and nobody shall take it for new. Numbers go on."""
        with self._lock:
            self.newest = None

    def _wake(self) -> None:
        with self._lock:
            self._waking = False
            frame = self.newest
        if frame:
            for listener in tuple(self.listeners):
                listener(frame)
