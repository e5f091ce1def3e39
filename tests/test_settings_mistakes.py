"""A mistake in the settings never keeps piapp from running: the last good ones, and who is told of it."""

import datetime
import json
import logging
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import program
import pytest
from card import Card
from fakes import free_port, until
from live_wire import Page
from no_file import each_no_file
from program import LIMIT_S, Program, environment
from wire import ask

from piapp import config, last_good
from piapp.config import Config
from piapp.errors import ConfigError
from piapp.last_good import Settings

MAIN = '[server]\nmax_viewers = 7\n[[camera]]\nname = "hall"\nsource = "pattern"\nresolution = "320x240"\n'
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d"

# What may be wrong on the boot partition, and what is said behind the file's name.
MISTAKES = {
    "no TOML": ("[server]\nport 81\n", r", line 2: Expected '=' after a key .+\. Text stands between quotes, as in .+"),
    "no quotes": ("[[camera]]\nname = hall\n", r", line 2: Invalid value .+\. Text stands between quotes, as in .+"),
    "cut off": (
        '[[camera]]\nname = "ha',
        r", line 2: Unterminated string\. Text .+",
    ),
    "unknown section": ("[sever]\nport = 81\n", r", line 1: sever is not a section\. Did you mean server\?"),
    "unknown setting": ("\n[server]\nprot = 81\n", r", line 3: prot is not a setting\. Did you mean port\?"),
    "wrong value": ("[server]\nport = 0\n", r", line 2: port = 0 is not allowed: it takes a whole number from 1 .+"),
    "wrong kind": ('[[camera]]\n\nquality = "80"\n', r', line 3: quality = "80" is not allowed: it takes a whole .+'),
    "one bracket": ('[camera]\nname = "x"\n', r", line 1: camera is a list of sections: write \[\[camera\]\], .+"),
    "twice the same": (
        '[[camera]]\nname = "hall"\n[[camera]]\nname = "hall"\n',
        r', line 3: the camera "hall" has a section already: write all of it into one',
    ),
    "two tunings": (
        '[[camera]]\ntuning = "a"\n[[camera]]\ntuning = "b"\n',
        r", line 4: there is one tuning file for all Pi cameras, .+",
    ),
    "set twice": (
        "[server]\nport = 81\nport = 82\n",
        r", line 3: Cannot overwrite a value .+\. Each section and each setting in it stands there once; .+",
    ),
    "section twice": ("[server]\nport = 81\n[server]\n", r", line 3: Cannot declare .+ Each section and each .+"),
    "no mark": ("[\0s\0e\0r\0v\0e\0r\0]\0\n\0", r", line 1: this is not UTF-8 text: save it as UTF-8 in your editor"),
    "too much": ("# much\n" * 10_000, r": this is larger than 64 kB, and no file of settings"),
    "no text": ("x" * 3 + "\n" + "T\u00fcr", r", line 2: this is not UTF-8 text: save it as UTF-8 in your editor"),
}
each_mistake = pytest.mark.parametrize(("text", "says"), MISTAKES.values(), ids=MISTAKES)


def settings_of(card: Card, **options: object) -> Settings:
    return Settings(None, options, card.main.parent / "state" / "state.json")


def kept_in(card: Card) -> Path:
    return card.main.parent / "state" / "settings.json"


def started(card: Card) -> Config:
    """As piapp does, with good settings."""
    found = settings_of(card)
    config = found.start()
    assert config.problem == ""
    found.keep()
    return config


# --- in this process ---


