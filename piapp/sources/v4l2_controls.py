"""The controls of a V4L2 device: brightness, exposure, zoom… as its driver declares them.

Asked and set by ioctl on a file descriptor of our own, while OpenCV has another one for the pictures. The numbers are
those of linux/videodev2.h and linux/v4l2-controls.h. Each ioctl may be a request over USB, which takes milliseconds,
or seconds with a camera that does not answer: all of it belongs to the source's thread.
"""

import fcntl
import re
import struct
import time
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import NamedTuple

from piapp.sources.control import Control, Kind, Value
from piapp.sources.v4l2 import c_string

LIMIT_S = 2.0  # for reading all controls; of a camera that needs longer some are left out, or as they were

_QUERYCTRL, _QUERY = 0xC0445624, struct.Struct("2I 32s 4i I 8x")
_QUERYMENU, _MENU, _MENU_NUMBER = 0xC02C5625, struct.Struct("2I 32s 4x"), struct.Struct("=q")
_G_CTRL, _S_CTRL, _VALUE = 0xC008561B, 0xC008561C, struct.Struct("Ii")
_NEXT = 0x80000000  # with an id: the first control after it
_MOST = 256  # controls, and words of a choice; a driver that never comes to an end must not keep us here

_INTEGER, _BOOLEAN, _MENU_OF_WORDS, _BUTTON, _MENU_OF_NUMBERS = 1, 2, 3, 4, 9  # enum v4l2_ctrl_type
# V4L2_CTRL_FLAG_…
_DISABLED, _GRABBED, _READ_ONLY, _INACTIVE, _WRITE_ONLY, _MODIFY_LAYOUT = 0x1, 0x2, 0x4, 0x10, 0x40, 0x400

# The classes of controls that have to do with the picture, and their headings at the page; the class is the upper half
# of a control's id. Others are those of codecs, tuners and bare sensors.
_GROUPS = {0x98: "Picture", 0x9A: "Camera", 0x9D: "Picture"}
_AUDIO = range(0x00980905, 0x0098090B)  # of TV cards
_UNITS = {0x0098091A: "K", 0x009A0902: "× 100 µs"}  # the colour temperature; the time of exposure


class _Query(NamedTuple):
    """struct v4l2_queryctrl."""

    id: int
    type: int
    name: bytes
    low: int
    high: int
    step: int
    default: int
    flags: int


class _Known(NamedTuple):
    """What never changes of a control."""

    id: int
    control: Control
    words: dict[int, str]  # of a choice: the driver's number → the word for it


class DeviceControls:
    """Those of one open device."""

    def __init__(self, fd: int, taken: Container[str] = ()) -> None:
        """`fd` is lent; `taken` are names of other controls."""
        self._fd = fd
        self._known: dict[str, _Known] = {}
        self._now: dict[str, Control] = {}
        until = time.monotonic() + LIMIT_S
        for query in _queries(fd):
            if known := _known(fd, query):
                name = known.control.name
                while name in self._known or name in taken:
                    name += "_2"
                self._known[name] = known._replace(control=replace(known.control, name=name))
            if time.monotonic() > until:
                break

    def read(self) -> tuple[Control, ...]:
        """All controls as they are now, or as they were where that cannot be read."""
        until = time.monotonic() + LIMIT_S
        for name, known in self._known.items():
            if time.monotonic() > until:
                break
            try:
                self._now[name] = self._read(known)
            except OSError:  # some cameras declare what they do not have
                continue
        return tuple(self._now.values())

    def set(self, name: str, value: Value) -> None:
        """A value that was checked. Raises OSError when the driver refuses it."""
        known = self._known[name]
        number = next((number for number, word in known.words.items() if word == value), None)
        fcntl.ioctl(self._fd, _S_CTRL, _VALUE.pack(known.id, int(value) if number is None else number))

    def _read(self, known: _Known) -> Control:
        flags = _query(self._fd, known.id).flags  # one control may have put another one out of effect
        control = replace(known.control, active=not flags & (_INACTIVE | _GRABBED))
        if control.kind is Kind.ACTION:
            return control
        _, number = _VALUE.unpack(fcntl.ioctl(self._fd, _G_CTRL, _VALUE.pack(known.id, 0)))
        if control.kind is Kind.SWITCH:
            return replace(control, value=bool(number))
        if control.kind is Kind.RANGE:
            return replace(control, value=number)
        word = known.words.get(number, str(number))  # a state that the menu does not name
        choices = control.choices if word in control.choices else (*control.choices, word)
        return replace(control, value=word, choices=choices)


def _queries(fd: int) -> Iterator[_Query]:
    """Every control that the driver lists."""
    number = 0
    for _ in range(_MOST):
        try:
            query = _query(fd, number | _NEXT)
        except OSError:
            return
        if query.id <= number:  # it would begin anew
            return
        number = query.id
        yield query


def _query(fd: int, number: int) -> _Query:
    return _Query(*_QUERY.unpack(fcntl.ioctl(fd, _QUERYCTRL, _QUERY.pack(number, 0, b"", 0, 0, 0, 0, 0))))


def _known(fd: int, query: _Query) -> _Known | None:
    """The control, without its value; None for what is not for users, or makes no sense."""
    group = _GROUPS.get(query.id >> 16)
    button = query.type == _BUTTON  # these are always write-only
    hidden = _DISABLED | _READ_ONLY | _MODIFY_LAYOUT | (0 if button else _WRITE_ONLY)
    if not group or query.id in _AUDIO or query.flags & hidden:
        return None
    label = c_string(query.name)
    name = "_".join(re.findall(r"[a-z0-9]+", label.lower())) or f"control_{query.id:x}"
    plain = Control(name, label or name, Kind.ACTION, group=group, unit=_UNITS.get(query.id, ""))
    if button:
        return _Known(query.id, plain, {})
    if query.type == _BOOLEAN:
        return _Known(query.id, replace(plain, kind=Kind.SWITCH, default=bool(query.default)), {})
    if query.type == _INTEGER and query.low < query.high:
        default = min(max(query.default, query.low), query.high)
        step = max(1, query.step)
        kind = Kind.RANGE
        return _Known(
            query.id, replace(plain, kind=kind, default=default, low=query.low, high=query.high, step=step), {}
        )
    if query.type in (_MENU_OF_WORDS, _MENU_OF_NUMBERS) and (words := _words(fd, query)):
        default_word = words.get(query.default, next(iter(words.values())))
        choices = tuple(words.values())
        return _Known(query.id, replace(plain, kind=Kind.CHOICE, default=default_word, choices=choices), words)
    return None


def _words(fd: int, query: _Query) -> dict[int, str]:
    """The menu of a choice; drivers leave out what the camera cannot do."""
    words: dict[int, str] = {}
    for index in range(max(0, query.low), min(query.high, _MOST) + 1):
        try:
            answer = fcntl.ioctl(fd, _QUERYMENU, _MENU.pack(query.id, index, b""))
        except OSError:
            continue
        _, _, name = _MENU.unpack(answer)
        number = _MENU_NUMBER.unpack_from(name)[0]
        word = str(number) if query.type == _MENU_OF_NUMBERS else c_string(name)
        words[index] = word if word and word not in words.values() else f"{word} {index}".strip()
    return words
