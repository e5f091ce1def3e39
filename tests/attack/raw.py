"""Bytes as an attacker sends them, and what comes back, whatever it is."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from wire import connect

ANSWERS_S = 5.0  # an answer, and the end after it, come at once; a box that is busy may take a little
AT_ONCE = 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [ -~]*\r\n")


class Answer(NamedTuple):
    """One response among those that came. Headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Talk(NamedTuple):
    """What came back on a connection."""

    data: bytes
    end: str  # how it ended: "closed", "reset", or "open" when it did not

    @property
    def answers(self) -> list[Answer]:
        return list(parse(self.data))

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    def refused(self, *statuses: int) -> bool:
        """Answered once, with one of these, and then closed in such a way that nothing of the answer can be lost."""
        return self.end == "closed" and self.answered(*statuses)

    def answered(self, *statuses: int) -> bool:
        """Answered once, with one of these, and then ended."""
        return self.end != "open" and len(self.statuses) == 1 and self.statuses[0] in statuses

    def __str__(self) -> str:
        return f"{self.statuses} then {self.end}"


def is_refusal(status: int) -> bool:
    return 400 <= status < 500 or status == 501


def parse(data: bytes) -> Iterable[Answer]:
    """The responses one after the other. One without Content-Length lasts to the end. None of them may be to a HEAD."""
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        status = _STATUS.match(head + b"\r\n")
        assert status and end, data
        headers = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, colon, value = line.partition(":")
            assert colon and name.lower() not in headers, head
            headers[name.lower()] = value.strip()
        without_body = int(status[1]) < 200 or int(status[1]) == 304
        size = 0 if without_body else int(headers.get("content-length", len(rest)))
        assert len(rest) >= size, data
        yield Answer(int(status[1]), headers, rest[:size])
        data = rest[size:]


def talk(port: int, data: bytes, *, limit_s: float = ANSWERS_S) -> Talk:
    """Send all of it on a connection of its own, then read until the other side ends it."""
    with connect(port) as sock:
        with contextlib.suppress(ConnectionError):  # it may end before it has all: what it said is still to be read
            sock.sendall(data)
        return hear(sock, limit_s=limit_s)


def hear(sock: socket.socket, *, limit_s: float = ANSWERS_S) -> Talk:
    """What comes until the other side ends it, or the time is over."""
    data, end = bytearray(), time.monotonic() + limit_s
    while (left_s := end - time.monotonic()) > 0:
        sock.settimeout(left_s)
        try:
            more = sock.recv(1 << 16)
        except TimeoutError:
            break
        except ConnectionError:
            return Talk(bytes(data), "reset")
        if not more:
            return Talk(bytes(data), "closed")
        data += more
    return Talk(bytes(data), "open")


def talk_all(port: int, each: Iterable[bytes], *, limit_s: float = ANSWERS_S) -> list[Talk]:
    """Several at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(partial(talk, port, limit_s=limit_s), each))


def lines(*heads: str | bytes, body: bytes = b"") -> bytes:
    """A request of these lines. Text is encoded as latin-1, so that each character is the byte that it says."""
    encoded = (line.encode("latin-1") if isinstance(line, str) else line for line in (*heads, ""))
    return b"".join(line + b"\r\n" for line in encoded) + body


def get(path: str = "/health", headers: Mapping[str, str] | None = None, *, method: str = "GET") -> bytes:
    """A request that is right, but for what it is given; the connection closes after it."""
    named = {"Host": "127.0.0.1", "Connection": "close", **(headers or {})}
    return lines(f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()))


def switch(on: bool, *headers: str) -> bytes:
    """A request that switches the camera: what attackers want to smuggle in."""
    body = json.dumps({"on": on}).encode()
    return lines(
        *("PATCH /api/cameras/camera HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"),
        *(f"Content-Length: {len(body)}", *headers),
        body=body,
    )
