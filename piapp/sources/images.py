"""A folder of JPEG files, shown one after the other for ever; their bytes are passed on as they are.

Files that are added or removed while it runs are noticed at once, by the folder's own time of change. A broken one is
skipped, and tried again in the next round.
"""

import bisect
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources import jpeg
from piapp.sources.source import Publish, Source, ticks

log = logging.getLogger(__name__)

SETTLED_NS = 3_000_000_000  # file systems keep times in steps (FAT: 2 s), and more may change within the same step


KEPT_BYTES = 8_000_000  # so much of a folder is kept in memory, rather than read again for every frame


class Images(Source):
    """`device` is the folder; *.jpg and *.jpeg in it, in the order of their names."""

    kind = "images"

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config)
        if not config.device:
            raise SourceError("No folder of images named", 'set device = "/path/to/folder" in config.toml')
        if config.hflip or config.vflip or config.rotation:
            raise SourceError("Images cannot be turned", "set hflip, vflip and rotation back in config.toml")
        self.encoder = "the files' own"
        self._folder = Path(config.device)
        self._listed: list[str] = []
        self._changed = 0  # the folder's time of change when it was listed; 0: to be listed again
        self._bad: set[str] = set()  # files already complained of
        self._kept: dict[str, _Kept] = {}

    def check(self) -> None:
        next(self._pictures())

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        pictures = self._pictures()
        # reading while the event loop writes to its viewers would have both fight for the interpreter's lock
        for _ in ticks(self.config.framerate, stopping):
            picture, size = next(pictures)
            publish(picture, time.monotonic_ns(), *size)

    def _pictures(self) -> Iterator[tuple[bytes, Size]]:
        """Every good picture and its size in turn, for ever. The folder may change between any two."""
        name, bad_in_a_row = "", 0
        while True:
            names = self._names()
            name = names[bisect.bisect_right(names, name) % len(names)]
            if picture := self._read(name):
                bad_in_a_row = 0
                yield picture
            elif (bad_in_a_row := bad_in_a_row + 1) >= len(names):
                raise SourceError("No JPEG in the folder could be read", f"look at the files in {self._folder}")

    def _names(self) -> list[str]:
        """The files' names in order; read anew only when the folder has changed. Never empty."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed != self._changed:
                names = sorted(p.name for p in self._folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg"))
                self._changed = changed if _settled(changed) else 0
                self._listed = names
                self._kept.clear()
                self.negotiated = f"{len(names)} files at {self.config.framerate} fps"
        except OSError as error:
            raise SourceError(f"Folder of images lost ({error.strerror})", f"look at {self._folder}") from error
        if not self._listed:
            raise SourceError("No JPEG found in the folder", f"put some into {self._folder}")
        return self._listed

    def _read(self, name: str) -> tuple[bytes, Size] | None:
        """The file's bytes and size; None when it is no whole JPEG (or gone), with one log line for each such file."""
        try:
            path = f"{self._folder}/{name}"
            now = os.stat(path)
            if (kept := self._kept.get(name)) and kept.version == (now.st_mtime_ns, now.st_size):
                return kept.picture, kept.size
            with open(path, "rb", buffering=0) as file:
                content, changed = file.read(), os.fstat(file.fileno()).st_mtime_ns
            whole = jpeg.complete(content)
            if whole is not None:
                size = Size(*jpeg.size(whole))
                self._keep(name, _Kept((changed, len(content)), whole, size))
                self._bad.discard(name)
                return whole, size
            reason = "not a whole JPEG"
        except (OSError, ValueError) as error:
            reason = str(error)
        if name not in self._bad:
            self._bad.add(name)
            self.bad_frames += 1
            log.warning("%s: skipped: %s", self._folder / name, reason)
        return None

    def _keep(self, name: str, kept: "_Kept") -> None:
        self._kept.pop(name, None)
        in_use = sum(len(other.picture) for other in self._kept.values())
        if _settled(kept.version[0]) and in_use + len(kept.picture) <= KEPT_BYTES:
            self._kept[name] = kept


class _Kept(NamedTuple):
    """A picture that was read and looked through before."""

    version: tuple[int, int]  # the file's time of change and length
    picture: bytes
    size: Size


def _settled(changed_ns: int) -> bool:
    """Whether every later change will show in the time of change."""
    return abs(time.time_ns() - changed_ns) > SETTLED_NS
