"""What is measured: piapp, the floor, and whatever the command line puts beside them."""

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOOPBACK = "127.0.0.1"
START_S = 15.0
FPS = 30


class BenchError(Exception):
    """Ends the bench with one line."""


@dataclass(frozen=True)
class Place:
    """Where a sender runs: in a network namespace, or in this process's own when `namespace` is empty."""

    namespace: str = ""
    host: str = LOOPBACK  # to listen on

    def command(self, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command] if self.namespace else list(command)


class Running:
    """A sender's process, and what the kernel has counted of it so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process, self.port = process, port
        self.log = log  # stdout and stderr

    def cpu_s(self) -> float:
        return cpu_s(self.process.pid)

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        _, found, rest = status.partition("VmRSS:")
        if not found:
            raise BenchError("a sender ended while it was measured")
        return int(rest.split()[0]) / 1024


@dataclass(frozen=True)
class Sender:
    """`command` holds {host}, {port}, {images}, {fps} and {config}, each replaced wherever it stands."""

    name: str
    command: str
    path: str = "/stream"
    camera: str = ""  # of a WebSocket at `path`, whose viewers are pages that watch this camera; empty: it is a stream
    health: str = ""  # a path that answers 200 or 503 once it serves; empty: it serves when its port is open
    tree: Path = ROOT  # the folder to start it in

    def running(
        self, folder: Path, images: Path, source: str, place: Place
    ) -> "contextlib.AbstractContextManager[Running]":
        port = free_port()
        config = folder / "config.toml"
        config.write_text(_config(place.host, port, source, images))
        known = {"host": place.host, "port": port, "images": images, "fps": FPS, "config": config}
        command = self.command
        for key, value in known.items():
            command = command.replace("{" + key + "}", shlex.quote(str(value)))
        return self.started(shlex.split(command), port, folder, place)

    @contextlib.contextmanager
    def started(self, command: Sequence[str], port: int, folder: Path, place: Place = Place()) -> Iterator[Running]:
        """With this command instead of its own. `folder`: for its log and its state."""
        log = folder / "sender.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                place.command(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.tree,
                env=os.environ | {"HOST": place.host, "STATE_DIRECTORY": str(folder / "state")},
            )
        try:
            self._await(process, place, port, log)
            yield Running(process, port, log)
        finally:
            stop(process)

    def _await(self, process: "subprocess.Popen[bytes]", place: Place, port: int, log: Path) -> None:
        """Until it serves."""
        probe = [sys.executable, __file__, str(port), self.health]
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if process.poll() is not None:
                raise BenchError(f"{self.name} ended at once: {log.read_text().strip()[-1000:]}")
            if place.namespace:
                if subprocess.run(place.command(probe), check=False).returncode == 0:
                    return
            elif answers(port, self.health):
                return
            time.sleep(0.05)
        raise BenchError(f"{self.name} did not serve within {START_S:g} s: {log.read_text().strip()[-1000:]}")


def piapp(tree: Path = ROOT) -> Sender:
    """`tree`: the checkout to take it from."""
    command = f"{shlex.quote(sys.executable)} -m piapp --config {{config}}"
    return Sender("piapp", command, path="/cameras/camera/stream", health="/health", tree=tree)


def live() -> Sender:
    """piapp again, watched by pages."""
    return dataclasses.replace(piapp(), name="piapp, pages", path="/api/live", camera="camera")


def floor(folder: Path) -> Sender:
    """In C where there is a compiler; its name says which."""
    if binary := compiled("floor.c", folder):
        return Sender("floor (C)", f"{binary} {{host}} {{port}} {{images}} {{fps}}")
    script = shlex.join([sys.executable, str(HERE / "floor.py")])
    return Sender("floor (Python)", f"{script} {{host}} {{port}} {{images}} {{fps}}")


def beside(text: str) -> Sender:
    """From NAME=COMMAND."""
    name, _, command = text.partition("=")
    if not name or not command:
        raise BenchError(f'--beside "{text}" is not NAME=COMMAND')
    return Sender(name, command)


def compiled(source: str, folder: Path) -> Path | None:
    """The program built from a C file of this folder; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    target = folder / Path(source).stem
    if compiler is None or os.environ.get("PIAPP_BENCH_PYTHON"):
        return None
    if not target.exists():
        subprocess.run([compiler, "-O2", "-o", target, HERE / source], check=True)
    return target


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Politely, then not; returns when it has ended."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_on_signals() -> None:
    """Let every way to be stopped unwind the stack, so that all processes and namespaces go too."""

    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, _: object) -> None:
        for ending in endings:
            signal.signal(ending, signal.SIG_IGN)  # a second one must not cut the tidying up short
        raise KeyboardInterrupt(signal.Signals(number).name)

    for ending in endings:
        signal.signal(ending, leave)


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, in all its threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)


def answers(port: int, health: str) -> bool:
    try:
        if not health:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
            return True
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{health}", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 503
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as sock:
        return int(sock.getsockname()[1])


def _config(host: str, port: int, source: str, images: Path) -> str:
    device = str(images) if source == "images" else ""
    return f"""
[server]
host = "{host}"
port = {port}
max_viewers = 10000

[[camera]]
source = "{source}"
device = {json.dumps(device)}
framerate = {FPS}
idle_stop_s = 0.5
"""


if __name__ == "__main__":  # asked from inside a network namespace
    sys.exit(not answers(int(sys.argv[1]), sys.argv[2]))
