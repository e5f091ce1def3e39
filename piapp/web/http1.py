"""The bytes of HTTP/1.1 requests and answers, as strict as RFC 9112 allows. No I/O.

piapp has its own, since what Tornado lets through differs from version to version: the one of Debian 12 loops for ever
on a negative chunk and takes "+2" for a length. What cannot be misread here cannot be read in two ways by piapp and a
proxy before it: there is one way to end a line, one to give a length, and no chunked body at all.
"""

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tornado.httputil import HTTPHeaders, RequestStartLine

from piapp.web.headers import HEADERS

HEAD_LIMIT = 16 * 1024  # bytes; browsers send cookies of other programs on this computer along
TARGET_LIMIT = 2048
FIELDS_LIMIT = 100

NO_REQUEST = "This is not a well-formed HTTP/1.1 request."

_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# Possessive throughout, so that it takes time in proportion to the head, whatever that is.
_HEAD = re.compile(
    rb"(?P<method>%(token)s) (?P<target>[!-~\x80-\xff]++) HTTP/(?P<version>\d\.\d)\r\n"
    rb"(?P<fields>(?:%(token)s:[\t -~\x80-\xff]*+\r\n)*+)\r\n" % {b"token": _TOKEN}
)
_NEVER = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")  # in no head, at no place


class BadRequest(Exception):
    """A request that is answered with this status and sentence, and the connection closed."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Head(NamedTuple):
    """What stands before a request's body."""

    line: RequestStartLine
    headers: HTTPHeaders
    length: int  # of the body, in bytes
    keep_alive: bool  # the client wants to ask more on the same connection


def take_head(buffer: bytearray, looked: int = 0) -> Head | None:
    """The head at the beginning of the buffer, out of which it is taken; None if it is not all there yet.

    So many bytes were looked at before and did not hold its end. Raises BadRequest, as soon as that shows.
    """
    if looked < 2 and buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: some clients end a body with a line end too many
        del buffer[:2]
        looked = 0
    end = buffer.find(_END, max(0, looked - len(_END)))
    if end > HEAD_LIMIT or (end < 0 and len(buffer) > HEAD_LIMIT):
        raise BadRequest(431, f"The head of a request may have {HEAD_LIMIT >> 10} kB.")
    if end >= 0:
        head = bytes(buffer[: end + len(_END)])
        del buffer[: end + len(_END)]
        return _parse(head)
    if _NEVER.search(buffer, max(0, looked - 1)):
        raise _not_http()
    return None


def _parse(head: bytes) -> Head:
    found = _HEAD.fullmatch(head)
    if not found:
        raise _not_http()
    if found["version"] not in (b"1.0", b"1.1"):
        raise BadRequest(505, "piapp speaks HTTP/1.1.")
    if len(found["target"]) > TARGET_LIMIT:
        raise BadRequest(414, f"An address may have {TARGET_LIMIT} characters.")
    lines = found["fields"].decode("latin-1").split("\r\n")[:-1]
    if len(lines) > FIELDS_LIMIT:
        raise BadRequest(431, f"A request may have {FIELDS_LIMIT} header fields.")
    headers = HTTPHeaders()
    for line in lines:
        name, _, value = line.partition(":")
        headers.add(name, value.strip(" \t"))
    method, target, version = (found[name].decode("latin-1") for name in ("method", "target", "version"))
    hosts = headers.get_list("Host")
    if len(hosts) > 1 or "" in hosts or (not hosts and version == "1.1"):
        raise BadRequest(400, "A request has one Host header.")
    line = RequestStartLine(method, target, f"HTTP/{version}")
    return Head(line, headers, _length(headers), _keeps_alive(headers, version))


def _length(headers: HTTPHeaders) -> int:
    if "Transfer-Encoding" in headers:
        raise BadRequest(501, "Send the body with a Content-Length, not with a Transfer-Encoding.")
    lengths = headers.get_list("Content-Length")
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,15}", lengths[0]):
        raise BadRequest(400, "Content-Length is one whole number.")
    return int(lengths[0])


def _keeps_alive(headers: HTTPHeaders, version: str) -> bool:
    options = {option.strip() for option in headers.get("Connection", "").lower().split(",")}
    return "close" not in options if version == "1.1" else "keep-alive" in options


def _not_http() -> BadRequest:
    return BadRequest(400, NO_REQUEST)


def answer_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of an answer. Raises ValueError for a header that holds a line end."""
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if len(lines) - 1 != text.count("\n") or len(lines) - 1 != text.count("\r"):
        raise ValueError("a line end in a header")
    return f"{text}\r\n\r\n".encode("latin-1")


def refusal(status: int, sentence: str, headers: Mapping[str, str]) -> bytes:
    """A whole answer that says why, and that the connection ends."""
    body = json.dumps({"error": sentence}).encode()
    more = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    return answer_head(status, {**HEADERS, **headers, **more}.items()) + body
