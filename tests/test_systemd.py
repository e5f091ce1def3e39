"""system/systemd.py: what systemd hears, on a real datagram socket such as its own."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from piapp.system.systemd import LONGEST_STATUS, Systemd

WATCHDOG_US = 30_000  # so that a sign of life is due every 10 ms


class Manager:
    """The other end: systemd's."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        name = self.socket.getsockname()
        self.address = f"@{name[1:].decode()}" if isinstance(name, bytes) else str(name)

    def heard(self) -> list[str]:
        """All that has come since it was last asked, one string a datagram."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096).decode())
        return found

    async def next(self) -> str:
        """The next datagram."""
        async with asyncio.timeout(10):
            return (await asyncio.get_running_loop().sock_recv(self.socket, 4096)).decode()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    with contextlib.closing(made.socket):
        yield made


def told(manager: Manager, **environment: str) -> Systemd:
    return Systemd({"NOTIFY_SOCKET": manager.address, **environment})


@contextlib.asynccontextmanager
async def reporting(
    systemd: Systemd, status: Callable[[], str] = lambda: "", alive: Callable[[], bool] = lambda: True
) -> AsyncIterator[None]:
    task = asyncio.create_task(systemd.report(status, alive))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        systemd.stopping()


def full(manager: Manager) -> int:
    """Send until its queue takes no more. How many it has taken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        for number in count():
            try:
                other.sendto(b"X=1", manager.socket.getsockname())
            except BlockingIOError:
                return number
    raise AssertionError


