"""A network that only piapp and this test are in, with as many addresses as one likes."""

import ctypes
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

from wire import LIMIT_S

PIAPP = "10.77.0.1"
ADDRESSES = tuple(f"10.77.0.{number}" for number in range(1, 10))
OTHERS = ADDRESSES[1:]
_ADD = " && ".join(f"ip address add {address}/24 dev lo" for address in ADDRESSES)
OWN = ("unshare", "--net", "sh", "-c", f'ip link set lo up && {_ADD} && exec "$@"', "sh")  # for Target's `before`
_CLONE_NEWNET = 0x40000000


def missing() -> str:
    """Why there can be none; empty if there can."""
    if os.geteuid() != 0:
        return "root's rights"
    done = subprocess.run([*OWN, "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""


class Inside:
    """Makes connections in the network of a process: a thread of its own has gone there."""

    def __init__(self, pid: int) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(_enter, pid).result()

    def connect(self, source: str, port: int) -> socket.socket:
        """From this address to piapp."""
        return self._thread.submit(_connect, source, port).result()

    def close(self) -> None:
        self._thread.shutdown()


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net") as network:
        if libc.setns(network.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def _connect(source: str, port: int) -> socket.socket:
    return socket.create_connection((PIAPP, port), LIMIT_S, (source, 0))
