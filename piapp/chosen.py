"""What users chose for one camera: its switch and its controls. It outlives every opening of the device."""

import itertools
import math
from collections.abc import Mapping
from typing import TypedDict

from piapp import config
from piapp.errors import Unsupported
from piapp.run import Run
from piapp.sources.control import Control, Kind, Value, merged

MOST_CONTROLS = 200  # of one camera
LONGEST = 100  # characters of a name or a value


class Kept(TypedDict):
    """What is kept of a camera while piapp does not run."""

    on: bool
    controls: dict[str, Value | None]  # None: to be set back to its default at the next opening


def kept(found: object) -> Kept:
    """What is sound of something that was read from a file, whatever it is."""
    found = found if isinstance(found, dict) else {}
    controls = found.get("controls")
    sound = (
        (name, value)
        for name, value in (controls.items() if isinstance(controls, dict) else ())
        if isinstance(name, str) and len(name) <= LONGEST and (value is None or _is_value(value))
    )
    return {"on": found.get("on") is not False, "controls": dict(itertools.islice(sound, MOST_CONTROLS))}


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST
    if isinstance(value, int):
        return -(2**63) <= value < 2**63  # as wide as drivers have them
    return isinstance(value, float) and math.isfinite(value)


class Chosen:
    """The controls as they are, and as users want them. Belongs to the event loop."""

    def __init__(self, name: str, values: dict[str, Value | None]) -> None:
        self.values = values  # by name; None: the default, until that is done
        self._name = name
        self._declared: tuple[Control, ...] = ()  # by the newest source
        self._waiting: dict[str, Value | None] = {}  # for the next opening, or for the source to do it

    @property
    def controls(self) -> tuple[Control, ...]:
        """What there is; values that were chosen are shown at once."""
        return merged(self._declared, self._waiting)

    def change(self, changes: Mapping[str, Value | None], run: Run | None) -> None:
        """All of them, or none: raises Unsupported. `run` is the opening that is to make them, if there is one."""
        known = {control.name: control for control in self._declared}
        checked: dict[str, Value | None] = {}
        for name, value in changes.items():
            control = known.get(name)
            if control is None:
                raise Unsupported(self._unknown(name))
            try:
                checked[name] = None if value is None else control.check(value)
            except ValueError as error:
                raise Unsupported(str(error)) from None
            if control.kind is Kind.ACTION and not (run and run.frames and not run.stopping.is_set()):
                raise Unsupported(f"{name} works only while {self._name} is running: open its stream first.")
        lasting = {name: value for name, value in checked.items() if known[name].kind is not Kind.ACTION}
        self.values = self.values | lasting
        self._waiting = self._waiting | lasting
        if run:
            run.adjust(checked)

    def learn(self, run: Run) -> bool:
        """Take over what the source has declared; whether that is anything new."""
        controls, asked = run.controls()
        if not run.frames or (controls is self._declared and asked == self._waiting):
            return False
        self._declared, self._waiting = controls, asked
        self.values = {name: value for name, value in self.values.items() if value is not None or name in asked}
        return True

    def _unknown(self, name: str) -> str:
        shown = config.cut(name, 40)
        if not self._declared:
            return f'The control "{shown}" is known only once {self._name} has run: open its stream first.'
        return f'{self._name} has no control "{shown}". There are: {", ".join(each.name for each in self._declared)}.'
