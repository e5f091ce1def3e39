"""How much of piapp a stranger may take, and the budgets that keep it to that.

Whatever costs time comes out of a budget: requests, and what a page says. Who has used theirs up waits; nothing is lost
by it, and those who watch notice nothing. Connections are places, of which there is a fixed number.
"""

import ipaddress
import resource
from dataclasses import dataclass

from piapp.rate_limit import Rate, RateLimit

RESERVED_FILES = 16  # for cameras, files that are read and written, and programs that are started


@dataclass(frozen=True)
class Limits:
    """Defaults are generous for people and programs, and bearable for the smallest board."""

    request_s: float = 10.0  # for a request to arrive, and for an open connection to begin the next one
    write_s: float = 10.0  # how long an answer may make no progress
    deaf_s: float = 30.0  # without a file for a newcomer: then only a fresh process may help
    waiting: int = 64  # connections that do not watch (yet), in all
    waiting_of_one: int = 32  # and from one address
    connects: Rate = Rate(1000, 1.0)
    connects_of_one: Rate = Rate(200, 2.0)
    requests: Rate = Rate(400, 2.0)
    requests_of_one: Rate = Rate(200, 4.0)
    longest_wait_s: float = 2.0  # for the budget of all; then 503
    unsent: int = 64 << 20  # bytes of responses that clients have not taken yet, in all
    messages: Rate = Rate(100, 5.0)  # of one page, beyond acknowledgements of pictures
    least_pace_s: float = 10.0  # who gets less than a picture in this time gives up its place when all are taken


LIMITS = Limits()


class Shares:
    """Budgets of one kind: one for each share, and one for all together."""

    def __init__(self, of_one: Rate, of_all: Rate) -> None:
        self._rate = of_one
        self._all = RateLimit(of_all)
        self._of_one: dict[str, RateLimit] = {}

    def budgets(self, share: str) -> tuple[RateLimit, ...]:
        """All that something of this share has to be paid from, in this order."""
        if not share:
            return (self._all,)
        own = self._of_one.get(share)
        if own is None:
            own = self._of_one[share] = RateLimit(self._rate)
        return own, self._all

    def sweep(self) -> None:
        """Forget those who have spent nothing lately."""
        self._of_one = {share: budget for share, budget in self._of_one.items() if not budget.is_unused}


def share_of(address: str) -> str:
    """Whose share a connection from this address counts for; empty: nobody's.

    An IPv6 host has a whole network of addresses. Through a proxy on this computer everybody comes from loopback.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if found.is_loopback:
        return ""
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


def fit(wanted: int, limits: Limits, in_use: int) -> tuple[int, int]:
    """How many viewers and how many waiting connections there is room for, if so many viewers are wanted.

    Each is an open file, of which the process may have only so many: as many as are needed are asked for. `in_use`:
    files that are open without any connection.
    """
    needed = in_use + RESERVED_FILES + limits.waiting + wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted, limits.waiting
    room = max(2, soft - in_use - RESERVED_FILES)
    waiting = max(1, min(limits.waiting, room // 3))
    return max(1, room - waiting), waiting