def test_from_the_start_to_the_end(manager: Manager) -> None:
    systemd = told(manager)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    for say in (systemd.ready, systemd.reloading, systemd.ready, systemd.stopping):
        say()
    ready, reloading, again, stopping = manager.heard()
    assert (ready, again, stopping) == ("READY=1", "READY=1", "STOPPING=1")
    word, when = reloading.split("\n")
    assert word == "RELOADING=1"
    assert before <= int(when.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_an_abstract_address() -> None:
    manager = Manager(f"\0piapp-test-{os.getpid()}")
    with contextlib.closing(manager.socket):
        assert manager.address.startswith("@piapp")
        systemd = told(manager)
        systemd.ready()
        systemd.stopping()
        assert manager.heard() == ["READY=1", "STOPPING=1"]


def test_nothing_is_said_after_the_end(manager: Manager) -> None:
    systemd = told(manager)
    systemd.stopping()
    systemd.ready()
    systemd.stopping()
    asyncio.run(asyncio.wait_for(systemd.report(lambda: "well", lambda: True), 10))
    assert manager.heard() == ["STOPPING=1"]


def test_children_do_not_have_it(manager: Manager) -> None:
    environment = {
        "HOME": "/",
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": str(WATCHDOG_US),
        "WATCHDOG_PID": str(os.getpid()),
    }
    Systemd(environment).stopping()
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize(
    "address", [None, "", "/nobody/there", "@nobody-there", "/" + 200 * "x", "vsock:2:1234", "not/absolute"]
)
def test_without_systemd(address: str | None, tmp_path: Path) -> None:
    async def run() -> None:
        async with reporting(systemd, lambda: "well"):
            systemd.reloading()
            await asyncio.sleep(0)
            systemd.ready()

    systemd = Systemd({"WATCHDOG_USEC": "10"} | ({} if address is None else {"NOTIFY_SOCKET": address}))
    systemd.ready()
    asyncio.run(run())


def test_a_report_without_systemd_ends() -> None:
    asyncio.run(asyncio.wait_for(Systemd({}).report(lambda: "well", lambda: True), 10))


async def _three(manager: Manager, systemd: Systemd, status: Callable[[], str], alive: bool = True) -> list[str]:
    async with reporting(systemd, status, lambda: alive):
        return [await manager.next() for _ in range(3)]


def test_the_status_is_said_when_it_has_changed(manager: Manager) -> None:
    words = iter(["one camera", "one camera", "one  camera\n", "two cameras"])
    systemd = told(manager, WATCHDOG_USEC=str(WATCHDOG_US))
    said = asyncio.run(_three(manager, systemd, lambda: next(words, "two cameras")))
    assert said == ["STATUS=one camera\nWATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
    # what came by then and until it was ended
    said = manager.heard()
    assert said[-1] == "STOPPING=1" and set(said[:-1]) <= {"STATUS=two cameras\nWATCHDOG=1", "WATCHDOG=1"}


def test_nothing_can_be_smuggled_into_the_status(manager: Manager) -> None:
    words = ["door\nSTOPPING=1\r\nX=1", "\ud800 door", "x" + "ä" * LONGEST_STATUS]
    said = asyncio.run(_three(manager, told(manager, WATCHDOG_USEC="3000"), lambda: words.pop(0) if words else "end"))
    cut = "x" + "ä" * ((LONGEST_STATUS - 1) // 2)
    assert said == [f"STATUS={text}\nWATCHDOG=1" for text in ("door STOPPING=1 X=1", "? door", cut)]


@pytest.mark.parametrize(
    ("environment", "alive"),
    [
        ({"WATCHDOG_USEC": str(WATCHDOG_US)}, False),
        ({}, True),
        ({"WATCHDOG_USEC": "soon"}, True),
        ({"WATCHDOG_USEC": "0"}, True),
        ({"WATCHDOG_USEC": str(WATCHDOG_US), "WATCHDOG_PID": "1"}, True),
    ],
)
def test_no_sign_of_life(
    environment: dict[str, str], alive: bool, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of one that is not well, nor where nobody waits for it. The status goes on."""
    monkeypatch.setattr("piapp.system.systemd.EVERY_S", 0.01)
    number = count()
    said = asyncio.run(_three(manager, told(manager, **environment), lambda: str(next(number)), alive))
    assert said == ["STATUS=0", "STATUS=1", "STATUS=2"]


def test_signs_of_life_in_time(manager: Manager) -> None:
    async def run() -> float:
        async with reporting(told(manager, WATCHDOG_USEC=str(WATCHDOG_US), WATCHDOG_PID=str(os.getpid()))):
            await manager.next()
            began = time.monotonic()
            for _ in range(20):
                assert await manager.next() == "WATCHDOG=1"
            return time.monotonic() - began

    assert 0.9 * 20 * WATCHDOG_US / 3e6 < asyncio.run(run()) < 20 * WATCHDOG_US / 1e6


def test_no_sign_of_life_from_a_loop_that_stands_still(manager: Manager) -> None:
    async def run() -> None:
        async with reporting(told(manager, WATCHDOG_USEC=str(WATCHDOG_US))):
            await manager.next()
            manager.heard()
            time.sleep(5 * WATCHDOG_US / 1e6)  # noqa: ASYNC251  # this is the point
            assert manager.heard() == []
            assert await manager.next() == "WATCHDOG=1"

    asyncio.run(run())


def test_no_sign_of_life_after_a_report_that_failed(manager: Manager) -> None:
    def fail() -> str:
        raise RuntimeError("a bug")

    systemd = told(manager, WATCHDOG_USEC=str(WATCHDOG_US))
    with pytest.raises(RuntimeError):
        asyncio.run(systemd.report(fail, lambda: True))
    systemd.stopping()
    assert manager.heard() == ["STOPPING=1"]


def test_a_full_socket_blocks_nothing_and_is_told_later(manager: Manager) -> None:
    async def run() -> None:
        async with reporting(systemd, lambda: "well"):
            await asyncio.sleep(0)  # now it has tried
            assert manager.heard() == taken * ["X=1"]
            assert await manager.next() == "READY=1\nSTATUS=well\nWATCHDOG=1"
            assert await manager.next() == "WATCHDOG=1"

    taken = full(manager)
    systemd = told(manager, WATCHDOG_USEC=str(WATCHDOG_US))
    began = time.monotonic()
    systemd.reloading()
    systemd.ready()
    assert time.monotonic() - began < 1
    asyncio.run(run())
