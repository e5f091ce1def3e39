"""What the tests of the Pi's camera share: sources, how they run, and how to wait for what must happen."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fake_picamera2 import VERSIONS, Device, Picamera2, Seen, World, look
from fakes import until

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources.control import Control
from piapp.sources.pi_camera import PiCamera
from piapp.sources.pi_catcher import Catcher

LIMIT_S = 30.0  # for what must happen; nothing here takes long

Picture = tuple[bytes, int, int, int]

# Arguments of the fixture `world`: a test runs once for each.
of_all_versions = pytest.mark.parametrize("version", VERSIONS)
of_both_encoders = pytest.mark.parametrize("platform", ["VC4", "PISP"])  # by hardware on a Pi 4, by software on a Pi 5


def settings(**values: Any) -> CameraConfig:
    return CameraConfig(**{"name": "door", "source": "picamera2", "resolution": Size(320, 240), **values})


def source_of(**values: Any) -> PiCamera:
    return PiCamera(settings(**values))


class Running:
    """A source in a thread of its own."""

    def __init__(self, source: PiCamera) -> None:
        self.source = source
        self.taken: list[Picture] = []
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.raises: Exception | None = None  # by publish(), while set
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="source under test", daemon=True)
        self._thread.start()

    def publish(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.taken.append((jpeg, captured_ns, width, height))
        if self.raises:
            raise self.raises

    def pictures(self, count: int = 1) -> list[Picture]:
        """The next ones."""
        begun = len(self.taken)
        until(lambda: len(self.taken) >= begun + count or not self.runs)
        assert self.runs or self.error is None, self.error
        return self.taken[begun:]

    def shows(self, **wanted: Any) -> Seen:
        """Wait until the pictures show this; numbers may be off by what JPEG leaves of them."""

        def fits(seen: Seen) -> bool:
            found = seen._asdict()
            return all(found[name] == pytest.approx(value, abs=0.1) for name, value in wanted.items())

        until(lambda: self.taken and fits(look(self.taken[-1][0])))
        return look(self.taken[-1][0])

    def controls(self) -> dict[str, Control]:
        return {control.name: control for control in self.source.controls}

    def adjust(self, **values: Any) -> None:
        """And wait until it is done."""
        self.source.adjust(values)
        until(lambda: not self.source.asked())

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _main(self) -> None:
        try:
            self.source.run(self.publish, self.stopping)
        except Exception as error:
            self.error = error


@contextlib.contextmanager
def running(source: PiCamera) -> Iterator[Running]:
    """The source, from its first picture (or its end) on."""
    run = Running(source)
    try:
        until(lambda: run.taken or not run.runs)
        yield run
    finally:
        run.stopping.set()
        run.join()


def failure(source: PiCamera) -> SourceError:
    """The error of a run that fails."""
    with pytest.raises(SourceError) as raised:
        source.run(lambda *_: None, threading.Event())
    return raised.value


def camera(world: World) -> Picamera2:
    """The one that was opened last."""
    return world.opened[-1]


def matches(picture: Picture, device: Device) -> bool:
    """Whether it is the picture of the exposure that it says. picamera2 counts in µs; numbers end at 255."""
    number = look(picture[0]).number
    stamps = device.exposures[number::256]
    return any(stamp // 1000 * 1000 == picture[1] for stamp in stamps)


def wait_for_frames(limit_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the source wait so long for a single frame."""
    one: Any = Catcher.one
    monkeypatch.setattr(one.__wrapped__, "__defaults__", (limit_s,))
