"""What users chose at the page, kept over restarts in one small file: {"cameras": {NAME: {"on": …, "controls": {…}}}}.

A Pi loses its power at any moment, and its SD card wears out by writing. So the file is only written when something has
changed, a moment later, and never in place: a new file is filled, forced to the disk and put in the old one's place.
"""

import asyncio
import contextlib
import functools
import json
import logging
import os
from pathlib import Path

from piapp import chosen
from piapp.camera import Camera
from piapp.chosen import Kept

log = logging.getLogger(__name__)

WRITE_AFTER_S = 1.0  # all changes within that time are written together


def default_path() -> Path | None:
    """Where the system wants it; None, and a line in the log, when there is no such place."""
    if given := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:  # systemd: there may be several
        return Path(given, "state.json")
    with contextlib.suppress(RuntimeError):  # a user without a home
        xdg = os.environ.get("XDG_STATE_HOME", "")
        return Path(xdg if os.path.isabs(xdg) else Path.home() / ".local/state", "piapp", "state.json")
    log.warning("what is changed at the page is forgotten at the end: there is no folder to keep it in")
    return None


class StateFile:
    """The file, and the cameras whose changes go there. Belongs to the event loop."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file; a broken one is put aside. With None nothing is kept."""
        self._path = path
        self._cameras: dict[str, Kept] = {}  # cameras that are not in the settings now as well
        self._written = self._content()  # what is in the file
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._complained = False  # of a disk that takes nothing; once is enough
        if path:
            self._read(path)

    def of(self, name: str) -> Kept:
        """What was kept of this camera."""
        return self._cameras.get(name, chosen.kept(None))

    def follow(self, camera: Camera) -> None:
        """Keep what is changed there from now on."""
        camera.listeners.add(functools.partial(self._note, camera))

    async def close(self) -> None:
        """Write what is not written yet."""
        self._closing.set()
        if self._writing:
            await self._writing
        if self._content() != self._written:
            await self._write()

    def _note(self, camera: Camera) -> None:
        kept = camera.kept()
        if kept != self.of(camera.name):
            self._cameras[camera.name] = kept
            if kept == chosen.kept(None):
                del self._cameras[camera.name]
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write_soon(), name="write state")

    async def _write_soon(self) -> None:
        while not self._closing.is_set() and self._content() != self._written:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_AFTER_S):
                    await self._closing.wait()
            if not await self._write():
                return  # the next change tries again

    async def _write(self) -> bool:
        content = self._content()
        try:
            if self._path:
                await asyncio.to_thread(replace, self._path, content)
        except OSError as error:
            if not self._complained:
                log.warning("what is changed at the page cannot be kept: %s: %s", self._path, error.strerror or error)
            self._complained = True
            return False
        self._written, self._complained = content, False
        return True

    def _content(self) -> bytes:
        text = json.dumps({"cameras": self._cameras}, indent=2, ensure_ascii=False) + "\n"
        return text.encode("utf-8", "backslashreplace")  # half a character, which no UTF-8 has, as JSON writes it

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            found = json.loads(content)
            cameras = found.get("cameras") if isinstance(found, dict) else None
            if not isinstance(cameras, dict):
                raise ValueError('there is no "cameras" in it')
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:  # the latter: brackets nested thousands deep
            log.warning("%s cannot be read (%s): what was changed at the page is forgotten", path, error)
            with contextlib.suppress(OSError):
                path.replace(path.with_name(f"{path.name}.broken"))
            return
        self._cameras = {name: chosen.kept(camera) for name, camera in cameras.items()}
        self._written = self._content()


def replace(path: Path, content: bytes) -> None:
    """Make this the content of the file: all of it, or the old one stays, whatever happens. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        _fill(new, content)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # else the new name may be lost with the power
    finally:
        os.close(folder)


def _fill(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    finally:
        os.close(file)
