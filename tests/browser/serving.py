"""What the browsers look at: piapp as a process of its own, a recording of what it sent, and a foreign web page."""

import asyncio
import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import simplejpeg

from piapp.sources.pattern import count_in

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Piapp:
    """piapp with the cameras of `settings` (TOML), on a port that it keeps when it is started again.

    `server` are more lines for its section. Its state and its log are in `folder`. It runs in `place`: a network
    namespace and the address there; in this one without. `environment` comes on top; `code` is where the program is.
    """

    def __init__(
        self,
        folder: Path,
        settings: str,
        *,
        server: str = "",
        place: tuple[str, str] = ("", "127.0.0.1"),
        environment: Mapping[str, str] | None = None,
        code: Path = ROOT,
    ) -> None:
        namespace, self.host = place
        self.port = free_port()
        self.url = f"http://{self.host}:{self.port}"
        self._log = folder / "piapp.log"
        file = folder / "config.toml"
        file.write_text(f'[server]\nhost = "{self.host}"\nport = {self.port}\n{server}\n{settings}')
        entered = ["ip", "netns", "exec", namespace] if namespace else []
        self._command = [*entered, sys.executable, "-m", "piapp", "--config", str(file)]
        own = {"PYTHONPATH": str(code), "STATE_DIRECTORY": str(folder / "state")}
        self._environment = {**os.environ, **own, **(environment or {})}
        self._folder = folder
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=self._folder
            )
        end = time.monotonic() + START_LIMIT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"piapp did not start: {self._log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut does."""
        self._process.kill()
        self._process.wait()

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """As its owner does."""
        self._process.terminate()
        self._process.wait(START_LIMIT_S)

    def api(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        with contextlib.closing(connection):
            sent = None if body is None else json.dumps(body)
            connection.request(method, f"/api/{path}", sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            return json.loads(text)

    def until(self, path: str, found: Callable[[Any], object], limit_s: float = START_LIMIT_S) -> None:
        """Until what the API tells there is as wanted."""
        end = time.monotonic() + limit_s
        while not found(told := self.api("GET", path)):
            assert time.monotonic() < end, told
            time.sleep(0.02)


@dataclass(frozen=True)
class Picture:
    """One that has gone over the wire."""

    count: int  # as drawn into it by the test pattern
    sent: float  # when its last byte passed, in seconds since 1970


@dataclass
class Exchange:
    """A request, and its answer as it came: when, and what."""

    request: bytes
    answer: list[tuple[float, bytes]] = field(default_factory=list)

    def body(self) -> bytes:
        return b"".join(data for _, data in self.answer).partition(b"\r\n\r\n")[2]

    def pictures(self) -> list[Picture]:
        whole, passed, place = b"", [], 0
        for moment, data in self.answer:
            whole += data
            passed.append((len(whole), moment))
        found = []
        while (start := whole.find(b"\xff\xd8\xff", place)) >= 0 and (end := whole.find(b"\xff\xd9", start)) >= 0:
            place = end + 2
            luma = simplejpeg.decode_jpeg(whole[start:place], colorspace="GRAY")[:, :, 0]
            found.append(Picture(count_in(luma), next(moment for length, moment in passed if length >= place)))
        return found


class Recorder:
    """Stands between browser and piapp and writes down what passes, in a thread of its own."""

    def __init__(self, port: int) -> None:
        """`port`: piapp's."""
        self.exchanges: list[Exchange] = []
        self.takes_sockets = True  # False: as a proxy that does not know WebSockets
        self.delay_s = 0.0  # of everything that piapp says
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()

    def find(self, path: str) -> Exchange:
        """The last one that asked for it; waits until the first picture has passed."""
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            for exchange in reversed(self.exchanges):
                if exchange.request.split()[1:2] == [path.encode()] and exchange.pictures():
                    return exchange
            time.sleep(0.02)
        raise AssertionError(f"nobody got {path}, but {[e.request[:60] for e in self.exchanges]}")

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pass, sock=self._listening)
        await self._stop.wait()
        server.close()
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            async with _closing(writer):
                upward, downward = await asyncio.open_connection("127.0.0.1", self._port)
                async with _closing(downward):
                    mine: list[Exchange] = []
                    asking = asyncio.create_task(self._pass_requests(reader, downward, mine))
                    while data := await upward.read(1 << 20):
                        await asyncio.sleep(self.delay_s)
                        mine[-1].answer.append((time.time(), data))
                        writer.write(data)
                        await writer.drain()
                    asking.cancel()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mine: list[Exchange]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not mine or mine[-1].answer:
                    mine.append(Exchange(b""))
                    self.exchanges.append(mine[-1])
                mine[-1].request += data
                if not self.takes_sockets and b"\r\nupgrade: websocket\r\n" in data.lower():
                    break
                writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.transport.abort()


class _Blank(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b"<!doctype html><title>Foreign</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def foreign_server() -> Iterator[int]:
    """The port of a web server of somebody else, with an empty page."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
