"""sources/control.py and what all sources do with controls."""

import json
import math
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_case import bgr, luma, settings, take

from piapp.sources import pattern
from piapp.sources.control import Control, Kind, Value, merged
from piapp.sources.opener import NoCamera
from piapp.sources.pattern import Pattern
from piapp.sources.source import Publish, Source

BRIGHTNESS = Control("brightness", "Brightness", Kind.RANGE, 0, 5, -64, 64, 1)
GAIN = Control("gain", "Gain", Kind.RANGE, 1.0, 1.0, 0.5, 8.0, 0.1, unit="×", active=False)
FLIP = Control("flip", "Flip", Kind.SWITCH, False, True)
MODE = Control("mode", "Mode", Kind.CHOICE, "a", "b", choices=("a", "b"), group="Camera")
PUSH = Control("push", "Push", Kind.ACTION)


@pytest.mark.parametrize(
    ("control", "given", "taken"),
    [
        (BRIGHTNESS, 3, 3),
        (BRIGHTNESS, 3.0, 3),
        (BRIGHTNESS, 3.4, 3),
        (BRIGHTNESS, -64, -64),
        (Control("x", "X", Kind.RANGE, 0, 0, 0, 95, 10), 94, 90),
        (Control("x", "X", Kind.RANGE, 0, 0, 0, 95, 10), 95, 90),  # 100 would be the nearest
        (Control("x", "X", Kind.RANGE, 0, 0, 2800, 6500, 10), 3333, 3330),
        (Control("x", "X", Kind.RANGE, 0.0, 0.0, 0.0, 0.3, 0.05), 0.3, 0.3),  # 6 * 0.05 is a little more
        (GAIN, 1, 1.0),
        (GAIN, 0.8, 0.8),
        (GAIN, 0.83, 0.8),
        (GAIN, 8, 8.0),
        (FLIP, False, False),
        (MODE, "b", "b"),
        (PUSH, True, True),
    ],
)
def test_values_that_are_taken(control: Control, given: Value, taken: Value) -> None:
    checked = control.check(given)
    assert (checked, type(checked)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("control", "values", "allowed"),
    [
        (
            BRIGHTNESS,
            [65, -65, 64.1, True, "3", None, [], math.nan, math.inf, 10**400],
            "a whole number from -64 to 64",
        ),
        (GAIN, [0.4, 8.01, False, "1"], "a number from 0.5 to 8.0 in steps of 0.1"),
        (FLIP, [0, 1, "true", None], "true or false"),
        (MODE, ["c", "A", 0, None, True], 'one of "a", "b"'),
        (PUSH, [False, 1, None, ""], "true: it is a button"),
    ],
)
def test_values_that_are_not(control: Control, values: list[object], allowed: str) -> None:
    for value in values:
        with pytest.raises(ValueError) as raised:
            control.check(value)
        assert str(raised.value) == f"{control.name} takes {allowed}."


@given(low=st.integers(-1000, 1000), span=st.integers(1, 1000), step=st.integers(1, 2000), part=st.floats(0, 1))
def test_every_value_of_a_range_is_taken_onto_a_step_within_it(low: int, span: int, step: int, part: float) -> None:
    checked = Control("x", "X", Kind.RANGE, low, low, low, low + span, step).check(low + part * span)
    assert isinstance(checked, int) and low <= checked <= low + span and (checked - low) % step == 0


def test_all_kinds_are_described_with_the_same_keys() -> None:
    described = [json.loads(json.dumps(each.describe())) for each in (BRIGHTNESS, GAIN, FLIP, MODE, PUSH)]
    assert len({tuple(each) for each in described}) == 1
    assert described[0] == {
        **{"name": "brightness", "label": "Brightness", "kind": "range", "group": "Picture", "low": -64, "high": 64},
        **{"step": 1, "default": 0, "value": 5, "unit": "", "choices": [], "active": True},
    }
    assert (described[1]["active"], described[1]["unit"]) == (False, "×")
    assert (described[3]["choices"], described[3]["low"], described[4]["value"]) == (["a", "b"], None, None)


def test_merged() -> None:
    controls = (BRIGHTNESS, FLIP, MODE, PUSH)
    found = merged(controls, {"brightness": None, "flip": 1, "mode": "a", "push": True, "other": 3})
    assert [each.value for each in found] == [0, True, "a", None]
    assert merged(controls, {}) == controls


