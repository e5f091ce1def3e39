"""What a good viewer and the owner notice while other clients behave badly, one attack after the other."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import report, senders, viewers
from .attacks import Attack, Clients, patch
from .senders import LOOPBACK, BenchError, Running

LEAST_FPS, LONGEST_GAP_MS, MOST_LINES, LONGEST_STOP_S = 27.0, 150.0, 100, 3.0  # the bars
CPU_GROUPS, SLOWED_PERIOD_US = Path("/sys/fs/cgroup/cpu"), 10_000
NICENESS = 10  # of the attackers, whose CPU would be another computer's
START_S = 0.2  # until the attackers have begun
PATCH_S = 5.0  # how long the last change is tried
GIVE_UP_S = 20.0  # on a server that does not end
QUALITY = 79  # what the last change sets

LEGEND = (
    f"One viewer of /stream beside each attack. bar: at least {LEAST_FPS:g} fps, no gap over {LONGEST_GAP_MS:g} ms, "
    f"at most {MOST_LINES} lines in the log,\nan exit within {LONGEST_STOP_S:g} s of SIGTERM, the state file whole "
    "and with the last change. PATCH: until the last change was accepted,\nat the end of the attack. others: what "
    "other programs took, in cores; late: the longest that this computer let a sleeping process wait."
)


@dataclass(frozen=True)
class Result:
    """What one attack did."""

    sent: float  # messages a second
    connects: float  # a second
    fps: float  # of the good viewer, as is the gap
    gap_ms: float
    cpu: float  # of the server, in cores
    rss_mb: tuple[float, float]  # before and at the end of it
    log_lines: int
    patch_ms: float | None  # None: the last change was not accepted
    stop_s: float | None  # None: the server had to be killed
    state: str  # what is wrong with the state file; empty: nothing
    others: float  # CPU of other programs, in cores
    late_ms: float

    def missed(self) -> list[str]:
        """The bars that it misses."""
        misses = {
            "fps": self.fps < LEAST_FPS,
            "gap": self.gap_ms > LONGEST_GAP_MS,
            "log": self.log_lines > MOST_LINES,
            "PATCH": self.patch_ms is None,
            "stop": self.stop_s is None or self.stop_s > LONGEST_STOP_S,
            "state": bool(self.state),
        }
        return [name for name, missed in misses.items() if missed]


@dataclass(frozen=True)
class Floods:
    """What stays the same for all attacks of one run."""

    tree: Path  # the checkout whose piapp is attacked
    folder: Path
    flood: Path  # the program
    seconds: float
    cpu: float  # the share of a core that the server may take, as on a slower computer; 0: all there is
    progress: Callable[[str], None]

    def run(self, attacks: Sequence[Attack]) -> None:
        results = {}
        for attack in attacks:
            self.progress(f"floods: {attack.name}")
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                results[attack.name] = self._measure(attack, Path(folder))
        self.progress("")
        print(f"{LEGEND}\n\n{table(results)}", flush=True)

    def _measure(self, attack: Attack, folder: Path) -> Result:
        sender = senders.piapp(self.tree)
        port = senders.free_port()
        config = folder / "config.toml"
        config.write_text(_config(port, attack.max_viewers))
        command = [sys.executable, "-m", "piapp", "--config", str(config)]
        if attack.files:
            command = ["prlimit", f"--nofile={attack.files}:{attack.files}", *command]
        with contextlib.ExitStack() as stack:
            if self.cpu:
                command = [*stack.enter_context(_slowed(self.cpu)), *command]
            server = stack.enter_context(sender.started(command, port, folder))
            records = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            viewer = stack.enter_context(viewers.swarm(viewers.Group(1), port, sender, self.folder, records.fileno()))
            time.sleep(viewers.WARM_UP_S)
            before_mb = server.rss_mb()
            attackers = [
                stack.enter_context(self._attacking(clients, port, folder / str(number)))
                for number, clients in enumerate(attack.clients)
            ]
            time.sleep(START_S)
            pids = [server.process.pid, viewer.pid, *(attacker.pid for attacker in attackers)]
            counts = _counts(attack.clients, attackers)
            begin_ns, cpu_s, others_s = time.monotonic_ns(), server.cpu_s(), _others_s(pids)
            late_ms = _wait(self.seconds)
            end_ns, cpu_s, others_s = time.monotonic_ns(), server.cpu_s() - cpu_s, _others_s(pids) - others_s
            counts = _counts(attack.clients, attackers) - counts
            after_mb = server.rss_mb()
            patch_ms = _change(port)
            stop_s = _stop(server)
            seen = viewers.seen_by(viewer, records, begin_ns, end_ns, sender.name)
        elapsed_s = (end_ns - begin_ns) / 1e9
        times = np.concatenate([[begin_ns], seen["read_ns"], [end_ns]])
        return Result(
            sent=counts[0] / elapsed_s,
            connects=counts[1] / elapsed_s,
            fps=len(seen) / elapsed_s,
            gap_ms=float(np.diff(times).max()) / 1e6,
            cpu=cpu_s / elapsed_s,
            rss_mb=(before_mb, after_mb),
            log_lines=len(server.log.read_text(errors="replace").splitlines()),
            patch_ms=patch_ms,
            stop_s=stop_s,
            state=_wrong_state(folder / "state/state.json", changed=patch_ms is not None),
            others=max(0.0, others_s / elapsed_s),
            late_ms=late_ms,
        )

    @contextlib.contextmanager
    def _attacking(self, clients: Clients, port: int, name: Path) -> "Iterator[subprocess.Popen[bytes]]":
        opening, loop = name.with_suffix(".opening"), name.with_suffix(".loop")
        opening.write_bytes(clients.opening)
        loop.write_bytes(clients.loop)
        arguments = [LOOPBACK, str(port), str(clients.count), str(opening), str(loop)]
        command = ["nice", "-n", str(NICENESS), str(self.flood), *clients.options, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def table(results: dict[str, Result]) -> str:
    head = ("attack", "sent/s", "connects/s", "fps", "gap ms", "CPU %", "RSS MB", "after", "log lines")
    more = ("PATCH ms", "exit s", "others", "late ms", "bar")
    rows = []
    for name, r in results.items():
        missed = r.missed()
        rows.append(
            (
                name,
                f"{r.sent:.0f}",
                f"{r.connects:.0f}",
                f"{r.fps:.1f}",
                f"{r.gap_ms:.0f}",
                f"{r.cpu:.0%}",
                f"{r.rss_mb[0]:.0f}",
                f"{r.rss_mb[1]:.0f}",
                str(r.log_lines),
                "-" if r.patch_ms is None else f"{r.patch_ms:.0f}",
                "-" if r.stop_s is None else f"{r.stop_s:.2f}",
                f"{r.others:.2f}",
                f"{r.late_ms:.0f}",
                f"misses {', '.join(missed)} {r.state}".rstrip() if missed else "met",
            )
        )
    return report.table((*head, *more), rows)


def _config(port: int, max_viewers: int) -> str:
    camera = '[[camera]]\nname = "{}"\nsource = "pattern"\nresolution = "1280x720"\nframerate = 30\nidle_stop_s = 0.5\n'
    server = f'[server]\nhost = "{LOOPBACK}"\nport = {port}\nannounce = false\nmax_viewers = {max_viewers}\n'
    return "\n".join((server, camera.format("camera"), camera.format("other")))


@contextlib.contextmanager
def _slowed(share: float) -> Iterator[list[str]]:
    """What to put before a command that shall have this share of a core, a little of it every few milliseconds."""
    group = CPU_GROUPS / f"piapp-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(SLOWED_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(round(share * SLOWED_PERIOD_US)))
    except OSError as error:
        raise BenchError(f"--cpu needs root and cgroups of version 1: {error}") from error
    try:
        yield ["sh", "-c", f'echo $$ >{group}/tasks && exec "$@"', "sh"]
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _wait(seconds: float) -> float:
    """The longest that one of many short naps took beyond its time, in ms."""
    nap_s, late_s = 0.002, 0.0
    now = time.monotonic()
    end = now + seconds
    while now < end:
        time.sleep(nap_s)
        late_s, now = max(late_s, time.monotonic() - now - nap_s), time.monotonic()
    return late_s * 1000


def _others_s(own: Sequence[int]) -> float:
    """CPU time of all processes but these and this one, since the computer started. Without interrupts."""
    _, user, nice, system, _, _, _, _, steal, *_ = Path("/proc/stat").read_text().split(maxsplit=10)
    total_s = sum(map(int, (user, nice, system, steal))) / 100
    return total_s - time.process_time() - sum(map(senders.cpu_s, own))


def _change(port: int) -> float | None:
    """Change a control of the watched camera, as its owner may wish to; how long that took, in ms."""
    request = patch("camera", json.dumps({"controls": {"quality": QUALITY}}).encode())
    began = time.monotonic()
    while (left_s := began + PATCH_S - time.monotonic()) > 0:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=left_s) as sock:
            sock.sendall(request)
            if sock.recv(12) == b"HTTP/1.1 200":
                return (time.monotonic() - began) * 1000
        time.sleep(0.05)
    return None


def _stop(server: Running) -> float | None:
    """How long it takes to end after SIGTERM."""
    began = time.monotonic()
    server.process.terminate()
    try:
        server.process.wait(GIVE_UP_S)
    except subprocess.TimeoutExpired:
        server.process.kill()
        return None
    return time.monotonic() - began


def _counts(clients: Sequence[Clients], attackers: "Sequence[subprocess.Popen[bytes]]") -> NDArray[np.float64]:
    """How many messages the attackers have sent, and how many connections they have made."""
    counts = np.zeros(2)
    for each, attacker in zip(clients, attackers, strict=True):
        attacker.send_signal(signal.SIGUSR1)
        told = attacker.stdout.readline().split() if attacker.stdout else []
        if not told:
            raise BenchError("an attacker ended too early")
        connections, loop_bytes = map(int, told)
        counts += (each.messages * loop_bytes / max(1, len(each.loop)), connections)
    return counts


def _wrong_state(file: Path, *, changed: bool) -> str:
    try:
        cameras = json.loads(file.read_bytes())["cameras"]
    except FileNotFoundError:
        return "(no state file)" if changed else ""
    except (ValueError, LookupError, TypeError) as error:
        return f"({error})"
    quality = cameras.get("camera", {}).get("controls", {}).get("quality")
    return f"(quality {quality})" if changed and quality != QUALITY else ""
