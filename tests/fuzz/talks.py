"""The two kinds of lines: HTTP requests, and the page's WebSocket."""

import base64
import json
import os
import re
from collections.abc import Sequence

from live_wire import TEXT, Closed, Messages, Picture
from live_wire import frame as masked
from wire import Malformed, request

from piapp.web.websocket import CloseCode, Reader, WebSocketError

from .answers import Answer, Answers
from .case import Case, Finding
from .lines import Crew, Line

_MARKER = re.compile(rb'\{"error": "There is no camera \\"mark (\d+)\\"\.')
_WAITS = re.compile(rb"content-length|snapshot", re.IGNORECASE)
_UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
BROKEN = frozenset({CloseCode.PROTOCOL_ERROR, CloseCode.NOT_UNDERSTOOD, CloseCode.TOO_BIG})
ENDS = BROKEN | {CloseCode.GOING_AWAY}


class Requests(Line):
    """HTTP: anything may be asked; all that is answered is right, whatever it says."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._answers = Answers()
        self._between: list[Answer] = []  # since the last marker

    def marker(self, number: int) -> bytes:
        return b"GET /api/cameras/mark%%20%d HTTP/1.1\r\nHost: a\r\n\r\n" % number

    def heard(self, data: bytes) -> None:
        self._answers.rest += data
        while answer := self._answers.take(self._may_be_head()):
            if answer.status == 404 and (found := _MARKER.match(answer.body)) and self.is_sent(int(found[1])):
                self.judge(int(found[1]), self._between)
                self._between = []
                self.finish(int(found[1]))
            else:
                self._between.append(answer)
            if answer.is_last:
                self._answers = Answers()
                self.close()
                return

    def judge(self, number: int, answers: Sequence[Answer]) -> None:
        """The answers to the cases up to this number. Raises Finding."""

    def cut_off(self) -> str:
        return self._answers.cut_off(self._may_be_head())

    def may_wait(self) -> bool:
        """For a body, or for the camera. A marker is answered too if it has become part of something else."""
        return bool(self._between or self._answers.begun or _WAITS.search(self.sent[0][1].data))

    def _may_be_head(self) -> bool:
        return any(b"HEAD" in case.data for _, case in self.sent)


class Changes(Requests):
    """PATCH requests that are well-formed: each has one answer, which says what has become of the switch."""

    def judge(self, number: int, answers: Sequence[Answer]) -> None:
        first, case = self.sent[0]
        if first != number or [answer.status for answer in answers] not in ([200], [400], [413]):
            raise Finding(f"not one answer to each: {number} for {first}, {answers}")
        if answers[0].status != 200:
            return
        said, wanted = json.loads(answers[0].body), json.loads(case.data.partition(b"\r\n\r\n")[2])
        if "on" in wanted and said["on"] is not wanted["on"]:
            raise Finding(f"the switch is {said['on']}: {answers[0].body!r}")


class Live(Line):
    """The page's WebSocket: it stays open, or says why not."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._messages: Messages | None = None  # until it is agreed upon
        self._head = b""

    def greet(self) -> bool:
        key = base64.b64encode(os.urandom(16)).decode()  # with the same key it would be the same page
        self.write(request("GET", "/api/live", {**_UPGRADE, "Sec-WebSocket-Key": key}))
        return False

    def marker(self, number: int) -> bytes:
        return masked(TEXT, b'{"type": "ping", "echo": %d.5}' % number)

    def fill(self) -> None:
        if self._messages:
            super().fill()

    def heard(self, data: bytes) -> None:
        if self._messages is None:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            head, _, data = self._head.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"):
                raise Malformed(f"{head!r} instead of a WebSocket")
            self._messages = Messages()
        self._messages.rest += data
        try:
            while message := self._messages.take():
                if isinstance(message, Picture) and not message.jpeg.endswith(b"\xff\xd9"):
                    raise Malformed("not a picture")
                if isinstance(message, dict) and message["type"] == "pong" and message["echo"] % 1 == 0.5:
                    number = int(message["echo"])
                    if self.is_sent(number):
                        self.finish(number)
        except Closed as closed:
            # one that has a reason is piapp's own word, the others repeat what they were told
            if closed.reason and closed.code not in ENDS:
                raise Finding(f"closed with {closed.code}: {closed.reason}") from None
            if not closed.reason and not (1000 <= closed.code < 5000 or closed.code == 0):
                raise Finding(f"closed with {closed.code}") from None
            self.close()
        except (AssertionError, KeyError, ValueError) as error:
            raise Malformed(f"{error!r}") from error


def read(case: Case) -> None:
    """The same bytes at once and in pieces: the same messages come out, and the same error. Raises Finding."""
    whole, parted = _messages([case.data]), _messages(case.pieces)
    single = _messages([case.data[i : i + 1] for i in range(len(case.data))]) if len(case.data) < 200 else whole
    if not whole == parted == single:
        raise Finding(f"read in another way in pieces: {whole} {parted} {single}", [case])


def _messages(pieces: Sequence[bytes]) -> list[object]:
    reader, found = Reader(), list[object]()
    for piece in pieces:
        try:
            found += reader.feed(piece)
        except WebSocketError as error:
            if error.code not in BROKEN:
                raise Finding(f"the reader closes with {error.code}") from None
            found.append(str(error))
    return found
