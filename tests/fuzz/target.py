"""piapp in this process and in the event loop of those who attack it, and what it holds.

So nothing waits for Python's lock, and a second of a core is worth several hundred requests.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fakes import FakeDevice, free_port, pattern_jpegs
from wire import PROGRAM, Parser, request

from piapp import app
from piapp.config import CameraConfig, Config, ServerConfig
from piapp.rate_limit import Rate
from piapp.system.journal import OneLine
from piapp.web.limits import Limits

from .case import Finding

STEADY = "steady"  # the camera whose viewer must always be well; no case knows its name
CAMERAS = ("camera", "Küche 2", STEADY)
FREE = Rate(1, 0.0)
WIDE = Limits(
    waiting=2000,
    waiting_of_one=2000,
    connects=FREE,
    connects_of_one=FREE,
    requests=FREE,
    requests_of_one=FREE,
    messages=FREE,
)
LIMIT_S = 10.0  # for a picture or an answer to whoever does all as it should
BLOCKED_S = 5  # so long nothing may keep the event loop
SETTLES_S = 20.0
STARTS_S = 0.2
ASKS_EVERY_S = 0.5
SPARE_THREADS = 2  # of devices, whose cameras may be on or off


class Held(NamedTuple):
    """What there is while nobody is connected but those who do all as they should."""

    descriptors: int
    threads: int
    tasks: int


class Watch(logging.Handler):
    """Notes what should not be in a log."""

    def __init__(self, expected: str = "") -> None:
        """Errors of the logger `expected` are no problem if they are told in a line."""
        super().__init__(logging.INFO)
        self._expected = expected
        self.problems: list[str] = []
        self.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        is_error = record.levelno >= logging.ERROR and record.name != self._expected
        if is_error or record.exc_info or not line.isprintable():
            self.problems.append(f"in the log: {line}")


@dataclass
class Target:
    """A running piapp."""

    port: int
    log: Watch
    devices: dict[str, FakeDevice]
    well: Callable[[], str]  # what is wrong for those who do all as they should; empty: nothing
    before: Held = Held(0, 0, 0)

    def problem(self) -> str:
        """What is wrong by now; empty: nothing. To be called at least every BLOCKED_S."""
        signal.setitimer(signal.ITIMER_REAL, BLOCKED_S)
        return "".join(self.log.problems[:1]) or self.well()

    async def check(self) -> None:
        """Nothing is left of those who have gone. Raises Finding."""
        for device in self.devices.values():
            device.set.clear()
        end = asyncio.get_running_loop().time() + SETTLES_S
        while not self._settled(now := held()):
            if asyncio.get_running_loop().time() > end:
                raise Finding(f"left behind: {self.before} before, {now} now")
            if problem := self.problem():
                raise Finding(problem)
            await asyncio.sleep(0.05)

    def _settled(self, now: Held) -> bool:
        before = self.before
        threads_are_fine = now.threads <= before.threads + SPARE_THREADS
        return now.descriptors <= before.descriptors and now.tasks <= before.tasks and threads_are_fine


def held() -> Held:
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
    tasks = [task for task in asyncio.all_tasks() if task.get_name() != "write state"]  # it waits some seconds
    return Held(len(os.listdir("/proc/self/fd")), len(threads), len(tasks))


def memory_mb() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Target]:
    """piapp, with a viewer and a program that do all as they should."""
    server = ServerConfig(host="127.0.0.1", port=free_port(), announce=False, max_viewers=2000, viewer_timeout_s=60.0)
    cameras = tuple(CameraConfig(name=name, source="pattern", idle_stop_s=3600.0) for name in CAMERAS)
    devices = {name: FakeDevice(pattern_jpegs(4), 20.0 if name == STEADY else 100.0) for name in CAMERAS}
    for device in devices.values():
        device.full = pattern_jpegs(1)[0]
    stopping, started = asyncio.Event(), asyncio.Event()
    serves = asyncio.create_task(
        app.run(
            Config(server, cameras),
            stopping,
            state_path=folder / "state" / "state.json",
            opener=lambda config: devices[config.name],
            started=started.set,
            limits=WIDE,
        )
    )
    with _logged() as watch, _not_blocked():
        await asyncio.wait([serves, started_task := asyncio.create_task(started.wait())], return_when="FIRST_COMPLETED")
        started_task.cancel()
        if serves.done():
            serves.result()
        seen = _Seen()
        ways = [*(_watch(server.port, name, seen) for name in CAMERAS), _ask(server.port, seen)]
        good = [asyncio.create_task(way) for way in ways]
        target = Target(server.port, watch, devices, lambda: _well(seen, good))
        try:
            await asyncio.gather(seen.first_picture.wait(), seen.first_answer.wait())
            await asyncio.sleep(STARTS_S)
            target.before = held()
            yield target
        finally:
            for task in good:
                task.cancel()
            await asyncio.gather(*good, return_exceptions=True)
            stopping.set()
            await serves


@contextlib.contextmanager
def _logged() -> Iterator[Watch]:
    watch, root = Watch(), logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.INFO)
    try:
        yield watch
    finally:
        root.removeHandler(watch)
        root.setLevel(level)


@contextlib.contextmanager
def _not_blocked() -> Iterator[None]:
    """Break whatever keeps the event loop for too long; that it was so is in the log then."""

    def break_off(*_: object) -> None:
        raise TimeoutError(f"the event loop was blocked: {''.join(traceback.format_stack(limit=8))}")

    before = signal.signal(signal.SIGALRM, break_off)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class _Seen:
    """When, in loop time; and that it was so at all."""

    picture: float = 0.0
    answer: float = 0.0
    first_picture: asyncio.Event = field(default_factory=asyncio.Event)
    first_answer: asyncio.Event = field(default_factory=asyncio.Event)


def _well(seen: _Seen, good: list["asyncio.Task[None]"]) -> str:
    now = asyncio.get_running_loop().time()
    for task in good:
        if task.done() and not task.cancelled():
            return f"who does all as it should has failed: {task.exception()!r}"
    if now - min(seen.picture, seen.answer) > LIMIT_S:
        return f"who does all as it should has waited for {now - seen.picture:.1f} s, and {now - seen.answer:.1f} s"
    return ""


async def _watch(port: int, camera: str, seen: _Seen) -> None:
    """So that each camera runs, and the steady one's pictures are seen to come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request("GET", f"/cameras/{quote(camera)}/stream", PROGRAM))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        parser = Parser(advance=False)
        while data := await reader.read(1 << 16):
            if parser.feed(data) and camera == STEADY:
                seen.picture = asyncio.get_running_loop().time()
                seen.first_picture.set()
        raise EOFError
    finally:
        writer.close()


async def _ask(port: int, seen: _Seen) -> None:
    """For pictures, and for the other cameras to be on, all on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
        writer.write(request(method, path, headers, body))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        length = next(line for line in head.decode().lower().split("\r\n") if line.startswith("content-length: "))
        return await reader.readexactly(int(length.split()[1]))

    try:
        while True:
            jpeg = await ask("GET", f"/cameras/{STEADY}/snapshot.jpg", {})
            assert jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9"), jpeg
            for camera in CAMERAS:
                await ask(
                    "PATCH", f"/api/cameras/{quote(camera)}", {"Content-Type": "application/json"}, b'{"on": true}'
                )
            seen.answer = asyncio.get_running_loop().time()
            seen.first_answer.set()
            await asyncio.sleep(ASKS_EVERY_S)
    finally:
        writer.close()
