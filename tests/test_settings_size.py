"""A file of settings takes no time, whatever is in it: to find its mistake, and to make out what can be used of it."""

import itertools
import time
from pathlib import Path

import pytest

from piapp import settings
from piapp.errors import ConfigError

LIMIT_S = 2.0  # it takes a tenth of a second; where every beginning of the text was tried, a minute
WRONG = "[server]\nport = 0\n"
SERVER = "[server]\nport = 81\n"


def fill(line: str, before: str = "", behind: str = "", size: int = settings.LARGEST) -> str:
    """A file of the largest size, most of it this line (in which %d is a number)."""
    room = size - len(before.encode()) - len(behind.encode())
    lines = []
    for number in itertools.count():
        lines.append(line.replace("%d", str(number)))
        room -= len(lines[-1].encode())
        if room < 0:
            return before + "".join(lines[:-1]) + behind
    raise AssertionError


FILES = {
    "comments": fill("# a comment\n", behind=WRONG),
    "comments, no TOML": fill("# a comment\n", behind=SERVER + "x"),
    "blank lines": fill("\n", behind=WRONG),
    "settings": fill("a%d = 1\n", SERVER),
    "settings, no TOML": fill("a%d = 1\n", SERVER, "x"),
    "settings at the top": fill("server.a%d = 1\n"),
    "the same again": fill("port = 1\n", SERVER),
    "no values": fill("port = x\n", SERVER),
    "no names": fill('"" = 1\n', SERVER),
    "junk": fill("x\n", SERVER),
    "sections": fill("[a%d]\n"),
    "sections in it": fill("[server.a%d]\n"),
    "cameras": fill("[[camera]]\n", behind="quality = 0\n"),
    "cameras with names": fill('[[camera]]\nname = "a%d"\n'),
    "cameras, no TOML": fill("[[camera]]\n", SERVER, "x"),
    "cameras in brackets": fill("{},", "camera = [", "{}]\n"),
    "broken sections": fill("[[camera]\n", SERVER),
    "a long text": fill("text\n", '[server]\nhost = """\n', '"""\n'),
    "a long text, no end": fill("text\n", f'{SERVER}host = """\n'),
    "a long list": fill("1,\n", "[server]\nport = [\n", "]\n"),
    "a long list, no end": fill("1,\n", f"{SERVER}host = [\n"),
    "lists, no end": fill("a = [\n", SERVER),
    "brackets": fill("[", f"{SERVER}host = "),
    "brackets on lines": fill("[\n", f"{SERVER}host = "),
    "braces": fill("{a=", f"{SERVER}host = "),
    "lists in lists": fill(f"{'[' * 200}{']' * 200},", "[server]\nport = [", "]\n"),
    "a key of many parts": fill("a.", behind="a = 1\n"),
    "a key of many quoted parts": fill("''.", behind="a = 1\n"),
    "a section of many parts": fill("a.", "[", "a]\n"),
    "settings in a section of many parts": fill("a%d = 1\n", f"[{'a.' * 16000}a]\n"),
    "a key of many parts in braces": fill("a.", "[server]\nport = {", "a = 1}\n"),
    "a long line": fill("x", '[server]\nhost = "', '"\n'),
    "a long name": fill("x", "[server]\n", " = 1\n"),
    "escapes": fill("\\n", '[server]\nhost = "', '"\n'),
    "colons": fill(":", '[server]\nhost = "', '\\n:"\n'),
    "spaces": fill(" ", '[[camera]]\nresolution = "1', '"\n'),
    "accents": fill("\u0315\u0300", '[[camera]]\nname = "a', '"\n'),
    "digits": fill("9", "[server]\nport = "),
    "hexadecimal": fill("f", "[server]\nport = 0x"),
    "curly quotes": fill("“", SERVER),
    "curly quotes on lines": fill("“\n", SERVER),
    "curly text": fill("a%d = “b”\n", SERVER),
    "escaped quotes": fill('\\"', '[server]\nhost = “"'),
    "escaped triple quotes": fill('"""\\', "[server]\nhost = “"),
    "quotes": fill('"a', "[server]\nhost = “"),
    "quotes of all kinds": fill("\"“'‘\\", "[server]\nhost = “\n"),
    "apostrophes": fill("'\n", "[server]\nhost = “\n"),
    "triple apostrophes": fill("''' '' ", "[server]\nhost = “\n"),
    "backslashes": fill("\\", '[server]\nhost = “\n"'),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_the_largest_file_with_a_mistake(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    begun = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        settings.load(path)
    rescued = settings.rescue(path, caught.value)
    assert time.monotonic() - begun < LIMIT_S
    assert rescued.server.port == (81 if SERVER in text else 8080 if "port = 1\n" not in text else 1)
    assert rescued.problem.isprintable() and len(rescued.problem) < 400


@pytest.mark.parametrize("quote", ['"', "“"])
def test_the_largest_file_without_one(tmp_path: Path, quote: str) -> None:
    path = tmp_path / "config.toml"
    names = ", ".join(f"{quote}a{i}.example.org{quote}" for i in range(1000))
    path.write_text(
        fill("# a comment\n", f"[server]\nallowed_hosts = [{names}]\n", f"[[camera]]\nname = {quote}a{quote}\n")
    )
    begun = time.monotonic()
    assert len(settings.load(path).server.allowed_hosts) == 1000
    assert time.monotonic() - begun < LIMIT_S


def test_work_grows_with_the_size_and_no_faster() -> None:
    """Where it did, a file twice as large took four times as long."""

    def takes_s(size: int) -> float:
        text = fill("a%d = “b”\n", behind="x\n", size=size)
        best = float("inf")
        for _ in range(5):
            begun = time.perf_counter()
            settings.straightened(text)
            best = min(best, time.perf_counter() - begun)
        return best

    assert takes_s(64 << 10) < 3 * takes_s(32 << 10)
