"""The errors that piapp expects, as a tree. Anything else is a bug and is logged with its traceback.

PiappError
├── ConfigError        the settings are wrong; str() is for the person who wrote them
├── ListenError        the port cannot be had
├── SourceError        a device cannot be opened, or has failed; a Camera restarts it
│   ├── DeviceAway     there is none, or another program has it; may change at any moment
│   └── DeviceStuck    it is there and does not work; after some of these only a new process helps
├── Unsupported        a camera has no such control or pictures, or a control does not take that value
└── NoFreshFrame       no picture came within the time that a snapshot may take
"""


class PiappError(Exception):
    """The root: whatever is raised on purpose."""


class ConfigError(PiappError):
    """The settings are wrong. The text names file, line, key, value and what is allowed."""


class SourceError(PiappError):
    """The device failed.

    `what` is a short phrase. From a source that had been running it stands in front of "12 s ago" ("Camera unplugged"),
    from one that could not be opened alone ("Camera not found"). `hint` is what a person can do ("check the cable").
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}: {hint}")
        self.what = what
        self.hint = hint


class DeviceAway(SourceError):
    """Nothing is there to be opened, or somebody else has it. To look again costs next to nothing: it is done often."""


class DeviceStuck(SourceError):
    """The device was opened, and then failed, hung or sent nothing more.

    Nobody else has it and it was not unplugged. So when opening it again has not helped several times in a row, what is
    left is to give up all that this process holds of it: see stuck.py.
    """


class Unsupported(PiappError):
    """A camera cannot do what was asked; the text is a whole sentence that says what is allowed."""


class NoFreshFrame(PiappError):
    """No picture was taken in time; the text says why."""


class ListenError(PiappError):
    """The port cannot be had; the text is a whole sentence that says what to do."""
