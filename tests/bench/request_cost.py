"""What a request and a delivered picture cost the server in two checkouts, measured in turns in one run."""

import contextlib
import json
import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import report, senders, viewers
from .attacks import patch, request
from .senders import LOOPBACK, BenchError, Place, Running, Sender

RATE = 150.0  # requests a second: below what piapp answers without making anybody wait
REQUESTS_S, BLOCKS = 0.3, 6  # of one pair: short ones in turns, since what else this computer does comes and goes
FRAMES_S = 2.0
IDLE_S = 5.0
VIEWERS = (1, 30)
CLOSING = "GET /health, new connections"
REQUESTS = {
    "GET /health": request("/health"),
    CLOSING: request("/health", "Connection: close"),
    "GET /style.css": request("/style.css"),
    "GET /api/cameras": request("/api/cameras"),
    "GET /nothing (404)": request("/nothing"),
    "PATCH": patch("camera", json.dumps({"on": True}).encode()),
}

Pair = tuple[float, float]  # before and after


@dataclass(frozen=True)
class Side:
    """One of the two checkouts, running."""

    sender: Sender
    running: Running
    folder: Path


Measure = Callable[[Side, float], float]


def run(
    trees: tuple[Path, Path], folder: Path, images: Path, pairs: int, share: float, progress: Callable[[str], None]
) -> None:
    """`trees`: before and after. `share`: of the usual length of each measurement."""
    with contextlib.ExitStack() as stack:
        before, after = (stack.enter_context(_side(tree, folder / name, images)) for tree, name in _named(trees))
        seen: dict[str, list[Pair]] = {}
        progress("request-cost: idle")
        idle = _idle((before, after), IDLE_S * share)
        for turn in range(pairs):
            for name, (blocks, measure) in _measurements(share).items():
                progress(f"request-cost: pair {turn + 1} of {pairs}, {name}")
                cost_us = {before: 0.0, after: 0.0}
                for block in range(blocks):
                    for side in (before, after) if (turn + block) % 2 else (after, before):
                        cost_us[side] += measure(side, idle[side]) / blocks
                seen.setdefault(name, []).append((cost_us[before], cost_us[after]))
    progress("")
    print(f"Server CPU per request and delivered picture, {trees[0]} (before) and {trees[1]} (after); {pairs} pairs.")
    print(f"Idle: {', '.join(f'{share_:.2%} of a core' for share_ in idle.values())}\n\n{table(seen)}", flush=True)


def table(seen: Mapping[str, Sequence[Pair]]) -> str:
    head = ("what", "before µs", "after µs", "after ÷ before", "95 % interval")
    rows = []
    for name, pairs in seen.items():
        low, middle, high = interval([after / before for before, after in pairs])
        before_us, after_us = np.median(np.array(pairs), axis=0)
        rows.append((name, f"{before_us:.1f}", f"{after_us:.1f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"))
    return report.table(head, rows)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median between the values that enclose the true one with a probability of at least 95 %.

    By order statistics: fewer than k of n values lie below the true median as often as fewer than k of n coins show
    heads. With fewer than six values: the least and the greatest.
    """
    ordered, n = sorted(values), len(values)
    outside, k = 0.0, 0
    while 2 * (outside + math.comb(n, k) / 2**n) <= 0.05:
        outside += math.comb(n, k) / 2**n
        k += 1
    least = max(0, k - 1)
    return ordered[least], float(np.median(ordered)), ordered[n - 1 - least]


def _named(trees: tuple[Path, Path]) -> Iterator[tuple[Path, str]]:
    return zip(trees, ("before", "after"), strict=True)


@contextlib.contextmanager
def _side(tree: Path, folder: Path, images: Path) -> Iterator[Side]:
    folder.mkdir()
    sender = senders.piapp(tree)
    with sender.running(folder, images, "images", Place()) as running:
        yield Side(sender, running, folder)


def _idle(sides: Sequence[Side], seconds: float) -> dict[Side, float]:
    """The share of a core that each takes while nobody asks for anything and the camera is closed."""
    for side in sides:  # everything that is loaded when it is first needed
        for each in REQUESTS.values():
            _ask(side.running, each, 1, per_s=RATE)
        viewers.watch(side.sender, side.running, side.folder, [viewers.Group(1)], 0.5)
    time.sleep(2.0)  # until the cameras are closed
    cpu_s = [side.running.cpu_s() for side in sides]
    time.sleep(seconds)
    return {side: (side.running.cpu_s() - before) / seconds for side, before in zip(sides, cpu_s, strict=True)}


def _measurements(share: float) -> dict[str, tuple[int, Measure]]:
    """How often in each pair, and what: from a side and its idle share to the cost in µs."""

    def of_requests(data: bytes) -> Measure:
        def measure(side: Side, idle: float) -> float:
            count = max(1, round(RATE * REQUESTS_S * share))
            began, cpu_s = time.monotonic(), side.running.cpu_s()
            _ask(side.running, data, count, per_s=RATE)
            elapsed_s, cpu_s = time.monotonic() - began, side.running.cpu_s() - cpu_s
            return 1e6 * (cpu_s - idle * elapsed_s) / count

        return measure

    def of_frames(count: int) -> Measure:
        def measure(side: Side, idle: float) -> float:
            group = viewers.Group(count)
            (figures,) = viewers.watch(side.sender, side.running, side.folder, [group], FRAMES_S * share)
            time.sleep(1.0)  # until the camera is closed
            return figures.cpu_us

        return measure

    return {
        **{name: (BLOCKS, of_requests(data)) for name, data in REQUESTS.items()},
        **{f"picture, viewers: {count}": (1, of_frames(count)) for count in VIEWERS},
    }


def _ask(running: Running, data: bytes, count: int, per_s: float) -> None:
    """Send this request so many times, at this rate, over one connection if that stays open."""
    sock: socket.socket | None = None
    begin = time.monotonic()
    try:
        for number in range(count):
            time.sleep(max(0.0, begin + number / per_s - time.monotonic()))
            sock = sock or socket.create_connection((LOOPBACK, running.port), timeout=10)
            sock.sendall(data)
            if _closed_after_answer(sock):
                sock.close()
                sock = None
    finally:
        if sock:
            sock.close()


def _closed_after_answer(sock: socket.socket) -> bool:
    """Read one answer; whether it is the last one."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(sock)
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(headers[b"content-length"]) - len(body)
    while left > 0:
        left -= len(_received(sock))
    return headers.get(b"connection") == b"close"


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise BenchError("piapp has closed a connection without an answer")
    return data
