"""config.toml: what may stand in it, what it means, and what is said when it is wrong.

The frozen dataclasses below are the schema and the defaults. Every field carries a Rule: what values it takes, in
words for the person who wrote the file, and how a TOML value becomes the field's. The command line's overrides go
through the same rules. Nothing here touches a file, a device or the network: settings.py finds and reads the files.

A second file may be laid over the first, as is done with the one on a Pi's boot partition. What it says wins: [server]
setting by setting, and so each [[camera]]. Which camera of the first file a section means:

- one with a name: the camera of that name; if there is none, it is one more camera;
- one without: the camera at the same place, the first section the first one; if there is none, it is one more camera.

But where the first file has one camera and nothing is changed of it, as in the file that comes with piapp, the cameras
of the second take its place: who calls the camera "door" there has one camera, not two.
"""

import contextlib
import dataclasses
import difflib
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from piapp import rules as takes
from piapp import toml
from piapp.errors import ConfigError
from piapp.rules import Rule

MOST_CAMERAS = 100
HIDDEN = "(hidden)"  # in place of a secret value


class Size(NamedTuple):
    """A picture's width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def _resolution() -> Rule:
    def parse(value: object) -> Size:
        found = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*", value) if isinstance(value, str) else None
        if not found:
            raise ValueError
        size = Size(int(found[1]), int(found[2]))
        if not all(64 <= side <= 8192 and side % 2 == 0 for side in size):
            raise ValueError
        return size

    return Rule('width x height, even numbers from 64 to 8192, as in "1280x720"', parse)


def setting(default: Any, rule: Rule) -> Any:
    """A field of a table."""
    return field(default=default, metadata={"rule": rule}, repr=not rule.secret)


@dataclass(frozen=True)
class ServerConfig:
    """[server]: where viewers connect, and how many may."""

    host: str = setting("", takes.host())  # empty: all addresses, IPv4 and IPv6
    port: int = setting(8080, takes.whole(1, 65535))
    announce: bool = setting(True, takes.yes_no())  # as a service of DNS-SD
    allowed_hosts: tuple[str, ...] = setting((), takes.host_names())
    max_viewers: int = setting(100, takes.whole(1, 10000))
    viewer_timeout_s: float = setting(10.0, takes.seconds(1, 3600))


@dataclass(frozen=True)
class CameraConfig:
    """One [[camera]]."""

    name: str = setting("camera", takes.name())
    source: str = setting("auto", takes.one_of("auto", "picamera2", "usb", "images", "pattern"))
    device: str = setting("", takes.text())
    resolution: Size = setting(Size(1280, 720), _resolution())
    framerate: int = setting(30, takes.whole(1, 120, " pictures per second"))
    quality: int = setting(80, takes.whole(1, 100))
    hflip: bool = setting(False, takes.yes_no())
    vflip: bool = setting(False, takes.yes_no())
    rotation: int = setting(0, takes.one_of(0, 90, 180, 270))
    encoder: str = setting("auto", takes.one_of("auto", "hardware", "software"))
    tuning: str = setting("", takes.text())
    idle_stop_s: float = setting(10.0, takes.seconds(0, 86400))


@dataclass(frozen=True)
class Config:
    """All settings. There is at least one camera, unless there is a problem; their names differ."""

    server: ServerConfig = ServerConfig()
    cameras: tuple[CameraConfig, ...] = (CameraConfig(),)
    files: tuple[Path, ...] = ()  # that they were read from, each laid over the one before; none: the defaults
    problem: str = ""  # why the files cannot be used, in sentences for who wrote them


TABLES: dict[str, type[ServerConfig] | type[CameraConfig]] = {"server": ServerConfig, "camera": CameraConfig}


def rules(table: type) -> dict[str, Rule]:
    """The settings of one table: key → rule, in the file's order."""
    return {f.name: f.metadata["rule"] for f in dataclasses.fields(table)}


@dataclass(frozen=True, repr=False)  # there may be secrets in it
class Section:
    """One [[camera]] of a file."""

    values: dict[str, Any]  # what it says, checked
    place: Callable[..., str] = lambda *_: ""  # file and line, of it or of one of its keys


@dataclass(frozen=True, repr=False)
class Written:
    """What a file says, each value checked by itself."""

    server: dict[str, Any]
    cameras: list[Section]


def parse(text: str, file: str) -> Config:
    """Settings from the text of a config.toml; `file` is its name for errors. Raises ConfigError."""
    return merge(read(text, file))


