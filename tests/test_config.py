"""config.toml: what is taken, what is said of the rest, and that the file we ship shows every setting."""

import dataclasses
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piapp import config, settings
from piapp.config import CameraConfig, Config, ServerConfig, Size
from piapp.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "config.toml"


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "config.toml")
    return str(caught.value)


def test_an_empty_file_means_the_defaults() -> None:
    assert config.parse("", "config.toml") == Config()
    assert config.parse("[server]\n[[camera]]\n", "config.toml") == Config()


TAKES_SECONDS = "viewer_timeout_s = {} is not allowed: it takes a number of seconds from 1 to 3600"
TAKES_ENCODER = 'is not allowed: it takes one of "auto", "hardware", "software"'
TAKES_NAME = (
    'is not allowed: it takes up to 32 letters, digits, spaces, "-", "_" and ".", beginning with a letter or digit'
)
TAKES_SIZE = 'is not allowed: it takes width x height, even numbers from 64 to 8192, as in "1280x720"'
TAKES_HOST = 'is not allowed: it takes an address of this computer, as in "192.168.1.20", or nothing'
TAKES_HOSTS = 'is not allowed: it takes a list of names without "http://" and port, as in ["cam.example.org"]'
TAKES_TEXT = "is not allowed: it takes text between quotes, up to 255 characters"
TAKES_SOURCE = 'is not allowed: it takes one of "auto", "picamera2", "usb", "images", "pattern"'


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("host = 1", f"host = 1 {TAKES_HOST}"),
        ('host = "192.168.1.256"', f'host = "192.168.1.256" {TAKES_HOST}'),
        ('host = "192.168.1..20"', f'host = "192.168.1..20" {TAKES_HOST}'),
        ('host = "fe80::g"', f'host = "fe80::g" {TAKES_HOST}'),
        ('host = "my camera"', f'host = "my camera" {TAKES_HOST}'),
        (r'host = "a\nb"', rf'host = "a\nb" {TAKES_HOST}'),
        ("port = 0", "port = 0 is not allowed: it takes a whole number from 1 to 65535"),
        ("port = 65536", "port = 65536 is not allowed: it takes a whole number from 1 to 65535"),
        ('port = "80"', 'port = "80" is not allowed: it takes a whole number from 1 to 65535'),
        ("port = 80.0", "port = 80.0 is not allowed: it takes a whole number from 1 to 65535"),
        ("port = true", "port = true is not allowed: it takes a whole number from 1 to 65535"),
        ("port = 2026-01-02", "port = 2026-01-02 is not allowed: it takes a whole number from 1 to 65535"),
        ("port = [80]", "port = [80] is not allowed: it takes a whole number from 1 to 65535"),
        (f"port = 0x{'f' * 5000}", "port = … is not allowed: it takes a whole number from 1 to 65535"),
        (f"port = {'9' * 100}", f"port = {'9' * 79}… is not allowed: it takes a whole number from 1 to 65535"),
        ('allowed_hosts = "a"', f'allowed_hosts = "a" {TAKES_HOSTS}'),
        ('allowed_hosts = ["a", 3]', f'allowed_hosts = ["a", 3] {TAKES_HOSTS}'),
        ('allowed_hosts = ["http://a"]', f'allowed_hosts = ["http://a"] {TAKES_HOSTS}'),
        ('allowed_hosts = ["."]', f'allowed_hosts = ["."] {TAKES_HOSTS}'),
        ("max_viewers = 0", "max_viewers = 0 is not allowed: it takes a whole number from 1 to 10000"),
        ("viewer_timeout_s = 0.5", TAKES_SECONDS.format("0.5")),
        ("viewer_timeout_s = nan", TAKES_SECONDS.format("nan")),
        ("viewer_timeout_s = inf", TAKES_SECONDS.format("inf")),
        ("viewer_timeout_s = false", TAKES_SECONDS.format("false")),
        ("prot = 80", "prot is not a setting. Did you mean port?"),
        ("Host = 80", "Host is not a setting. Did you mean host?"),
        ('"port " = 80', '"port " is not a setting. Did you mean port?'),
        ("x = 1", "x is not a setting. There are: host, port, announce, allowed_hosts, max_viewers, viewer_timeout_s"),
    ],
)
def test_a_wrong_server_setting(setting: str, says: str) -> None:
    assert error_of(f"# settings\n[server]\n\n{setting}\n") == f"config.toml, line 4: {says}"


