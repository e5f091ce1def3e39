"""What is known of this Pi, and what this process takes of it."""

import contextlib
import gc
import os
import platform
import re
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from piapp import check
from piapp.system import config_txt
from piapp.system.board import Board

PACKAGES = (
    "python3-picamera2",
    "python3-libcamera",
    "libcamera-ipa",
    "python3-simplejpeg",
    "python3-numpy",
    "python3-tornado",
    "rpicam-apps-core",
    "raspi-firmware",
)


def describe() -> Iterator[str]:
    yield f"computer: {check.model()}, {os.cpu_count()} cores; Python {platform.python_version()}"
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    issue = (_read("/etc/rpi-issue") or "").split("\n")[0]
    yield f"system: {release}; {issue + '; ' if issue else ''}kernel {platform.release()} {platform.machine()}"
    yield f"packages: {check.packages()}"
    for line in _debian_packages():
        yield f"    {line}"
    yield f"memory: {check.memory()}"
    yield from _config_txt()
    yield f"now: {state()}"
    yield from check.pi_cameras()


def state() -> str:
    """How warm it is, and whether it is held back."""
    told = Board().describe()
    held_back = told["throttled"]
    words = "unknown" if held_back is None else ", ".join(held_back) or "no"
    return f"{told['temperature_c']} °C, held back: {words}, load {os.getloadavg()[0]:.1f}"


def piapps() -> list[str]:
    """Each piapp that runs, and how to end it."""
    found = []
    systemctl = ["systemctl", "is-active", "--quiet", "piapp.service"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if subprocess.run(systemctl, timeout=10, stderr=subprocess.DEVNULL).returncode == 0:
            found.append("piapp's service: sudo systemctl stop piapp")
    for process in Path("/proc").glob("[0-9]*"):
        words = (_read(str(process / "cmdline")) or "").split("\0")
        if is_piapp(words):
            found.append(f"a piapp: Ctrl-C where it runs, or kill {process.name}")
    return found


def is_piapp(command: list[str]) -> bool:
    """Whether this is the command line of a piapp that serves."""
    module = any(pair == ("-m", "piapp") for pair in zip(command, command[1:], strict=False))
    program = any(Path(word).name == "piapp" for word in command[:2])
    return (module or program) and not {"check", "version"}.intersection(command)


def scrub(text: str) -> str:
    """Without what tells whose computer it is: its name, its user, addresses, serial numbers."""
    for personal, word in (
        (str(Path.home()), "~"),
        (socket.gethostname(), "HOST"),
        (os.environ.get("USER", ""), "USER"),
    ):
        if len(personal) > 2 and personal not in ("localhost", "piapp", "root", "raspberrypi"):
            text = re.sub(rf"(?<![\w-]){re.escape(personal)}(?![\w-])", word, text)
    text = re.sub(r"/home/[^/\s]+", "~", text)
    text = re.sub(r"\b[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\b", "MAC", text)
    text = re.sub(r"\b(?!127\.|0\.0\.0\.0)\d{1,3}(\.\d{1,3}){3}\b", "ADDRESS", text)
    return re.sub(r"\b0x[0-9a-fA-F]{6,}\b", "0xNUMBER", text)


class Figures:
    """What this process has used since this was made."""

    def __init__(self) -> None:
        self._began, self._used = time.monotonic(), _processor_s()

    def __str__(self) -> str:
        percent = 100 * (_processor_s() - self._used) / (time.monotonic() - self._began)
        held = left()
        return f"{percent:.0f} % of one core, {held}"


class Left(NamedTuple):
    """What this process still holds."""

    threads: int
    files: int
    resident_mb: float

    def __str__(self) -> str:
        return f"{self.resident_mb:.0f} MB resident, {self.threads} threads, {self.files} files"


def left() -> Left:
    gc.collect()  # picamera2's objects refer to one another, and hold files
    status = _status()
    return Left(int(status["Threads"]), len(os.listdir("/proc/self/fd")), int(status["VmRSS"].split()[0]) / 1024)


def _status() -> dict[str, str]:
    return dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)


def _processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _debian_packages() -> list[str]:
    """As Raspberry Pi OS numbers them, which Python does not always know."""
    command: list[Any] = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()
        return [line for line in lines if line.split(" ")[1:] != [""]]  # known, and not installed
    return []


def _config_txt() -> Iterator[str]:
    file = next((file for file in config_txt.FILES if file.is_file()), None)
    try:
        settings = config_txt.settings(file, check.model()) if file else []
    except OSError:
        settings = []
    about = [f"{each} {each.unmet}".strip() for each in settings if each.about_cameras]
    yield f"{file or 'no config.txt'}: {'; '.join(about) or 'nothing about cameras'}"


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None