class Gadget(Source):
    """A source that notes what is set; GAIN is active while flip is off."""

    kind = "pattern"

    def __init__(self) -> None:
        super().__init__(settings())
        self.controls = (BRIGHTNESS, GAIN, FLIP, MODE, PUSH)
        self.set: list[tuple[str, Value]] = []

    def check(self) -> None:
        pass

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        pass

    def _set(self, values: Mapping[str, Value]) -> None:
        self.set += values.items()
        super()._set(values)
        controls = {each.name: each for each in self.controls}
        gain = Control(**{**{f: getattr(GAIN, f) for f in GAIN.__slots__}, "active": not controls["flip"].value})
        self.controls = tuple(gain if each.name == "gain" else each for each in self.controls)

    def obey(self, **changes: Any) -> list[tuple[str, Value]]:
        """What is set because of these changes."""
        self.adjust(changes)
        before = len(self.set)
        self._obey()
        return self.set[before:]


def test_switches_and_choices_come_before_what_depends_on_them() -> None:
    source = Gadget()
    assert source.obey(gain=2.0, brightness=1, push=True, mode="a", flip=False) == [
        *[("mode", "a"), ("flip", False)],
        *[("gain", 2.0), ("brightness", 1), ("push", True)],
    ]
    assert source.asked() == {}


def test_what_has_no_effect_now_waits() -> None:
    source = Gadget()
    assert source.obey(gain=2.0) == []
    assert source.asked() == {"gain": 2.0}
    assert source.obey(brightness=4) == [("brightness", 4)]
    assert source.obey(flip=False) == [("flip", False), ("gain", 2.0)]
    assert source.asked() == {}


def test_a_button_does_not_wait() -> None:
    source = Gadget()
    source.controls = (Control("push", "Push", Kind.ACTION, active=False),)
    assert source.obey(push=True) == []
    assert source.asked() == {}


def test_what_cannot_be_set_is_forgotten() -> None:
    source = Gadget()
    assert source.obey(brightness=999, mode=3, other=1, flip="", push=None, gain=0.1) == []
    assert source.asked() == {}


def test_none_is_the_default() -> None:
    assert Gadget().obey(brightness=None, mode=None, flip=None) == [("mode", "a"), ("flip", False), ("brightness", 0)]


def test_a_change_that_comes_while_another_is_made_is_not_lost() -> None:
    source = Gadget()
    set_once = source._set

    def set_and_more(values: Mapping[str, Value]) -> None:
        set_once(values)
        if values == {"brightness": 1}:
            source.adjust({"brightness": 2, "mode": "a"})

    source._set = set_and_more  # type: ignore[method-assign]
    source.obey(brightness=1)
    assert source.asked() == {"brightness": 2, "mode": "a"}
    assert source.obey() == [("mode", "a"), ("brightness", 2)]


# --- the test picture ---


@pytest.mark.parametrize("kind", [Pattern, NoCamera])
def test_the_test_picture_is_mirrored_while_it_runs(kind: type[Pattern]) -> None:
    source = kind(settings(quality=90, hflip=True))
    changes: dict[int, dict[str, Any]] = {2: {"hflip": False}, 4: {"vflip": True}, 6: {"hflip": None, "vflip": None}}
    taken = take(source, 8, lambda count: source.adjust(changes.get(count, {})))
    as_settings = luma(taken[0][0]).shape
    for number, (hflip, vflip) in enumerate([(1, 0), (0, 0), (0, 1), (1, 0)]):
        picture, colours = (decode(taken[2 * number + 1][0]) for decode in (luma, bgr))
        assert picture.shape == as_settings
        upright = picture[:: -1 if vflip else 1, :: -1 if hflip else 1]
        assert pattern.count_in(upright) == 2 * number + 2
        straight = colours[:: -1 if vflip else 1, :: -1 if hflip else 1].astype(int)
        magenta, green = straight[40, 320 * 9 // 14], straight[40, 320 * 7 // 14]
        assert magenta[1] < 120 < green[1]
    assert [(each.name, each.default) for each in source.controls] == [
        ("quality", 90),
        ("hflip", True),
        ("vflip", False),
    ]


def test_changes_from_before_hold_from_the_first_picture_on() -> None:
    source = Pattern(settings(quality=95))
    source.adjust({"quality": 5, "hflip": True})
    [(jpeg, *_)] = take(source, 1)
    assert pattern.count_in(luma(jpeg)[:, ::-1]) == 1
    assert len(jpeg) < len(take(Pattern(settings(quality=95)), 1)[0][0]) / 2
