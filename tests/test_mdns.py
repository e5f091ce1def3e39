"""system/mdns.py with a stand-in for the program that announces; tests/appliance/test_name.py has the real one."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes import FakeDevice, pattern_jpegs, serving, until
from program import ROOT

from piapp.system import mdns, network
from piapp.system.mdns import Announcement

PIAPP = """
import asyncio
from piapp.system.mdns import Announcement

async def run():
    await Announcement("", 80).switch(True)
    await asyncio.sleep(60)

asyncio.run(run())
"""


class Avahi:
    """Remembers how it was called, and does what `script` says after that."""

    def __init__(self, folder: Path) -> None:
        self._calls, self._program = folder / "calls", folder / "bin" / mdns.PROGRAM
        self._calls.touch()
        self._program.parent.mkdir()
        self.does("echo Established >&2", "exec sleep 60")

    def does(self, *script: str) -> None:
        lines = ("#!/bin/sh", f'echo "$$ $*" >>{self._calls}', *script, "")
        self._program.write_text("\n".join(lines))
        self._program.chmod(0o755)

    def remove(self) -> None:
        self._program.unlink()

    @property
    def calls(self) -> list[str]:
        """The arguments of each."""
        return [line.split(" ", 1)[1] for line in self._lines()]

    @property
    def runs(self) -> int:
        """How many do now."""
        return sum(self._is_one(int(line.split()[0])) for line in self._lines())

    def kill(self) -> None:
        os.kill(int(self._lines()[-1].split()[0]), signal.SIGKILL)

    def _is_one(self, pid: int) -> bool:
        """And no other program under the same number."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return words == b"sleep\x0060\x00" or bytes(self._program) in words

    def _lines(self) -> list[str]:
        return self._calls.read_text().splitlines()


@pytest.fixture
def avahi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Avahi:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(socket, "gethostname", lambda: "garden.example.org")
    monkeypatch.setattr(mdns, "AGAIN_S", 0.01)
    caplog.set_level(logging.INFO, "piapp.system.mdns")
    return Avahi(tmp_path)


@contextlib.asynccontextmanager
async def announced(host: str = "", port: int = 8080) -> AsyncIterator[Announcement]:
    made = Announcement(host, port)
    await made.switch(True)
    try:
        yield made
    finally:
        await made.switch(False)


async def wait_for(number: int, avahi: Avahi) -> None:
    """Until it was called so often."""
    await asyncio.to_thread(until, lambda: len(avahi.calls) >= number)


def test_what_is_announced(avahi: Avahi, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with announced(port=80) as announcement:
            await announcement.switch(True)
            await asyncio.to_thread(until, lambda: caplog.messages)
            assert avahi.runs == 1
        assert avahi.runs == 0
        await announcement.switch(False)

    asyncio.run(run())
    assert avahi.calls == ["--no-fail garden camera _http._tcp 80 path=/"]
    assert caplog.messages == ["avahi: Established"]


def test_off_at_any_moment_of_its_start(avahi: Avahi) -> None:
    async def run() -> None:
        async with announced() as announcement:
            for turns in range(25):
                await announcement.switch(False)
                assert avahi.runs == 0, turns
                await announcement.switch(True)
                for _ in range(turns):
                    await asyncio.sleep(0)
            await wait_for(1, avahi)

    asyncio.run(run())
    assert avahi.runs == 0


@pytest.mark.parametrize(("host", "name"), [("x" * 64, "x" * 56 + " camera"), ("ö" * 32, "ö" * 28 + " camera")])
def test_a_name_is_cut_to_what_dns_takes(host: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert mdns.service_name() == name
    assert len(name.encode()) <= 63


def test_it_is_started_again(avahi: Avahi, caplog: pytest.LogCaptureFixture) -> None:
    """Killed from outside."""

    async def run() -> None:
        async with announced():
            await wait_for(1, avahi)
            avahi.kill()
            await wait_for(2, avahi)

    asyncio.run(run())
    assert len(set(avahi.calls)) == 1


def test_one_that_never_works_is_told_once(avahi: Avahi, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with announced():
            await wait_for(5, avahi)

    avahi.does("echo 'Failed to create client object: D-Bus error' >&2", "exit 1")
    asyncio.run(run())
    assert caplog.messages == ["avahi: Failed to create client object: D-Bus error"]


def test_one_that_cannot_be_started(
    avahi: Avahi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with announced():
            await asyncio.to_thread(until, lambda: caplog.messages)

    monkeypatch.setenv("PATH", os.environ["PATH"].split(":")[0])
    asyncio.run(run())
    assert caplog.messages == [f"avahi: cannot start {mdns.PROGRAM}: No such file or directory"]


def test_where_it_is_not_installed(avahi: Avahi, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with announced():
            pass

    avahi.remove()
    asyncio.run(run())
    assert caplog.messages == [
        "not announced in the network: avahi-publish-service is missing: sudo apt install avahi-utils"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_what_is_only_for_this_computer_is_not_announced(
    host: str, avahi: Avahi, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with announced(host):
            pass

    asyncio.run(run())
    assert avahi.calls == []
    assert caplog.messages == ["not announced in the network: piapp listens on this computer only"]


def test_it_goes_with_a_piapp_that_is_killed(avahi: Avahi) -> None:
    with subprocess.Popen([sys.executable, "-c", PIAPP], cwd=ROOT) as piapp:
        try:
            until(lambda: avahi.runs == 1)
        finally:
            piapp.kill()
    until(lambda: avahi.runs == 0)


def test_as_long_as_piapp_serves_and_the_settings_want_it(avahi: Avahi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "only_here", lambda host: False)
    device = FakeDevice(pattern_jpegs(1))
    with serving(lambda config: device) as running:
        until(lambda: avahi.runs == 1)
        cameras = running.configs[-1].cameras
        running.reload(*cameras, announce=False)
        until(lambda: avahi.runs == 0)
        running.reload(*cameras, announce=True)
        until(lambda: avahi.runs == 1)
    assert avahi.runs == 0
    assert set(avahi.calls) == {f"--no-fail garden camera _http._tcp {running.port} path=/"}


def test_not_where_the_settings_do_not_want_it(avahi: Avahi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "only_here", lambda host: False)
    with serving(lambda config: FakeDevice(pattern_jpegs(1)), announce=False):
        pass
    assert avahi.calls == []
