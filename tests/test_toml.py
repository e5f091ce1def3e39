"""toml.py: where the statements of a text are, as tomllib has them, and what is refused before it takes too long."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from piapp import toml

PIECES = [
    *("[server]", "[[camera]]", "[camera.lens]", "[[camera.zone]]", "[ 'q q' . r ] # [x]", '["\\u0041"]', "[q]"),
    *("a = 1", 'b.c = "x # [y"', "b.d = '''\n[server]\n'' '''", '"\\u0065" = 2', "f = {g = 1, h.i = [{}, {j = 1}]}"),
    *("'d d' = [\n  1, # ]\n  ['''\n]'''],\n]", 'k = """\n[server]\na = 1\n\\"""\n"""""', "l = [[1], [2]]"),
    *("# [x]", "", "  # '''", "camera = [{a = 1}, {}]", "server.m = 1", "n = 1.5", "  o . p=2026-01-02  "),
]


def paths(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Of everything in it."""
    if here:
        yield here
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*here, key))


def line_by_trying(text: str, path: tuple[str | int, ...]) -> int:
    """The slow way. Wherever a statement ends, the lines so far are TOML, and inside of one they are not: so the first
    such beginning of the text that has the path ends with the statement looked for."""
    lines, first = text.replace("\r\n", "\n").split("\n"), 1
    for last in range(1, len(lines) + 1):
        try:
            found = tomllib.loads("\n".join(lines[:last]))
        except ValueError:
            continue
        if path in paths(found):
            return first
        first = last + 1
    raise AssertionError


@given(
    st.lists(st.sampled_from(PIECES), max_size=9, unique_by=lambda piece: piece or object()),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_value_is_found_where_it_is_set(pieces: list[str], end: str) -> None:
    text = end.join(piece.replace("\n", end) for piece in pieces)
    try:
        found = tomllib.loads(text)
    except ValueError:
        assume(False)
    for path in paths(found):
        assert toml.line_of(text, path) == line_by_trying(text, path), path
    assert toml.line_of(text, ("nowhere",)) is None


@given(st.text() | st.text("[]{}=.,#\"'\\\n\r\t ax1“"))
def test_any_text_has_statements(text: str) -> None:
    lines = [statement.line for statement in toml.statements(text)]
    assert lines == sorted(lines) and all(1 <= line <= text.count("\n") + 1 for line in lines)
    try:
        toml.loads(text)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "broken",
    ["x", "x = ", 'x = "', "x = '", 'x = """', "x = '''", "x = [", "x = {", "x = [[]", "x = ]", "= 1", "[", "[["],
)
def test_what_stands_behind_a_mistake_is_found(broken: str) -> None:
    text = f"a = 1\n{broken}\n[server]\nport = 81\n"
    found = {statement.path: statement.line for statement in toml.statements(text)}
    assert found["server",] == 3 and found["server", "port"] == 4


def test_behind_a_broken_header_nobody_knows() -> None:
    text = "[server]\na = 1\n[server\nb = 2\n[server]\nc = 3\n"
    assert [statement.path[-1] for statement in toml.statements(text)] == ["server", "a", "server", "c"]


def test_the_value_of_a_statement() -> None:
    statements = toml.statements("[a]\nb.'c c' = [1,\n2]\nd = x\n")
    assert next(statements).key == ()
    assert next(statements).value() == [1, 2]
    with pytest.raises(ValueError):
        next(statements).value()


@pytest.mark.parametrize("parts", [20, 21])
@pytest.mark.parametrize("text", ["{} = 1", "[{}]", "[[{}]]", "x = {{{} = 1}}", "x = [{{ y = 1, {} = 1}}]"])
def test_keys_have_a_bounded_number_of_parts(text: str, parts: int) -> None:
    text = text.format(" . ".join((["a", "'b.'", '"c"'] * 7)[:parts]))
    if parts == 20:
        assert toml.loads(text)
    else:
        with pytest.raises(ValueError, match="^A key has more than 20 parts"):
            toml.loads(text)


@pytest.mark.parametrize("text", [f"# {'a.' * 50}", f"x = '{'a.' * 50}'", f'x = """\n{"a." * 50}"""', "x = [1.5, 2.5]"])
def test_what_only_looks_like_a_long_key_is_allowed(text: str) -> None:
    toml.loads(text)
