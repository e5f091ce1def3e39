"""A network that is far away and loses packets, by the guest's own kernel."""

import statistics
import time
from collections.abc import Callable

from wire import Stream

from .guest import Guest
from .pictures import sent
from .viewer import shows

WATCH_S = 20.0
OLDEST_S, GAP_S = 3.0, 2.0  # of a picture at its arrival, and without a new one; many times what is seen


def ahead(guest: Guest) -> float:
    """How far the guest's clock is ahead of ours, in seconds, to some milliseconds."""
    tries = []
    for _ in range(10):
        before = time.time()
        theirs = guest.clock()
        after = time.time()
        tries.append((after - before, theirs - (before + after) / 2))
    return min(tries)[1]


def watch(guest: Guest) -> tuple[list[float], list[float]]:
    """The ages of pictures at their arrival, since the camera sent them, and the times between them."""
    ages, gaps = [], []
    with Stream(guest.port, "/cameras/camera/stream") as viewer:
        shows(viewer, "green")
        viewer.take(10)
        offset = ahead(guest)
        viewer.take(10)
        end = last = time.monotonic()
        while last < end + WATCH_S:
            part = next(viewer)
            now = time.monotonic()
            seen = sent(part.jpeg)  # a viewer that is slow itself would measure that
            assert seen and abs(float(part.timestamp) - seen.sent) < 1  # X-Timestamp is true
            ages.append(time.time() + offset - seen.sent)
            gaps.append(now - last)
            last = now
    return ages, gaps


def told(ages: list[float]) -> str:
    ages = sorted(ages)
    return (
        f"{statistics.median(ages) * 1000:.0f} ms old in the middle, {ages[len(ages) * 99 // 100] * 1000:.0f} at 99 %, "
        f"{ages[-1] * 1000:.0f} at most; {len(ages) / WATCH_S:.1f} a second"
    )


def test_a_network_that_loses_packets(guest: Guest, figure: Callable[[str], None]) -> None:
    device = guest.run("ip", "route", "show", "default").split()[4]
    figure(f"pictures without any loss: {told(watch(guest)[0])}")
    guest.run("tc", "qdisc", "add", "dev", device, "root", "netem", "delay", "30ms", "loss", "1%")
    try:
        ages, gaps = watch(guest)
        lost = guest.run("tc", "-s", "qdisc", "show", "dev", device)
    finally:
        guest.run("tc", "qdisc", "del", "dev", device, "root")
    figure(f"with 1 % loss and 30 ms of delay: {told(ages)}")
    assert "dropped 0" not in lost, lost
    assert max(ages) < OLDEST_S
    assert max(gaps) < GAP_S
