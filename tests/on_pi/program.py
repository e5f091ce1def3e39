"""The last step: piapp as people start it, with somebody who watches."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import wire
from fakes import free_port

from .camera import Trouble

STARTS_S, WATCHED_S, STOPS_S = 40.0, 8.0, 20.0
CONFIG = '[[camera]]\nname = "pi"\nsource = "picamera2"\n'


def serve() -> None:
    with tempfile.TemporaryDirectory() as folder, _started(Path(folder)) as (port, process):
        for path in ("/", "/api/cameras", "/api/system", "/metrics"):
            print(f"{path}: {wire.ask(port, path).status}")
        began = time.monotonic()
        with wire.Stream(port) as stream:
            first = next(stream)
            print(f"first picture of a stream: after {time.monotonic() - began:.2f} s, {len(first.jpeg) / 1000:.0f} kB")
            parts, began = [first], time.monotonic()
            while time.monotonic() < began + WATCHED_S:
                parts += stream.take(1)
            age_s, fps = time.time() - float(parts[-1].timestamp), len(parts) / (time.monotonic() - began)
            told = wire.ask(port, "/api/cameras/pi").json()
            print(f"a viewer got {fps:.1f} fps, the last picture {age_s * 1000:.0f} ms old")
        keys = ("state", "message", "width", "height", "fps", "encoder", "negotiated", "frames", "bad_frames", "faults")
        print(f"piapp says: {', '.join(f'{key} {told[key]}' for key in keys)}")
        print(f"health: {wire.ask(port, '/health').status}")
        print(f"snapshot: {wire.ask(port, '/cameras/pi/snapshot.jpg').status}")
        print(f"memory: {_resident_mb(process.pid):.0f} MB resident")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOPS_S)
        print(f"ended with code {code} after {time.monotonic() - began:.1f} s")
        if code or told["faults"] or not all(part.jpeg.startswith(b"\xff\xd8") for part in parts):
            raise Trouble("not as it should be, see above")


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Its port, and the process, which is gone afterwards. What it logs is this process's own stderr, too."""
    (folder / "config.toml").write_text(CONFIG)
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-P", "-s", "-m", "piapp", "--config", str(folder / "config.toml")]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "STATE_DIRECTORY": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    try:
        end = time.monotonic() + STARTS_S
        while "watch at" not in log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise Trouble("piapp does not start")
            time.sleep(0.1)
        yield port, process
    finally:
        process.kill()
        process.wait()
        sys.stderr.write(log.read_text())


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
