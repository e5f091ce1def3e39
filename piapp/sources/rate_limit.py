"""How often something may happen: lines in the log, openings of a device."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """`count` times at once, and as many again in each `span_s` seconds. No seconds: without a limit."""

    count: int
    span_s: float


class RateLimit:
    """Keeps something to a Rate. Belongs to one thread, or to the event loop."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._each_s = rate.span_s / rate.count
        self._ahead_s = rate.span_s - self._each_s  # so much earlier than at an even pace it may happen
        self._due = clock()  # when it would happen next at an even pace

    @property
    def wait_s(self) -> float:
        """How long until it may happen again; 0 if it may now."""
        return max(0.0, self._due - self._ahead_s - self._clock())

    def allows(self) -> bool:
        """Whether it may happen now. If so, it counts as done."""
        if self.wait_s > 0:
            return False
        self._due = max(self._due, self._clock()) + self._each_s
        return True
