"""What a setting takes: in words for the person who wrote it, and as a check of the value that TOML made of it."""

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

LONGEST = 255  # characters of a text


class Rule(NamedTuple):
    """What a setting takes. `parse` raises ValueError on anything else; it must not raise another error."""

    allowed: str
    parse: Callable[[object], Any]
    secret: bool = False  # the value is in no message, log line or repr


def secret(rule: Rule) -> Rule:
    """The same for a value that nobody may see, as a password."""
    return rule._replace(secret=True)


def whole(low: int, high: int, unit: str = "") -> Rule:
    def parse(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return Rule(f"a whole number from {low} to {high}{unit}", parse)


def seconds(low: float, high: float) -> Rule:
    def parse(value: object) -> float:
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
            raise ValueError
        return float(value)  # type: ignore[arg-type]

    return Rule(f"a number of seconds from {low:g} to {high:g}", parse)


def text() -> Rule:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST:
            raise ValueError
        return value.strip()

    return Rule(f"text between quotes, up to {LONGEST} characters", parse)


def name() -> Rule:
    def parse(value: object) -> str:
        # a Mac writes ü as u and ¨; a long text of accents would take its time
        name = unicodedata.normalize("NFC", value) if isinstance(value, str) and len(value) <= LONGEST else ""
        if not re.fullmatch(r"[^\W_][\w .-]{0,31}", name) or name != name.strip():
            raise ValueError
        return name

    return Rule('up to 32 letters, digits, spaces, "-", "_" and ".", beginning with a letter or digit', parse)


def one_of(*choices: str | int) -> Rule:
    def parse(value: object) -> str | int:
        if type(value) not in (str, int) or value not in choices:
            raise ValueError
        return value

    return Rule("one of " + ", ".join(f'"{c}"' if isinstance(c, str) else str(c) for c in choices), parse)


def yes_no() -> Rule:
    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Rule("true or false", parse)


def host() -> Rule:
    def parse(value: object) -> str:
        host = value.strip() if isinstance(value, str) and len(value) <= LONGEST else "?"
        if ":" in host or re.fullmatch(r"[\d.]+", host):
            ipaddress.ip_address(host)  # raises ValueError
        elif host and not re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", host):
            raise ValueError
        return host

    return Rule('an address of this computer, as in "192.168.1.20", or nothing', parse)


def host_names() -> Rule:
    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(
            isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}", name) for name in value
        ):
            raise ValueError
        return tuple(name.lower().rstrip(".") for name in value)

    return Rule('a list of names without "http://" and port, as in ["cam.example.org"]', parse)
