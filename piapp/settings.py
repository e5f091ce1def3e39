"""Where the settings are, and how their files are read: config.py has what may stand in them.

They are in one file: the one that --config names, else ./config.toml, else /etc/piapp/config.toml. Over the last of
these, and only over that one or where there is none at all, `piapp.toml` on the boot partition is laid, so that an SD
card can be prepared on any computer. What runs from a folder, for development say, never looks there. Nothing is ever
written to either.

Files are taken as editors and phones make them: UTF-8, or UTF-16 with its mark; with any ends of lines; with curly
quotes, dashes and hard spaces where TOML has straight ones. The latter are changed only in a file that is no TOML as it
stands, and in it neither in comments nor in text between straight quotes, where they may be meant.
"""

import codecs
import contextlib
import dataclasses
import logging
import os
import re
from pathlib import Path
from typing import Any

from piapp import config, toml
from piapp.config import Config, ServerConfig
from piapp.errors import ConfigError
from piapp.system import storage

log = logging.getLogger(__name__)

SEARCHED = (Path("config.toml"), Path("/etc/piapp/config.toml"))
BOOT = (Path("/boot/firmware"), Path("/boot"))  # the first since the Raspberry Pi OS of 2023
ON_BOOT = ("piapp.toml", "piapp.toml.txt")  # the latter: as Windows has it, where it hides what follows the last dot
LARGEST = 64 << 10  # bytes: what is larger is something else
LONGEST = 300  # characters of a sentence

_TYPED = re.compile("[“”„‟″‘’‚‛′‐‑‒–—−\u00a0\u202f]")  # by word processors and phones
_TOKEN = re.compile(
    rf"""
    (?P<kept> \#[^\n]*+ | {toml.MULTI_LINE} | {toml.STRING} )
    | ["“”„‟″] (?P<text> [^"“”„‟″\n]*+ ) ["“”„‟″]
    | ['‘’‚‛′] (?P<literal> [^'‘’‚‛′\n]*+ ) ['‘’‚‛′]
    | (?P<dash> [‐‑‒–—−] ) | (?P<space> [\u00a0\u202f] )
    """,
    re.VERBOSE,
)


def find(path: Path | None) -> Path | None:
    """The main file: the one asked for, else the first of SEARCHED that is there."""
    return path or next((file for file in SEARCHED if os.path.exists(file) and not os.path.isdir(file)), None)


def on_boot(main: Path | None) -> Path | None:
    """The file to be laid over the main one, if there is one. Raises ConfigError."""
    if main and Path(os.path.abspath(main)) != SEARCHED[-1]:
        return None
    for folder in BOOT:
        try:
            names = sorted(name for name in os.listdir(folder) if name.lower() in ON_BOOT)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            log.info("%s cannot be looked into for a %s", folder, ON_BOOT[0])
            continue
        except OSError as error:
            raise ConfigError(f"{folder} cannot be read: {error.strerror}") from error
        if len(names) > 1:
            raise ConfigError(f"{folder}: there are {' and '.join(names)}: remove all but one of them")
        if names:
            return folder / names[0]
    return None


def load(path: Path | None = None) -> Config:
    """Read the settings; the defaults where there is no file. Raises ConfigError."""
    main = find(path)
    over = on_boot(main)
    below = config.read(_text(main), str(main)) if main else config.check({})
    merged = config.merge(below, config.read(_text(over), str(over)) if over else None)
    return dataclasses.replace(merged, files=tuple(filter(None, (main, over))))


def rescue(path: Path | None, error: ConfigError) -> Config:
    """With what piapp tells its owner that load() has failed: the problem, no camera, and [server] as far as it can be
    made out, so that the page is where it is looked for.
    """
    main, over = find(path), None
    with contextlib.suppress(ConfigError):
        over = on_boot(main)
    files = tuple(filter(None, (main, over)))
    server: dict[str, Any] = {}
    for file in files:
        with contextlib.suppress(ConfigError):
            server |= config.rescue(_text(file))
    return Config(ServerConfig(**server), (), files, problem(error))


def sentence(error: ConfigError) -> str:
    """What it says, with its end; fit to be shown, whatever stands in the file."""
    said = config.cut(config.printable(str(error)), LONGEST)
    return said if said.endswith(("?", ".")) else f"{said}."


def problem(error: ConfigError, instead: str = "") -> str:
    """What the page says; `instead`: with what piapp runs, in a sentence."""
    said = ("piapp cannot use its settings.", sentence(error), instead, "Mend that, then start piapp again.")
    return " ".join(filter(None, said))


def _text(file: Path) -> str:
    """What is written in it, as TOML would have it. Raises ConfigError."""
    try:
        content = storage.read(file, LARGEST)
    except storage.TooLarge as error:
        raise ConfigError(f"{file}: this is larger than {LARGEST >> 10} kB, and no file of settings") from error
    except storage.NoFile as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}: put a file with settings in its place") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
        before = text[: text.index("\0")].encode() if "\0" in text else None  # as in UTF-16 without its mark
    except UnicodeDecodeError as error:
        before = content[: error.start]
    if before is not None:
        line = before.count(b"\n") + 1
        raise ConfigError(f"{file}, line {line}: this is not UTF-8 text: save it as UTF-8 in your editor")
    return straightened(re.sub(r"\r\n?", "\n", text))


def straightened(text: str) -> str:
    """The same with straight quotes, dashes and spaces, if it is no TOML without. Lines and columns stay."""
    if not _TYPED.search(text):
        return text
    with contextlib.suppress(ValueError):
        toml.loads(text)
        return text
    return _TOKEN.sub(_straight, text)


def _straight(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "text":
            return f'"{found["text"]}"'
        case "literal":
            return f"'{found['literal']}'"
        case "dash":
            return "-"
        case "space":
            return " "
    return found[0]
