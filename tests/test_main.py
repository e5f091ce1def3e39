"""The command line, in processes of its own."""

import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import free_port, pattern_jpegs, until
from live_wire import Page
from program import LIMIT_S, Program, call, environment
from wire import Stream, ask, connect, request

from piapp import __version__
from piapp.__main__ import parser

SMALL = '[[camera]]\nname = "hall"\nsource = "pattern"\nresolution = "320x240"\nidle_stop_s = 0\n'
STOPS_S = 3.0  # it takes a tenth of that


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What an error says on stderr: one line, and an exit code of 1."""
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("piapp: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(SMALL)
    return tmp_path


# --- what it says and ends ---


def test_version(folder: Path) -> None:
    done = call(folder, "version")
    assert done.returncode == 0 and done.stdout.startswith(f"piapp {__version__} (Python 3.") and done.stderr == ""


def test_help(folder: Path) -> None:
    done = call(folder, "--help")
    assert done.returncode == 0 and done.stderr == ""
    for option in ("--config", "--host", "--port", "--source", "--device", "--log-level", "check", "version", "75"):
        assert option in done.stdout


@pytest.mark.parametrize(
    "arguments", [["walk"], ["--prot", "80"], ["--port"], ["--port", "x"], ["--log-level", "loud"]]
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse_args(arguments)
    assert end.value.code == 2 and "usage: piapp" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[server]\nport = 70000\n", ["config.toml, line 2", "port = 70000", "65535"]),
        ("\n\n[[camera]]\nframerat = 5\n", ["config.toml, line 4", "framerat", "framerate"]),
        ('[[camera]]\nsource = "tape"\n', ["config.toml, line 2", 'source = "tape"', "pattern"]),
        ("[server]\nhost = piapp\n", ["config.toml", "line 2"]),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, named: list[str]) -> None:
    """`check` ends with them; piapp itself serves a page that says so."""
    (tmp_path / "config.toml").write_text(text)
    said = one_line(call(tmp_path, "check"))
    assert [word for word in named if word not in said] == []
    with Program(tmp_path) as program, Page(program.port) as page:
        [error] = [line for line in program.errors().splitlines() if line.startswith("ERROR")]
        assert [word for word in named if word not in error] == []
        assert page.told("hello")
        state = page.told("state")
        assert state["cameras"] == [] and [word for word in named if word not in state["problem"]] == []
        page.watch("camera")
        page.say("ping", echo=1)
        assert page.told("pong")["echo"] == 1
        assert ask(program.port, "/").status == 200
        for path in ("/stream", "/snapshot", "/cameras/camera/stream", "/api/cameras/camera", "/?action=snapshot_1"):
            answer = ask(program.port, path)
            assert (answer.status, answer.sentence()) == (503, state["problem"])
        assert ask(program.port, "/api/cameras").json() == {"cameras": []}
        assert ask(program.port, "/metrics").status == 200
        health = ask(program.port, "/health")
        assert (health.status, health.json()["problem"]) == (503, state["problem"])
        assert program.stop(signal.SIGTERM) == 0
        assert page.ended()[0] == 1001
        assert "Traceback" not in program.errors()


def test_wrong_settings_elsewhere(tmp_path: Path) -> None:
    """Without any file to mend, piapp ends."""
    file = tmp_path / "other.toml"
    assert f"{file} cannot be read" in one_line(call(tmp_path, "--config", file))
    assert f"{tmp_path} cannot be read" in one_line(call(tmp_path, "--config", tmp_path))
    file.write_bytes(b"\xff\xfe\x00")
    assert f"{file}, line 1: this is not UTF-8" in one_line(call(tmp_path, "check", "--config", file))
    with Program(tmp_path, "--config", file) as program:
        assert f"{file}, line 1: this is not UTF-8" in ask(program.port, "/stream").sentence()


def test_of_wrong_settings_the_right_ones_hold(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = 0\nmax_viewers = 7\n[[camera]]\nname = 5\n")
    with Program(tmp_path) as program, Page(program.port) as page:
        assert page.told("hello")["max_viewers"] == 7


@pytest.mark.parametrize(("option", "value"), [("--port", "0"), ("--port", "65536"), ("--source", "tape")])
def test_wrong_overrides(folder: Path, option: str, value: str) -> None:
    assert one_line(call(folder, option, value)).startswith(f"piapp: {option}: ")


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = one_line(call(folder, "--host", "127.0.0.1", "--port", port, "--log-level", "error"))
    assert f"uses port {port}" in said


def test_a_host_that_is_none(folder: Path) -> None:
    said = one_line(call(folder, "--host", "no such host", "--port", free_port(), "--log-level", "error"))
    assert "no such host" in said


def test_a_port_that_is_not_allowed(folder: Path) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("everybody may listen on port 80 here")
    # The rights go after the imports: nobody else may be able to read this Python, or these files.
    script = (
        "import os, sys\nfrom piapp.__main__ import main\n"
        "if os.getuid() == 0:\n    os.setgroups([])\n    os.setgid(65534)\n    os.setuid(65534)\n"
        "sys.exit(main(['--source', 'pattern', '--host', '127.0.0.1', '--port', '80', '--log-level', 'error']))"
    )
    (folder / "config.toml").unlink()
    folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd="/", env=environment(), capture_output=True, text=True, timeout=LIMIT_S
    )
    assert "Port 80 requires root" in one_line(done)


# --- serving ---


def test_settings_of_this_folder_and_what_goes_over_them(folder: Path) -> None:
    pictures = folder / "pictures"
    pictures.mkdir()
    (pictures / "one.jpg").write_bytes(pattern_jpegs(1)[0])
    with Program(folder) as plain:
        told = ask(plain.port, "/api/cameras").json()["cameras"]
        assert [(camera["name"], camera["source"]) for camera in told] == [("hall", "pattern")]
        assert "settings: config.toml" in plain.errors()
        assert f"watch at http://127.0.0.1:{plain.port}/" in plain.errors()
        assert "GET" not in plain.errors()
    with Program(folder, "--source", "images", "--device", pictures, "--log-level", "debug") as other:
        assert ask(other.port, "/cameras/hall/snapshot.jpg").body == pattern_jpegs(1)[0]
        until(lambda: "GET /cameras/hall/snapshot.jpg" in other.errors())


def test_another_file(folder: Path) -> None:
    file = folder / "other.toml"
    file.write_text("\ufeff" + SMALL.replace("hall", "Küche"), "utf-8")
    with Program(folder, "run", "--config", file) as program:
        assert ask(program.port, "/api/cameras").json()["cameras"][0]["name"] == "Küche"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", ["idle", "viewers", "stalled", "keep-alive", "snapshot", "half a request"])
def test_it_ends_when_it_is_told(folder: Path, number: signal.Signals, busy: str) -> None:
    arguments = ["--source", "images", "--device", folder] if busy == "snapshot" else []  # there are none in it
    with Program(folder, *arguments) as program, contextlib.ExitStack() as stack:
        if busy == "viewers":
            for _ in range(5):
                next(stack.enter_context(Stream(program.port)))
        elif busy == "stalled":
            for _ in range(5):
                stack.enter_context(Stream(program.port, receive_buffer=2048))
        elif busy != "idle":
            sock = stack.enter_context(connect(program.port))
            if busy == "half a request":
                sock.sendall(b"GET / HT")
            else:
                sock.sendall(request("GET", "/snapshot" if busy == "snapshot" else "/health", {}))
            if busy == "keep-alive":
                sock.recv(4096)
            elif busy == "snapshot":
                until(lambda: ask(program.port, "/api/cameras/hall").json()["viewers"])
        assert program.stop(number) == 0, program.errors()
        said = program.errors()
    print(f"{busy}: {program.stopped_s:.3f} s")  # pytest -rP shows it
    assert program.stopped_s < STOPS_S
    lines = [line for line in said.splitlines() if not line.startswith("WARNING piapp.faults: ")]
    assert lines[-1] == "INFO piapp.app: stopping"
    assert all(line.startswith("INFO piapp.") for line in lines), said


# --- check ---


def test_check_says_what_would_run(folder: Path) -> None:
    done = call(folder, "check", "--host", "127.0.0.1", "--port", free_port())
    assert done.returncode == 0 and done.stderr == "", done.stdout
    assert "config.toml" in done.stdout and "nothing is wrong" in done.stdout
    assert "would run hall: pattern 320x240 at 30 fps" in done.stdout


def test_check_says_what_is_wrong(folder: Path) -> None:
    with (folder / "config.toml").open("a") as settings:
        settings.write('[[camera]]\nname = "yard"\nsource = "images"\ndevice = "/no/such/folder"\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call(folder, "check", "--host", "127.0.0.1", "--port", port)
    assert done.returncode == 1 and done.stderr == "" and "nothing is wrong" not in done.stdout
    assert "would run hall: pattern" in done.stdout
    wrong = [line for line in done.stdout.splitlines() if line.startswith("wrong ")]
    assert len(wrong) == 2
    assert "yard" in wrong[0] and "/no/such/folder" in wrong[0] and f"uses port {port}" in wrong[1]
