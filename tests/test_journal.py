"""The log: lines that are lines, and not too many of them."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from piapp.system import journal
from piapp.system.journal import OneLine, Repetition


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Lines(logging.Handler):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.setFormatter(OneLine("%(levelname)s %(message)s"))
        self.addFilter(Repetition(clock))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> Iterator[list[str]]:
    handler = Lines(clock)
    log.addHandler(handler)
    yield handler.lines
    log.removeHandler(handler)


AT_ONCE = int(journal.LINES.count)
EVERY_S = journal.LINES.span_s / AT_ONCE
log = logging.getLogger("test of the journal")
log.setLevel(logging.DEBUG)


@pytest.mark.parametrize(
    "broken", ["a\nERROR b", "a\rb", "\x1b[2J", "\0", "\x85", "\x9b1m", "\u2028", "\ud800", "\x7f"]
)
def test_what_is_not_printable_is_escaped(lines: list[str], broken: str) -> None:
    log.info("from %s", broken)
    assert len(lines) == 1 and lines[0].isprintable() and "\\x" in lines[0]
    assert lines[0].encode()


def test_other_letters_stay(lines: list[str]) -> None:
    log.info("%s", "Küche 猫 🐦")
    assert lines == ["INFO Küche 猫 🐦"]


def test_a_traceback_has_its_lines(lines: list[str]) -> None:
    try:
        raise ValueError("a\x1bb")
    except ValueError:
        log.exception("failed")
    assert lines[0].startswith("ERROR failed\nTraceback") and "\x1b" not in lines[0] and lines[0].count("\n") >= 3


def test_what_repeats_is_counted(lines: list[str], clock: Clock) -> None:
    for number in range(1000):
        log.warning("refused %s", number)
    assert lines == [f"WARNING refused {number}" for number in range(AT_ONCE)]
    log.warning("another kind")
    assert lines[-1] == "WARNING another kind"
    clock.now = EVERY_S + 1
    log.warning("refused %s", "again")
    log.warning("refused %s", "and again")
    assert lines[AT_ONCE + 1 :] == [f"WARNING refused again (and {1000 - AT_ONCE} more like it)"]


def test_what_happens_rarely_is_always_told(lines: list[str], clock: Clock) -> None:
    for _ in range(100):
        clock.now += EVERY_S + 1
        log.warning("unplugged")
    assert lines == ["WARNING unplugged"] * 100


def test_debugging_tells_all(lines: list[str]) -> None:
    for _ in range(100):
        log.debug("request")
    assert len(lines) == 100


def test_only_so_many_kinds_are_remembered(lines: list[str]) -> None:
    for _ in range(2):
        for _ in range(100):
            log.info("the first kind")
        for number in range(journal.KINDS):
            log.info(f"kind {number}")  # as a library may do it
    assert lines.count("INFO the first kind") == 2 * AT_ONCE


def test_threads_share_one_limit(clock: Clock) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    repetition, passed = Repetition(clock), list[bool]()

    def log_often() -> None:
        for _ in range(2000):
            passed.append(repetition.filter(logging.LogRecord("a", logging.WARNING, "b", 1, "same", (), None)))

    threads = [threading.Thread(target=log_often) for _ in range(6)]
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    assert passed.count(True) == AT_ONCE
