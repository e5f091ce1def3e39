"""The firmware's config.txt, as far as it decides whether a Raspberry Pi finds its camera.

It has one setting a line. Below a line like [pi4] they hold for that model alone, below [all] for every one; # begins a
comment. https://www.raspberrypi.com/documentation/computers/config_txt.html has all of it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FILES = (Path("/boot/firmware/config.txt"), Path("/boot/config.txt"))  # the first since the Raspberry Pi OS of 2023

_LONGEST = 98  # characters of a line: the firmware ignores the rest
_DEEPEST = 4  # files that include one another

# Model as in /proc/device-tree/model, first match → the filters that hold for it
_MODELS = (
    (r"Compute Module (Zero|0)", "cm0 pi02 pi0w pi0"),
    (r"Zero 2", "pi02 pi0w pi0"),
    (r"Zero W", "pi0w pi0"),
    (r"Zero", "pi0"),
    (r"Compute Module 5", "cm5 cm5l pi5"),
    (r"Compute Module 4S", "cm4s pi4"),
    (r"Compute Module 4", "cm4 pi4"),
    (r"Compute Module 3 Plus", "cm3+ cm3 pi3"),
    (r"Compute Module 3", "cm3 pi3"),
    (r"Compute Module", "cm1 pi1"),
    (r"Pi 500", "pi500 pi500+ pi5"),
    (r"Pi 400", "pi400 pi4"),
    (r"Pi 3 Model . Plus", "pi3+ pi3"),
    (r"Pi ([2345])", r"pi\1"),
    (r"Pi Model", "pi1"),
)
_MODEL_FILTER = re.compile(r"(pi|cm)\d\w*\+?")
_SENSOR = re.compile(r"(imx|ov|ar|gc|mira|s5k)\d|arducam|camera-mux")  # how a camera's overlay is called
_TWO_CONNECTORS = re.compile(r"Pi 5 |Compute Module")


class Setting(NamedTuple):
    """One line that sets something."""

    file: Path
    number: int  # of the line, from 1
    key: str
    value: str
    unmet: str  # the filter that keeps it from this computer, as in "[pi4]"; empty: it holds

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.number}"

    @property
    def overlay(self) -> str:
        """The camera's overlay that it loads; empty for everything else."""
        name = re.split("[,:]", self.value)[0]
        return name if self.key == "dtoverlay" and _SENSOR.match(name) else ""

    @property
    def legacy(self) -> bool:
        """Whether it is for the camera software that came before libcamera."""
        values = {"start_x": "1", "camera": "1", "start_file": "start_x.elf", "fixup_file": "fixup_x.dat"}
        return values.get(self.key) == self.value

    @property
    def about_cameras(self) -> bool:
        memory = self.key.startswith("gpu_mem") or "cma" in self.value
        return self.legacy or memory or bool(self.overlay) or self.key == "camera_auto_detect"


def settings(file: Path, model: str) -> list[Setting]:
    """All of them, also those that are not for this model. Raises OSError."""
    return list(_read(file, _filters(model), {}, 1))


def hints(model: str, files: tuple[Path, ...]) -> list[str]:
    """What may keep this Pi from finding a camera, in the first of FILES that is there: each in one line, what is there
    and what to write instead.
    """
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return [f"there is no {' and no '.join(map(str, files))}: is the boot partition mounted?"]
    try:
        found = settings(file, model)
    except OSError as error:
        return [f"{file} cannot be read: {error.strerror}"]
    overlays = [setting for setting in found if setting.overlay and not setting.unmet]
    return [
        *_of_detection(file, found, overlays),
        *(hint for setting in overlays if (hint := _of_connector(setting, model))),
        *_of_legacy([setting for setting in found if not setting.unmet]),
    ]


def _of_detection(file: Path, found: list[Setting], overlays: list[Setting]) -> Iterator[str]:
    switches = [setting for setting in found if setting.key == "camera_auto_detect" and not setting.unmet]
    switch = switches[-1] if switches else None  # the last one counts
    is_on = switch is not None and switch.value not in ("", "0")
    for setting in overlays:
        if is_on:
            yield f"{setting.where}: {setting} beside {switch}: write camera_auto_detect=0, or take this line out"
        else:
            yield (
                f"{setting.where}: {setting} is right for no other sensor: for any of Raspberry Pi's own cameras write "
                "camera_auto_detect=1 instead"
            )
    if is_on or overlays:
        return
    elsewhere = [each for each in found if each.unmet and (each.overlay or str(each) == "camera_auto_detect=1")]
    for setting in elsewhere:
        yield f"{setting.where}: {setting} is not for this computer below {setting.unmet}: move it below [all]"
    if switch and not elsewhere:
        yield f"{switch.where}: {switch}, and no dtoverlay for a sensor: write camera_auto_detect=1"
    elif not elsewhere:
        yield f"{file}: no camera_auto_detect, and no dtoverlay for a sensor: add camera_auto_detect=1 below [all]"


def _of_connector(setting: Setting, model: str) -> str:
    """Where there are two, an overlay is for the second unless it says otherwise."""
    connectors = {"cam0", "cam1"}.intersection(setting.value.split(","))
    if _TWO_CONNECTORS.search(model) and not connectors:
        return f"{setting.where}: {setting} is for the connector CAM1 (CAM/DISP 1): for CAM0 write {setting},cam0"
    if "cam0" in connectors and not _TWO_CONNECTORS.search(model):
        return f"{setting.where}: {setting}: this Pi has one connector: write it without cam0"
    return ""


def _of_legacy(found: list[Setting]) -> Iterator[str]:
    legacy = [setting for setting in found if setting.legacy]
    for setting in legacy:
        yield (
            f"{setting.where}: {setting} is for the old camera software and shuts libcamera out: write "
            "camera_auto_detect=1 instead"
        )
    for setting in found:
        if legacy and setting.key.startswith("gpu_mem"):
            yield f"{setting.where}: {setting} is for the old camera software and takes memory: take it out"


def _filters(model: str) -> set[str]:
    for pattern, filters in _MODELS:
        if match := re.search(pattern, model):
            return set(match.expand(filters).split())
    return set()


def _read(file: Path, ours: set[str], unmet: dict[str, str], depth: int) -> Iterator[Setting]:
    """`unmet`: kind of filter → the one in force that is not for this computer. Included files change it, too."""
    text = file.read_bytes().decode("utf-8-sig", "replace")
    for number, line in enumerate(text.split("\n"), 1):
        line = "".join(c if c.isprintable() else " " for c in line[:_LONGEST]).strip()
        key, separator, value = line.partition("=")
        if line.startswith("["):
            _filter(line.strip("[]"), ours, unmet)
        elif line.startswith("include ") and depth < _DEEPEST:
            included = file.parent / line.removeprefix("include ").strip()
            if included.is_file():
                yield from _read(included, ours, unmet, depth + 1)
        elif separator and not line.startswith("#"):
            # behind the value the firmware knows no comments, but people write them
            value = value.split(" #")[0].strip()
            yield Setting(file, number, key.strip(), value, " and ".join(unmet.values()))


def _filter(name: str, ours: set[str], unmet: dict[str, str]) -> None:
    """One takes the place of the last of its kind. What they ask besides the model is not to be seen from here."""
    if name == "all":
        unmet.clear()
        return
    kind = "model" if _MODEL_FILTER.fullmatch(name) else re.split("[=:]", name)[0]
    unmet.pop(kind, None)
    if name not in ours:
        unmet[kind] = f"[{name}]"
