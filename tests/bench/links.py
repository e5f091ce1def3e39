"""Slow links: two network namespaces of our own, joined by a link of a given rate, queue and delay.

    sender's namespace                                            viewer's namespace
    ──────────────────                                            ──────────────────
    fast viewers ── 127.0.0.1 ── sender ── TUN ── relay.py ── TUN ── slow viewer
                                              rate, queue, delay

The sender's namespace has TCP cubic, as a stock Raspberry Pi OS has. Nothing of it can be reached from outside, and
nothing leaves the computer.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .senders import FPS, HERE, BenchError, Place, stop

DELAY_MS = 20  # on the way to the viewer; none on the way back, so it is the round trip too
SENDER_ADDRESS, VIEWER_ADDRESS = "10.203.0.1", "10.203.0.2"  # seen nowhere but in the two namespaces
PROBE_S = 3.0
OUTAGE_EVERY_S = 6.0
_numbers = itertools.count()


@dataclass(frozen=True)
class Link:
    """What to make."""

    mbit: float
    queue_ms: int = 50  # how late the link's own queue may make a packet before packets are lost
    outage_ms: int = 0  # how long it carries nothing, every OUTAGE_EVERY_S
    frame_kb: int = 0  # what is sent over it: pictures drawn as large as this; 0: those of the other parts

    def __str__(self) -> str:
        queue = f", {self.queue_ms / 1000:g} s of queue" if self.queue_ms >= 1000 else ""
        outage = f", {self.outage_ms / 1000:g} s outages" if self.outage_ms else ""
        frames = f", {self.frame_kb} kB" if self.frame_kb else ""
        return f"{self.mbit:g} Mbit/s{queue}{outage}{frames}"


@dataclass(frozen=True)
class Line:
    """A link that is there."""

    sender: Place
    viewer: Place
    bytes_per_s: float  # of TCP payload, measured
    open_share: float  # of the time, without its outages

    def floor_ms(self, frame_bytes: float) -> float:
        """The age that a picture must have when its last byte arrives, if it finds the link empty."""
        return self.frame_ms(frame_bytes) + DELAY_MS

    def frame_ms(self, frame_bytes: float) -> float:
        """How long the link is busy with a picture."""
        return frame_bytes / self.bytes_per_s * 1000

    def carries_fps(self, frame_bytes: float) -> float:
        return min(FPS, self.bytes_per_s / frame_bytes) * self.open_share


def missing() -> str:
    """What this computer lacks for slow links; empty if nothing."""
    if os.geteuid() != 0:
        return "root's rights"
    if not shutil.which("ip"):
        return "the program ip (package iproute2)"
    return "" if Path("/dev/net/tun").exists() else "/dev/net/tun"


@contextlib.contextmanager
def laid(link: Link) -> Iterator[Line]:
    """Make it, measure its rate, and take everything away again, whatever happens."""
    name = f"pb{os.getpid()}-{next(_numbers)}"  # short enough for a device's name
    sender, viewer = f"{name}s", f"{name}v"
    with contextlib.ExitStack() as stack:
        for namespace in (sender, viewer):
            stack.callback(subprocess.run, ["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL, check=False)
            run("ip", "netns", "add", namespace)
        numbers = map(str, (link.mbit, link.queue_ms, DELAY_MS, link.outage_ms))
        relay = subprocess.Popen(
            [sys.executable, str(HERE / "relay.py"), sender, viewer, *numbers], stdout=subprocess.PIPE
        )
        stack.callback(stop, relay)
        if not relay.stdout or not relay.stdout.readline():
            raise BenchError("the relay of the slow link did not start")
        ends = (sender, SENDER_ADDRESS, VIEWER_ADDRESS), (viewer, VIEWER_ADDRESS, SENDER_ADDRESS)
        for namespace, own, other in ends:
            end(namespace, own, other)
        as_on_a_pi(sender, VIEWER_ADDRESS)
        places = Place(sender, "0.0.0.0"), Place(viewer, "0.0.0.0")
        open_share = 1 - link.outage_ms / 1000 / OUTAGE_EVERY_S
        yield Line(*places, bytes_per_s=_measure(*places), open_share=open_share)


def end(namespace: str, own: str, other: str) -> None:
    """Bring a device into the namespace that is called as it is, as one end of a link: its own address, the other's."""
    run("ip", "link", "set", namespace, "netns", namespace)
    run("ip", "-n", namespace, "address", "add", own, "peer", other, "dev", namespace)
    for device in ("lo", namespace):
        run("ip", "-n", namespace, "link", "set", device, "up")


def as_on_a_pi(namespace: str, other: str) -> None:
    """TCP sends from there to `other` as a stock Raspberry Pi OS does, and anew each time."""
    # By route, since a namespace's own default may not be set to every algorithm (EPERM).
    run("ip", "-n", namespace, "route", "replace", other, "dev", namespace, "congctl", "cubic")
    run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1")


def _measure(sender: Place, viewer: Place) -> float:
    """TCP payload in bytes/s, by sending as fast as it goes for a while."""
    script = [sys.executable, str(Path(__file__).with_name("bulk.py"))]
    source = subprocess.Popen(sender.command([*script, "send"]))
    try:
        result = subprocess.run(
            viewer.command([*script, SENDER_ADDRESS, str(PROBE_S)]), stdout=subprocess.PIPE, text=True, check=False
        )
    finally:
        source.kill()
        source.wait()
    if result.returncode:
        raise BenchError("the slow link's rate could not be measured")
    return float(result.stdout)


def run(*command: str) -> None:
    """Raises BenchError."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
