"""A network between piapp and the browser that can be slow, and can be cut: piapp in a network namespace of its own,
the browser outside, and between them a link that carries packets as bench/relay.py does.

    with laid() as line:
        piapp = Piapp(folder, settings, place=line.place)
        line.carry(8)  # Mbit/s
        line.cut()

Below TCP, so that the kernel's view of the link is real; and a cut is what a blackout is: packets are lost, nobody is
told. The link is there before a browser starts, since browsers drop what they do when a new network comes up.
"""

import contextlib
import itertools
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.links import as_on_a_pi, end, run
from bench.relay import SlowWay, put, take, tun

FAST_MBIT = 1000.0
QUEUE_S = 0.05  # how late the link's own queue may make a packet before packets are lost
DELAY_S = 0.005  # on the way to the browser; none on the way back
_numbers = itertools.count()


class Line:
    """The link. It is fast at first."""

    def __init__(self, namespace: str, address: str, relay: "subprocess.Popen[str]") -> None:
        self.place = (namespace, address)
        self._relay = relay

    def carry(self, mbit: float = FAST_MBIT) -> None:
        """So much, from now on, towards the browser."""
        self._say(f"{mbit:g}")

    def cut(self) -> None:
        self._say("cut")

    def _say(self, word: str) -> None:
        assert self._relay.stdin and self._relay.stdout
        print(word, file=self._relay.stdin, flush=True)
        assert self._relay.stdout.readline(), "the relay has ended"


@contextlib.contextmanager
def laid() -> Iterator[Line]:
    """Make it, and take everything away again, whatever happens."""
    name = f"pt{os.getpid()}-{next(_numbers)}"  # of namespace and device; short enough for a device's name
    there, here = f"{name}t", f"{name}h"
    network = f"10.203.{1 + os.getpid() % 254}"  # not that of another run of these tests
    address, own = f"{network}.1", f"{network}.2"
    command = [sys.executable, "-c", f"from {__name__} import main; main({there!r}, {here!r})"]
    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["ip", "netns", "del", there], stderr=subprocess.DEVNULL, check=False)
        run("ip", "netns", "add", there)
        tests = str(Path(__file__).parents[1])
        relay = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": tests},
            )
        )
        stack.callback(relay.terminate)
        assert relay.stdout and relay.stdout.readline(), "the relay did not start"
        end(there, address, own)
        run("ip", "address", "add", own, "peer", address, "dev", here)
        run("ip", "link", "set", here, "up")
        as_on_a_pi(there, own)
        yield Line(there, address, relay)


def main(there_device: str, here_device: str) -> None:
    """The relay: told on its input what the link is like, a number of Mbit/s or "cut". It ends with its input."""
    there, here = tun(there_device), tun(here_device)
    way: SlowWay | None = SlowWay(FAST_MBIT, QUEUE_S, DELAY_S, 0)
    told = sys.stdin.fileno()
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        # select() is exact to some 50 µs, where poll and epoll round to milliseconds
        readable = select.select((there, here, told), (), (), way.next_s(now) if way else None)[0]
        now = time.monotonic()
        if told in readable:
            word = os.read(told, 100).decode().strip()  # one at a time: each is answered
            if not word:
                return
            way = None if word == "cut" else SlowWay(float(word), QUEUE_S, DELAY_S, 0)
            print(word, flush=True)
        if there in readable:
            while packet := take(there):
                if way:
                    way.enter(packet, now)
        if here in readable:
            while packet := take(here):
                if way:
                    put(there, packet)
        while way and (packet := way.arrived(now)):
            put(here, packet)
