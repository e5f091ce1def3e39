"""The Door: out of files, slow readers, shutdown."""

import asyncio
import contextlib
import functools
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from tornado import web

from piapp.web import listen
from piapp.web.client import Client
from piapp.web.limits import LIMITS, Limits
from piapp.web.listen import Door

LARGE = 20_000_000  # bytes


class Large(web.RequestHandler):
    """A response that no kernel buffer holds."""

    def get(self) -> None:
        self.write(b"x" * LARGE)


class Broken(web.RequestHandler):
    """A response whose second half cannot be read."""

    async def get(self) -> None:
        self.set_header("Content-Length", "10")
        self.write(b"first")
        await self.flush()
        raise OSError("the SD card has failed")


@asynccontextmanager
async def opened(limits: Limits = LIMITS) -> AsyncIterator[tuple[Door, int]]:
    """A door with a large page and a broken one behind it, and its port."""
    [sock] = listen.bind("127.0.0.1", 0)
    door = Door([sock], web.Application([("/large", Large), ("/broken", Broken)]), limits, lambda: limits.waiting)
    door.open()
    try:
        yield door, sock.getsockname()[1]
    finally:
        door.shut()
        door.close_clients()


async def within(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    """Wait for a state that tells nobody when it changes."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextmanager
def no_files() -> Iterator[None]:
    """No file descriptor is free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the kernel gives the lowest number that is free
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_file_descriptors_it_waits_and_logs_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen, "NO_FILES_S", 0.05)
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with opened(Limits(no_files_s=0.3)) as (door, port):
            with socket.create_connection(("127.0.0.1", port)):
                await within(lambda: door.clients)
            await within(lambda: not door.clients)
            with socket.socket() as waiting:
                with no_files():
                    waiting.connect(("127.0.0.1", port))
                    await within(lambda: door.is_out_of_files)
                    assert not door.clients
                await within(lambda: door.clients)
                assert not door.is_out_of_files

    asyncio.run(main())
    [line] = [record.getMessage() for record in caplog.records if record.name == listen.__name__]
    assert line == "cannot accept connections: Too many open files"


def test_shutting_keeps_open_connections_until_they_are_closed() -> None:
    async def main() -> None:
        async with opened() as (door, port):
            with socket.create_connection(("127.0.0.1", port)) as inside:
                await within(lambda: door.clients)
                door.shut()
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port))
                assert door.clients
                door.close_clients()
                assert not door.clients
                with pytest.raises(ConnectionResetError):
                    inside.recv(1)

    asyncio.run(main())


def test_slow_readers_do_not_keep_all_connections() -> None:
    """They always take a little, so no timeout ends them."""

    async def main() -> None:
        async with opened(Limits(waiting=2, write_s=0.3)) as (door, port), contextlib.AsyncExitStack() as stack:
            readers = [stack.enter_context(asking(port)) for _ in range(2)]
            await within(lambda: [client for client in door.clients if client.evictable_at])
            first = set(door.clients)
            stack.enter_context(asking(port))
            while first & door.clients == first:  # noqa: ASYNC110
                for sock in readers:
                    sock.recv(20_000)
                await asyncio.sleep(0.05)
            await within(lambda: door.clients - first)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_momentary_lack_of_file_descriptors_is_no_reason_to_restart() -> None:
    """accept() fails when there is no file left even if nobody is waiting."""

    async def main() -> None:
        async with opened(Limits(no_files_s=0.1)) as (door, _):
            with no_files():
                for sock in door._sockets:
                    door._accept(sock)
            await asyncio.sleep(listen.NO_FILES_S + 0.3)
            assert not door.is_out_of_files

    asyncio.run(main())


def test_a_response_that_breaks_off_ends_its_connection() -> None:
    """Else the client would read the next response as the rest of it."""

    async def main() -> None:
        async with opened() as (_, port):
            with asking(port, "/broken") as sock:
                reading = asyncio.to_thread(lambda: b"".join(iter(lambda: sock.recv(65536), b"")))
                assert (await asyncio.wait_for(reading, 10)).endswith(b"first")

    asyncio.run(main())


def test_responses_that_clients_do_not_take_fill_no_memory() -> None:
    limits = Limits(unsent=int(2.5 * LARGE))

    async def main() -> None:
        async with opened(limits) as (door, port), contextlib.AsyncExitStack() as stack:
            for _ in range(6):
                before = set(door.clients)
                stack.enter_context(asking(port))
                await within(functools.partial(_sending, door, before))
                assert sum(client.unsent for client in door.clients) <= limits.unsent
            assert len(door.clients) == 2

    asyncio.run(main())


def _sending(door: Door, before: set[Client]) -> bool:
    return any(client.unsent for client in door.clients - before)


@contextmanager
def asking(port: int, path: str = "/large") -> Iterator[socket.socket]:
    """A client that has asked for this page."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", port))
        sock.settimeout(10)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        yield sock
