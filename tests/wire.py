"""The wire as a client sees it: raw requests, and a reader of both stream formats that forgives nothing.

Written from the formats' description, not from piapp/web/multipart.py.
"""

import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

BROWSER = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}
PROGRAM = {"Accept": "*/*"}
DELIMITER = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"  # behind each picture for browsers
LIMIT_S = 60.0  # nothing here takes a second; a box that is busy may take a few

_CLASSIC_HEADER = re.compile(
    rb"Content-Type: image/jpeg\r\nContent-Length: (0|[1-9]\d*)\r\nX-Timestamp: (\d+\.\d{6})\r\n\r\n"
)


class Part(NamedTuple):
    """One picture out of a stream."""

    jpeg: bytes
    timestamp: str  # X-Timestamp; empty in the browsers' format


class Malformed(Exception):
    """The bytes are not what the format says."""


class Refused(Exception):
    """Another answer than a stream."""


class Parser:
    """Cuts a stream's body into its parts, fed in pieces of any size. Raises Malformed."""

    def __init__(self, *, advance: bool) -> None:
        self._advance = advance
        self._begun = False
        self._looked = 0  # so much of the rest holds no delimiter
        self.rest = bytearray()

    def feed(self, data: bytes) -> list[Part]:
        """The parts that are whole by now: all of the picture, and what the format puts behind it."""
        self.rest += data
        if not self._begun and not self._expect(0, DELIMITER[2:] if self._advance else b"--frame\r\n"):
            return []
        self._begun = True
        parts = []
        while part := self._of_browsers() if self._advance else self._of_programs():
            parts.append(part)
        return parts

    def _expect(self, place: int, wanted: bytes) -> bool:
        """Take everything up to the end of `wanted`, if all of it stands at `place` already."""
        here = bytes(self.rest[place : place + len(wanted)])
        if not wanted.startswith(here):
            raise Malformed(f"{here!r} instead of {wanted!r}")
        if len(here) == len(wanted):
            del self.rest[: place + len(wanted)]
        return len(here) == len(wanted)

    def _of_browsers(self) -> Part | None:
        place = self.rest.find(DELIMITER, self._looked)
        if place < 0:
            self._looked = max(0, len(self.rest) - len(DELIMITER) + 1)
            return None
        jpeg = bytes(self.rest[:place])
        self._looked = 0
        del self.rest[: place + len(DELIMITER)]
        return Part(jpeg, "")

    def _of_programs(self) -> Part | None:
        end = self.rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self.rest) > 200:
                raise Malformed(f"no header: {bytes(self.rest[:200])!r}")
            return None
        header = _CLASSIC_HEADER.match(self.rest)
        if not header:
            raise Malformed(f"header {bytes(self.rest[: end + 4])!r}")
        start, size, timestamp = header.end(), int(header[1]), header[2].decode()
        del header  # it holds the bytes fast
        jpeg = bytes(self.rest[start : start + size])
        if len(jpeg) < size or not self._expect(start + size, b"\r\n--frame\r\n"):
            return None
        return Part(jpeg, timestamp)


class Answer(NamedTuple):
    """A response. The headers' names are in lower case; none came twice."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body)

    def sentence(self) -> str:
        """What an error says: nothing but that, one line that begins as a sentence does."""
        value = self.json()
        assert list(value) == ["error"]
        assert re.fullmatch(r"[\w\"].{9,}", value["error"]), value
        return str(value["error"])


def connect(port: int, host: str = "127.0.0.1", *, receive_buffer: int = 0) -> socket.socket:
    """`receive_buffer`: as small as the kernel will have it, for a viewer that cannot take much."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(LIMIT_S)
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request; Host is 127.0.0.1 where `headers` has no other."""
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in {"Host": "127.0.0.1", **headers}.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


def read_head(sock: socket.socket) -> Answer:
    """A response's head, with as much of the body as came along with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise EOFError(data)
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]+", status)
    assert found, status
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon and name.lower() not in headers, lines
        headers[name.lower()] = value
    return Answer(int(found[1]), headers, body)


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other side closes, in whatever way."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while more := sock.recv(1 << 16):
            data += more
    return bytes(data)


def ask(
    port: int,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    host: str = "127.0.0.1",
) -> Answer:
    """One request on a connection of its own, and the whole answer."""
    with connect(port, host) as sock:
        sock.sendall(request(method, path, {"Connection": "close", **(headers or {})}, body))
        head = read_head(sock)
        assert method == "HEAD" or head.status == 304 or "content-length" in head.headers, head  # a stream has no end
        answer = head._replace(body=head.body + read_all(sock))
    if method == "HEAD" or answer.status == 304:
        assert answer.body == b""
    else:
        assert len(answer.body) == int(answer.headers["content-length"])
    return answer


def patch(port: int, changes: object, name: str = "camera") -> Answer:
    """Change a camera as a program does."""
    headers = {"Content-Type": "application/json"}
    return ask(port, f"/api/cameras/{name}", "PATCH", headers, json.dumps(changes).encode())


class Stream:
    """One open stream, to be used in a `with`."""

    def __init__(
        self,
        port: int,
        path: str = "/stream",
        headers: Mapping[str, str] = PROGRAM,
        *,
        host: str = "127.0.0.1",
        receive_buffer: int = 0,
        raw: bytes = b"",
    ) -> None:
        """`raw`: a whole request, instead of one made of `path` and `headers`."""
        self.socket = connect(port, host, receive_buffer=receive_buffer)
        try:
            self.socket.sendall(raw or request("GET", path, headers))
            self.head = read_head(self.socket)
            if self.head.status != 200:
                raise Refused(self.head)
            self._parser = Parser(advance=headers is BROWSER)
            self._ready = self._parser.feed(self.head.body)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.socket.close()

    def __iter__(self) -> Iterator[Part]:
        return self

    def __next__(self) -> Part:
        """The next whole part; ends when the other side has closed."""
        while not self._ready:
            if not self.receive(1 << 16):
                raise StopIteration
        return self._ready.pop(0)

    def receive(self, size: int) -> int:
        """Take at most so many bytes off the socket; how many came, 0 at the end."""
        data = self.socket.recv(size)
        self._ready += self._parser.feed(data)
        return len(data)

    def whole(self) -> list[Part]:
        """The parts that are here already."""
        ready, self._ready = self._ready, []
        return ready

    def take(self, count: int) -> list[Part]:
        return [next(self) for _ in range(count)]

    def reset(self) -> None:
        """End it with an RST, as a client that crashes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
