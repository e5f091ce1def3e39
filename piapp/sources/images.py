"""A folder of JPEG files, shown one after the other for ever; their bytes are passed on as they are.

Files that are added or removed while it runs are noticed at once, by the folder's own modification time. A broken file
is skipped, and read again once it has changed. Only regular files are opened, never a FIFO or a device.
"""

import bisect
import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.rate_limit import Rate, RateLimit
from piapp.sources import jpeg
from piapp.sources.source import Publish, Source, ticks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bounds on the cost of a folder, whatever it contains."""

    names: int = 100_000  # directory entries, of any kind
    list_again_s_per_name: float = 1e-4  # pause between two listings, for a large folder that changes all the time
    looking: float = 0.5  # share of a frame's time to spend looking for a good file
    file_bytes: int = 32_000_000  # larger files are not read
    kept_bytes: int = 8_000_000  # pictures kept in memory rather than read again for every frame
    settled_ns: int = 3_000_000_000  # file systems keep times in steps (FAT: 2 s), and more may change within a step
    lines: Rate = Rate(10, 60.0)  # logging skipped files


class Images(Source):
    """`device` is the folder; *.jpg and *.jpeg in it, in the order of their names."""

    kind = "images"

    def __init__(self, config: CameraConfig, limits: Limits = Limits()) -> None:
        super().__init__(config)
        if not config.device:
            raise SourceError("No folder of images named", 'set device = "/path/to/folder" in config.toml')
        if config.hflip or config.vflip or config.rotation:
            raise SourceError("Images cannot be turned", "set hflip, vflip and rotation back in config.toml")
        self.encoder = "the files' own"
        self._limits = limits
        self._folder = Path(config.device)
        self._listed: list[str] = []
        self._listed_at = 0.0  # time.monotonic()
        self._changed = 0  # the folder's time of change when it was listed; 0: to be listed again
        self._bad: dict[str, _Version] = {}  # files already complained of
        self._kept: dict[str, _Kept] = {}
        self._kept_bytes = 0
        self._lines = RateLimit(limits.lines)

    def check(self) -> None:
        for picture in self._pictures():
            if picture:
                return

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        pictures = self._pictures()
        # reading while the event loop writes to its viewers would have both fight for the interpreter's lock
        for _ in ticks(self.config.framerate, stopping):
            until = time.monotonic() + self._limits.looking / self.config.framerate
            while (picture := next(pictures)) is None and time.monotonic() < until and not stopping.is_set():
                pass
            if picture:
                publish(picture.jpeg, time.monotonic_ns(), *picture.size)

    def _pictures(self) -> Iterator["_Picture | None"]:
        """Every file in turn, for ever; None for a bad one. The folder may change at any time."""
        name, bad_in_a_row = "", 0
        while True:
            names = self._names()
            name = names[bisect.bisect_right(names, name) % len(names)]
            picture = self._read(name)
            bad_in_a_row = 0 if picture else bad_in_a_row + 1
            if bad_in_a_row >= len(names):
                raise SourceError("No JPEG in the folder could be read", f"look at the files in {self._folder}")
            yield picture

    # --- the folder ---

    def _names(self) -> list[str]:
        """The files' names in order; read again only when the folder has changed. Never empty."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed != self._changed and self._may_list():
                self._list()
                self._changed = changed if self._settled(changed) else 0
        except OSError as error:
            raise SourceError(f"Folder of images lost ({error.strerror})", f"look at {self._folder}") from error
        if not self._listed:
            raise SourceError("No JPEG found in the folder", f"put some into {self._folder}")
        return self._listed

    def _may_list(self) -> bool:
        pause_s = len(self._listed) * self._limits.list_again_s_per_name
        return time.monotonic() - self._listed_at >= pause_s

    def _list(self) -> None:
        with os.scandir(self._folder) as entries:
            every = [entry.name for entry in itertools.islice(entries, self._limits.names + 1)]
        names = sorted(name for name in every[: self._limits.names] if name.lower().endswith((".jpg", ".jpeg")))
        if len(every) > self._limits.names and not self.remark:
            self.remark = f"The folder has too many files: only {self._limits.names} of them are used."
            log.warning("%s: %s", self._folder, self.remark)
        self._listed, self._listed_at = names, time.monotonic()
        self._kept.clear()
        self._kept_bytes = 0
        self._bad = {name: self._bad[name] for name in names if name in self._bad}
        self.negotiated = f"{len(names)} files at {self.config.framerate} fps"

    # --- the files ---

    def _read(self, name: str) -> "_Picture | None":
        """The file's picture; None if it is gone, or not a whole JPEG, which is logged once for each such file."""
        path, version = os.path.join(self._folder, name), _NOTHING
        try:
            version = _version(os.stat(path))
            if (kept := self._kept.get(name)) and kept.version == version:
                return kept.picture
            if self._bad.get(name) == version and self._settled(version.changed_ns):
                return None
            version, content = self._content(path)
            picture = _picture(content)
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError) or os.path.lexists(path):
                self._complain(name, version, getattr(error, "strerror", None) or str(error))
            return None
        self._keep(name, _Kept(version, picture))
        self._bad.pop(name, None)
        return picture

    def _content(self, path: str) -> tuple["_Version", bytes]:
        """Raises ValueError for a file that must not be read."""
        self._check(os.stat(path))  # before opening: that would block on a FIFO, and may do anything to a device
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(file, "rb") as opened:
            self._check(now := os.fstat(file))  # it may have been replaced meanwhile
            if os.pread(file, 2, 0) != b"\xff\xd8":  # do not read 20 MB of something else
                raise ValueError("not a JPEG")
            return _version(now), opened.read(now.st_size)

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a file")
        if not 0 < found.st_size <= self._limits.file_bytes:  # files in /proc may be endless, and report 0 bytes
            raise ValueError(f"it has {found.st_size} bytes; allowed are 1 to {self._limits.file_bytes}")

    def _complain(self, name: str, version: "_Version", reason: str) -> None:
        """Log a bad file once for each of its versions, within the limit for log lines."""
        known, self._bad[name] = self._bad.get(name), version
        if known == version:
            return
        self.bad_frames += 1
        if self._lines.allows():
            log.warning("%s: skipped: %s", self._folder / name, reason)

    def _keep(self, name: str, kept: "_Kept") -> None:
        if old := self._kept.pop(name, None):
            self._kept_bytes -= old.bytes
        if self._settled(kept.version.changed_ns) and self._kept_bytes + kept.bytes <= self._limits.kept_bytes:
            self._kept[name] = kept
            self._kept_bytes += kept.bytes

    def _settled(self, changed_ns: int) -> bool:
        """Whether every later change will show in the time of change."""
        return abs(time.time_ns() - changed_ns) > self._limits.settled_ns


class _Version(NamedTuple):
    """What changes when a file changes."""

    changed_ns: int
    status_changed_ns: int  # also for a change of its permissions
    length: int


_NOTHING = _Version(0, 0, -1)  # for example of a broken link


class _Picture(NamedTuple):
    jpeg: bytes
    size: Size


class _Kept(NamedTuple):
    """A picture that was read and looked through before."""

    version: _Version
    picture: _Picture

    @property
    def bytes(self) -> int:
        return len(self.picture.jpeg) + 500  # with the objects around it


def _version(found: os.stat_result) -> _Version:
    return _Version(found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def _picture(content: bytes) -> _Picture:
    """ValueError when it is no whole JPEG."""
    whole = jpeg.complete(content)
    if whole is None:
        raise ValueError("not a whole JPEG")
    return _Picture(whole, Size(*jpeg.size(whole)))