@each_mistake
@pytest.mark.parametrize("before", [True, False], ids=["with", "without"])
def test_a_mistake_on_the_boot_partition(
    card: Card, text: str, says: str, before: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs with the last good settings, the boot partition's among them; without those, the page says it alone."""
    card.write(MAIN, "[[camera]]\nquality = 60\n")
    good = started(card) if before else None
    card.write(MAIN, text.encode("latin-1"))
    runs = settings_of(card).start()
    of_error = rf"{re.escape(str(card.over))}({says})"
    if good:
        instead = rf" It runs with the last good ones, of {DATE}\."
        assert (runs.server, runs.cameras) == (good.server, good.cameras)
        assert runs.cameras[0].quality == 60 and runs.files == (kept_in(card),)
    else:
        instead = ""
        assert runs.cameras == () and runs.server.max_viewers == 7
    assert re.fullmatch(
        rf"piapp cannot use its settings\. {of_error}\.?{instead} Mend that, then start piapp again\.", runs.problem
    ), runs.problem
    assert re.fullmatch(rf"{of_error}\.?{instead or ' It runs without any camera.'}", caplog.messages[-1])
    with pytest.raises(ConfigError) as caught:
        settings_of(card).check()
    until_then = rf" Until that is mended piapp runs with the settings of {DATE}\." if good else ""
    assert re.fullmatch(rf"{of_error}\.?{until_then}", str(caught.value))


@pytest.mark.parametrize("number", [1, 2])
def test_a_mistake_in_the_main_file(card: Card, number: int) -> None:
    card.write(MAIN, "[[camera]]\nquality = 60\n" if number == 2 else None)
    good = started(card)
    card.write(MAIN + "qality = 1\n", "[[camera]]\nquality = 61\n" if number == 2 else None)
    runs = settings_of(card).start()
    assert runs.cameras == good.cameras
    assert f"{card.main}, line 7: qality is not a setting. Did you mean quality?" in runs.problem
    card.write(MAIN, "[[camera]]\nquality = 61\n")
    assert started(card).cameras[0].quality == 61


def test_two_files_on_the_boot_partition(card: Card) -> None:
    card.write(MAIN, "")
    good = started(card)
    card.write(MAIN, "", "piapp.toml.txt")
    runs = settings_of(card).start()
    assert runs.cameras == good.cameras and "there are piapp.toml and piapp.toml.txt: remove all but" in runs.problem


def test_without_a_main_file(card: Card) -> None:
    card.over.write_text("[[camera]]\nquality = 60\n")
    good = started(card)
    card.over.write_text("[[camera]]\nquality = 0\n")
    runs = settings_of(card).start()
    assert runs.cameras == good.cameras and "piapp.toml, line 2: quality = 0" in runs.problem


def test_options_lie_over_the_last_good_settings_and_are_not_kept(card: Card) -> None:
    card.write(MAIN)
    first = settings_of(card, port=81, device="x")
    assert first.start().server.port == 81
    first.keep()
    card.write("x")
    runs = settings_of(card, host="127.0.0.1").start()
    assert (runs.server.host, runs.server.port, runs.cameras[0].device) == ("127.0.0.1", 8080, "")
    with pytest.raises(ConfigError, match="^--port: port = 0 is not allowed"):
        settings_of(card, port=0)


def test_the_last_good_settings_of_another_file_are_not_used(card: Card) -> None:
    card.write(MAIN)
    started(card)
    card.here.write_text("x")
    assert settings_of(card).start().cameras == ()


def test_a_file_that_is_named_and_not_there(card: Card) -> None:
    """Nobody has made a mistake in it: it is one in the command line."""
    with pytest.raises(ConfigError, match="missing.toml cannot be read: No such file or directory"):
        Settings(card.main.with_name("missing.toml"), {}, None).start()


def test_what_is_kept(card: Card) -> None:
    card.write(MAIN, '[server]\nallowed_hosts = ["cam.example.org"]\n')
    good = started(card)
    content = json.loads(kept_in(card).read_text())
    assert list(content) == ["saved", "main", "settings"] and content["main"] == str(card.main)
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(content["saved"])
    assert datetime.timedelta(seconds=-1) < age < datetime.timedelta(minutes=1)
    assert content["settings"] == config.plain(good)
    assert content["settings"]["camera"][0]["resolution"] == "320x240"
    assert content["settings"]["server"]["allowed_hosts"] == ["cam.example.org"]


def test_it_is_written_only_when_it_differs(card: Card) -> None:
    def written() -> tuple[int, int, bytes]:
        found = os.stat(kept_in(card))
        return found.st_ino, found.st_mtime_ns, kept_in(card).read_bytes()

    card.write(MAIN)
    started(card)
    before = written()
    started(card)
    card.main.write_text(MAIN + "# a comment\nquality = 80\n")  # the default
    started(card)
    card.main.write_text("x")
    settings_of(card).start()
    assert written() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"main": null}', b"[" * 9999, '{"saved": 5, "main": "%s", "settings": {}}']
)
def test_broken_last_good_settings(card: Card, content: bytes | str, caplog: pytest.LogCaptureFixture) -> None:
    card.write("x")
    kept_in(card).parent.mkdir()
    kept_in(card).write_bytes(content if isinstance(content, bytes) else (content % card.main).encode())
    assert settings_of(card).start().cameras == ()
    card.write(MAIN)
    started(card)
    card.write("x")
    assert settings_of(card).start().cameras[0].name == "hall"


