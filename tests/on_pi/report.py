"""Runs the steps, each in a process of its own, and writes what they say."""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from .computer import scrub
from .steps import Step

COMMAND = (sys.executable, "-P", "-s", "-m", "on_pi")
LOGGED, LOGGED_OF_FAILED = 12, 80  # lines of what a step logs that are kept


class Report:
    """Goes to the screen and into the file at once: what is there is kept whatever happens."""

    def __init__(self, folder: Path) -> None:
        name = f"piapp-report-{datetime.datetime.now():%Y-%m-%d-%H%M%S}.txt"
        try:
            self._file: IO[str] = (folder / name).open("x")
        except OSError:  # somebody else's folder
            self._file = (Path(tempfile.mkdtemp()) / name).open("x")
        self.path = Path(self._file.name)

    def write(self, line: str = "") -> None:
        line = scrub(line.rstrip("\n"))
        print(line, flush=True)
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def run(steps: Sequence[Step], report: Report) -> list[str]:
    """The titles of those that failed."""
    failed = []
    for number, step in enumerate(steps, 1):
        left_s = sum(each.usual_s for each in steps[number - 1 :])
        report.write()
        report.write(f"== {step.title}")
        print(f"   step {number} of {len(steps)}: about {step.usual_s} s, all about {left_s} s more", file=sys.stderr)
        began = time.monotonic()
        problem = attempt(step, report)
        if problem:
            report.write(f"FAILED: {problem}")
            failed.append(step.title)
        report.write(f"-- {time.monotonic() - began:.0f} s")
    return failed


def attempt(step: Step, report: Report, command: Sequence[str] = ()) -> str:
    """What went wrong with it, if anything. `command`: in place of the step's own process."""
    command = command or [*COMMAND, "--step", step.name]
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        # A session of its own: Ctrl-C is for this process, which then ends that one.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        late = threading.Event()

        def stop_late() -> None:
            late.set()
            _kill(process, signal.SIGABRT)  # faulthandler says where it hangs
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            _kill(process, signal.SIGKILL)

        timer = threading.Timer(step.limit_s, stop_late)
        timer.start()
        assert process.stdout
        try:
            for line in process.stdout:
                report.write(f"   {line}")
            code = process.wait()
        finally:
            timer.cancel()
            _kill(process, signal.SIGKILL)  # what it has left behind, or all of it after Ctrl-C
            process.wait()
            process.stdout.close()
        log.seek(0)
        lines = log.read().splitlines()
    for line in lines[-(LOGGED_OF_FAILED if code else LOGGED) :]:
        report.write(f"   | {line}")
    if late.is_set():
        return f"not done within {step.limit_s} s"
    return f"{lines[-1] if lines else 'it ended'} (code {code})" if code else ""


def _kill(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """With all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
