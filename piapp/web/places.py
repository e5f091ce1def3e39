"""Places for viewers: how many there are, and which viewer is evicted when all are taken."""

import logging
import os
from collections import Counter

from piapp.web import limits
from piapp.web.connection import Connection
from piapp.web.limits import Limits

log = logging.getLogger(__name__)


class Places:
    """Belongs to the event loop."""

    def __init__(self, wanted: int, limits: Limits) -> None:
        self.connections: set[Connection] = set()  # streams and pages that are open
        self.viewers = 0  # limit on viewers
        self.waiting = 0  # limit on other connections
        self._limits = limits
        self._files_in_use = len(os.listdir("/proc/self/fd"))  # open without any connection
        self.fit(wanted)

    def fit(self, wanted: int) -> None:
        """Set the limit on viewers, as far as this process's file descriptors allow."""
        self.viewers, self.waiting = limits.fit(wanted, self._limits, self._files_in_use)
        if self.viewers < wanted:
            sentence = "too few file descriptors for %d viewers: the limit is %d (raise ulimit -n)"
            log.warning(sentence, wanted, self.viewers)

    def make_room(self, share: str, *but: Connection | None) -> bool:
        """Whether there is a place for one more viewer of this share. `but` do not count.

        When all are taken, evict the viewer that has waited longest for a picture, if that is beyond `least_pace_s`;
        otherwise the newest viewer of an address that has two more places than this one. So no address can hold all.
        """
        taken = [each for each in self.connections if each.has_place and each not in but]
        if len(taken) < self.viewers:
            return True
        evicted = self._slowest(taken) or _newest_of_largest_share(taken, share)
        if evicted:
            evicted.give_up_place()
        return bool(evicted)

    def limit_closing(self) -> None:
        """Reset the oldest connection without a place if too many wait for their close handshake."""
        closing = [each for each in self.connections if not each.has_place]
        if len(closing) > limits.closing(self.waiting):
            min(closing, key=lambda each: each.opened).close("(too slow to close)", abort=True)

    def full_sentence(self) -> str:
        return f"The limit of {self.viewers} viewers is reached."

    def _slowest(self, viewers: list[Connection]) -> Connection | None:
        slow = [each for each in viewers if each.pace_s() > self._limits.least_pace_s]
        return max(slow, key=lambda each: each.pace_s(), default=None)


def _newest_of_largest_share(viewers: list[Connection], share: str) -> Connection | None:
    shares = Counter(each.share for each in viewers)
    own = shares[share] if share else 0
    del shares[""]
    for most, count in shares.most_common(1):
        if most != share and count >= own + 2:
            return max((each for each in viewers if each.share == most), key=lambda each: each.opened)
    return None