@each_no_file
def test_no_file_where_the_last_good_settings_are(
    card: Card, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    kept_in(card).parent.mkdir()
    make(kept_in(card))
    card.write("x")
    assert settings_of(card).start().cameras == ()
    assert caplog.messages[0].startswith(f"the last good settings cannot be used: {kept_in(card)}: ")
    card.write(MAIN)
    started(card)
    if not kept_in(card).is_dir():
        assert settings_of(card).check().cameras[0].name == "hall"
        assert stat.S_IMODE(kept_in(card).lstat().st_mode) == 0o600


WILD: dict[str, Any] = {
    "thousands of cameras": {"camera": [{"name": f"a{i}"} for i in range(5000)]},
    "thousands of settings": {"server": {f"a{i}": 1 for i in range(50_000)}},
    "a huge number": {"server": {"port": 10**400}},
    "a huge time": {"server": {"viewer_timeout_s": 10**400}},
    "infinite": {"server": {"viewer_timeout_s": float("inf")}},
    "not a number": {"camera": [{"idle_stop_s": float("nan")}]},
    "half a character": {"camera": [{"device": "\ud800"}]},
    "half a character as key": {"\ud800": 1},
    "a long text": {"camera": [{"name": "\u0315\u0300" * 90_000}]},
    "colons": {"server": {"host": ":" * 900_000 + "\n"}},
    "a list": [1],
    "deep": json.loads("[" * 900 + "]" * 900),
}


@pytest.mark.parametrize("found", WILD.values(), ids=WILD)
def test_wild_last_good_settings(card: Card, found: Any, caplog: pytest.LogCaptureFixture) -> None:
    card.write("x")
    kept_in(card).parent.mkdir()
    kept_in(card).write_text(json.dumps({"saved": "2026-01-02T03:04:05", "main": str(card.main), "settings": found}))
    begun = time.monotonic()
    assert settings_of(card).start().cameras == ()
    assert time.monotonic() - begun < 5
    assert len(caplog.messages[0]) < 1000 and caplog.messages[0].startswith("the last good settings cannot be used")


def test_paths_that_are_no_text(card: Card) -> None:
    path = card.main.with_name(os.fsdecode(b"\xff.toml"))
    path.write_text(MAIN)
    first = Settings(path, {}, kept_in(card).with_name("state.json"))
    first.start()
    first.keep()
    path.write_text("x")
    again = Settings(path, {}, kept_in(card).with_name("state.json")).start()
    assert again.cameras[0].name == "hall" and again.problem.isprintable()


@pytest.mark.parametrize("exists", [True, False])
def test_what_is_kept_is_for_nobody_else(card: Card, exists: bool) -> None:
    before = os.umask(0)
    try:
        card.write(MAIN)
        if exists:
            started(card)
            kept_in(card).chmod(0o644)
        started(card)
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept_in(card).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept_in(card).parent.stat().st_mode) == 0o700


@each_no_file
def test_no_file_where_the_settings_are(card: Card, make: Callable[[Path], None]) -> None:
    """piapp starts and says so, unless the command line names it."""
    card.main.unlink(missing_ok=True)
    make(card.main)
    runs = settings_of(card).start()
    if not card.main.is_dir():
        assert re.search(rf"{card.main} cannot be read: it is .+, not a file: put a|larger than 64 kB", runs.problem)
    with pytest.raises(ConfigError, match=re.escape(str(card.main))):
        Settings(card.main, {}, None).check()


def test_last_good_settings_of_another_version(card: Card, caplog: pytest.LogCaptureFixture) -> None:
    card.write(MAIN)
    started(card)
    kept_in(card).write_text(kept_in(card).read_text().replace('"quality"', '"goodness"'))
    card.write("x")
    assert settings_of(card).start().cameras == ()
    assert f"the last good settings cannot be used: {kept_in(card)}: : goodness is not a setting" in caplog.messages[0]


@pytest.mark.parametrize("where", ["full", "no folder", "a file in the way"])
def test_a_disk_that_takes_nothing(card: Card, where: str, caplog: pytest.LogCaptureFixture) -> None:
    """Never an error: a line in the log."""
    card.write(MAIN)
    folder = Path("/dev/full") if where == "full" else Path("/proc/no") if where == "no folder" else card.main
    found = Settings(None, {}, folder / "state.json")
    assert found.start().cameras[0].name == "hall"
    with caplog.at_level(logging.WARNING):
        found.keep()
    [said] = caplog.messages
    assert said.startswith(f"these settings cannot be kept, for when later ones are wrong: {folder}/settings.json: ")
    assert Settings(None, {}, folder / "state.json").start().problem == ""


