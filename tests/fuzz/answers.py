"""What piapp answers, read by a client that forgives nothing. Written from RFC 9112."""

import json
import re
from typing import NamedTuple

from wire import Malformed

STATUSES = frozenset(
    {100, 101, 200, 206, 304, 400, 403, 404, 405, 409, 411, 413, 414, 415, 416, 421, 426, 431, 501, 503, 505}
)
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]+\r\n((?:%b: [\t -~]*\r\n)*)\r\n" % _TOKEN)
_LONGEST_HEAD = 4096
_NEXT = b"HTTP/1.1 "  # no body of piapp's begins so


class Answer(NamedTuple):
    """One response. Headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_last: bool  # what follows is no HTTP any more, or has no end


class Answers:
    """Cuts what comes into answers, fed in pieces of any size."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None

    @property
    def begun(self) -> bool:
        """Whether there is a part of an answer."""
        return bool(self._head or self.rest)

    def take(self, may_be_head: bool) -> Answer | None:
        """The next answer, if all of it is here. Raises Malformed.

        `may_be_head`: among the requests there are, or may be, some for the head alone.
        """
        if self._head is None and not self._take_head():
            return None
        assert self._head
        status, headers = self._head
        if status == 101 or "content-length" not in headers:
            return self._made(b"", is_last=status == 101 or (status == 200 and self._is_stream(headers)))
        length = int(headers["content-length"]) if status != 304 else 0
        if length and may_be_head:
            if self.rest.startswith(_NEXT):
                return self._made(b"")
            if _NEXT.startswith(self.rest):
                return None
        if len(self.rest) < length:
            return None
        body = bytes(self.rest[:length])
        del self.rest[:length]
        return self._made(body)

    def cut_off(self, may_be_head: bool) -> str:
        """What is left of an answer when the other side has closed; empty if it was complete."""
        if self._head and may_be_head and not self.rest:
            return ""
        return f"an answer is cut off: {self._head} {bytes(self.rest[:200])!r}" if self.begun else ""

    def _take_head(self) -> bool:
        end = self.rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self.rest) > _LONGEST_HEAD or not _NEXT.startswith(self.rest[: len(_NEXT)]):
                raise Malformed(f"no head: {bytes(self.rest[:200])!r}")
            return False
        found = _HEAD.fullmatch(self.rest, 0, end + 4)
        if not found:
            raise Malformed(f"head {bytes(self.rest[: end + 4])!r}")
        headers: dict[str, str] = {}
        for line in found[2].decode().split("\r\n")[:-1]:
            name, _, value = line.partition(": ")
            if name.lower() in headers:
                raise Malformed(f"{name} twice: {found[0]!r}")
            headers[name.lower()] = value
        if not re.fullmatch("[0-9]{1,9}", headers.get("content-length", "0")):
            raise Malformed(f"length {headers['content-length']}")
        self._head = int(found[1]), headers
        del found  # it holds the bytes fast
        del self.rest[: end + 4]
        return True

    def _made(self, body: bytes, is_last: bool = False) -> Answer:
        assert self._head
        (status, headers), self._head = self._head, None
        answer = Answer(status, headers, body, is_last)
        _check(answer)
        return answer

    def _is_stream(self, headers: dict[str, str]) -> bool:
        return headers.get("content-type", "").startswith("multipart/x-mixed-replace")


def _check(answer: Answer) -> None:
    """Raises Malformed for what piapp should never say."""
    status, headers, body, is_last = answer
    if status not in STATUSES:
        raise Malformed(f"status {status}: {body[:300]!r}")
    if "content-length" not in headers and not is_last and status not in (100, 304):
        raise Malformed(f"no length: {answer}")
    if b"root:x:0" in body or b"[tool.ruff]" in body or b"Traceback" in body:
        raise Malformed(f"a file or a traceback: {body[:300]!r}")
    if body and headers.get("content-type") == "application/json":
        said = _json(body)
        if status >= 400 and "status" not in said and not isinstance(said.get("error"), str):
            raise Malformed(f"no sentence: {body[:300]!r}")


def _json(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body, parse_constant=lambda word: _no_json(word))
    except ValueError as error:
        raise Malformed(f"no JSON ({error}): {body[:300]!r}") from None
    if not isinstance(said, dict):
        raise Malformed(f"no object: {body[:300]!r}")
    return said


def _no_json(word: str) -> None:
    raise ValueError(word)
