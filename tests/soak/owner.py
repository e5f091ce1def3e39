"""piapp's owner: changes the settings, mistakes among them, and pulls a camera out now and then."""

import contextlib
import random
import signal
import threading
from collections import Counter
from pathlib import Path

from fakes import pattern_jpegs
from program import Program

SERVER = """\
[server]
announce = false
max_viewers = {viewers}
viewer_timeout_s = 3

"""
FRONT = """\
[[camera]]
name = "front"
source = "pattern"
resolution = "320x240"
framerate = 10
idle_stop_s = 1

"""
YARD = """\
[[camera]]
name = "yard"
source = "pattern"
resolution = "{size}"
framerate = {fps}
quality = {quality}
idle_stop_s = 0

"""
ALBUM = """\
[[camera]]
name = "album"
source = "images"
device = "{folder}"
framerate = 10
idle_stop_s = 1

"""
ATTIC = """\
[[camera]]
name = "attic"
source = "pattern"
resolution = "160x120"
"""


class Owner:
    """Has a folder with the settings and one of images."""

    def __init__(self, folder: Path) -> None:
        self.did: Counter[str] = Counter()
        self._config = folder / "config.toml"
        self._images, self._away = folder / "images", folder / "away"
        self._images.mkdir()
        for i, jpeg in enumerate(pattern_jpegs(8, (320, 240))):
            (self._images / f"{i}.jpg").write_bytes(jpeg)
        self._random = random.Random(0)
        self._write(self._settings())

    def run(self, program: Program, over: threading.Event) -> None:
        """Until it is over; then all is as at the beginning."""
        while not over.wait(self._random.uniform(1, 12)):
            if self._random.random() < 0.5:
                self._change(program)
            else:
                self._images.rename(self._away)
                over.wait(self._random.uniform(0.1, 8))
                self._away.rename(self._images)
                self.did["unplug"] += 1
        self._write(self._settings())
        program.tell(signal.SIGHUP)

    def _change(self, program: Program) -> None:
        pick = self._random.choice
        size, fps, quality = pick(("320x240", "640x360", "240x320")), pick((5, 15)), pick((20, 80))
        text = self._settings(pick((10, 16, 40)), size, fps, quality)
        what = pick(("change", "change", "add", "remove", "mistake"))
        match what:
            case "add":
                text += ATTIC
            case "remove":
                text = text.replace(ALBUM.format(folder=self._images), "")
            case "mistake":
                text = pick(
                    (text[:-40], text.replace("15", '"fifteen"'), "[[camera]\n", "\0", text.replace("yard", "front"))
                )
        self._write(text)
        program.tell(signal.SIGHUP)
        self.did[what] += 1

    def _settings(self, viewers: int = 16, size: str = "320x240", fps: int = 15, quality: int = 80) -> str:
        yard = YARD.format(size=size, fps=fps, quality=quality)
        return SERVER.format(viewers=viewers) + FRONT + yard + ALBUM.format(folder=self._images)

    def _write(self, text: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._config.unlink()
        self._config.write_text(text)
