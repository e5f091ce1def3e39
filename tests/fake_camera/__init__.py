"""A USB camera for machines without one: camera.c, preloaded into a program, and what steers it.

with FakeCamera(folder, {"MJPG": [jpeg, ...]}, Size(320, 240)) as camera:
    subprocess.run([...], env=os.environ | camera.env)   # opens camera.device
    camera.say("stall")
    camera.unplug()
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from piapp.config import Size

SOURCE = Path(__file__).with_name("camera.c")
BUILT = SOURCE.parents[2] / "build" / "fake_camera" / "camera.so"


def build() -> Path:
    """The library to preload; compiled when there is none yet or camera.c is newer. Needs cc."""
    if not BUILT.exists() or BUILT.stat().st_mtime < SOURCE.stat().st_mtime:
        BUILT.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT.parent) as folder:
            new = Path(folder, BUILT.name)
            command = "cc -O2 -Wall -Wextra -Werror -shared -fPIC -o".split()
            subprocess.run([*command, new, SOURCE, "-ldl", "-lpthread"], check=True)
            new.replace(BUILT)
    return BUILT


class FakeCamera:
    """One camera with its frames: format → their bytes, in the order in which the camera offers the formats.

    `device` is the file to open, by itself or through a link; plugged in from the beginning.
    """

    def __init__(
        self,
        folder: Path,
        frames: Mapping[str, Sequence[bytes]],
        size: Size,
        fps: int = 30,
        device: Path | None = None,
    ) -> None:
        self.device = device or folder / "video0"
        self._frames = folder / "frames"
        self._frames.mkdir(parents=True)
        for fourcc, pictures in frames.items():
            for number, picture in enumerate(pictures):
                (self._frames / f"{number:03d}.{fourcc}").write_bytes(picture)
        self.env = {
            "LD_PRELOAD": str(build()),
            "FAKE_CAMERA_DEVICE": str(self.device),
            "FAKE_CAMERA_FRAMES": str(self._frames),
            "FAKE_CAMERA_FORMATS": " ".join(frames),
            "FAKE_CAMERA_SIZE": str(size),
            "FAKE_CAMERA_FPS": str(fps),
        }
        self.say("run")

    def __enter__(self) -> "FakeCamera":
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        shutil.rmtree(self._frames)

    def say(self, word: str) -> None:
        """run, stall, truncate or garbage, from the next frame on. An unplugged camera is plugged in again."""
        fd = os.open(self.device, os.O_WRONLY | os.O_CREAT)  # the same file throughout: a link to it stays one
        os.write(fd, word.ljust(16).encode())
        os.close(fd)

    def unplug(self) -> None:
        self.device.unlink(missing_ok=True)
