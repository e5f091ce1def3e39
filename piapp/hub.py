"""The newest frame of one camera, and the waking of whoever waits for it.

There is no queue, here or anywhere: a reader that is late takes the newest frame and never hears of the others. The
device's thread stores the frame and, if no wake-up is on its way yet, sends one to the event loop; however many wait,
that is one call_soon_threadsafe a frame, and none while the loop is behind.
"""

import asyncio
import contextlib
import threading

from piapp.frame import Frame


class Hub:
    """`publish` may be called from any thread; all else belongs to the event loop."""

    def __init__(self) -> None:
        self.newest: Frame | None = None
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards the three below and the order of numbers
        self._number = 0
        self._waking = False
        self._waiting: list[asyncio.Future[None]] = []

    def publish(self, jpeg: bytes, captured_ns: int, width: int, height: int, notice: str = "") -> None:
        """Make this the newest frame. Returns at once; never raises, not even after the event loop has ended."""
        with self._lock:
            self._number += 1
            self.newest = Frame(jpeg, self._number, captured_ns, width, height, notice)
            wake, self._waking = not self._waking, True
        if wake:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
                self._loop.call_soon_threadsafe(self._wake)

    async def newer_than(self, number: int) -> Frame:
        """The newest frame as soon as its number is above this one; 0 for any frame."""
        while self.newest is None or self.newest.number <= number:
            future = self._loop.create_future()
            self._waiting.append(future)
            await future
        return self.newest

    def forget(self) -> None:
        """Drop the newest frame: it is about to be old, and nobody shall take it for new. Numbers go on."""
        with self._lock:
            self.newest = None

    def _wake(self) -> None:
        with self._lock:
            self._waking = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
