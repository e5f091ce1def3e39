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

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources import jpeg
from piapp.sources.source import Publish, Source

log = logging.getLogger(__name__)

SETTLED_NS = 3_000_000_000  # file systems keep times in steps (FAT: 2 s), and more may change within the same step


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
        self._good: dict[tuple[str, int, int], Size] = {}  # name, time of change, length: looked through before

    def check(self) -> None:
        next(self._pictures())

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        interval, due = 1 / self.config.framerate, time.monotonic()
        pictures = self._pictures()
        # reading while the event loop writes to its viewers would have both fight for the interpreter's lock
        while not stopping.wait(max(0.0, due - time.monotonic())):
            picture, size = next(pictures)
            publish(picture, time.monotonic_ns(), *size)
            due = max(due + interval, time.monotonic() - interval)

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
                self._good.clear()
                self.negotiated = f"{len(names)} files at {self.config.framerate} fps"
        except OSError as error:
            raise SourceError(f"Folder of images lost ({error.strerror})", f"look at {self._folder}") from error
        if not self._listed:
            raise SourceError("No JPEG found in the folder", f"put some into {self._folder}")
        return self._listed

    def _read(self, name: str) -> tuple[bytes, Size] | None:
        """The file's bytes and size; None when it is no whole JPEG (or gone), with one log line for each such file."""
        try:
            with open(self._folder / name, "rb", buffering=0) as file:
                content, changed = file.read(), os.fstat(file.fileno()).st_mtime_ns
            if known := self._good.get((name, changed, len(content))):
                return content, known
            whole = jpeg.complete(content)
            if whole is not None:
                size = Size(*jpeg.size(whole))
                if whole is content and _settled(changed):
                    self._good[name, changed, len(content)] = size
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


def _settled(changed_ns: int) -> bool:
    """Whether every later change will show in the time of change."""
    return abs(time.time_ns() - changed_ns) > SETTLED_NS
