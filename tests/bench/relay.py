"""A slow link: carries packets between two TUN devices at a given rate, queue and delay.

    python relay.py SENDER_DEVICE VIEWER_DEVICE MBIT QUEUE_MS DELAY_MS OUTAGE_MS

It works on packets, below TCP, so that the sender's TCP sees a real link: its round trip, its rate, its lost packets.
It stands in for the kernel's netem, which many kernels are built without. Nor would tbf on the sender's device do: TCP
notices a queue in its own host and hardly fills it (TCP small queues), while slow links are somewhere behind.

It makes both devices, prints a line, and they go when it ends. They may be moved into other network namespaces
meanwhile: the packets still pass through here. Only the way to the viewer is slow; acknowledgements come back at once.
With an outage, nothing leaves the queue for the last OUTAGE_MS of every OUTAGE_EVERY_S.
"""

import contextlib
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_MAX = 65536
OUTAGE_EVERY_S = 6.0  # links.OUTAGE_EVERY_S is the same


class SlowWay:
    """When each packet arrives, if it does: one leaves after the other, and a full queue takes no more."""

    def __init__(self, mbit: float, queue_s: float, delay_s: float, outage_s: float) -> None:
        self._bytes_per_s = mbit * 125_000
        self._queue_s, self._delay_s, self._outage_s = queue_s, delay_s, outage_s
        self._free = 0.0  # when the last byte that has been taken will have left
        self._packets: deque[tuple[float, bytes]] = deque()  # when it arrives, what

    def enter(self, packet: bytes, now: float) -> None:
        begin = max(self._free, now)
        if begin - now > self._queue_s + self._blocked_s(now):
            return  # lost
        left = begin + self._blocked_s(begin) + len(packet) / self._bytes_per_s
        self._free = left
        self._packets.append((left + self._delay_s, packet))

    def next_s(self, now: float) -> float | None:
        """How long until a packet arrives; None without any."""
        return max(0.0, self._packets[0][0] - now) if self._packets else None

    def arrived(self, now: float) -> bytes | None:
        return self._packets.popleft()[1] if self._packets and self._packets[0][0] <= now else None

    def _blocked_s(self, when: float) -> float:
        """How much of an outage is still to come, at a time that is within one; else 0."""
        left_s = OUTAGE_EVERY_S - when % OUTAGE_EVERY_S
        return left_s if left_s < self._outage_s else 0.0


def tun(name: str) -> int:
    """Make the device; packets that the kernel sends to it are read from the file, and the other way round."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def take(fd: int) -> bytes | None:
    try:
        return os.read(fd, PACKET_MAX)
    except OSError:  # nothing there, or the device is not up yet
        return None


def put(fd: int, packet: bytes) -> None:
    with contextlib.suppress(OSError):  # while it is not up, a device loses packets
        os.write(fd, packet)


def main(sender_device: str, viewer_device: str, mbit: str, queue_ms: str, delay_ms: str, outage_ms: str) -> None:
    sender, viewer = tun(sender_device), tun(viewer_device)
    way = SlowWay(float(mbit), *(float(ms) / 1000 for ms in (queue_ms, delay_ms, outage_ms)))
    print("ready", flush=True)
    now = time.monotonic()
    while True:
        # select() is exact to some 50 µs, where poll and epoll round to milliseconds
        readable = select.select((sender, viewer), (), (), way.next_s(now))[0]
        now = time.monotonic()
        if sender in readable:
            while packet := take(sender):
                way.enter(packet, now)
        if viewer in readable:
            while packet := take(viewer):
                put(sender, packet)
        while packet := way.arrived(now):
            put(viewer, packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
