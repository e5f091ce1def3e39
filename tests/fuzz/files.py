"""Settings, through all that reads them: whatever the files are, piapp starts with something that it can use."""

import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from card import Card

from piapp import config, settings, toml
from piapp.config import Config, Size
from piapp.errors import ConfigError
from piapp.last_good import Settings

from .case import Case, Finding
from .target import Watch
from .texts import NONE

MOST_S = 0.5  # of processor time, for all of a case
HANG_S = 20.0
LONGEST = 1200  # characters of what the page says of a mistake


class Reader:
    """Has a folder for the files."""

    def __init__(self, folder: Path, log: Watch) -> None:
        self.slowest_s = 0.0
        self._card = Card(folder)
        self._state = folder / "state" / "state.json"
        self._kept = folder / "state" / "settings.json"
        self._state.parent.mkdir()
        self._log = log

    def read(self, case: Case) -> None:
        """Raises Finding."""
        self._log.problems.clear()
        signal.setitimer(signal.ITIMER_REAL, HANG_S)
        began = time.thread_time()
        try:
            self._read(*case.pieces)
        except Finding as finding:
            raise Finding(finding.what, [case]) from finding
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}", [case]) from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took_s = time.thread_time() - began
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > MOST_S:
            raise Finding(f"took {took_s:.2f} s", [case])
        if self._log.problems:
            raise Finding(self._log.problems[0], [case])

    def _read(self, main: bytes, over: bytes, kept: bytes, later: bytes) -> None:
        card = self._card
        self._put(card.main, main)
        self._put(card.over, over)
        self._put(self._kept, kept.replace(b"MAIN", str(card.main).encode()))
        for data in (main, over):
            if data != NONE and len(data) <= settings.LARGEST:
                _parts(data)
        found = Settings(None, {}, self._state)
        with contextlib.suppress(ConfigError):
            found.check()
        _usable(found.start())
        found.keep()
        if later != NONE:
            self._put(card.main, later)
            _usable(found.again())
        if self._kept.exists() and kept == NONE:
            self._put(card.main, b"broken = ")
            again = Settings(None, {}, self._state).start()
            if not again.cameras:
                raise Finding("the last good settings were not kept")
            _usable(again)

    def _put(self, path: Path, data: bytes) -> None:
        path.unlink(missing_ok=True)
        if data != NONE:
            path.write_bytes(data)


def _parts(data: bytes) -> None:
    """Each part alone, on text that need not be what settings.py would let through."""
    text = data.decode("utf-8", "replace")
    straight = settings.straightened(text)
    if len(straight) != len(text) or straight.count("\n") != text.count("\n"):
        raise Finding(f"straightened to another length: {straight!r}")
    for each in {text, straight}:
        config.ServerConfig(**config.rescue(each))
        for statement in toml.statements(each):
            with contextlib.suppress(ValueError, LookupError):
                statement.value() if statement.key else None
        with contextlib.suppress(ConfigError):
            _usable(config.parse(each, "config.toml"))


def _usable(found: Config) -> None:
    """Raises Finding unless piapp can run with it, and would read it again as the same."""
    names = [camera.name for camera in found.cameras]
    if len(set(names)) != len(names) or not (names or found.problem):
        raise Finding(f"cameras {names}, problem {found.problem!r}")
    if not found.problem.isprintable() or len(found.problem) > LONGEST:
        raise Finding(f"said to the page: {found.problem!r}")
    if not isinstance(found.server.port, int) or not all(isinstance(each.resolution, Size) for each in found.cameras):
        raise Finding(f"{found}")
    plain = config.plain(found, with_secrets=True)
    if not names:
        del plain["camera"]
    again = config.merge(config.check(plain))
    if again.server != found.server or (names and again.cameras != found.cameras):
        raise Finding(f"{found} and {again}")


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """With the files of this folder in place of this computer's. A hang is broken off."""

    def break_off(*_: object) -> None:
        raise TimeoutError(f"a hang of {HANG_S:g} s")

    log, root = Watch(expected="piapp.last_good"), logging.getLogger()
    before, places, level = signal.signal(signal.SIGALRM, break_off), (settings.SEARCHED, settings.BOOT), root.level
    root.addHandler(log)
    root.setLevel(logging.INFO)
    try:
        reader = Reader(folder, log)
        settings.SEARCHED = (folder / "config.toml", folder / "etc" / "config.toml")
        settings.BOOT = (folder / "boot/firmware", folder / "boot")
        yield reader
    finally:
        settings.SEARCHED, settings.BOOT = places
        root.removeHandler(log)
        root.setLevel(level)
        signal.signal(signal.SIGALRM, before)
