"""The fuzzers run for a moment, and find what is planted for them. scripts/fuzz runs them for long."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import __main__ as fuzz
from fuzz import frames, requests, texts
from fuzz.answers import Answers
from fuzz.case import Case, minimised
from wire import Malformed

from piapp import settings
from piapp.sources.control import Control
from piapp.web.api import CameraHandler
from piapp.web.guard import Handler
from piapp.web.health import HealthHandler
from piapp.web.live import Page

TESTS = Path(__file__).parent
CASES = {"http": 1500, "websocket": 1500, "settings": 500, "patch": 1500}


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_nothing_is_found(kind: str) -> None:
    command = [sys.executable, "-m", "fuzz", "--kind", kind, "--cases", str(CASES[kind])]
    done = subprocess.run(
        command, cwd=TESTS.parent, env={"PYTHONPATH": str(TESTS)}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert f"{CASES[kind]} of {CASES[kind]} cases" in done.stderr


# --- what is planted ---


def fails(*_: object) -> None:
    raise ZeroDivisionError


async def hangs(self: Handler) -> None:
    await asyncio.sleep(3600)


def truncates(self: HealthHandler) -> None:
    self.set_header("Content-Length", "9")
    self.write(b"{}")


def answers_too_much(self: CameraHandler, name: str) -> None:
    self.answer({"on": None})


@pytest.mark.parametrize(
    ("kind", "where", "what", "planted", "says"),
    [
        ("http", HealthHandler, "get", fails, r"malformed: status 500|in the log: ERROR"),
        ("http", HealthHandler, "get", hangs, r"a hang: no answer"),
        ("http", HealthHandler, "get", truncates, r"an answer is cut off"),
        ("websocket", Page, "_drawn", fails, r"closed with 1011|in the log: ERROR"),
        ("patch", Control, "check", fails, r"malformed: status 500|in the log: ERROR|not one answer"),
        ("patch", CameraHandler, "patch", answers_too_much, r"the switch is None"),
        ("settings", settings, "straightened", fails, r"ZeroDivisionError"),
    ],
)
def test_what_is_wrong_is_found(
    kind: str,
    where: object,
    what: str,
    planted: object,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(where, what, planted)
    monkeypatch.setattr("fuzz.case.MINIMISING_S", 0.2)
    assert not fuzz.fuzz(kind, range(1500))
    said = capsys.readouterr().out
    assert re.search(says, said), said
    assert re.search(rf"Repeat it with: scripts/fuzz --kind {kind} --seed \d+ --cases 1\n", said), said


# --- their parts ---


@pytest.mark.parametrize("make", [requests.case, requests.change, frames.case, texts.case])
def test_a_seed_makes_the_same_case_again(make: Callable[[int], Case]) -> None:
    assert [make(seed) for seed in range(50)] == [make(seed) for seed in range(50)]


def test_the_shortest_that_still_fails() -> None:
    async def has_both(data: bytes) -> bool:
        return b"x" in data and b"yz" in data

    assert asyncio.run(minimised(b"a" * 100 + b"x" + b"b" * 50 + b"yz" + b"c" * 9, has_both)) == b"xyz"


@pytest.mark.parametrize(
    "wrong",
    [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: \xff\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a":NaN',
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"{}",
    ],
)
def test_answers_that_are_malformed(wrong: bytes) -> None:
    answers = Answers()
    answers.rest += wrong
    with pytest.raises(Malformed):
        answers.take(may_be_head=False)


def test_an_answer_that_is_cut_off() -> None:
    answers = Answers()
    answers.rest += b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert answers.take(may_be_head=True) is None and answers.cut_off(may_be_head=True) == ""
    assert "cut off" in answers.cut_off(may_be_head=False)
