"""What tomllib lacks: rejecting text that takes too long to parse, and the line of each table and value.

A TOML document is a sequence of statements: headers such as `[server]`, and `key = value`. A statement ends at the
first line break outside its strings and brackets, and depends only on the header above it. So a single pass finds every
statement, even after a syntax error.

All work here is linear in the length of the text. The patterns are possessive, and a quotation mark after a backslash
does not start a string: otherwise each `\\"` in a line would be scanned to the end of that line.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

# Parts of a dotted key. tomllib's time and memory grow with their square: gigabytes for 64 kB of `a.a.a.…`.
MOST_PARTS = 20

MULTI_LINE = r"""(?<!\\)\"{3}(?:[^"\\]|\\[\s\S]|"(?!""))*+\"{3,5} | '{3}[\s\S]*?'{3}"""
STRING = r"""(?<!\\)"(?:[^"\\\n]|\\[^\n])*+" | '[^'\n]*+'"""
_PART = rf"(?: {STRING} | [A-Za-z0-9_-]++ )"
_DOT = r"[ \t]*+\.[ \t]*+"
_KEY = rf"[ \t]*+{_PART}(?:{_DOT}{_PART})*+[ \t]*+"

_TOKEN = re.compile(
    rf"""
    \#[^\n]*+ | {MULTI_LINE} | {_PART}(?:{_DOT}{_PART}){{0,{MOST_PARTS - 1}}}+(?P<deep>{_DOT}{_PART})?
    | (?P<open>[\[{{]) | (?P<close>[\]}}]) | (?P<end>\n)
    """,
    re.VERBOSE,
)
_HEADER = re.compile(r"[ \t]*+\[")
_START = re.compile(rf"[ \t]*+(?: \[\[(?P<list>{_KEY})\]\] | \[(?P<table>{_KEY})\] | (?P<key>{_KEY})= )", re.VERBOSE)
_PARTS = re.compile(_PART, re.VERBOSE)


class Statement(NamedTuple):
    """A header or `key = value`. It may contain syntax errors."""

    line: int  # where it begins, from 1
    path: tuple[str | int, ...]  # of the table that it opens or the value that it sets; an int counts [[tables]]
    key: tuple[str, ...]  # the value's key as written here; a header has none
    text: str

    def value(self) -> Any:
        """The value it sets. Raises ValueError."""
        found: Any = loads(self.text)
        for part in self.key:
            found = found[part]
        return found

    def __repr__(self) -> str:
        return f"Statement({self.line})"  # its text may hold a secret


def loads(text: str) -> dict[str, Any]:
    """As tomllib.loads, in bounded time. Raises ValueError, whose text never contains a value."""
    for found in _TOKEN.finditer(text):
        if found.lastgroup == "deep":
            line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
            raise ValueError(f"A key has more than {MOST_PARTS} parts (at line {line}, column {column})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise ValueError("A number has too many digits") from None
    except RecursionError:
        raise ValueError("Brackets are nested too deeply") from None


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line of the first statement that sets or opens what is at this path. `text` must be valid TOML."""
    for statement in statements(text):
        here = statement.path
        if here[: len(path)] == path:
            return statement.line
        if statement.key and path[: len(here)] == here and _has(statement.value(), path[len(here) :]):
            return statement.line
    return None


def statements(text: str) -> Iterator[Statement]:
    """All statements with valid keys. `text` may contain syntax errors.

    Statements below an invalid header are skipped: it is unknown to which table they belong.
    """
    table: tuple[str | int, ...] | None = ()
    lengths: dict[tuple[str | int, ...], int] = {}  # of the lists of tables so far
    for line, statement in _cut(text.replace("\r\n", "\n")):
        start = _START.match(statement)
        kind = start.lastgroup if start else None
        parts = _split(start[kind]) if start and kind else None
        if parts and kind == "key":
            if table is not None:
                yield Statement(line, (*table, *parts), parts, statement)
        elif parts:
            table = _resolve(parts, lengths, kind == "list")
            yield Statement(line, table, (), statement)
        elif _HEADER.match(statement):
            table = None


def _cut(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each statement, including blank lines and comments.

    After a bracket that is never closed, each line is a statement.
    """
    start, line, depth = 0, 1, 0
    is_header = _HEADER.match(text)
    for found in _TOKEN.finditer(text):
        if found.lastgroup == "open":
            depth += 1
        elif found.lastgroup == "close":
            depth = max(0, depth - 1)
        elif found.lastgroup == "end" and (is_header or not depth):
            yield line, text[start : found.end()]
            line += text.count("\n", start, found.end())
            start, depth, is_header = found.end(), 0, _HEADER.match(text, found.end())
    rest = [text[start:]] if not depth else text[start:].split("\n")
    yield from enumerate(rest, line)


def _split(key: str) -> tuple[str, ...] | None:
    """The parts of a dotted key; None if it is invalid."""
    parts = _PARTS.findall(key)
    if len(parts) > MOST_PARTS:
        return None
    try:
        return tuple(_unquoted(part) for part in parts)
    except ValueError:
        return None


def _unquoted(part: str) -> str:
    if part[0] == '"' and "\\" in part:
        return str(tomllib.loads(f"part = {part}")["part"])
    return part[1:-1] if part[0] in "\"'" else part


def _resolve(parts: tuple[str, ...], lengths: dict[tuple[str | int, ...], int], is_list: bool) -> tuple[str | int, ...]:
    """The path of the table that this header opens. Updates `lengths` for an array of tables."""
    path: tuple[str | int, ...] = ()
    for i, part in enumerate(parts, 1):
        path += (part,)
        if is_list and i == len(parts):
            lengths[path] = lengths.get(path, 0) + 1
        if path in lengths:
            path += (lengths[path] - 1,)
    return path


def _has(value: Any, path: tuple[str | int, ...]) -> bool:
    try:
        for step in path:
            value = value[step]
    except (LookupError, TypeError):
        return False
    return True
