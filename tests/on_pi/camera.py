"""A camera that runs, as piapp's own Run lets it run, and the frames that it publishes."""

import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources.control import Control, Value
from piapp.sources.encoder import Pixels
from piapp.sources.opener import Opener

from .figures import Frame, grey

SMALL = Size(640, 480)
OPENS_S, STOPS_S, FRAME_S = 30.0, 15.0, 10.0
SETTLED = 20  # frames until a change is to be seen in them: it has to come through the sensor


class Trouble(Exception):
    """What a step has found wrong, in words."""


def settings(size: Size = SMALL, **more: object) -> CameraConfig:
    return replace(CameraConfig(name="pi", source="picamera2", resolution=size), **more)  # type: ignore[arg-type]


class Running:
    """From its opening to its closing, in a `with`."""

    def __init__(self, config: CameraConfig) -> None:
        self.source = Opener(config)()
        self.frames: list[Frame] = []
        self.jpeg = b""  # the newest
        self._error: BaseException | None = None
        self._news = threading.Condition()  # guards all of these
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="camera", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.wait(1, OPENS_S)
        except BaseException:
            self._stopping.set()
            self._thread.join(STOPS_S)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(STOPS_S)
        if self._thread.is_alive() and kind is None:
            raise Trouble(f"the camera does not stop within {STOPS_S:g} s")

    def wait(self, count: int, limit_s: float = FRAME_S) -> list[Frame]:
        """The next `count` frames. Raises Trouble when none comes within the limit."""
        with self._news:
            before = len(self.frames)
            while len(self.frames) < before + count:
                known = len(self.frames)
                self._news.wait_for(lambda known=known: self._error or len(self.frames) > known, limit_s)  # type: ignore[misc]
                if self._error:
                    raise Trouble(str(self._error)) from self._error
                if len(self.frames) == known:
                    raise Trouble(f"no frame within {limit_s:g} s, {len(self.frames)} before")
            return self.frames[before : before + count]

    def picture(self) -> Pixels:
        """The next one's brightness."""
        self.wait(1)
        return grey(self.jpeg)

    def controls(self) -> dict[str, Control]:
        return {control.name: control for control in self.source.controls}

    def change(self, changes: Mapping[str, Value | None]) -> None:
        """Returns when these controls are as wanted, and pictures show it."""
        self.source.adjust(changes)
        end = time.monotonic() + OPENS_S
        while self.source.asked():
            if self._error:
                raise Trouble(str(self._error)) from self._error
            if time.monotonic() > end:
                raise Trouble(f"{', '.join(self.source.asked())} cannot be set")
            time.sleep(0.01)
        self.wait(SETTLED)

    def _main(self) -> None:
        error: BaseException
        try:
            self.source.run(self._publish, self._stopping)
            error = Trouble("the camera has ended by itself")
        except SourceError as failure:
            error = failure
        except Exception as failure:
            traceback.print_exc()
            error = failure
        with self._news:
            self._error = error
            self._news.notify_all()

    def _publish(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        now_ns = time.monotonic_ns()
        with self._news:
            self.frames.append(Frame(now_ns, captured_ns, len(jpeg)))
            self.jpeg = jpeg
            self._news.notify_all()
