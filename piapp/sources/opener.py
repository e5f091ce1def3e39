"""Which source a camera gets.

"auto" is the Pi's camera, else the first USB camera, else the test picture until one is plugged in. What was found
once is kept: when that camera fails, viewers shall read so, and not see a test picture or another camera's room.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable

from piapp.config import CameraConfig
from piapp.sources import pi_found, v4l2
from piapp.sources.images import Images
from piapp.sources.pattern import Pattern
from piapp.sources.pi_camera import PiCamera
from piapp.sources.source import Publish, Source
from piapp.sources.usb_camera import UsbCamera

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 2.0


def find(config: CameraConfig) -> CameraConfig | None:
    """The same settings with source and device filled in; None without a camera. The first time it takes a second on a
    Pi."""
    for found in pi_found.find_cameras():
        if found.is_called(config.device):
            return dataclasses.replace(config, source=PiCamera.kind, device=found.id)
    if usb := v4l2.find_cameras():
        return dataclasses.replace(config, source=UsbCamera.kind, device=config.device or usb[0].path)
    return None


class NoCamera(Pattern):
    """The test picture that says that there is no camera, and ends when one appears: it was plugged in, or is a Pi
    camera whose driver was slower than piapp at boot."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config, "No camera found: this is a test picture. Plug one in.")
        self.remark = self.title

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        until, failed = threading.Event(), list[BaseException]()

        def look() -> None:
            try:
                while not stopping.wait(LOOK_AGAIN_S) and find(self.config) is None:
                    pass
            except BaseException as error:  # raised below, in the source's own thread
                failed.append(error)
            finally:
                until.set()

        threading.Thread(target=look, name="look for cameras", daemon=True).start()
        super().run(publish, until)
        if failed:
            raise failed[0]


class Opener:
    """Makes the source for each opening of one camera, and remembers what "auto" has found."""

    def __init__(self, config: CameraConfig) -> None:
        self._config = config

    def __call__(self) -> Source:
        """The source to run now. Called in the thread that runs it; raises SourceError."""
        if self._config.source == "auto":
            found = find(self._config)
            if found is None:
                log.warning("%s: no camera found: showing the test picture", self._config.name)
                return NoCamera(self._config)
            log.info("%s: found %s %s", self._config.name, found.source, found.device)
            self._config = found
        return _KINDS[self._config.source](self._config)


_KINDS: dict[str, Callable[[CameraConfig], Source]] = {
    kind.kind: kind for kind in (PiCamera, UsbCamera, Images, Pattern)
}