@pytest.mark.parametrize(
    "setting",
    [f"port = {'{a=' * 50}1{'}' * 50}", f"port = {{{'a.' * 19}a = 1}}", f"{'x' * 9999} = 1", f"'{'ü' * 9999}' = 1"],
)
def test_what_is_wrong_is_shown_in_a_short_line(setting: str) -> None:
    error = error_of(f"[server]\n{setting}")
    assert "…" in error and len(error) < 300 and error.isprintable()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('name = ""', f'name = "" {TAKES_NAME}'),
        ('name = " a"', f'name = " a" {TAKES_NAME}'),
        ('name = "a/b"', f'name = "a/b" {TAKES_NAME}'),
        ('name = "-a"', f'name = "-a" {TAKES_NAME}'),
        (f'name = "{"a" * 33}"', f'name = "{"a" * 33}" {TAKES_NAME}'),
        ("name = 7", f"name = 7 {TAKES_NAME}"),
        ('source = "webcam"', f'source = "webcam" {TAKES_SOURCE}'),
        ('source = ["usb"]', f'source = ["usb"] {TAKES_SOURCE}'),
        ('encoder = "libav"', f'encoder = "libav" {TAKES_ENCODER}'),
        ("encoder = true", f"encoder = true {TAKES_ENCODER}"),
        ('encoder = ""', f'encoder = "" {TAKES_ENCODER}'),
        ("tuning = 1", f"tuning = 1 {TAKES_TEXT}"),
        ('tunning = "x"', "tunning is not a setting. Did you mean tuning?"),
        ("device = 0", f"device = 0 {TAKES_TEXT}"),
        ('resolution = "1281x720"', f'resolution = "1281x720" {TAKES_SIZE}'),
        ('resolution = "62x720"', f'resolution = "62x720" {TAKES_SIZE}'),
        ('resolution = "720p"', f'resolution = "720p" {TAKES_SIZE}'),
        ("resolution = [1280, 720]", f"resolution = [1280, 720] {TAKES_SIZE}"),
        ("framerate = 0", "framerate = 0 is not allowed: it takes a whole number from 1 to 120 pictures per second"),
        ("quality = 101", "quality = 101 is not allowed: it takes a whole number from 1 to 100"),
        ('hflip = "yes"', 'hflip = "yes" is not allowed: it takes true or false'),
        ("vflip = 1", "vflip = 1 is not allowed: it takes true or false"),
        ("rotation = 45", "rotation = 45 is not allowed: it takes one of 0, 90, 180, 270"),
        ("rotation = 90.0", "rotation = 90.0 is not allowed: it takes one of 0, 90, 180, 270"),
        ("rotation = false", "rotation = false is not allowed: it takes one of 0, 90, 180, 270"),
        ("idle_stop_s = -1", "idle_stop_s = -1 is not allowed: it takes a number of seconds from 0 to 86400"),
        ("frame_rate = 5", "frame_rate is not a setting. Did you mean framerate?"),
    ],
)
def test_a_wrong_camera_setting(setting: str, says: str) -> None:
    assert error_of(f"[[camera]]\nquality = 70\n[[camera]]\n{setting}\n") == f"config.toml, line 4: {says}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\nserver = 3", "line 2: server is a section: write [server] on a line of its own"),
        ("\n[[server]]", "line 2: server is a section: write [server] on a line of its own"),
        ("\n[camera]", "line 2: camera is a list of sections: write [[camera]], with two brackets"),
        ("\n[camera.door]", "line 2: camera is a list of sections: write [[camera]], with two brackets"),
        ("\ncamera = []", "line 2: camera is a list of sections: write [[camera]], with two brackets"),
        ("\ncamera = [1]", "line 2: camera is a list of sections: write [[camera]], with two brackets"),
        ("[server]\n[[cameras]]", "line 2: cameras is not a section. Did you mean camera?"),
        ("[server]\n[Server]", "line 2: Server is not a section. Did you mean server?"),
        ("[server]\n[motion]", "line 2: motion is not a section. There are: server, camera"),
    ],
)
def test_a_wrong_section(text: str, says: str) -> None:
    assert error_of(text) == f"config.toml, {says}"


