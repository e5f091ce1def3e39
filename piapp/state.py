"""What users chose at the page, kept over restarts in one small file: {"cameras": {NAME: {"on": …, "controls": {…}}}}.

An SD card wears out by writing, and anybody who may use the page can cause it. So the file is written only when
something has changed, a moment later, and then not again for some seconds. While it cannot be written, piapp says so
and keeps trying.
"""

import asyncio
import contextlib
import errno
import functools
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from piapp import chosen, config, tasks
from piapp.camera import Camera
from piapp.chosen import Kept
from piapp.system import storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How often the file is written, and how much of it is read."""

    write_after_s: float = 1.0  # A change is written this long after it, together with those that follow in this time.
    write_every_s: float = 5.0  # Two writes are at least this far apart, except for the one on exit.
    retry_s: float = 30.0  # A write that failed is repeated after this time, or after the next change.
    largest: int = 1 << 20  # A file with more bytes is something else.
    most_cameras: int = 1000  # More cameras of a file are ignored.


def default_path() -> Path | None:
    """Where the system wants it; None, and a line in the log, when there is no such place."""
    if given := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:  # systemd: there may be several
        return Path(given, "state.json")
    with contextlib.suppress(RuntimeError):  # a user without a home
        xdg = os.environ.get("XDG_STATE_HOME", "")
        return Path(xdg if os.path.isabs(xdg) else Path.home() / ".local/state", "piapp", "state.json")
    log.warning("changes made on the page are lost on exit: there is no state directory")
    return None


class StateFile:
    """The file, and the cameras whose changes go there. Belongs to the event loop.

    `problem` says why changes cannot be saved and what to do, in two sentences for the page; it is empty while all is
    well. `listeners` are called in the event loop when it has changed.
    """

    def __init__(self, path: Path | None, limits: Limits = Limits()) -> None:
        """Reads the file; a broken one is put aside. With None nothing is kept."""
        self.problem = ""
        self.listeners: set[Callable[[], None]] = set()
        self._path = path
        self._limits = limits
        self._cameras: dict[str, Kept] = _read(path, limits) if path else {}  # also some that are not in the settings
        self._saved = dict(self._cameras)  # what is in the file
        self._tried = -limits.write_every_s  # time.monotonic() of the last write
        self._wake = asyncio.Event()  # something has changed, or close() was called
        self._closing = False
        self._writing: asyncio.Task[None] | None = None

    def of(self, name: str) -> Kept:
        """What was kept of this camera."""
        return self._cameras.get(name, chosen.kept(None))

    def follow(self, camera: Camera) -> None:
        """Keep what is changed there from now on."""
        camera.listeners.add(functools.partial(self._note, camera))

    async def close(self) -> None:
        """Write what is not written yet."""
        self._closing = True
        self._wake.set()
        if self._writing:
            await asyncio.wait([self._writing])
        if self._unsaved():
            await self._write()

    def _note(self, camera: Camera) -> None:
        kept = camera.kept()
        if kept == self.of(camera.name):
            return
        self._cameras[camera.name] = kept
        if kept == chosen.kept(None):
            del self._cameras[camera.name]
        self._wake.set()
        if self._writing is None or self._writing.done():
            self._writing = tasks.start(self._write_changes(), "write state")

    def _unsaved(self) -> bool:
        return self._cameras != self._saved

    async def _write_changes(self) -> None:
        """Until there are none left."""
        while self._unsaved():
            await self._turn()
            if self._closing:
                return
            if self._unsaved():
                await self._write()
        self._tell("")  # also when all is again as it was

    async def _turn(self) -> None:
        """Wait until it is time to write."""
        if self.problem and not self._closing:
            await tasks.event(self._wake, self._limits.retry_s)
        due = max(time.monotonic() + self._limits.write_after_s, self._tried + self._limits.write_every_s)
        while not self._closing and (left_s := due - time.monotonic()) > 0:
            await tasks.event(self._wake, left_s)

    async def _write(self) -> None:
        cameras, problem = dict(self._cameras), ""
        if self._path:
            problem = await asyncio.to_thread(_save, self._path, cameras)
            self._tried = time.monotonic()
        if not problem:
            self._saved = cameras
        self._tell(problem)

    def _tell(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            log.warning("%s: %s", self._path, problem)
        else:
            log.info("changes made on the page are saved again")
        for listener in tuple(self.listeners):
            listener()


def _save(path: Path, cameras: Mapping[str, Kept]) -> str:
    """Write the file; why that failed, or nothing. Called in a thread."""
    try:
        storage.replace(path, _encoded(cameras))
    except OSError as error:
        return _problem(error, path.parent)
    return ""


def _problem(error: OSError, folder: Path) -> str:
    """What happened, then what to do."""
    reason = error.strerror or str(error)
    shown = config.cut(config.printable(str(folder)), 100)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "free some space"
        case errno.EROFS:
            advice = "make the disk writable"
        case errno.EACCES | errno.EPERM:
            advice = f"let piapp write to {shown}"
        case _:
            advice = f"check {shown}"
    return f"Changes made on the page cannot be saved: {reason}. They will be lost when piapp restarts: {advice}."


def _read(path: Path, limits: Limits) -> dict[str, Kept]:
    """What is sound in the file. A broken one is put aside."""
    try:
        found = json.loads(storage.read(path, limits.largest, private=True))
        cameras = found.get("cameras") if isinstance(found, dict) else None
        if not isinstance(cameras, dict):
            raise ValueError('there is no "cameras" in it')
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:  # the latter: brackets nested thousands deep
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning("%s cannot be read (%s): changes made on the page earlier are lost", path, reason)
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{path.name}.broken"))
        return {}
    return _within(cameras, limits)


def _within(cameras: Mapping[str, object], limits: Limits) -> dict[str, Kept]:
    """As many of them as fill half the file, so that there is room for the cameras of today."""
    kept: dict[str, Kept] = {}
    room = limits.largest // 2
    for name, found in cameras.items():
        camera = chosen.kept(found)
        if camera != chosen.kept(None):
            room -= len(_encoded({name: camera}))
            if room < 0 or len(kept) == limits.most_cameras:
                log.warning("only %d cameras of the state file are kept: it holds too many", len(kept))
                break
            kept[name] = camera
    return kept


def _encoded(cameras: Mapping[str, Kept]) -> bytes:
    text = json.dumps({"cameras": cameras}, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # half a character, which no UTF-8 has, as JSON writes it
