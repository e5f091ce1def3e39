"""A setting whose value nobody may see is in no message, no repr, and not in what is shown of the settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from piapp import config, toml
from piapp import rules as takes
from piapp.config import HIDDEN, Section, Written
from piapp.errors import ConfigError

SECRET = "Correct7Horse"
PLACES = {SECRET[i : i + 4] for i in range(len(SECRET) - 3)}  # to be found in no message


@dataclass(frozen=True)
class Access:
    """[access], which might be in config.toml."""

    user: str = config.setting("", takes.text())
    password: str = config.setting("", takes.secret(takes.text()))
    pin: int = config.setting(0, takes.secret(takes.whole(0, 9999)))


def error_of(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        config.values(Access, raw, lambda key: f"config.toml: {key}")
    return str(caught.value)


@pytest.mark.parametrize(
    "value",
    [f"{SECRET}\n", [SECRET], {SECRET: 1}, {"x": {"y": SECRET}}, SECRET * 100],
    ids=["control character", "list", "table", "tables", "long"],
)
def test_a_wrong_secret_is_not_shown(value: object) -> None:
    takes_text = "it takes text between quotes, up to 255 characters"
    assert error_of({"password": value}) == f"config.toml: password: the value of password is not allowed: {takes_text}"


def test_a_wrong_value_is_shown_if_it_is_not_secret() -> None:
    assert "user = [1234] is not allowed" in error_of({"user": [1234]})
    assert "12345" not in error_of({"pin": 12345})


def test_of_an_unknown_setting_only_the_name_is_shown() -> None:
    assert error_of({"pasword": SECRET}) == "config.toml: pasword: pasword is not a setting. Did you mean password?"


def test_no_repr_shows_it() -> None:
    access = Access(user="me", password=SECRET, pin=1234)
    section = Section({"password": SECRET})
    file = config.read(f"# {SECRET}\n[[camera]]", "config.toml")
    shown = repr([access, section, Written({"password": SECRET}, [section]), file, file.cameras])
    assert "me" in shown and SECRET not in shown and "1234" not in shown


def test_it_is_hidden_unless_it_is_asked_for() -> None:
    access = Access(user="me", password=SECRET)
    assert config.plain_table(access) == {"user": "me", "password": HIDDEN, "pin": 0}
    assert config.plain_table(access, with_secrets=True) == {"user": "me", "password": SECRET, "pin": 0}
    assert Access(**config.values(Access, config.plain_table(access, with_secrets=True), str)) == access


def slips(line: str) -> Iterator[str]:
    """The line with one mistake."""
    for i in range(len(line) + 1):
        yield line[:i] + line[i + 1 :]
        for typed in "\n\"'\\=[]{}#“.\x1b\x00":
            yield line[:i] + typed + line[i:]


@pytest.mark.parametrize(
    "line", [f'password = "{SECRET}"', f"password = '{SECRET}' # mine", f'x = {{password = "{SECRET}"}}']
)
def test_no_slip_of_the_pen_brings_it_out(line: str) -> None:
    """Unless it stands where the name of a setting belongs."""
    tried = 0
    for slip in slips(line):
        text = f"[server]\n{slip}\n"
        names = [part for statement in toml.statements(text) for part in statement.key]
        if any(place in name for place in PLACES for name in names):
            continue
        try:
            config.parse(text, "config.toml")  # nothing is left of it, behind a #
        except ConfigError as error:
            assert not any(place in str(error) for place in PLACES), slip
            tried += 1
    assert tried > 200
