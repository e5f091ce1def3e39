"""What the kernel knows of one TCP connection: how much of ours is still under way, and how fast it drains.

Old frames do not only wait in programs: the kernel takes up to 4 MB for a slow viewer, which is seconds of pictures on
a weak Wi-Fi. So the viewer's code asks here before it hands over another frame. Linux only.
"""

import array
import fcntl
import socket
import struct
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


class Link:
    """One connection's. Belongs to one thread."""

    def __init__(self, sock: socket.socket) -> None:
        """`sock` stays its owner's, who asks nothing here once it is closed."""
        self._socket = sock
        self._descriptor = sock.fileno()
        self._answer = array.array("i", [0])  # the kernel writes into it, at half the cost of an answer in bytes

    def unacknowledged(self) -> int:
        """Bytes written to the socket that the other side has not confirmed (SIOCOUTQ). A third of a microsecond."""
        fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, self._answer)
        return self._answer[0]

    def pace(self) -> Pace:
        flags, min_rtt_us, rate = _PACE.unpack_from(self._tcp_info())
        return Pace(min_rtt_us / 1e6, rate, bool(flags & 1))

    def acknowledged(self) -> int:
        """Bytes that the other side has confirmed since the connection began."""
        return int(_BYTES_ACKED.unpack_from(self._tcp_info())[0])

    def _tcp_info(self) -> bytes:
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
