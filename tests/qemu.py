"""A computer that QEMU pretends: started, spoken with, and ended by a test.

Every instruction is calculated (TCG): slow, but alike on each computer that runs these tests. Two ways of speaking with
it, each one JSON object a line: QMP, which is QEMU's own (pull a cable, press reset), and the guest agent, a program of
the guest, from the package qemu-guest-agent.
"""

import contextlib
import itertools
import json
import shlex
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fakes import free_port, until

LIMIT_S = 180.0  # for one thing to happen in there, booting say, on a box that is busy


AGENT = ("-device", "virtio-serial", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0")


class Refused(Exception):
    """What was asked for failed; the answer says why."""


class Channel:
    """One of the two. `events` are those that QEMU told of and nobody has waited for."""

    def __init__(self, sock: socket.socket) -> None:
        self.events: list[dict[str, Any]] = []
        self._socket = sock
        self._rest = b""
        self._numbers = itertools.count(1)

    def ask(self, command: str, *, limit_s: float = LIMIT_S, **arguments: object) -> Any:
        """What it returns; underscores in the names of arguments are hyphens. Raises Refused, TimeoutError."""
        number = next(self._numbers)
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        question = {"execute": command, "arguments": named, "id": number}
        self._socket.sendall(json.dumps(question).encode() + b"\n")
        until_s = time.monotonic() + limit_s
        while True:
            answer = self._read(until_s)
            if "event" in answer:
                self.events.append(answer)
            elif answer.get("id") == number:
                if "error" in answer:
                    raise Refused(f"{command}: {answer['error']['desc']}")
                return answer["return"]

    def wait(self, event: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The first such event that was not waited for before, with what it tells. Raises TimeoutError."""
        until_s = time.monotonic() + limit_s
        while not any(each["event"] == event for each in self.events):
            answer = self._read(until_s)
            if "event" in answer:
                self.events.append(answer)
        (found, *_) = (each for each in self.events if each["event"] == event)
        self.events.remove(found)
        return dict(found.get("data", {}))

    def _read(self, until_s: float) -> dict[str, Any]:
        while b"\n" not in self._rest:
            self._socket.settimeout(max(0.001, until_s - time.monotonic()))
            more = self._socket.recv(1 << 16)
            if not more:
                raise EOFError("QEMU has ended")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))


class Qemu:
    """To be used in a `with`; it runs as long as that, or until the guest powers off where `arguments` say -no-reboot.

    What the guest writes to its (last) serial port is in `serial`; what QEMU says, in `said`.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        program: str = "qemu-system-x86_64",
        card: str = "virtio-net-pci,romfile=",
        forward: Iterable[int] = (),
    ) -> None:
        """`folder` is for what it writes. `card`: the network card, which QMP's set_link calls "network". `forward`:
        ports of the guest's that can be reached from here, see port()."""
        self._ports = {port: free_port() for port in forward}
        self._serial, self._said = folder / "serial", folder / "qemu"
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for theirs, ours in self._ports.items())
        self._command = [
            *(program, "-accel", "tcg,thread=multi,tb-size=512", "-nodefaults", "-display", "none"),
            *("-netdev", f"user,id=network{forwards}", "-device", f"{card},netdev=network,id=card"),
            *map(str, arguments),
            *("-serial", f"file:{self._serial}"),
        ]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            (ours, theirs), (our_agent, its_agent) = socket.socketpair(), socket.socketpair()
            for sock in (theirs, its_agent):
                stack.callback(sock.close)
            with self._said.open("wb") as said:
                self._process = subprocess.Popen(
                    [
                        *self._command,
                        *("-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"),
                        *("-chardev", f"socket,id=agent,fd={its_agent.fileno()}"),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    pass_fds=(theirs.fileno(), its_agent.fileno()),
                )
        self._sockets = ours, our_agent
        self.qmp, self.agent = Channel(ours), Channel(our_agent)
        try:
            self.qmp.ask("qmp_capabilities")
        except (EOFError, OSError):
            self.kill()
            raise AssertionError(f"{shlex.join(self._command)}\n{self.said}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.kill()

    def port(self, port: int) -> int:
        """The one of 127.0.0.1 that leads to this one of the guest."""
        return self._ports[port]

    @property
    def serial(self) -> str:
        return self._serial.read_text(errors="replace") if self._serial.exists() else ""

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def wait_serial(self, words: str, limit_s: float = LIMIT_S) -> None:
        """Until the guest has written this."""
        until(lambda: words in self.serial or self._process.poll() is not None, limit_s)
        assert words in self.serial, f"{self.said}\n{self.serial}"

    def wait_end(self, limit_s: float = LIMIT_S) -> None:
        """Until the guest has powered off."""
        self._process.wait(limit_s)

    def kill(self) -> None:
        """As when somebody pulls the plug."""
        self._process.kill()
        self._process.wait()
        for sock in self._sockets:
            sock.close()