def test_without_a_place_nothing_is_kept(card: Card) -> None:
    card.write(MAIN)
    found = Settings(None, {}, None)
    found.start()
    found.keep()
    card.write("x")
    assert Settings(None, {}, None).start().cameras == ()


def test_check_knows_where_the_service_keeps_them(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    card.write(MAIN)
    started(card)
    card.write("x")
    monkeypatch.setattr(last_good, "APPLIANCE", kept_in(card))
    with pytest.raises(ConfigError, match=rf"Until that is mended piapp runs with the settings of {DATE}\."):
        Settings(None, {}, None).check()


# --- as a program ---


def names(port: int) -> list[str]:
    return [camera["name"] for camera in ask(port, "/api/cameras").json()["cameras"]]


def test_the_page_the_journal_and_check_tell_of_it(appliance: Card, tmp_path: Path) -> None:
    appliance.write(MAIN, "\ufeff[[camera]]\r\nname = “attic”\r\nsource = “pattern”\r\n", "piapp.toml.txt")
    over = appliance.firmware / "piapp.toml.txt"
    with Program(tmp_path) as first:
        assert names(first.port) == ["hall", "attic"]
        assert f"settings: {appliance.main}, over it {over}" in first.errors()
        assert ask(first.port, "/health").status == 200
        until((tmp_path / "state/settings.json").exists)
    done = program.call(tmp_path, "check", "--host", "127.0.0.1", "--port", first.port)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"settings  {appliance.main}\nsettings  {over}, which is laid over it\n")

    over.write_text("[[camera]]\nframerate = 500\n")
    takes = "framerate = 500 is not allowed: it takes a whole number from 1 to 120 pictures per second."
    with Program(tmp_path) as second, Page(second.port) as page:
        assert names(second.port) == ["hall", "attic"]
        problem = page.told("state")["problem"]
        assert f"{over}, line 2: {takes} It runs with the last good ones, of 20" in problem
        [error] = [line for line in second.errors().splitlines() if line.startswith("ERROR")]
        line = re.escape(f"{over}, line 2: {takes}")
        assert re.search(rf"{line} It runs with the last good ones, of {DATE}\.", error)
        assert f"settings: {tmp_path}/state/settings.json" in second.errors()
        health = ask(second.port, "/health")
        assert (health.status, health.json()["problem"]) == (503, problem)
        assert ask(second.port, "/cameras/attic/snapshot.jpg").body.startswith(b"\xff\xd8")
        done = program.call(tmp_path, "check")
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"piapp: {line} Until that is mended .+ of {DATE}\.\n", done.stderr)
        assert second.stop(signal.SIGTERM) == 0

    over.unlink()
    with Program(tmp_path) as third, Page(third.port) as page:
        assert page.told("state")["problem"] == "" and names(third.port) == ["hall"]


def test_settings_that_cannot_be_listened_with_are_no_good_ones(appliance: Card, tmp_path: Path) -> None:
    appliance.write('[server]\nhost = "no-such-host.invalid"\n' + MAIN[MAIN.index("[[") :])
    assert program.call(tmp_path, "--log-level", "error").returncode == 1
    assert not (tmp_path / "state/settings.json").exists()


@pytest.mark.parametrize("how", ["read-only", "full"])
def test_a_state_folder_that_takes_nothing(appliance: Card, tmp_path: Path, how: str) -> None:
    """On a disk of its own, which takes nothing: a line in the log, and pictures as ever."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    appliance.write(MAIN)
    (tmp_path / "state").mkdir()
    port = free_port()
    options = "ro" if how == "read-only" else "size=4k,nr_inodes=3"
    fill = f"dd if=/dev/zero of={tmp_path}/state/filler bs=4096 count=1 2>/dev/null; " if how == "full" else ""
    inner = f'mount -t tmpfs -o {options} none {tmp_path}/state && {{ {fill}exec "$@"; }}'
    command = ["unshare", "-m", "sh", "-c", inner, "sh", *program.command("--host", "127.0.0.1", "--port", port)]
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**environment(), "STATE_DIRECTORY": f"{tmp_path}/state"}, stderr=errors
        )
    try:
        reason = "Read-only file system" if how == "read-only" else "No space left on device"
        until(lambda: reason in (tmp_path / "stderr").read_text() or process.poll() is not None, LIMIT_S)
        assert names(port) == ["hall"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
    said = (tmp_path / "stderr").read_text()
    assert said.count("these settings cannot be kept") == 1 and "Traceback" not in said and "ERROR" not in said
