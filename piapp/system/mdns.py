"""How piapp is found by name in the local network: through avahi, the system's mDNS responder (RFC 6762).

For HOSTNAME.local avahi answers by itself. That piapp is there, and at which port, is a service that browsers of DNS-SD
(RFC 6763) list; it is announced by one avahi-publish-service, a child of piapp's. That needs no rights and writes
nothing. It waits for an avahi that does not run yet, announces again to one that was started anew, and takes another
name where that is taken. When it ends, however it comes to that, avahi takes back what it has announced.

A file in /etc/avahi/services would not follow piapp's settings, and would stay when piapp has ended.
"""

import asyncio
import logging
import os
import shutil
import socket
import subprocess

from piapp import tasks
from piapp.system import network

log = logging.getLogger(__name__)

PROGRAM = "avahi-publish-service"
PACKAGE = "avahi-utils"  # which has it, and needs avahi itself
AGAIN_S = 10.0  # until it is started again: it ends by itself where there is no D-Bus
LONGEST_NAME = 63  # bytes

# Of a piapp that was killed nothing may stay announced: its end of this shell's input closes with it, whatever happens.
# In the sandbox of systemd/piapp.service `setpriv --pdeathsig`, which needs no second process, is not allowed to start.
WITH_PIAPP = '"$@" & exec 2>&-; read -r end; kill -KILL $!; wait'


def service_name() -> str:
    """What people read where services are listed. Another computer's of the same name gets a number behind it."""
    kind = " camera"
    host = socket.gethostname().split(".")[0].encode()[: LONGEST_NAME - len(kind)]
    return host.decode(errors="ignore") + kind


def installed() -> bool:
    """Is there what announces?"""
    return bool(shutil.which(PROGRAM))


class Announcement:
    """Of what listens at a host and port. Belongs to the event loop; to be switched off at the end."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._running: asyncio.Task[None] | None = None
        self._said = ""

    async def switch(self, on: bool) -> None:
        """When this returns after `switch(False)`, avahi takes it back."""
        if on and not self._running:
            if network.only_here(self._host):
                log.info("not announced in the network: piapp listens on this computer only")
            elif not installed():
                log.info("not announced in the network: %s is missing: sudo apt install %s", PROGRAM, PACKAGE)
            else:
                self._running = tasks.start(self._run(), "announcement")
        elif not on and self._running:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None

    async def _run(self) -> None:
        while True:
            try:
                await self._announce()
            except OSError as error:
                self._say(f"cannot start {PROGRAM}: {error.strerror}")
            await asyncio.sleep(AGAIN_S)

    async def _announce(self) -> None:
        """Until it ends."""
        start = asyncio.create_subprocess_exec(
            *("sh", "-c", WITH_PIAPP, "sh"),
            *(PROGRAM, "--no-fail", service_name(), "_http._tcp", str(self._port), "path=/"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,  # Ctrl-C is for piapp, which then ends it
        )
        starting = asyncio.create_task(start)
        try:
            # shielded: cancelled in the middle of a start, asyncio kills the shell, and what that has started lives on
            child = await asyncio.shield(starting)
            assert child.stderr
            async for line in child.stderr:
                self._say(line.decode(errors="replace").strip())
        finally:
            child = await starting
            assert child.stdin
            child.stdin.close()
            await child.wait()

    def _say(self, line: str) -> None:
        """Not again and again."""
        if line != self._said:
            self._said = line
            log.info("avahi: %s", line)
