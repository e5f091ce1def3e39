"""What can be changed of a camera while it runs: brightness, mirroring, exposure…

A source declares its controls. Nothing above it knows one by name: the API checks values against what was declared,
and the page draws a slider, a switch, a list or a button for each.
"""

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = bool | int | float | str


class Kind(enum.StrEnum):
    RANGE = "range"  # a number
    SWITCH = "switch"  # true or false
    CHOICE = "choice"  # one of some words
    ACTION = "action"  # a button: it has no value; True presses it


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that can be changed, and its value now. A changed value is a new Control."""

    name: str  # in snake_case; stays the same for as long as there are such cameras
    label: str  # for people
    kind: Kind
    default: Value | None = None
    value: Value | None = None
    low: float = 0  # of a range: int where only whole numbers are allowed
    high: float = 0
    step: float = 1
    choices: tuple[str, ...] = ()
    unit: str = ""
    group: str = "Picture"
    active: bool = True  # False: it has no effect now, as the exposure time while exposure is automatic

    def check(self, value: object) -> Value:
        """The value as it would be set: on a step of the range. ValueError, in a sentence that says what is allowed."""
        if self.kind is Kind.RANGE:
            if isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high:
                return self._stepped(value)
        elif self.kind is Kind.CHOICE:
            if isinstance(value, str) and value in self.choices:
                return value
        elif isinstance(value, bool) and (value or self.kind is Kind.SWITCH):
            return value
        raise ValueError(f"{self.name} takes {self._allowed()}.")

    def describe(self) -> dict[str, Any]:
        """As the API shows it: the same keys for all kinds."""
        is_range = self.kind is Kind.RANGE
        return {
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "group": self.group,
            "low": self.low if is_range else None,
            "high": self.high if is_range else None,
            "step": self.step if is_range else None,
            "default": self.default,
            "value": self.value,
            "unit": self.unit,
            "choices": list(self.choices),
            "active": self.active,
        }

    def _stepped(self, value: float) -> Value:
        count = round((value - self.low) / self.step)
        if round(self.low + count * self.step, 6) > self.high:  # the highest value need not be on a step
            count -= 1
        stepped = self.low + count * self.step
        return stepped if isinstance(stepped, int) else round(stepped, 6)  # 0.1 + 0.2 is not quite 0.3

    def _allowed(self) -> str:
        if self.kind is Kind.RANGE:
            whole = all(isinstance(number, int) for number in (self.low, self.high, self.step))
            steps = "" if self.step == 1 else f" in steps of {self.step}"
            return f"a {'whole ' if whole else ''}number from {self.low} to {self.high}{steps}"
        if self.kind is Kind.CHOICE:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        return "true or false" if self.kind is Kind.SWITCH else "true: it is a button"


def merged(controls: tuple[Control, ...], values: Mapping[str, Value | None]) -> tuple[Control, ...]:
    """The controls with these values; None is a control's default. What they do not take is left out."""
    found = []
    for control in controls:
        if control.name in values and control.kind is not Kind.ACTION:
            value = values[control.name]
            try:
                value = control.default if value is None else control.check(value)
            except ValueError:
                value = control.value
            control = dataclasses.replace(control, value=value)
        found.append(control)
    return tuple(found)
