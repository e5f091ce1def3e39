"""piapp as people start it: a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fakes import free_port, until

ROOT = Path(__file__).parents[1]
LIMIT_S = 60.0  # a busy box takes its time to import things


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "piapp", *map(str, arguments)]


def environment() -> dict[str, str]:
    """Without proxies, which programs would ask even for 127.0.0.1."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def _with_state(folder: Path) -> dict[str, str]:
    """What is changed at the page is kept in the folder, not in the home of whoever runs the tests."""
    return {**environment(), "STATE_DIRECTORY": str(folder / "state")}


def call(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it to its end, in this folder."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=_with_state(folder), capture_output=True, text=True, timeout=LIMIT_S
    )


class Program:
    """Serving on 127.0.0.1 and a port of its own, from a folder that may hold a config.toml."""

    def __init__(
        self, folder: Path, *arguments: object, before: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> None:
        """`before`: a program, with its arguments, that executes the command behind it."""
        self.folder = folder
        self.port = free_port()
        self.stopped_s = 0.0  # from the signal to the end
        self._errors = folder / "stderr"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*before, *command("--host", "127.0.0.1", "--port", self.port, *arguments)],
                cwd=folder,
                # a socket or file that is left open shows on stderr
                env={**_with_state(folder), "PYTHONWARNINGS": "error::ResourceWarning", **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        try:
            until(lambda: "watch at" in self.errors() or self._process.poll() is not None, LIMIT_S)
            assert self._process.poll() is None, self.errors()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def errors(self) -> str:
        """What it has logged so far."""
        return self._errors.read_text()

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self, number: signal.Signals) -> int:
        """The exit code after this signal."""
        began = time.monotonic()
        self._process.send_signal(number)
        code = self._process.wait(LIMIT_S)
        self.stopped_s = time.monotonic() - began
        return code

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
