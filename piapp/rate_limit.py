"""Rate limits: for requests, log lines, openings of a device.

This is the generic cell rate algorithm. Its only state is the time at which the full burst is available again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

_ROUNDING_S = 1e-6  # tolerance, so that rounding errors do not shorten a burst


@dataclass(frozen=True)
class Rate:
    """A burst of `count`, and on average `count` per `span_s` seconds. 0 seconds: no limit."""

    count: float
    span_s: float


class RateLimit:
    """Enforces a Rate. Belongs to one thread, or to the event loop."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._each_s = rate.span_s / rate.count
        self._span_s = rate.span_s
        self._due = clock()  # when the full burst is available again

    @property
    def wait_s(self) -> float:
        """Seconds until the next event is allowed; 0 if it is allowed now."""
        return max(0.0, self._due + self._each_s - self._span_s - self._clock())

    @property
    def is_unused(self) -> bool:
        """Whether the full burst is available."""
        return self._due <= self._clock()

    def allows(self) -> bool:
        """Whether the event is allowed now. If so, count it."""
        return self.reserve(longest_s=0.0) is not None

    def reserve(self, amount: float = 1, longest_s: float = float("inf")) -> float | None:
        """Count `amount` events and return how many seconds to wait before them.

        Returns None, and counts nothing, if that is longer than `longest_s`.
        """
        now = self._clock()
        due = max(self._due, now) + amount * self._each_s
        wait_s = max(0.0, due - self._span_s - now)
        if wait_s > longest_s + _ROUNDING_S:
            return None
        self._due = due
        return wait_s if wait_s > _ROUNDING_S else 0.0