@pytest.mark.parametrize("text", ["[server", "[server]\nhost = home", "[[camera]]\nname = “door”"])
def test_what_is_not_toml(text: str) -> None:
    assert re.fullmatch(r'config\.toml.*: .+\. Text stands between quotes, as in name = "door"', error_of(text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"x = {'[' * 9999}", ": Brackets are nested too deeply"),
        (f"port = {'9' * 5000}", ": A number has too many digits"),
        (f"\n[{'a.' * 5000}a]", ", line 2: A key has more than 20 parts (column 2)"),
        (f"x = {{ {'a.' * 5000}a = 1 }}", ", line 1: A key has more than 20 parts (column 7)"),
    ],
)
def test_what_is_not_sensible(text: str, says: str) -> None:
    assert error_of(text) == f"config.toml{says}. Write each setting as name = value, below its section"


def test_the_line_that_is_not_toml() -> None:
    assert error_of("[server]\n\nhost = home\n").startswith("config.toml, line 3: Invalid value (column 8). Text")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[[camera]]\ndevice = """\\\nquality = 1 \\\n[[camera]]"""\nquality = 0',
            5,
        ),  # looks like one, and is text
        ("[server]\nallowed_hosts = [\n  'a',\n  3,\n]\n", 2),
        ("[server]\nhost = ''  # a\u2028b\x85c\nport = 0", 3),  # what only Python calls ends of lines
        ("server.port = 0", 1),
        ("\n[ 'server' ]\n'port' = 0", 3),
        ('[server]\n"host" = ""\n"p\\u006Frt" = 0', 3),
        ("[server]\nport = 1\n[[camera]]\n[camera.lens]\nf = 2", 4),
        ("server = {port = 0}", 1),
    ],
)
def test_the_line_is_right_however_it_is_written(text: str, line: int) -> None:
    assert error_of(text).startswith(f"config.toml, line {line}: ")


@pytest.mark.parametrize("encoder", ["auto", "hardware", "software"])
def test_encoders(encoder: str) -> None:
    assert config.parse(f'[[camera]]\nencoder = "{encoder}"', "").cameras[0].encoder == encoder


def test_one_tuning_file_serves_all_cameras() -> None:
    """libcamera reads only one."""
    text = '[[camera]]\n[[camera]]\ntuning = "imx219_noir.json"\n[[camera]]\ntuning = "{}"\n'
    assert [camera.tuning for camera in config.parse(text.format("imx219_noir.json"), "").cameras][1:] == [
        "imx219_noir.json"
    ] * 2
    assert error_of(text.format("/home/pi/mine.json")) == (
        "config.toml, line 5: there is one tuning file for all Pi cameras, and another camera names another"
    )


def test_cameras_have_names_of_their_own() -> None:
    cameras = config.parse('[[camera]]\n[[camera]]\n[[camera]]\nname = "door"', "").cameras
    assert [camera.name for camera in cameras] == ["camera", "camera2", "door"]
    taken = 'name = "a" is taken by another camera: each needs a name of its own'
    assert error_of('[[camera]]\nname = "a"\n[[camera]]\nquality = 1\nname = "a"') == f"config.toml, line 5: {taken}"
    taken = 'name = "camera2" is taken by another camera: each needs a name of its own'
    assert error_of('[[camera]]\nname = "camera2"\n[[camera]]\n') == f"config.toml, line 3: {taken}"


@pytest.mark.parametrize("name", ["a", "0", "Tür 2", "front-door_1.left", "a" * 32, "玄関"])
def test_a_name_that_is_allowed(name: str) -> None:
    assert config.parse(f'[[camera]]\nname = "{name}"', "").cameras[0].name == name


