"""Limits on how often something happens: log lines, opening a device."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """`count` times at once, then `count` times in each `span_s` seconds; a span of 0 means no limit."""

    count: int
    span_s: float


class RateLimit:
    """Allows something as often as a Rate says. Belongs to one thread, or to the event loop."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._each_s = rate.span_s / rate.count
        self._ahead_s = rate.span_s - self._each_s  # how far it may run ahead of an even pace
        self._due = clock()  # when it happens next at an even pace

    @property
    def wait_s(self) -> float:
        """Seconds until it is allowed again; 0 if it is allowed now."""
        return max(0.0, self._due - self._ahead_s - self._clock())

    def allows(self) -> bool:
        """Whether it is allowed now. If so, it counts as done."""
        if self.wait_s > 0:
            return False
        self._due = max(self._due, self._clock()) + self._each_s
        return True
