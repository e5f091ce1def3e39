"""The bytes of HTTP/1.1 requests and responses, as strict as RFC 9112 allows. No I/O.

piapp has its own parser because Tornado's accepts different things in each version: the one in Debian 12 loops forever
on a negative chunk size and accepts "+2" as a length. To prevent request smuggling, piapp and a proxy in front of it
must never read a request differently. So there is one way to end a line, one way to give a length, and no chunked body.
"""

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tornado.httputil import HTTPHeaders, RequestStartLine

from piapp.web.headers import HEADERS

HEAD_LIMIT = 16 * 1024  # bytes; cookies of other programs on the same host count as well
TARGET_LIMIT = 2048
FIELDS_LIMIT = 100
NAME_LIMIT = 100  # characters of a field's name; Tornado keeps the latest thousand names, however long they are

NO_REQUEST = "This is not a well-formed HTTP/1.1 request."

_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# Possessive quantifiers throughout: matching takes time proportional to the head, whatever it contains.
_HEAD = re.compile(
    rb"(?P<method>%(token)s) (?P<target>[!-~\x80-\xff]++) HTTP/(?P<version>\d\.\d)\r\n"
    rb"(?P<fields>(?:%(token)s:[\t -~\x80-\xff]*+\r\n)*+)\r\n" % {b"token": _TOKEN}
)
_NEVER = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")  # allowed nowhere in a head


class BadRequest(Exception):
    """Respond with this status and sentence, then close the connection."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Head(NamedTuple):
    """A request without its body."""

    line: RequestStartLine
    headers: HTTPHeaders
    length: int  # of the body, in bytes
    keep_alive: bool  # The client may send further requests on the same connection.
    expects_continue: bool  # The client sends the body only after 100 Continue.


def take_head(buffer: bytearray, searched: int = 0) -> Head | None:
    """Remove the head from the beginning of the buffer and return it; None while it is incomplete.

    `searched`: length of the buffer when this last returned None. Raises BadRequest as soon as the head is invalid.
    """
    if searched < 2 and buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: some clients send one after a body
        del buffer[:2]
        searched = 0
    end = buffer.find(_END, max(0, searched - len(_END)))
    if end > HEAD_LIMIT or (end < 0 and len(buffer) > HEAD_LIMIT):
        raise BadRequest(431, f"The request head is larger than {HEAD_LIMIT >> 10} kB.")
    if end >= 0:
        head = bytes(buffer[: end + len(_END)])
        del buffer[: end + len(_END)]
        return _parse(head)
    if _NEVER.search(buffer, max(0, searched - 1)):
        raise _not_http()
    return None


def _parse(head: bytes) -> Head:
    found = _HEAD.fullmatch(head)
    if not found:
        raise _not_http()
    if found["version"] not in (b"1.0", b"1.1"):
        raise BadRequest(505, "piapp supports HTTP/1.0 and HTTP/1.1 only.")
    if len(found["target"]) > TARGET_LIMIT:
        raise BadRequest(414, f"The URL is longer than {TARGET_LIMIT} characters.")
    lines = found["fields"].decode("latin-1").split("\r\n")[:-1]
    if len(lines) > FIELDS_LIMIT:
        raise BadRequest(431, f"The request has more than {FIELDS_LIMIT} header fields.")
    headers = HTTPHeaders()
    for line in lines:
        name, _, value = line.partition(":")
        if len(name) > NAME_LIMIT:
            raise BadRequest(431, f"The name of a header field may have {NAME_LIMIT} characters.")
        headers.add(name, value.strip(" \t"))
    method, target, version = (found[name].decode("latin-1") for name in ("method", "target", "version"))
    hosts = headers.get_list("Host")
    if len(hosts) > 1 or "" in hosts or (not hosts and version == "1.1"):
        raise BadRequest(400, "A request must have exactly one Host header.")
    line = RequestStartLine(method, target, f"HTTP/{version}")
    expects_continue = version == "1.1" and headers.get("Expect", "").lower() == "100-continue"
    return Head(line, headers, _length(headers), _keeps_alive(headers, version), expects_continue)


def _length(headers: HTTPHeaders) -> int:
    if "Transfer-Encoding" in headers:
        raise BadRequest(501, "Send the body with Content-Length, not with Transfer-Encoding.")
    lengths = headers.get_list("Content-Length")
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,15}", lengths[0]):
        raise BadRequest(400, "Content-Length must be a single whole number.")
    return int(lengths[0])


def _keeps_alive(headers: HTTPHeaders, version: str) -> bool:
    options = {option.strip() for option in headers.get("Connection", "").lower().split(",")}
    return "close" not in options if version == "1.1" else "keep-alive" in options


def _not_http() -> BadRequest:
    return BadRequest(400, NO_REQUEST)


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of a response. Raises ValueError if a header contains a line break."""
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if len(lines) - 1 != text.count("\n") or len(lines) - 1 != text.count("\r"):
        raise ValueError("a header contains a line break")
    return f"{text}\r\n\r\n".encode("latin-1")


def refusal(status: int, sentence: str, headers: Mapping[str, str], *, with_body: bool = True) -> bytes:
    """A complete error response, after which the connection closes. The response to HEAD has no body."""
    body = json.dumps({"error": sentence}).encode()
    more = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    return response_head(status, {**HEADERS, **headers, **more}.items()) + (body if with_body else b"")
