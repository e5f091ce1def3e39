"""What the kernel knows of one TCP connection: how much of ours is still under way, and how fast it drains.

Old frames do not only wait in programs: the kernel takes up to 4 MB for a slow viewer, which is seconds of pictures on
a weak Wi-Fi. So the viewer's code asks here before it hands over another frame. Linux only.
"""

import fcntl
import socket
import struct
import sys
import termios
from typing import NamedTuple

_TCP_INFO_SIZE = 232
_BYTES_ACKED = struct.Struct("=120xQ")
# tcpi_delivery_rate_app_limited (its lowest bit), tcpi_min_rtt in µs, tcpi_delivery_rate in bytes/s
_PACE = struct.Struct("=7xB140xI8xQ")


class Pace(NamedTuple):
    """How a link drains."""

    min_rtt_s: float
    bytes_per_s: float  # 0: not known yet
    at_least: bool  # measured while we had no more to send: the link may well do better


def unacknowledged(descriptor: int) -> int:
    """Bytes written to the socket that the other side has not confirmed (SIOCOUTQ): half a microsecond."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)


def pace(sock: socket.socket) -> Pace:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    flags, min_rtt_us, rate = _PACE.unpack_from(info)
    return Pace(min_rtt_us / 1e6, rate, bool(flags & 1))


def acknowledged(sock: socket.socket) -> int:
    """Bytes that the other side has confirmed since the connection began."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    return int(_BYTES_ACKED.unpack_from(info)[0])
