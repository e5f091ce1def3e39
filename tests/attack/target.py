"""piapp as a process, on a Tornado of one's choice, and what the kernel says about that process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tornado as installed
from fakes import until
from program import ROOT, Program, environment
from wire import Stream, ask

TORNADOS = ROOT / ".venv" / "tornados"  # where scripts/get-tornados puts them
CURRENT = "current"  # the one that is installed
VERSIONS = {"debian": "6.2", "6.2": "6.2", "6.4.2": "6.4.2"}  # by the names of their folders
NAMES = (*VERSIONS, CURRENT)
SETTINGS = """\
[server]
announce = false
{server}
[[camera]]
source = "pattern"
resolution = "320x240"
framerate = 15
idle_stop_s = 0
"""
SETTLES_S = 20.0  # stalled connections are given up after 10 s
_TICKS = os.sysconf("SC_CLK_TCK")
_LEAST_FRAMES = 5


class Held(NamedTuple):
    """What the process holds of the kernel's."""

    descriptors: int
    threads: int


SPARE = Held(2, 6)  # the connection that asks; idle threads that wait for the next file to write


def missing(tornado: str) -> bool:
    return tornado != CURRENT and not (TORNADOS / tornado).exists()


def oldest() -> str:
    """For what does not depend on Tornado: the one of Debian 12 if it is there, else the current one."""
    return CURRENT if missing("debian") else "debian"


def variables(tornado: str) -> dict[str, str]:
    """An environment in which `import tornado` imports this one. Checks that it does."""
    folders = [str(ROOT)] if tornado == CURRENT else [str(TORNADOS / tornado), str(ROOT)]
    made = {"PYTHONPATH": os.pathsep.join(folders)}
    script = "import tornado; print(tornado.version, tornado.__file__, sep='\\n')"
    said = subprocess.run(
        [sys.executable, "-c", script],
        cwd="/",
        env={**environment(), **made},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    version, file = said.stdout.splitlines()
    assert version == VERSIONS.get(tornado, installed.version)
    assert tornado == CURRENT or Path(file).is_relative_to(TORNADOS / tornado), file
    return made


class Target(Program):
    """piapp under attack."""

    def __init__(
        self, folder: Path, tornado: str, *arguments: object, server: str = "", before: Sequence[str] = ()
    ) -> None:
        """`server`: further lines for [server] in the settings."""
        self.tornado = tornado
        (folder / "config.toml").write_text(SETTINGS.format(server=server))
        super().__init__(folder, *arguments, before=before, variables=variables(tornado))
        self._read = 0  # so much of the log is known
        self._before = Held(0, 0)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    # --- what the kernel says ---

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def busy(self, seconds: float = 1.0) -> float:
        """The share of a processor that it uses over the next seconds."""
        before, began = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_s() - before) / (time.monotonic() - began)

    def memory(self) -> int:
        """Resident, in bytes."""
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def held(self) -> Held:
        folder = Path(f"/proc/{self.pid}")
        return Held(len(os.listdir(folder / "fd")), len(os.listdir(folder / "task")))

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()

    # --- what it says itself ---

    def new_log(self) -> str:
        """What it has logged since this was called last."""
        whole = self._errors.read_bytes()
        new, self._read = whole[self._read :], len(whole)
        return new.decode()

    def camera(self) -> dict[str, Any]:
        said: dict[str, Any] = ask(self.port, "/api/cameras/camera").json()
        return said

    @property
    def state_path(self) -> Path:
        return self.folder / "state" / "state.json"

    def kept_on(self) -> bool:
        """Whether the camera is on, as the state file says. Raises when that is not whole."""
        try:
            text = self.state_path.read_text()
        except FileNotFoundError:
            return True
        kept = json.loads(text)["cameras"].get("camera", {})
        return bool(kept.get("on", True))

    # --- whether it is well ---

    def calm(self) -> None:
        """Have everything be used once and nobody be there; what it holds then is what it should hold at check()."""
        self._serves()
        until(lambda: not self.camera()["viewers"], SETTLES_S)
        self._before = self.held()
        self.new_log()

    def check(self) -> None:
        """It serves as ever, nothing is left of the attacks, and it has logged no exception. Ends it otherwise."""
        try:
            self._serves()
            until(lambda: self.held().descriptors <= self._before.descriptors + SPARE.descriptors, SETTLES_S)
            until(lambda: self.held().threads <= self._before.threads + SPARE.threads, SETTLES_S)
            log = self.new_log()
            assert "Traceback" not in log, log
        except BaseException:
            self._kill()  # others get a new one
            raise

    def _serves(self) -> None:
        assert self.running, f"it has ended: {self.new_log()}"
        assert ask(self.port, "/health").status == 200
        with Stream(self.port) as viewer:
            pictures = viewer.take(_LEAST_FRAMES)
        assert len({picture.timestamp for picture in pictures}) == _LEAST_FRAMES