def read(text: str, file: str) -> Written:
    """What this text says. Raises ConfigError."""
    try:
        raw = toml.loads(text)
    except ValueError as error:
        raise ConfigError(f"{_not_toml(file, text, error)}. {_toml_hint(error)}") from error
    return check(raw, functools.partial(_place, file, text))


def check(raw: Mapping[str, Any], place: Callable[..., str] = lambda *_: "") -> Written:
    """What was in a file, as tomllib has it; `place` says where. Raises ConfigError."""
    for key in raw:
        if key not in TABLES:
            raise ConfigError(f"{place(key)}: {_unknown(key, TABLES, 'a section')}")
    server, cameras = raw.get("server", {}), raw.get("camera", [{}])
    if not isinstance(server, dict):
        raise ConfigError(f"{place('server')}: server is a section: write [server] on a line of its own")
    if not isinstance(cameras, list) or not cameras or not all(isinstance(camera, dict) for camera in cameras):
        raise ConfigError(f"{place('camera')}: camera is a list of sections: write [[camera]], with two brackets")
    if len(cameras) > MOST_CAMERAS:
        raise ConfigError(f"{place('camera', MOST_CAMERAS)}: {_too_many(len(cameras))}")
    sections = []
    for i, camera in enumerate(cameras if "camera" in raw else ()):
        here = functools.partial(place, "camera", i)
        sections.append(Section(values(CameraConfig, camera, here), here))
    return Written(values(ServerConfig, server, functools.partial(place, "server")), sections)


def merge(main: Written, over: Written | None = None) -> Config:
    """Settings, of which those of `over` win: see the head of this file. Raises ConfigError."""
    cameras = [[section] for section in main.cameras or [Section({})]]
    if over and over.cameras:
        if [_camera(sections, i) for i, sections in enumerate(cameras)] == [CameraConfig()]:
            cameras = []
        cameras = _lay_over(cameras, over.cameras)
        if len(cameras) > MOST_CAMERAS:
            raise ConfigError(f"{cameras[MOST_CAMERAS][0].place()}: {_too_many(len(cameras))}")
    config = Config(
        server=ServerConfig(**main.server | (over.server if over else {})),
        cameras=tuple(_camera(sections, i) for i, sections in enumerate(cameras)),
    )
    _check_together(config.cameras, cameras)
    return config


def plain(config: Config, *, with_secrets: bool = False) -> dict[str, Any]:
    """The settings as JSON can have them. With the secrets, as check() takes them; else they are HIDDEN."""
    return {
        "server": plain_table(config.server, with_secrets=with_secrets),
        "camera": [plain_table(camera, with_secrets=with_secrets) for camera in config.cameras],
    }


def plain_table(table: object, *, with_secrets: bool = False) -> dict[str, Any]:
    """One table, as plain() has it. A secret that is not set is shown as it is."""
    known, default = rules(type(table)), type(table)()
    return {
        key: HIDDEN
        if known[key].secret and not with_secrets and value != getattr(default, key)
        else str(value)
        if isinstance(value, Size)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in vars(table).items()
    }


def rescue(text: str) -> dict[str, Any]:
    """What can be used of [server] in a text with mistakes, wherever they are: of each setting the first good value."""
    known = rules(ServerConfig)
    found: dict[str, Any] = {}
    for statement in toml.statements(text):
        with contextlib.suppress(ValueError):
            match statement.path:
                case ("server", str(key)) if statement.key and key in known and key not in found:
                    found[key] = known[key].parse(statement.value())
                case ("server",) if statement.key:
                    found = _usable(statement.value()) | found
    return found


def _usable(server: object) -> dict[str, Any]:
    """What can be used of `server = …`."""
    found = {}
    for key, rule in rules(ServerConfig).items():
        if isinstance(server, dict) and key in server:
            with contextlib.suppress(ValueError):
                found[key] = rule.parse(server[key])
    return found


def override(config: Config, options: Mapping[str, object]) -> Config:
    """Lay the command line's options over the settings: host and port, and source and device of the first camera.

    Options that are None are left alone. Raises ConfigError that names the option.
    """
    given = {key: value for key, value in options.items() if value is not None}

    def place(key: str) -> str:
        return f"--{key}"

    server = {key: value for key, value in given.items() if key in rules(ServerConfig)}
    camera = {key: value for key, value in given.items() if key in rules(CameraConfig)}
    return dataclasses.replace(
        config,
        server=dataclasses.replace(config.server, **values(ServerConfig, server, place)),
        cameras=tuple(
            other if i else dataclasses.replace(other, **values(CameraConfig, camera, place))
            for i, other in enumerate(config.cameras)
        ),
    )


