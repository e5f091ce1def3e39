"""Holds README.md to the code: every setting with its default, every route, every option."""

import re
from pathlib import Path

import pytest

from piapp import __main__, config
from piapp.web import server

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("table", config.TABLES)
def test_every_setting_is_in_the_table_with_its_default(table: str) -> None:
    rows = {
        name: default
        for names, default in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `(.*?)` \|", README, re.MULTILINE)
        for name in re.findall(r"\w+", names)
    }
    defaults = config.parse("", "").cameras[0] if table == "camera" else config.parse("", "").server
    for key in config.rules(config.TABLES[table]):
        value = getattr(defaults, key)
        shown = (
            f'"{value}"'
            if isinstance(value, str | config.Size)
            else f"{value:g}"
            if not isinstance(value, bool | tuple)
            else str(value).lower()
        )
        assert rows[key] == ("[]" if value == () else shown), key


def test_every_route_is_named() -> None:
    routes = [str(rule[0]) for rule in server.ROUTES if isinstance(rule[0], str)]
    assert len(routes) >= 9
    for route in routes:
        plain = route.replace(r"(?P<name>[^/]+)", "NAME").replace(server.NUMBER, "")
        for address in {re.sub(r"\(\?:.*?\)\?", "", plain), re.sub(r"\(\?:(.*?)\)\?", r"\1", plain)}:
            assert f"`{address.replace(chr(92), '')}`" in README, address


def test_every_option_is_named() -> None:
    options = [option for action in __main__.parser()._actions for option in action.option_strings]
    for option in options:
        assert option in ("-h", "--help") or option in README, option
