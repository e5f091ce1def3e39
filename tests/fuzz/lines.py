"""Connections to piapp that are kept busy with cases.

Several cases are under way on a line at the same time. Behind each goes a request with a number that its answer
repeats: the line is still in step then, and all cases before it are done. A case may also end the line, or have piapp
wait for more; then the line is ended, and what was behind it goes over another one.
"""

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from random import Random

from wire import Malformed

from .case import Case, Finding
from .target import Target

LINES = 48
UNDER_WAY = 4  # cases, at most
IDLE_TICKS = 8  # without an answer: piapp waits for more
ENDS_S = 10.0  # after the end of what is said to it
PIECE_S = 0.0005  # between two pieces
TICK_S = 0.05
SUSPECTS = 300  # cases that were done most recently


class Line(asyncio.Protocol, ABC):
    """One connection."""

    def __init__(self, crew: "Crew") -> None:
        self.sent: deque[tuple[int, Case]] = deque()  # under way, with their numbers
        self.loop = asyncio.get_running_loop()
        self._crew = crew
        self._pieces: deque[bytes] = deque()  # still to be sent of the newest one
        self._transport: asyncio.Transport | None = None
        self._idle = 0  # ticks since a case was sent first or was done
        self._ended: float | None = None  # when all was said

    # --- what a kind of line makes of it ---

    @abstractmethod
    def marker(self, number: int) -> bytes:
        """What goes behind a case."""

    @abstractmethod
    def heard(self, data: bytes) -> None:
        """This came. Raises Malformed, or Finding for other mistakes."""

    def cut_off(self) -> str:
        """What is wrong with the end of what came, as piapp has closed the line in an orderly way."""
        return ""

    def may_wait(self) -> bool:
        """Whether piapp may wait for more than it was told."""
        return True

    def greet(self) -> bool:
        """Say what comes first; whether cases may follow at once."""
        return True

    # --- for them ---

    def write(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)

    def is_sent(self, number: int) -> bool:
        """Whether the case with this number is under way; an answer may look like a marker's by chance."""
        return any(number == sent for sent, _ in self.sent)

    def finish(self, number: int) -> None:
        """The marker with this number was answered: all cases up to it are done."""
        while self.sent.popleft()[0] != number:
            self._crew.finish()
        self._crew.finish()
        self._idle = 0

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    # --- asyncio's ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # else we run out of ports
        if self.greet():
            self.fill()

    def data_received(self, data: bytes) -> None:
        try:
            self.heard(data)
        except Malformed as error:
            self._crew.found(Finding(f"malformed: {error}", self.suspects()))
        except Finding as finding:
            self._crew.found(Finding(finding.what, self.suspects()))
        self.fill()

    def eof_received(self) -> bool:
        return False  # close

    def connection_lost(self, error: Exception | None) -> None:
        if not error and (what := self.cut_off()) and self.sent:
            self._crew.found(Finding(what, self.suspects()))
        self._transport = None
        if self.sent:
            self._crew.finish()  # the first one has ended it
            self.sent.popleft()
        self._crew.lost(self, [case for _, case in self.sent])

    # --- work ---

    def suspects(self) -> list[Case]:
        return [case for _, case in self.sent]

    def fill(self) -> None:
        """Have enough under way."""
        while self._transport and self._ended is None and not self._pieces and len(self.sent) < self._crew.under_way:
            case = self._crew.next_case()
            if case is None:
                if not self.sent:
                    self.close()
                return
            number = self._crew.number()
            if not self.sent:
                self._idle = 0
            self.sent.append((number, case))
            self._pieces += case.pieces
            self._pieces[-1] += self.marker(number)
            self._transport.write(self._pieces.popleft())
            if self._pieces:
                self.loop.call_later(PIECE_S, self._send_rest)

    def _send_rest(self) -> None:
        if not self._transport or self._transport.is_closing():
            return
        self._transport.write(self._pieces.popleft())
        if self._pieces:
            self.loop.call_later(PIECE_S, self._send_rest)
        else:
            self.fill()

    def tick(self, now: float) -> None:
        if not self._transport or not self.sent or self._pieces:
            return
        self._idle += 1
        if self._ended is None and self._idle > IDLE_TICKS:
            if not self.may_wait():
                self._crew.found(Finding("a hang: no answer", self.suspects()))
            self._ended = now
            with contextlib.suppress(OSError):  # it has closed in this moment
                self._transport.write_eof()
        elif self._ended is not None and now - self._ended > ENDS_S:
            self._crew.found(Finding(f"a hang: no end for {ENDS_S:g} s after all was said", self.suspects()))


class Crew:
    """All lines, and the cases that they share."""

    def __init__(self, target: Target, make: Callable[["Crew"], Line], lines: int = LINES) -> None:
        self.done = 0
        self.under_way = 1
        self._target, self._make, self._count = target, make, lines
        self._cases: Iterator[Case] = iter(())
        self._again: deque[Case] = deque()  # of lines that have ended
        self._recent: deque[Case] = deque(maxlen=SUSPECTS)
        self._lines: set[Line] = set()
        self._number = 0
        self._finding: Finding | None = None
        self._random = Random(0)
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, cases: Iterable[Case]) -> None:
        """All of these. Raises Finding."""
        self._cases, self._finding = iter(cases), None
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            self._open()
        while self._lines or self._opening:
            await asyncio.sleep(TICK_S)
            if problem := self._target.problem():
                self.found(Finding(problem, [case for line in self._lines for case in line.suspects()]))
                assert self._finding
                self._finding.suspects += reversed(self._recent)
            if self._finding:
                break
            for line in tuple(self._lines):
                line.tick(loop.time())
        for line in tuple(self._lines):
            line.close()
        if self._finding:
            raise self._finding

    # --- for lines ---

    def next_case(self) -> Case | None:
        if self._finding:
            return None
        case = self._again.popleft() if self._again else next(self._cases, None)
        self.under_way = self._random.randint(1, UNDER_WAY)
        if case:
            self._recent.append(case)
        return case

    def number(self) -> int:
        self._number += 1
        return self._number

    def finish(self) -> None:
        self.done += 1

    def found(self, finding: Finding) -> None:
        self._finding = self._finding or finding

    def lost(self, line: Line, again: list[Case]) -> None:
        """This line has ended; these cases were behind the one that ended it."""
        self._lines.discard(line)
        self._again.extendleft(reversed(again))
        if self._finding:
            return
        if not self._again and (case := next(self._cases, None)):
            self._again.append(case)
        if self._again:
            self._open()

    def _open(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        line = self._make(self)
        self._lines.add(line)
        try:
            await asyncio.get_running_loop().create_connection(lambda: line, "127.0.0.1", self._target.port)
        except OSError as error:
            self._lines.discard(line)
            self.found(Finding(f"no connection: {error}"))
