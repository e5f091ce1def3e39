"""Limits on what clients can use: connections, requests, messages, memory.

Requests and a page's messages are rate-limited. A client above its rate is delayed, and no viewer is affected.
Connections are limited in number.
"""

import ipaddress
import resource
from dataclasses import dataclass

from piapp.rate_limit import Rate, RateLimit

RESERVED_FILES = 16  # file descriptors for cameras, other files and subprocesses


@dataclass(frozen=True)
class Limits:
    """The defaults are generous for people and programs, and the smallest board can bear them."""

    request_s: float = 10.0  # request timeout, and idle timeout between requests
    answer_s: float = 60.0  # A handler that has not responded by then never will.
    write_s: float = 10.0  # A client that reads nothing of its response for this long is disconnected.
    no_files_s: float = 30.0  # The watchdog restarts piapp after this long without a free file descriptor.
    waiting: int = 64  # connections other than streams and pages, in all
    waiting_of_one: int = 32  # the same from one address
    connects: Rate = Rate(1000, 1.0)
    connects_of_one: Rate = Rate(200, 2.0)
    requests: Rate = Rate(400, 2.0)
    requests_of_one: Rate = Rate(200, 4.0)
    longest_wait_s: float = 2.0  # A request that either rate limit would delay longer gets 503.
    unsent: int = 64 << 20  # bytes of responses that wait for their clients to read, in all
    messages: Rate = Rate(100, 5.0)  # of one page, not counting acknowledgements of pictures
    least_pace_s: float = 10.0  # When all places are taken, a viewer can be evicted that gets no picture for longer.


LIMITS = Limits()


class Shares:
    """Rate limits of one kind: one per share, and one for all together."""

    def __init__(self, of_one: Rate, of_all: Rate) -> None:
        self._rate = of_one
        self._all = RateLimit(of_all)
        self._of_one: dict[str, RateLimit] = {}

    def budgets(self, share: str) -> tuple[RateLimit, ...]:
        """The rate limits that apply to this share, the global one last."""
        if not share:
            return (self._all,)
        own = self._of_one.get(share)
        if own is None:
            own = self._of_one[share] = RateLimit(self._rate)
        return own, self._all

    def sweep(self) -> None:
        """Forget shares whose rate limit is unused."""
        self._of_one = {share: budget for share, budget in self._of_one.items() if not budget.is_unused}


def share_of(address: str, own: str) -> str:
    """The key under which a client's address is counted; empty if only the global limits apply.

    `own` is the server's address on this connection. A distant IPv6 client is counted by its /64, of which it can use
    any address. A client in the server's own /64 is counted by its address, since all of the local network is in it.
    Loopback is exempt: behind a proxy on this computer, all clients have that address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
        if found.is_loopback:
            return ""
        network = ipaddress.ip_network((found, 64), strict=False) if found.version == 6 else None
        return address if network is None or ipaddress.ip_address(own.partition("%")[0]) in network else str(network)
    except ValueError:
        return ""


def fit(wanted: int, limits: Limits, in_use: int) -> tuple[int, int]:
    """How many viewers and how many other connections fit into this process's file descriptors, up to `wanted` viewers.

    Raises the soft limit as far as necessary and allowed. `in_use`: descriptors that are open without any connection.
    """
    needed = in_use + RESERVED_FILES + limits.waiting + closing(limits.waiting) + wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted, limits.waiting
    room = max(2, soft - in_use - RESERVED_FILES)
    waiting = max(1, min(limits.waiting, room // 3))
    return max(1, room - waiting - closing(waiting)), waiting


def closing(waiting: int) -> int:
    """How many streams and pages without a place may wait for their close handshake, besides so many `waiting`."""
    return waiting // 4