def _lay_over(cameras: list[list[Section]], over: list[Section]) -> list[list[Section]]:
    """The sections of each camera, the strongest last."""
    names = [_camera(sections, i).name for i, sections in enumerate(cameras)]
    merged = [sections[:] for sections in cameras]
    for i, section in enumerate(over):
        name = section.values.get("name", names[i] if i < len(names) else "")
        if name not in names:
            merged.append([section])
        elif len(sections := merged[names.index(name)]) == 1:
            sections.append(section)
        else:
            raise ConfigError(f'{section.place()}: the camera "{name}" has a section already: write all of it into one')
    return merged


def _camera(sections: list[Section], index: int) -> CameraConfig:
    values: dict[str, Any] = {"name": f"camera{index + 1}"} if index else {}
    for section in sections:
        values |= section.values
    return CameraConfig(**values)


def _check_together(cameras: tuple[CameraConfig, ...], sections: list[list[Section]]) -> None:
    """What no camera can be asked for alone. Raises ConfigError."""

    def place(index: int, key: str) -> str:
        said = [section for section in sections[index] if key in section.values]
        return said[-1].place(key) if said else sections[index][-1].place()

    names = [camera.name for camera in cameras]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ConfigError(
                f'{place(i, "name")}: name = "{name}" is taken by another camera: each needs a name of its own'
            )
    tunings = [(i, camera.tuning) for i, camera in enumerate(cameras) if camera.tuning]
    for i, tuning in tunings:
        if tuning != tunings[0][1]:
            where = place(i, "tuning")
            raise ConfigError(f"{where}: there is one tuning file for all Pi cameras, and another camera names another")


def values(table: type, raw: Mapping[str, object], place: Callable[[str], str]) -> dict[str, Any]:
    """Check what stands in one table against its rules; `place` says where a key stands. Raises ConfigError."""
    known = rules(table)
    found = {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{place(key)}: {_unknown(key, known, 'a setting')}")
        rule = known[key]
        try:
            found[key] = rule.parse(value)
        except ValueError:
            what = f"the value of {key}" if rule.secret else f"{key} = {shown(value)}"
            raise ConfigError(f"{place(key)}: {what} is not allowed: it takes {rule.allowed}") from None
    return found


def shown(value: object, most: int = 80) -> str:
    """A value as it may stand in the file, in one line and cut to a length that can be read."""
    try:
        if not isinstance(value, bool | str | list | dict):
            text = str(value)
        elif not (text := json.dumps(value, ensure_ascii=False, default=str)).isprintable():
            text = json.dumps(value, default=str)
    except (ValueError, RecursionError):  # a number of 5000 digits, written in hexadecimal; tables in tables
        return "…"
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """The text in at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def printable(text: str) -> str:
    """The text with escapes for what is not meant to be seen, such as control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _too_many(cameras: int) -> str:
    return f"there are {cameras} cameras, and piapp takes up to {MOST_CAMERAS}: remove some"


def _unknown(key: str, known: Mapping[str, object], what: str) -> str:
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
    name = cut(key, 80) if re.fullmatch(r"[\w-]+", key) else shown(key)
    if near:
        return f"{name} is not {what}. Did you mean {near[0]}?"
    return f"{name} is not {what}. There are: {', '.join(known)}"


def _not_toml(file: str, text: str, error: Exception) -> str:
    """The error of tomllib, with its line in the same place as those of other errors."""
    if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL):
        return f"{file}, line {found[2]}: {cut(found[1], 120)} (column {found[3]})"
    if found := re.fullmatch(r"(.*) \(at end of document\)", str(error)):
        return f"{file}, line {text.rstrip().count(chr(10)) + 1}: {found[1]}"
    return f"{file}: {cut(str(error), 120)}"


def _toml_hint(error: Exception) -> str:
    if re.search("overwrite|twice", str(error)):
        return "Each section and each setting in it stands there once; only [[camera]] may be repeated"
    if re.search("deeply|parts|digits", str(error)):
        return "Write each setting as name = value, below its section"
    return 'Text stands between quotes, as in name = "door"'


def _place(file: str, text: str, *path: str | int) -> str:
    """`config.toml, line 7`: where the statement begins that brought the key or table at this path."""
    line = toml.line_of(text, path)
    return f"{file}, line {line}" if line else file
