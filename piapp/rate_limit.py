"""How often something may happen: requests, lines in the log, openings of a device.

The generic cell rate algorithm: all there is to remember is the moment at which everything would be used up and saved
again, at an even pace.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

_ROUNDING_S = 1e-6  # else rounding errors take the last of a burst


@dataclass(frozen=True)
class Rate:
    """`count` times at once, and as many again in each `span_s` seconds. No seconds: without a limit."""

    count: float
    span_s: float


class RateLimit:
    """Keeps something to a Rate. Belongs to one thread, or to the event loop."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._each_s = rate.span_s / rate.count
        self._span_s = rate.span_s
        self._due = clock()  # when all of `count` is free again

    @property
    def wait_s(self) -> float:
        """How long until it may happen once more; 0 if it may now."""
        return max(0.0, self._due + self._each_s - self._span_s - self._clock())

    @property
    def is_unused(self) -> bool:
        """Whether it is as good as new."""
        return self._due <= self._clock()

    def allows(self) -> bool:
        """Whether it may happen now. If so, it counts as done."""
        return self.spend(longest_s=0.0) is not None

    def spend(self, amount: float = 1, longest_s: float = float("inf")) -> float | None:
        """How long to wait before it may happen, `amount` times: it counts as done. None, if that is too long."""
        now = self._clock()
        due = max(self._due, now) + amount * self._each_s
        wait_s = max(0.0, due - self._span_s - now)
        if wait_s > longest_s + _ROUNDING_S:
            return None
        self._due = due
        return wait_s if wait_s > _ROUNDING_S else 0.0
