"""The files of the settings: which are read and how, what lies over what, what is saved of broken ones."""

import dataclasses
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from card import Card
from hypothesis import given
from hypothesis import strategies as st

from piapp import config, settings
from piapp.config import CameraConfig, Config, ServerConfig, Size
from piapp.errors import ConfigError


def error_of(path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        settings.load(path)
    return str(caught.value)


# --- which files ---


def test_no_file_means_the_defaults(card: Card) -> None:
    assert settings.load() == Config() and Config().files == ()


def test_the_first_file_that_is_there_is_read(card: Card, tmp_path: Path) -> None:
    card.here.mkdir()  # a folder is no file
    card.write("[server]\nport = 2")
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 3")
    assert (settings.load().server.port, settings.load().files) == (2, (card.main,))
    assert settings.load(other).server.port == 3


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert error_of(tmp_path / "missing.toml").endswith("missing.toml cannot be read: No such file or directory")
    assert error_of(tmp_path).endswith("cannot be read: Is a directory")


def test_the_boot_partition_lies_over_the_file_in_etc(card: Card) -> None:
    card.write("[server]\nport = 81\nmax_viewers = 3\n", "[server]\nport = 82\n")
    over = card.firmware / "piapp.toml"
    wanted = Config(ServerConfig(port=82, max_viewers=3), files=(card.main, over))
    assert settings.load() == settings.load(card.main) == wanted
    card.main.unlink()
    assert settings.load() == Config(ServerConfig(port=82), files=(over,))


def test_only_over_that_one(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs from a folder does not look at the boot partition at all."""
    card.write("", "[server]\nport = 82\n")
    card.here.write_text("[server]\nport = 81\n")
    other = tmp_path / "other.toml"
    other.write_text("")
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("it looks"))
    assert settings.load().server.port == 81
    assert settings.load(other).server.port == 8080
    rescued = settings.rescue(other, ConfigError("x"))
    assert rescued.files == (other,)


@pytest.mark.parametrize("name", ["piapp.toml", "PIAPP.TOML", "piapp.toml.txt", "Piapp.toml.TXT"])
def test_its_names(card: Card, name: str) -> None:
    card.write("", "[server]\nport = 82\n", name)
    (card.firmware / "._piapp.toml").write_bytes(b"\0\5\x16\7 what a Mac leaves beside it")
    (card.firmware / "config.txt").write_text("dtparam=audio=on\n")
    assert settings.load().files == (card.main, card.firmware / name)


@pytest.mark.parametrize("name", ["._piapp.toml", "piapp.toml.bak", "config.toml", "xpiapp.toml"])
def test_other_names(card: Card, name: str) -> None:
    card.write("", "port = 82\n", name)
    assert settings.load().files == (card.main,)


def test_two_of_them_are_one_too_many(card: Card) -> None:
    card.write("", "")
    card.write("", "", "piapp.toml.txt")
    assert error_of() == f"{card.firmware}: there are piapp.toml and piapp.toml.txt: remove all but one of them"


def test_where_an_older_system_has_it(card: Card) -> None:
    (card.boot / "piapp.toml").write_text("[server]\nport = 83\n")
    assert settings.load().server.port == 83
    card.write("", "[server]\nport = 82\n")  # the newer place goes first
    assert settings.load().server.port == 82
    (card.firmware / "piapp.toml").unlink()
    card.firmware.rmdir()
    assert settings.load().server.port == 83


def test_a_boot_partition_that_cannot_be_read(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    card.write("[server]\nport = 81\n", "[server]\nport = 82\n")

    def fail_with(number: int) -> Callable[[object], list[str]]:
        def listdir(_: object) -> list[str]:
            raise OSError(number, os.strerror(number))

        return listdir

    monkeypatch.setattr(os, "listdir", fail_with(errno.EIO))
    assert error_of() == f"{card.firmware} cannot be read: Input/output error"
    monkeypatch.setattr(os, "listdir", fail_with(errno.EACCES))  # as some computers have /boot, which are no Pi
    assert settings.load().server.port == 81


def test_nothing_is_written_there(card: Card) -> None:
    card.write("[server]\nport = 81\n", "[server]\r\nport = 82\r\n")
    file = card.firmware / "piapp.toml"
    before = os.stat(card.firmware).st_mtime_ns, os.stat(file).st_mtime_ns, file.read_bytes()
    settings.load()
    assert before == (os.stat(card.firmware).st_mtime_ns, os.stat(file).st_mtime_ns, file.read_bytes())
    assert os.listdir(card.firmware) == ["piapp.toml"]


# --- what lies over what ---

DOOR = '[[camera]]\nname = "door"\nquality = 70\n'
YARD = '[[camera]]\nname = "yard"\nframerate = 5\n'
SHIPPED = '[[camera]]\nname = "camera"\nsource = "auto"\n'


@pytest.mark.parametrize(
    ("main", "over", "cameras"),
    [
        (DOOR + YARD, "", [("door", 70, 30), ("yard", 80, 5)]),
        (DOOR + YARD, '[[camera]]\nname = "yard"\nquality = 60\n', [("door", 70, 30), ("yard", 60, 5)]),
        (DOOR + YARD, "[[camera]]\nquality = 60\n", [("door", 60, 30), ("yard", 80, 5)]),
        (DOOR + YARD, "[[camera]]\n[[camera]]\nquality = 60\n", [("door", 70, 30), ("yard", 60, 5)]),
        (DOOR, '[[camera]]\nname = "attic"\n', [("door", 70, 30), ("attic", 80, 30)]),
        (DOOR, "[[camera]]\n[[camera]]\nquality = 60\n", [("door", 70, 30), ("camera2", 60, 30)]),
        ("", "[[camera]]\nquality = 60\n", [("camera", 60, 30)]),
        ("", '[[camera]]\nname = "attic"\nquality = 60\n', [("attic", 60, 30)]),
        (SHIPPED, '[[camera]]\nname = "attic"\n', [("attic", 80, 30)]),
        (SHIPPED, '[[camera]]\nname = "attic"\n[[camera]]\n', [("attic", 80, 30), ("camera2", 80, 30)]),
        (SHIPPED + "framerate = 5\n", '[[camera]]\nname = "attic"\n', [("camera", 80, 5), ("attic", 80, 30)]),
        (SHIPPED + "framerate = 5\n", '[[camera]]\nname = "camera"\nquality = 60\n', [("camera", 60, 5)]),
        ('[[camera]]\nname = "Tür"\n', '[[camera]]\nname = "Tu\u0308r"\nquality = 60\n', [("Tür", 60, 30)]),
    ],
)
def test_cameras(card: Card, main: str, over: str, cameras: list[tuple[str, int, int]]) -> None:
    card.write(main, over)
    found = settings.load().cameras
    assert [(camera.name, camera.quality, camera.framerate) for camera in found] == cameras


@pytest.mark.parametrize(
    ("main", "over", "says"),
    [
        (DOOR, "\n[server]\nport = 0\n", "piapp.toml, line 3: port = 0 is not allowed: it takes a whole number from"),
        (DOOR, "\nport = 80\n", "piapp.toml, line 2: port is not a section. There are: server, camera"),
        (DOOR + "framerat = 1\n", "", "config.toml, line 4: framerat is not a setting. Did you mean framerate?"),
        (DOOR, "[[camera]]\n" + DOOR, 'piapp.toml, line 2: the camera "door" has a section already: write all of it'),
        (
            DOOR + 'tuning = "a.json"\n' + YARD + 'tuning = "a.json"\n',
            '[[camera]]\n[[camera]]\ntuning = "b.json"\n',
            "piapp.toml, line 3: there is one tuning file for all Pi cameras",
        ),
        (
            DOOR + YARD + 'tuning = "a.json"\n',
            '[[camera]]\ntuning = "b.json"\n',
            "config.toml, line 7: there is one tuning file for all Pi cameras",
        ),
    ],
)
def test_a_mistake_has_its_file_and_line(card: Card, main: str, over: str, says: str) -> None:
    card.write(main, over)
    assert says in error_of()


def test_a_name_that_a_camera_without_one_has(card: Card) -> None:
    card.write('[[camera]]\nname = "camera2"\n', "[[camera]]\n[[camera]]\n")
    taken = 'name = "camera2" is taken by another camera: each needs a name of its own'
    assert error_of() == f"{card.firmware}/piapp.toml, line 2: {taken}"


@given(st.sampled_from([DOOR, YARD, SHIPPED, DOOR + YARD]))
def test_the_same_over_itself_changes_nothing(text: str) -> None:
    written = config.read(text, "")
    assert config.merge(written, written) == config.merge(written)
    assert config.merge(config.check(config.plain(config.merge(written)))) == config.merge(written)


def test_all_that_is_plain_is_read_again() -> None:
    server = ServerConfig("::1", 81, False, ("a", "b"), 3, 4.5)
    camera = CameraConfig("Tür", "usb", "/dev/video0", Size(640, 480), idle_stop_s=1e-05)
    made = Config(server, (camera, CameraConfig("x")))
    assert config.merge(config.check(config.plain(made))) == made


# --- what editors do to a file ---

TEXT = '[server]\nport = 81\n[[camera]]\nname = "Tür"\n'


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_encodings(card: Card, encoding: str, ends: str) -> None:
    def encoded(text: str) -> bytes:
        return (b"\xfe\xff" if encoding == "utf-16-be" else b"") + text.replace("\n", ends).encode(encoding)

    card.write("", encoded(TEXT))
    found = settings.load()
    assert (found.server.port, found.cameras[0].name) == (81, "Tür")
    card.main.write_bytes(encoded(TEXT))
    (card.firmware / "piapp.toml").unlink()
    assert settings.load().cameras[0].name == "Tür"
    card.main.write_bytes(encoded(TEXT.replace("81", "0")))
    assert error_of().startswith(f"{card.main}, line 2: port = 0 is not allowed")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (TEXT.encode("cp1252"), 4),
        (b"\xff\xfe\x00", 1),
        (b"\xff\xfe" + "[server]\nx".encode("utf-16-le") + b"\x00", 2),
        (b"[server]\r\n\r\n\x80", 3),
    ],
)
def test_other_encodings(card: Card, content: bytes, line: int) -> None:
    card.write("", content)
    wanted = f"{card.firmware}/piapp.toml, line {line}: this is not UTF-8 text: save it as UTF-8 in your editor"
    assert error_of() == wanted


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("name = “door”", 'name = "door"'),
        ("name = „Tür“", 'name = "Tür"'),
        ('name = "door”', 'name = "door"'),
        ('name = “door" # “so”', 'name = "door" # “so”'),
        ("name = ‘door’", "name = 'door'"),
        ("name = “Tom’s”", 'name = "Tom’s"'),
        ("allowed_hosts = [“a”, “b”]", 'allowed_hosts = ["a", "b"]'),
        ("idle_stop_s = –1", "idle_stop_s = -1"),
        ("idle_stop_s = −1 # – a dash", "idle_stop_s = -1 # – a dash"),
        ("name = “a–b” # it's", 'name = "a–b" # it\'s'),
        ("name\u00a0=\u00a0“a\u00a0b”", 'name = "a\u00a0b"'),
        ('host = "a “b” – c"\nname = “door”', 'host = "a “b” – c"\nname = "door"'),
        ("host = 'a “b” – c'\nname = “door”", "host = 'a “b” – c'\nname = \"door\""),
        ('host = """\n“a”\n"""\nname = “door”', 'host = """\n“a”\n"""\nname = "door"'),
        ('host = "a\\"“"\nname = “door”', 'host = "a\\"“"\nname = "door"'),
    ],
)
def test_what_word_processors_and_phones_write(written: str, meant: str) -> None:
    assert settings.straightened(written) == meant


@pytest.mark.parametrize(
    "text", ['name = "“door” – a\u00a0b"', "name = '‘'", "# “door” –", '"–" = 1', 'x = """a"""" # “b”']
)
def test_what_is_toml_is_left_as_it_is(text: str) -> None:
    assert settings.straightened(text) == text


@given(st.text("\"'“”‘’–#=a\\\n1[]\u00a0"))
def test_places_stay(text: str) -> None:
    straight = settings.straightened(text)
    assert [len(line) for line in straight.split("\n")] == [len(line) for line in text.split("\n")]


def test_a_mistake_beside_curly_quotes(card: Card) -> None:
    card.write("", "[[camera]]\nname = “door”\nsource = “tape”\n")
    assert error_of().startswith(f'{card.firmware}/piapp.toml, line 3: source = "tape" is not allowed: it takes one of')
    card.write("", "[[camera]]\nname = “door\n")
    assert error_of().startswith(f"{card.firmware}/piapp.toml, line 2: ")


@given(st.binary(max_size=50))
def test_no_bytes_bring_another_error_than_config_error(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.toml"
    path.write_bytes(junk)
    try:
        settings.load(path)
    except ConfigError as error:
        assert str(error).startswith(str(path))


# --- what is saved of a broken file ---

SERVER = '[server]\nhost = "::1"\nport = 81\nmax_viewers = 3\n'
KEPT = ServerConfig(host="::1", port=81, max_viewers=3)


def rescued(path: Path, text: str | bytes) -> Config:
    """What is made of a file that cannot be used."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        settings.load(path)
    made = settings.rescue(path, caught.value)
    assert made.cameras == () and str(caught.value) in made.problem
    assert re.fullmatch(
        r"piapp cannot use its settings\. .+[^.?][.?] Mend that, then start piapp again\.", made.problem
    )
    return made


@pytest.mark.parametrize(
    ("text", "server"),
    [
        (SERVER + '[[camera]]\nsource = "tape"\n', KEPT),
        (SERVER + "[[camera]]\nframerat = 5\n", KEPT),  # that one's error ends with a question
        (SERVER + "[[camera]]\nname = hall\nframerate = 5\n", KEPT),
        (SERVER + "nonsense", KEPT),
        (SERVER + "[[camera]\n" * 50, KEPT),
        (SERVER.replace("\n", "\r\n") + "x\r\n", KEPT),
        (SERVER.replace('"', "“") + "x\n", KEPT),
        ("\ufeff" + SERVER + "allowed_host = 1\n", KEPT),
        (SERVER + "allowed_hosts = 1\nviewer_timeout_s = []\n", KEPT),
        (SERVER.replace("81", "0"), ServerConfig(host="::1", max_viewers=3)),
        ("x\n[server]\nport = 81\n", ServerConfig(port=81)),
        ("[[camera]]\nname = hall\n" + SERVER, KEPT),
        ('[[camera]]\nname = "hall\n' + SERVER, KEPT),
        ('[[camera]]\nname = """hall\n' + SERVER, KEPT),
        ("[[camera]]\nname = [\n" + SERVER, KEPT),
        ("[server]\nport = [81\n" + SERVER[9:], KEPT),
        ("[server]\nannounce = yes\nport = 80\nport = 81\n", ServerConfig(port=80)),
        ("[server]\nport = 0\nport = 81\n", ServerConfig(port=81)),
        ("[server]\n[[camera]\nport = 81\n", ServerConfig()),  # who knows what this port is
        ("server.port = 81\nx", ServerConfig(port=81)),
        ("server = {port = 81, max_viewers = 0}\nx", ServerConfig(port=81)),
        ("[ 'server' ] # here\n\"p\\u006Frt\" = 81\nx", ServerConfig(port=81)),
        ("[server.port]\nx = 1\n", ServerConfig()),
        ("server = 5\n", ServerConfig()),
        ('server = "port"\n', ServerConfig()),
        ("[[server]]\nport = 81\n", ServerConfig()),
        ("camera = []\n", ServerConfig()),
        ("x = " + "[" * 3000, ServerConfig()),
        (b"\xff\xfe\x00", ServerConfig()),
    ],
)
def test_of_a_file_that_cannot_be_used_the_server_is_kept_as_far_as_it_goes(
    tmp_path: Path, text: str | bytes, server: ServerConfig
) -> None:
    made = rescued(tmp_path / "config.toml", text)
    assert (made.server, made.files) == (server, (tmp_path / "config.toml",))
    after = config.override(made, {"port": 82, "source": "usb", "device": "/dev/video0"})
    assert after == dataclasses.replace(made, server=dataclasses.replace(server, port=82))


def test_both_files_are_looked_through(card: Card) -> None:
    card.write(SERVER, "[server]\nport = 82\nmax_viewers = 0\n")
    made = settings.rescue(None, ConfigError("x"))
    assert made.server == ServerConfig(host="::1", port=82, max_viewers=3)
    assert made.files == (card.main, card.firmware / "piapp.toml")
    card.write(SERVER, "", "piapp.toml.txt")
    assert settings.rescue(None, ConfigError("x")).files == (card.main,)


def test_a_file_that_is_gone_meanwhile_is_rescued(tmp_path: Path) -> None:
    made = settings.rescue(tmp_path / "config.toml", ConfigError("config.toml, line 1: port = 0 is not allowed"))
    assert made.server == ServerConfig() and "port = 0" in made.problem


@given(st.text("[]server camera=\"'\n\r\t#.{},0159xport“"), st.integers(0, 60))
def test_whatever_is_in_a_file_it_is_rescued(tmp_path_factory: pytest.TempPathFactory, text: str, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "rescued.toml"
    path.write_bytes((SERVER[:cut] + text).encode())
    try:
        settings.load(path)
    except ConfigError as error:
        made = settings.rescue(path, error)
        assert made.problem and isinstance(made.server.host, str) and 1 <= made.server.port <= 65535
