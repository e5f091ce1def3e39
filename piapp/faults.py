"""What went wrong with one camera: the outage that lasts, in words, and the last ones with their times."""

import dataclasses
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from piapp import notice
from piapp.errors import SourceError

log = logging.getLogger(__name__)

KEPT = 10


@dataclass(frozen=True)
class Fault:
    """Why there is no picture. An outage keeps its first cause: what the next tries say follows from it."""

    what: str
    hint: str
    was_running: bool  # pictures had come before, so that this is not just a failed try to open it
    since: float  # time.monotonic() when the outage began
    until: float | None = None  # when it was over; None while it lasts

    def __str__(self) -> str:
        lasted = notice.span(time.monotonic() - self.since)
        if self.was_running:
            return f"{self.what} {lasted} ago: {self.hint}"
        return f"{self.what}: {self.hint} (for {lasted} now)"

    def describe(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "hint": self.hint,
            "ago_s": round(time.monotonic() - self.since, 1),
            "lasted_s": None if self.until is None else round(self.until - self.since, 1),
        }


class Faults:
    """Belongs to the event loop."""

    def __init__(self, name: str) -> None:
        self.count = 0  # failures of the device, and failed tries to open it
        self.current: Fault | None = None  # of the outage that lasts, or may last: see the camera's state
        self._name = name
        self._over: deque[Fault] = deque(maxlen=KEPT)  # the oldest first
        self._left: float | None = None  # since when nobody has tried whether the outage lasts
        self._logged = ""  # the last fault that was logged in the outage that lasts

    def add(self, error: SourceError, was_running: bool) -> None:
        """Count and log it. An outage keeps its first words: "unplugged", not "not found"."""
        self.count += 1
        self._left = None
        if self.current is None or was_running or not self.current.was_running:
            since = self.current.since if self.current and not was_running else time.monotonic()
            self.current = Fault(error.what, error.hint, was_running, since)
        if str(error) != self._logged:  # an outage is one line, not one for every try
            self._logged = str(error)
            log.warning("%s: %s", self._name, error)

    def advise(self, hint: str) -> None:
        """The outage goes on, and this is what to do about it now."""
        if self.current:
            self.current = dataclasses.replace(self.current, hint=hint)

    def leave(self) -> None:
        """Nobody wants pictures any more, so nobody will know when the outage ends."""
        self._left = self._left or time.monotonic()

    def end(self) -> None:
        """There is a picture."""
        if self.current:
            self._over.append(dataclasses.replace(self.current, until=self._left or time.monotonic()))
        self.current, self._left, self._logged = None, None, ""

    def recent(self) -> list[dict[str, Any]]:
        """The newest first, as the API shows them."""
        faults = [*self._over, *([self.current] if self.current else [])]
        return [fault.describe() for fault in reversed(faults[-KEPT:])]
