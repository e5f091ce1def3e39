"""What piapp tells systemd: that it is ready, how it does, and that it is alive.

The protocol of sd_notify(3): datagrams of lines to the socket that $NOTIFY_SOCKET names. Without one nothing happens.
Nothing here waits or raises: what systemd has no room for is said again with what comes next.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping

EVERY_S = 1.0
LONGEST_STATUS = 1000  # bytes; systemd throws away a datagram of more than 4096


class Systemd:
    """Belongs to the event loop. Call stopping() at the end, in any case: it closes the socket."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes what concerns this process alone out of the environment, so that its children do not have it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        limit_us = environment.pop("WATCHDOG_USEC", "")
        for_process = environment.pop("WATCHDOG_PID", str(os.getpid()))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
        limit_s = int(limit_us) / 1e6 if limit_us.isdecimal() and for_process == str(os.getpid()) else 0
        self._watched = limit_s > 0
        self._every_s = min(EVERY_S, limit_s / 3) if self._watched else EVERY_S
        self._unsaid = ""  # the last word on start or end that systemd had no room for; it replaces those before
        self._status = ""  # what systemd has

    def ready(self) -> None:
        """piapp answers requests: after its start, or with new settings."""
        self._say("READY=1")

    def reloading(self) -> None:
        """piapp rereads its settings; ready() must follow, also where they stay as they were."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """piapp ends, by itself or since it was asked to. Nothing can be said after this."""
        self._say("STOPPING=1")
        if self._socket:
            self._socket.close()
            self._socket = None

    async def report(self, status: Callable[[], str], alive: Callable[[], bool]) -> None:
        """Until cancelled: how piapp does, in words, for `systemctl status`; and a sign of life, for as long as it is.

        Where systemd has no sign of life for WatchdogSec= it starts piapp again. One that hangs gives none, nor one
        that is not `alive`.
        """
        while self._socket:
            words = " ".join(status().split()).encode(errors="replace")[:LONGEST_STATUS].decode(errors="ignore")
            lines = [f"STATUS={words}"] if words != self._status else []
            if self._watched and alive():
                lines.append("WATCHDOG=1")
            if self._send(lines):
                self._status = words
            await asyncio.sleep(self._every_s)

    def _say(self, word: str) -> None:
        self._unsaid = word
        self._send([])

    def _send(self, lines: list[str]) -> bool:
        """Together with what is left unsaid. False: systemd has not got it."""
        if self._unsaid:
            lines = [self._unsaid, *lines]
        if not self._socket or not lines:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:  # no room (BlockingIOError), or nobody there
            return False
        self._unsaid = ""
        return True
