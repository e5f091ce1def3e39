"""Swarms of viewers, and the figures that come out of what they saw."""

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .senders import HERE, BenchError, Place, Running, Sender, compiled
from .swarm import TEXT, UPGRADE

WARM_UP_S = 1.0
FEW = 200  # pictures of which one more or less counts
Seen = NDArray[np.void]  # of RECORD: one row for every picture that a viewer has read
RECORD = np.dtype([("viewer", "u4"), ("bytes", "u4"), ("stamp_ns", "i8"), ("read_ns", "i8"), ("age_ns", "i8")])


@dataclass(frozen=True)
class Group:
    """Viewers that watch from one place."""

    count: int
    place: Place = Place()
    address: str = "127.0.0.1"  # of the sender, seen from there


@dataclass(frozen=True)
class Figures:
    """What one group saw, or the medians over some rounds."""

    fps: float  # of each viewer
    age_p50_ms: float
    age_p95_ms: float
    age_p99_ms: float
    missed: float  # distinct pictures that were sent to anybody while a viewer watched, and that it did not get; of all
    bytes: float  # of a picture
    cpu_us: float = 0.0  # the sender's, for each delivered picture
    rss_mb: float = 0.0


def median(rounds: Sequence[Figures]) -> Figures:
    names = Figures.__dataclass_fields__
    return Figures(**{name: float(np.median([getattr(figures, name) for figures in rounds])) for name in names})


def watch(
    sender: Sender,
    running: Running,
    folder: Path,
    groups: Sequence[Group],
    seconds: float,
    warm_up_s: float = WARM_UP_S,
    wait: Callable[[float], None] = time.sleep,
) -> list[Figures]:
    """Let the groups watch at the same time; one Figures each, the sender's cost in the first. `wait` lasts so long."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in groups]
        swarms = [
            stack.enter_context(swarm(group, running.port, sender, folder, file.fileno()))
            for group, file in zip(groups, files, strict=True)
        ]
        time.sleep(warm_up_s)
        begin_ns, cpu_s = time.monotonic_ns(), running.cpu_s()
        wait(seconds)
        end_ns, cpu_s, rss_mb = time.monotonic_ns(), running.cpu_s() - cpu_s, running.rss_mb()
        seen = [
            seen_by(process, file, begin_ns, end_ns, sender.name) for process, file in zip(swarms, files, strict=True)
        ]
    elapsed_s = (end_ns - begin_ns) / 1e9
    cost = cpu_s * 1e6 / max(1, sum(map(len, seen)))
    sent = np.unique(np.concatenate([records["stamp_ns"] for records in seen]))
    return [
        _figures(sender.name, group, records, sent, elapsed_s, cost if i == 0 else 0.0, rss_mb)
        for i, (group, records) in enumerate(zip(groups, seen, strict=True))
    ]


def _figures(
    name: str, group: Group, seen: Seen, sent: NDArray[np.int64], elapsed_s: float, cpu_us: float, rss_mb: float
) -> Figures:
    watching = len(np.unique(seen["viewer"]))
    if watching < group.count:
        raise BenchError(f"{group.count - watching} of {group.count} viewers of {name} got no picture")
    if not seen["stamp_ns"].all():
        raise BenchError(f"{name} does not tell when its pictures were taken")
    missed = 0
    for viewer in range(group.count):
        stamps = seen["stamp_ns"][seen["viewer"] == viewer]
        first, last = np.searchsorted(sent, (stamps.min(), stamps.max()))
        missed += int(last - first) + 1 - len(np.unique(stamps))
    p50, p95, p99 = np.percentile(seen["age_ns"], (50, 95, 99)) / 1e6
    return Figures(
        fps=_rate(seen, group.count, elapsed_s),
        age_p50_ms=float(p50),
        age_p95_ms=float(p95),
        age_p99_ms=float(p99),
        missed=missed,
        bytes=float(seen["bytes"].mean()),
        cpu_us=cpu_us,
        rss_mb=rss_mb,
    )


def _rate(seen: Seen, count: int, elapsed_s: float) -> float:
    """Pictures a second; of few, as a slow link brings them, between the first and the last."""
    if count == 1 and 1 < len(seen) < FEW:
        return float((len(seen) - 1) / (np.ptp(seen["read_ns"]) / 1e9))
    return len(seen) / elapsed_s / count


def seen_by(process: "subprocess.Popen[bytes]", records: IO[bytes], begin_ns: int, end_ns: int, name: str) -> Seen:
    """End a swarm; what it read between these times, by time.monotonic_ns()."""
    if process.poll() is not None:
        raise BenchError(f"the viewers of {name} ended too early")
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    records.seek(0)
    seen: Seen = np.frombuffer(records.read(), RECORD)
    return seen[(seen["read_ns"] >= begin_ns) & (seen["read_ns"] < end_ns)]


@contextlib.contextmanager
def swarm(group: Group, port: int, sender: Sender, folder: Path, output: int) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that writes its records to the file descriptor `output`."""
    binary = compiled("swarm.c", folder)
    program = [str(binary)] if binary else [sys.executable, str(HERE / "swarm.py")]
    arguments = [group.address, str(port), sender.path, str(group.count), *filter(None, [sender.camera])]
    command = group.place.command([*program, *arguments])
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def held_mb(port: int) -> float:
    """What the kernel holds of pictures on their way from this port, all viewers together."""
    connections = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{port:04X}"
    return sum(int(c[4].split(":")[0], 16) for c in connections if c[1].endswith(local) and c[3] == "01") / 1e6


@contextlib.contextmanager
def stalled(count: int, address: str, port: int, sender: Sender) -> Iterator[None]:
    """Viewers that have asked for the pictures and never read a byte of them."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            sock = stack.enter_context(socket.create_connection((address, port), timeout=5))
            if not sender.camera:
                sock.sendall(f"GET {sender.path} HTTP/1.1\r\nHost: {address}:{port}\r\nAccept: */*\r\n\r\n".encode())
                continue
            sock.sendall(UPGRADE.format(path=sender.path, name=f"stalled-{number}", host=address, port=port).encode())
            sock.recv(1)  # its answer has begun, so there is an end of the WebSocket to talk to
            watch = b'{"type": "watch", "cameras": ["%s"]}' % sender.camera.encode()
            sock.sendall(bytes((TEXT, 0x80 | len(watch), 0, 0, 0, 0)) + watch)
        yield
