"""The end of piapp when a device hangs, and its new beginning: in processes of their own, and of several cameras."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from fakes import FakeDevice, Running, free_port, pattern_jpegs, serving, until
from program import LIMIT_S, Program
from wire import Stream, ask, patch

from piapp import __main__, app, camera, stuck
from piapp.camera import Camera
from piapp.config import CameraConfig, Config, ServerConfig
from piapp.last_good import Settings
from piapp.web.guard import Site

HANGING = Path(__file__).with_name("hanging.py")


class Hanging(Program):
    """hanging.py as a process."""

    def files(self) -> list[str]:
        """What it has open."""
        found = []
        for file in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # not any more
                found.append(os.readlink(file))
        return found

    def ended(self) -> int:
        """The exit code, when it ends by itself."""
        return self._process.wait(LIMIT_S)

    def hang(self) -> None:
        """Its camera is watched, and hangs from now on."""
        patch(self.port, {"on": False})
        until(lambda: "does not let go" in self.errors())
        patch(self.port, {"on": True})


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    monkeypatch.setattr(program, "command", lambda *arguments: [sys.executable, HANGING, *map(str, arguments)])
    with Hanging(tmp_path) as process:
        yield process


def test_a_thread_that_hangs_does_not_keep_piapp_from_ending(hanging: Hanging) -> None:
    with Stream(hanging.port) as viewer:
        next(viewer)
        assert hanging.stop(signal.SIGTERM) == 0
    assert hanging.errors().splitlines()[-1].endswith("the device does not let go after 0.1 s")


def test_only_a_fresh_process_helps(hanging: Hanging) -> None:
    with Stream(hanging.port) as viewer:
        next(viewer)
        hanging.hang()
        assert hanging.ended() == __main__.RESTART == 75
    lines = hanging.errors().splitlines()
    assert "ERROR piapp.stuck: camera: Camera hung: piapp ends, since only a fresh process may help" in lines
    assert lines[-1] == "WARNING piapp.__main__: exit code 75: start it again"


@pytest.fixture
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(__main__.RESTARTS_ITSELF, "1")


def test_it_takes_its_own_place(by_itself: None, hanging: Hanging) -> None:
    for times in (2, 3):
        with Stream(hanging.port) as viewer:
            next(viewer)
            hanging.hang()
            until(lambda: hanging.errors().count("watch at") == times, LIMIT_S)  # noqa: B023
        assert hanging.files().count(str(HANGING)) == 1
    assert ask(hanging.port, "/snapshot").status == 200
    assert hanging.errors().count("WARNING piapp.__main__: starting again") == 2
    assert hanging.stop(signal.SIGTERM) == 0


def test_a_signal_that_comes_meanwhile_ends_it_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(settings: Config, stopping: asyncio.Event, **_: object) -> app.End:
        signal.raise_signal(signal.SIGTERM)
        await stopping.wait()
        return app.End(restart=True, clean=True)

    monkeypatch.setattr(app, "run", run)
    assert asyncio.run(__main__._run(Settings(None, {}, None), None)) == app.End(restart=False, clean=True)


# --- several cameras ---


@contextlib.contextmanager
def house(yard: FakeDevice, hall: FakeDevice) -> Iterator[Running]:
    """piapp with these two. The hall stays open when nobody watches it any more."""
    configs = (CameraConfig(name="yard", idle_stop_s=0), CameraConfig(name="hall", idle_stop_s=1000))
    try:
        with serving(lambda config: {"yard": yard, "hall": hall}[config.name], configs) as running:
            yield running
    finally:
        yard.hangs.set()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "BACKOFF_S", (0.05, 0.1))
    monkeypatch.setattr(Camera._end, "__defaults__", (0.05,))
    monkeypatch.setattr(stuck, "HUNG_LIMIT_S", 0.1)
    monkeypatch.setattr(app, "STOP_LIMIT_S", 0.1)


def hangs(running: Running, name: str, viewer: Stream) -> None:
    next(viewer)
    patch(running.port, {"on": False}, name)
    until(lambda: ask(running.port, f"/api/cameras/{name}").json()["state"] == "off")
    patch(running.port, {"on": True}, name)


def device(hangs: bool) -> FakeDevice:
    made = FakeDevice(pattern_jpegs(3))
    if hangs:
        made.hangs.clear()
    return made


def test_not_while_another_camera_is_watched(soon: None, caplog: pytest.LogCaptureFixture) -> None:
    with house(yard=device(hangs=True), hall=device(hangs=False)) as running:
        with Stream(running.port, "/cameras/yard/stream") as yard:
            with Stream(running.port, "/cameras/hall/stream") as hall:
                next(hall)
                hangs(running, "yard", yard)
                refused = "yard: Camera hung: only a fresh process may help, but another camera is watched"
                until(lambda: refused in caplog.messages)
                hall.take(20)
                message = ask(running.port, "/api/cameras/yard").json()["message"]
                assert message.startswith("Camera hung: piapp starts anew when no other camera is watched")
                assert not running.ends
            until(lambda: running.ends)  # with the hall's last viewer
        assert running.ends == [app.End(restart=True, clean=False)]
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "yard: Camera hung: piapp ends, since only a fresh process may help"
    ]


@pytest.mark.parametrize("told", [False, True])
def test_asked_before_it_serves_and_by_two_at_once(told: bool, sites: list[Site]) -> None:
    """`told`: it is to end anyway, and not to come back."""
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(each._stuck.ask("Camera hung") for each in sites[0].cameras.values())

    async def run() -> app.End:
        cameras = (CameraConfig(name="yard"), CameraConfig(name="hall"))
        stopping = asyncio.Event()
        if told:
            stopping.set()
        config = Config(ServerConfig(host="127.0.0.1", port=free_port()), cameras)
        return await app.run(config, stopping, opener=lambda _: device(hangs=False), started=ask)

    assert asyncio.run(run()) == app.End(restart=not told, clean=True)
    assert answers == [True, True]


def test_an_end_as_it_should_be() -> None:
    with house(yard=device(hangs=False), hall=device(hangs=False)) as running:
        assert ask(running.port, "/cameras/hall/snapshot.jpg").status == 200
    assert running.ends == [app.End(restart=False, clean=True)]
