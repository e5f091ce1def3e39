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
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from piapp import rules as takes
from piapp.errors import ConfigError
from piapp.rules import Rule


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


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class ServerConfig:
    """[server]: where viewers connect, and how many may."""

    host: str = _setting("", takes.host())  # empty: all addresses, IPv4 and IPv6
    port: int = _setting(8080, takes.whole(1, 65535))
    announce: bool = _setting(True, takes.yes_no())  # as a service of DNS-SD
    allowed_hosts: tuple[str, ...] = _setting((), takes.host_names())
    max_viewers: int = _setting(100, takes.whole(1, 10000))
    viewer_timeout_s: float = _setting(10.0, takes.seconds(1, 3600))


@dataclass(frozen=True)
class CameraConfig:
    """One [[camera]]."""

    name: str = _setting("camera", takes.name())
    source: str = _setting("auto", takes.one_of("auto", "picamera2", "usb", "images", "pattern"))
    device: str = _setting("", takes.text())
    resolution: Size = _setting(Size(1280, 720), _resolution())
    framerate: int = _setting(30, takes.whole(1, 120, " pictures per second"))
    quality: int = _setting(80, takes.whole(1, 100))
    hflip: bool = _setting(False, takes.yes_no())
    vflip: bool = _setting(False, takes.yes_no())
    rotation: int = _setting(0, takes.one_of(0, 90, 180, 270))
    encoder: str = _setting("auto", takes.one_of("auto", "hardware", "software"))
    tuning: str = _setting("", takes.text())
    idle_stop_s: float = _setting(10.0, takes.seconds(0, 86400))


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


class Section(NamedTuple):
    """One [[camera]] of a file."""

    values: dict[str, Any]  # what it says, checked
    place: Callable[..., str]  # file and line, of it or of one of its keys


class Written(NamedTuple):
    """What a file says, each value checked by itself."""

    server: dict[str, Any]
    cameras: list[Section]


def parse(text: str, file: str) -> Config:
    """Settings from the text of a config.toml; `file` is its name for errors. Raises ConfigError."""
    return merge(read(text, file))


def read(text: str, file: str) -> Written:
    """What this text says. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; a number of 5000 digits; 1000 nested brackets
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
    sections = []
    for i, camera in enumerate(cameras if "camera" in raw else ()):
        here = functools.partial(place, "camera", i)
        sections.append(Section(_values("camera", camera, here), here))
    return Written(_values("server", server, functools.partial(place, "server")), sections)


def merge(main: Written, over: Written | None = None) -> Config:
    """Settings, of which those of `over` win: see the head of this file. Raises ConfigError."""
    cameras = [[section] for section in main.cameras or [Section({}, lambda *_: "")]]
    if over and over.cameras:
        if [_camera(sections, i) for i, sections in enumerate(cameras)] == [CameraConfig()]:
            cameras = []
        cameras = _lay_over(cameras, over.cameras)
    config = Config(
        server=ServerConfig(**main.server | (over.server if over else {})),
        cameras=tuple(_camera(sections, i) for i, sections in enumerate(cameras)),
    )
    _check_together(config.cameras, cameras)
    return config


def plain(config: Config) -> dict[str, Any]:
    """The settings as JSON can have them, and as check() takes them."""
    return {"server": _plain(config.server), "camera": [_plain(camera) for camera in config.cameras]}


def usable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What can be used of a [server] that may hold anything."""
    values = {}
    for key, rule in rules(ServerConfig).items():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            values[key] = rule.parse(raw[key])
    return values


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
        server=dataclasses.replace(config.server, **_values("server", server, place)),
        cameras=tuple(
            other if i else dataclasses.replace(other, **_values("camera", camera, place))
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


def _plain(table: ServerConfig | CameraConfig) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, Size) else list(value) if isinstance(value, tuple) else value
        for key, value in vars(table).items()
    }


def _values(table: str, raw: Mapping[str, object], place: Callable[[str], str]) -> dict[str, Any]:
    """Check one table against its rules; `place` says where a key stands."""
    known = rules(TABLES[table])
    values = {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{place(key)}: {_unknown(key, known, 'a setting')}")
        try:
            values[key] = known[key].parse(value)
        except ValueError:
            raise ConfigError(
                f"{place(key)}: {key} = {_as_toml(value)} is not allowed: it takes {known[key].allowed}"
            ) from None
    return values


def _unknown(key: str, known: Mapping[str, object], what: str) -> str:
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
    shown = key if re.fullmatch(r"[\w-]+", key) else _as_toml(key)
    if near:
        return f"{shown} is not {what}. Did you mean {near[0]}?"
    return f"{shown} is not {what}. There are: {', '.join(known)}"


def _as_toml(value: object) -> str:
    """As it may stand in the file, in one line and cut to a length that can be read."""
    try:
        if not isinstance(value, bool | str | list | dict):
            shown = str(value)
        elif not (shown := json.dumps(value, ensure_ascii=False, default=str)).isprintable():
            shown = json.dumps(value, default=str)
    except ValueError:  # a number of 5000 digits, written in hexadecimal
        return "…"
    return shown if len(shown) <= 80 else shown[:79] + "…"


def _not_toml(file: str, text: str, error: Exception) -> str:
    """The error of tomllib, with its line in the same place as those of other errors."""
    if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error)):
        return f"{file}, line {found[2]}: {found[1]} (column {found[3]})"
    if found := re.fullmatch(r"(.*) \(at end of document\)", str(error)):
        return f"{file}, line {len(text.rstrip().splitlines())}: {found[1]}"
    return f"{file}: {error}"


def _toml_hint(error: Exception) -> str:
    if re.search("overwrite|twice", str(error)):
        return "Each section and each setting in it stands there once; only [[camera]] may be repeated"
    return 'Text stands between quotes, as in name = "door"'


def _place(file: str, text: str, *path: str | int) -> str:
    """`config.toml, line 7`: where the statement begins that brought the key or table at this path.

    tomllib does not keep lines. But wherever a statement ends, the lines up to there are TOML, and in the middle of
    one they are not: so the first such beginning of the file that has the path ends with the statement looked for.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    first = 1
    for last in range(1, len(lines) + 1):
        with contextlib.suppress(ValueError, RecursionError):
            found: Any = tomllib.loads("\n".join(lines[:last]))
            try:
                for step in path:
                    found = found[step]
            except (LookupError, TypeError):
                first = last + 1
            else:
                return f"{file}, line {first}"
    return file
