"""config.toml: what may stand in it, what it means, and what is said when it is wrong.

The frozen dataclasses below are the schema and the defaults. Every field carries a Rule: what values it takes, in
words for the person who wrote the file, and how a TOML value becomes the field's. The command line's overrides go
through the same rules. Nothing here touches a device or the network.
"""

import contextlib
import dataclasses
import difflib
import functools
import json
import os
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from piapp.errors import ConfigError

SEARCHED = (Path("config.toml"), Path("/etc/piapp/config.toml"))


class Size(NamedTuple):
    """A picture's width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Rule(NamedTuple):
    """What a setting takes. `parse` raises ValueError on anything else; it must not raise another error."""

    allowed: str
    parse: Callable[[object], Any]


def _whole(low: int, high: int, unit: str = "") -> Rule:
    def parse(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return Rule(f"a whole number from {low} to {high}{unit}", parse)


def _seconds(low: float, high: float) -> Rule:
    def parse(value: object) -> float:
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
            raise ValueError
        return float(value)  # type: ignore[arg-type]

    return Rule(f"a number of seconds from {low:g} to {high:g}", parse)


def _text() -> Rule:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError
        return value.strip()

    return Rule("text between quotes", parse)


def _name() -> Rule:
    def parse(value: object) -> str:
        name = unicodedata.normalize("NFC", value) if isinstance(value, str) else ""  # a Mac writes ü as u and ¨
        if not re.fullmatch(r"[^\W_][\w .-]{0,31}", name) or name != name.strip():
            raise ValueError
        return name

    return Rule('up to 32 letters, digits, spaces, "-", "_" and ".", beginning with a letter or digit', parse)


def _one_of(*choices: str | int) -> Rule:
    def parse(value: object) -> str | int:
        if type(value) not in (str, int) or value not in choices:
            raise ValueError
        return value

    return Rule("one of " + ", ".join(f'"{c}"' if isinstance(c, str) else str(c) for c in choices), parse)


def _yes_no() -> Rule:
    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Rule("true or false", parse)


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


def _host_names() -> Rule:
    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(
            isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}", name) for name in value
        ):
            raise ValueError
        return tuple(name.lower().rstrip(".") for name in value)

    return Rule('a list of names without "http://" and port, as in ["cam.example.org"]', parse)


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class ServerConfig:
    """[server]: where viewers connect, and how many may."""

    host: str = _setting("", _text())  # empty: all addresses, IPv4 and IPv6
    port: int = _setting(8080, _whole(1, 65535))
    allowed_hosts: tuple[str, ...] = _setting((), _host_names())
    max_viewers: int = _setting(100, _whole(1, 10000))
    viewer_timeout_s: float = _setting(10.0, _seconds(1, 3600))


@dataclass(frozen=True)
class CameraConfig:
    """One [[camera]]."""

    name: str = _setting("camera", _name())
    source: str = _setting("auto", _one_of("auto", "picamera2", "usb", "images", "pattern"))
    device: str = _setting("", _text())
    resolution: Size = _setting(Size(1280, 720), _resolution())
    framerate: int = _setting(30, _whole(1, 120, " pictures per second"))
    quality: int = _setting(80, _whole(1, 100))
    hflip: bool = _setting(False, _yes_no())
    vflip: bool = _setting(False, _yes_no())
    rotation: int = _setting(0, _one_of(0, 90, 180, 270))
    encoder: str = _setting("auto", _one_of("auto", "hardware", "software"))
    tuning: str = _setting("", _text())
    idle_stop_s: float = _setting(10.0, _seconds(0, 86400))


@dataclass(frozen=True)
class Config:
    """All settings. There is at least one camera, unless there is a problem; their names differ."""

    server: ServerConfig = ServerConfig()
    cameras: tuple[CameraConfig, ...] = (CameraConfig(),)
    path: Path | None = None  # None: no file was found, these are the defaults
    problem: str = ""  # why the file cannot be used, in sentences for who wrote it


TABLES: dict[str, type[ServerConfig] | type[CameraConfig]] = {"server": ServerConfig, "camera": CameraConfig}


def rules(table: type) -> dict[str, Rule]:
    """The settings of one table: key → rule, in the file's order."""
    return {f.name: f.metadata["rule"] for f in dataclasses.fields(table)}


def find(path: Path | None) -> Path | None:
    """The file to read: the one asked for, else the first of SEARCHED that is there."""
    return path or next((candidate for candidate in SEARCHED if os.path.isfile(candidate)), None)


def load(path: Path | None = None) -> Config:
    """Read the settings; the defaults where there is no file. Raises ConfigError."""
    path = find(path)
    if path is None:
        return Config()
    return dataclasses.replace(parse(_read(path), str(path)), path=path)


def rescue(path: Path, error: ConfigError) -> Config:
    """With what piapp tells its owner that load() has failed: the problem, no camera, and [server] as far as it can be
    made out, so that the page is where it is looked for.
    """
    server: dict[str, Any] = {}
    with contextlib.suppress(ConfigError):
        lines = _read(path).splitlines()
        for count in range(len(lines), 0, -1):  # what stands before a slip of the pen is most likely meant so
            with contextlib.suppress(ValueError, RecursionError):
                server = tomllib.loads("\n".join(lines[:count])).get("server", {})
                break
    usable = {}
    for key, rule in rules(ServerConfig).items():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            usable[key] = rule.parse(server[key])
    what = str(error) if str(error).endswith("?") else f"{error}."
    problem = f"piapp cannot use its settings. {what} Mend that, then start piapp again."
    return Config(ServerConfig(**usable), (), path, problem)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: save it as UTF-8 in your editor") from error


def parse(text: str, file: str) -> Config:
    """Settings from the text of a config.toml; `file` is its name for errors. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; a number of 5000 digits; 1000 nested brackets
        raise ConfigError(f'{file}: {error}. Text stands between quotes, as in name = "door"') from error
    for key in raw:
        if key not in TABLES:
            raise ConfigError(f"{_place(file, text, key)}: {_unknown(key, TABLES, 'a section')}")
    server, cameras = raw.get("server", {}), raw.get("camera", [{}])
    if not isinstance(server, dict):
        raise ConfigError(f"{_place(file, text, 'server')}: server is a section: write [server] on a line of its own")
    if not isinstance(cameras, list) or not cameras or not all(isinstance(camera, dict) for camera in cameras):
        raise ConfigError(
            f"{_place(file, text, 'camera')}: camera is a list of sections: write [[camera]], with two brackets"
        )
    config = Config(
        server=ServerConfig(**_values("server", server, functools.partial(_place, file, text, "server"))),
        cameras=tuple(
            _camera(camera, i, functools.partial(_place, file, text, "camera", i)) for i, camera in enumerate(cameras)
        ),
    )
    names = [camera.name for camera in config.cameras]
    for i, name in enumerate(names):
        if name in names[:i]:
            where = _place(file, text, "camera", i, *(["name"] if "name" in cameras[i] else []))
            raise ConfigError(f'{where}: name = "{name}" is taken by another camera: each needs a name of its own')
    tunings = [(i, camera.tuning) for i, camera in enumerate(config.cameras) if camera.tuning]
    for i, tuning in tunings:
        if tuning != tunings[0][1]:
            where = _place(file, text, "camera", i, "tuning")
            raise ConfigError(f"{where}: there is one tuning file for all Pi cameras, and another camera names another")
    return config


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


def _camera(raw: Mapping[str, object], index: int, place: Callable[[str], str]) -> CameraConfig:
    values = {"name": f"camera{index + 1}"} if index else {}
    return CameraConfig(**{**values, **_values("camera", raw, place)})


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
