"""The settings of one piapp, at its start and when they are read again: a mistake in them never keeps it from running.

It then runs on the last good ones, which are kept in a file beside state.json: {"saved": when, "main": the main file or
null, "settings": {"server": {…}, "camera": […]}}. Those are settings with which it has listened at its port, without
what the command line says. The file is only written when they have changed, and only used for the main file that they
came from.
"""

import dataclasses
import datetime
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from piapp import config, settings
from piapp.config import Config
from piapp.errors import ConfigError
from piapp.system import storage

log = logging.getLogger(__name__)

NAME = "settings.json"
APPLIANCE = Path("/var/lib/piapp") / NAME  # where the service has it
LARGEST = 1 << 20  # bytes: what is larger is something else


class Kept(NamedTuple):
    """What the file says."""

    saved: str  # when, for people
    config: Config


class Settings:
    """Not for several threads at the same time."""

    def __init__(self, path: Path | None, options: Mapping[str, object], state_path: Path | None) -> None:
        """`path` and `options`: of the command line. Without a `state_path` nothing is kept.

        Raises ConfigError for the options.
        """
        config.override(Config(), options)
        self._path = path
        self._options = options
        self._file = state_path and state_path.with_name(NAME)
        self._main: Path | None = None  # the main file, where the settings were read last
        self._good: Config | None = None  # they, without the options
        self._now = Config()  # with what piapp runs

    def check(self) -> Config:
        """The settings as they are written. Raises ConfigError."""
        try:
            return self._read()
        except ConfigError as error:
            files = (self._file, APPLIANCE) if self._file else (APPLIANCE,)
            found = filter(None, (_read(file, self._main) for file in files))
            kept = max(found, key=lambda kept: kept.saved, default=None)
            instead = f" Until that is mended piapp runs with the settings of {kept.saved}." if kept else ""
            raise ConfigError(f"{settings.sentence(error)}{instead}") from error

    def start(self) -> Config:
        """What to start with. Raises ConfigError only where --config names what is no file."""
        try:
            self._now = self._read()
        except ConfigError as error:
            if self._path and not os.path.isfile(self._path):
                raise
            kept = _read(self._file, self._main) if self._file else None
            instead = f"It runs with the last good ones, of {kept.saved}." if kept else "It runs without any camera."
            log.error("%s %s", settings.sentence(error), instead)
            if kept:
                found = dataclasses.replace(kept.config, problem=settings.problem(error, instead))
            else:
                found = settings.rescue(self._path, error)
            self._now = config.override(found, self._options)
        return self._now

    def again(self) -> Config:
        """What to go on with: the settings as they are now, or with a mistake those before, and the problem."""
        try:
            self._now = self._read()
            self.keep()
        except ConfigError as error:
            instead = "It goes on with those that it has."
            log.error("%s %s", settings.sentence(error), instead)
            self._now = dataclasses.replace(self._now, problem=settings.problem(error, instead))
        return self._now

    def keep(self) -> None:
        """What was read last is good: keep it, unless it is kept. Never an error, at worst a line in the log."""
        if not self._file or not self._good:
            return
        content = {
            "main": self._main and str(self._main.absolute()),
            "settings": config.plain(self._good, with_secrets=True),
        }
        try:
            before = json.loads(storage.read(self._file, LARGEST, private=True))
            if {key: before[key] for key in content} == content:
                return
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            pass  # there is none yet, or it is broken
        saved = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        text = json.dumps({"saved": saved, **content}, indent=2, ensure_ascii=False) + "\n"
        try:
            storage.replace(self._file, text.encode("utf-8", "backslashreplace"))  # paths need not be UTF-8
        except OSError as error:
            log.warning(
                "these settings cannot be kept, for when later ones are wrong: %s: %s", self._file, error.strerror
            )

    def _read(self) -> Config:
        self._main = settings.find(self._path)
        good = settings.load(self._main)
        self._good = good
        return config.override(good, self._options)


def _read(file: Path, main: Path | None) -> Kept | None:
    """None where there is none, of this main file."""
    try:
        found: dict[str, Any] = json.loads(storage.read(file, LARGEST))
        if found["main"] != (main and str(main.absolute())):
            return None
        saved = datetime.datetime.fromisoformat(found["saved"]).strftime("%Y-%m-%d %H:%M")
        good = config.merge(config.check(found["settings"]))
    except (FileNotFoundError, PermissionError):
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        reason = error.strerror if isinstance(error, OSError) else config.cut(str(error), settings.LONGEST)
        log.warning("the last good settings cannot be used: %s: %s", file, reason)
        return None
    return Kept(saved, dataclasses.replace(good, files=(file,)))
