"""Places for viewers: how many there are, and who gives theirs up when all are taken."""

import logging
import os
from collections import Counter

from piapp.web import limits
from piapp.web.connection import Connection
from piapp.web.limits import Limits

log = logging.getLogger(__name__)

ENDING = 16  # connections that may wait for the other side to take the last word


class Places:
    """Belongs to the event loop."""

    def __init__(self, wanted: int, limits: Limits) -> None:
        self.connections: set[Connection] = set()  # streams and pages that are open
        self.viewers = 0  # so many may watch
        self.waiting = 0  # and so many more be connected
        self._limits = limits
        self._files_in_use = len(os.listdir("/proc/self/fd"))  # without any connection
        self.fit(wanted)

    def fit(self, wanted: int) -> None:
        """Have places for so many viewers, unless this process may not open as many files."""
        self.viewers, self.waiting = limits.fit(wanted, self._limits, self._files_in_use)
        if self.viewers < wanted:
            sentence = "this process may open too few files for %d viewers: there is room for %d (see ulimit -n)"
            log.warning(sentence, wanted, self.viewers)

    def full(self, address: str, *but: Connection | None) -> bool:
        """Whether there is none for one more viewer from this address, when `but` do not count.

        When all are taken somebody may have to give up theirs: whoever gets hardly any pictures, else the newest viewer
        of an address that has two places more than this one. So nobody can keep all of them.
        """
        taken = [each for each in self.connections if each.has_place and each not in but]
        if len(taken) < self.viewers:
            return False
        gives_up = self._slowest(taken) or _one_too_many(taken, limits.share_of(address))
        if gives_up:
            gives_up.give_up_place()
        return not gives_up

    def hurry(self) -> None:
        """One more has no place any more and only ends: should there be many of them, the oldest has to end now."""
        ending = [each for each in self.connections if not each.has_place]
        if len(ending) > ENDING:
            min(ending, key=lambda each: each.opened).close("(had its time to end)", abort=True)

    def full_sentence(self) -> str:
        return f"{self.viewers} viewers are watching already, which is the limit."

    def _slowest(self, viewers: list[Connection]) -> Connection | None:
        slow = [each for each in viewers if each.pace_s() > self._limits.least_pace_s]
        return max(slow, key=lambda each: each.pace_s(), default=None)


def _one_too_many(viewers: list[Connection], share: str) -> Connection | None:
    shares = Counter(limits.share_of(each.address) for each in viewers)
    own = shares[share] if share else 0
    del shares[""]
    for most, count in shares.most_common(1):
        if most != share and count >= own + 2:
            return max((v for v in viewers if limits.share_of(v.address) == most), key=lambda each: each.opened)
    return None