def test_options_lie_over_the_file() -> None:
    before = config.parse('[server]\nport = 81\n[[camera]]\nsource = "usb"\n[[camera]]\n', "")
    options = {"host": "127.0.0.1", "port": None, "source": "images", "device": "pictures", "log_level": "info"}
    after = config.override(before, options)
    assert after.server == ServerConfig(host="127.0.0.1", port=81)
    assert after.cameras == (CameraConfig(source="images", device="pictures"), CameraConfig(name="camera2"))
    assert config.override(before, {}) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"port": 0}, "--port: port = 0 is not allowed: it takes a whole number from 1 to 65535"),
        ({"source": "webcam"}, f'--source: source = "webcam" {TAKES_SOURCE}'),
        ({"host": "a\tb"}, rf'--host: host = "a\tb" {TAKES_HOST}'),
    ],
)
def test_a_wrong_option(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.override(Config(), options)
    assert str(caught.value) == says


# anything that TOML can say
scalars = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.datetimes()
    | st.dates()
    | st.times()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
keys = st.sampled_from([key for table in config.TABLES.values() for key in config.rules(table)]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)


def quoted(text: str) -> str:
    """A TOML string that says exactly this."""
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text) + '"'


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Size):
        return quoted(str(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(value)


def outcome(text: str) -> str:
    """The error's text, "" if there is none."""
    try:
        config.parse(text, "f.toml")
    except ConfigError as error:
        return str(error)
    return ""


@given(st.text() | st.text("[]server camera=\"'\n\r\t#.{},0159xport"))
def test_no_text_brings_another_error_than_config_error(text: str) -> None:
    outcome(text)


@given(table=st.sampled_from(["[server]", "[[camera]]"]), key=keys, value=values, above=st.integers(0, 3))
def test_a_refused_value_is_named_with_its_line(table: str, key: str, value: Any, above: int) -> None:
    if error := outcome("# above\n" * above + f"{table}\n\n{quoted(key)} = {toml(value)}\n\n# below\n"):
        assert error.startswith(f"f.toml, line {above + 3}: ") and len(error.splitlines()) == 1
        assert "is not allowed: it takes" in error or "is not a setting. " in error


hosts = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,20}[a-z0-9]", fullmatch=True)
sides = st.integers(32, 4096).map(lambda half: 2 * half)
printable = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)
names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_ .-]{0,30}[A-Za-z0-9_.-])?", fullmatch=True)
servers = st.builds(
    ServerConfig,
    host=st.just("") | st.ip_addresses().map(str) | st.from_regex(r"[a-z-]{1,9}(\.[a-z0-9]{1,9}){0,2}", fullmatch=True),
    port=st.integers(1, 65535),
    allowed_hosts=st.lists(hosts, max_size=4).map(tuple),
    max_viewers=st.integers(1, 10000),
    viewer_timeout_s=st.floats(1, 3600),
)
cameras = st.builds(
    CameraConfig,
    name=names,
    source=st.sampled_from(["auto", "picamera2", "usb", "images", "pattern"]),
    device=printable,
    resolution=st.builds(Size, sides, sides),
    framerate=st.integers(1, 120),
    quality=st.integers(1, 100),
    hflip=st.booleans(),
    vflip=st.booleans(),
    rotation=st.sampled_from([0, 90, 180, 270]),
    encoder=st.sampled_from(["auto", "hardware", "software"]),
    idle_stop_s=st.floats(0, 86400),
)


@given(servers, st.lists(cameras, min_size=1, max_size=3, unique_by=lambda camera: camera.name))
def test_what_is_written_is_what_is_read(server: ServerConfig, cameras: list[CameraConfig]) -> None:
    text = ""
    for header, table in [("[server]", server), *(("[[camera]]", camera) for camera in cameras)]:
        text += header + "\n"
        for key, value in vars(table).items():
            text += f"{key} = {toml(value)}\n"
    assert config.parse(text, "") == Config(server, tuple(cameras))
    assert config.rescue(text) == config.read(text, "").server


def test_the_number_of_cameras_is_bounded() -> None:
    assert len(config.parse("[[camera]]\n" * 100, "").cameras) == 100
    too_many = "there are 101 cameras, and piapp takes up to 100: remove some"
    assert error_of("[[camera]]\n" * 101) == f"config.toml, line 101: {too_many}"
    main, over = (
        config.read("[[camera]]\n" * 60, "a"),
        config.read("".join(f'[[camera]]\nname = "{i}"\n' for i in range(41)), "b"),
    )
    with pytest.raises(ConfigError, match=f"^b, line 81: {too_many}$"):
        config.merge(main, over)


def test_the_shipped_file_shows_every_setting_at_its_default() -> None:
    raw = tomllib.loads(SHIPPED.read_text())
    assert list(raw) == list(config.TABLES)
    assert len(raw["camera"]) == 1
    for name, shown in (("server", raw["server"]), ("camera", raw["camera"][0])):
        assert list(shown) == list(config.rules(config.TABLES[name])), f"the settings of {name}, in their order"
    assert dataclasses.replace(settings.load(SHIPPED), files=()) == Config()


def test_the_shipped_file_has_a_comment_above_every_setting() -> None:
    lines = SHIPPED.read_text().splitlines()
    for above, line in zip(lines, lines[1:], strict=False):
        if re.match(r"\w+ =|\[\[camera", line) and not above.startswith("["):
            # hflip and vflip share theirs
            assert above.startswith("# ") or (above, line) == ("hflip = false", "vflip = false"), line
            assert not re.match(r"# *\w+ = ", above), f"commented out: {above}"
