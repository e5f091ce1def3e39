"""What the tests of the sources share: ways to run one, and a time that passes as they say."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import simplejpeg

from piapp.config import CameraConfig, Size
from piapp.sources.encoder import Pixels
from piapp.sources.source import Source

LIMIT_S = 30.0  # for what must happen; nothing here takes long

Picture = tuple[bytes, int, int, int]


def luma(jpeg: bytes) -> Pixels:
    decoded: Pixels = simplejpeg.decode_jpeg(jpeg, "GRAY")
    return decoded[:, :, 0]


def bgr(jpeg: bytes) -> Pixels:
    decoded: Pixels = simplejpeg.decode_jpeg(jpeg, "BGR")
    return decoded


def take(source: Source, count: int, at_each: Callable[[int], None] = lambda taken: None) -> list[Picture]:
    """Run the source in this thread until it has published so many pictures; `at_each` is told how many there are."""
    taken: list[Picture] = []
    stopping = threading.Event()

    def publish(jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        assert not stopping.is_set()
        taken.append((jpeg, captured_ns, width, height))
        at_each(len(taken))
        if len(taken) >= count:
            stopping.set()

    source.run(publish, stopping)
    return taken


def claiming(picture: bytes, width: int, height: int) -> bytes:
    """A baseline JPEG whose header tells another size than it has."""
    size = picture.index(b"\xff\xc0") + 5
    return picture[:size] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + picture[size + 4 :]


@contextlib.contextmanager
def running(source: Source) -> Iterator[tuple[list[Picture], threading.Event, threading.Thread]]:
    """The source in a thread of its own: what it has published, what stops it, and the thread."""
    taken: list[Picture] = []
    stopping = threading.Event()
    thread = threading.Thread(
        target=source.run, args=(lambda *picture: taken.append(picture), stopping), name="source under test"
    )
    thread.start()
    try:
        yield taken, stopping, thread
    finally:
        stopping.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


class FakeTime:
    """Takes the place of `time` in a source: only waiting lets it pass, and every picture takes `work_s`."""

    def __init__(self, work_s: float = 0.0) -> None:
        self.now = 100.0
        self.work_s = work_s

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)

    def time_ns(self) -> int:
        return time.time_ns()


class FakeStopping(threading.Event):
    """Is set at a point of the fake time."""

    def __init__(self, clock: FakeTime, end: float) -> None:
        super().__init__()
        self._clock, self._end = clock, end

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.now += timeout
        return self._clock.now >= self._end


def count_pictures(source: Source, clock: FakeTime, seconds: float) -> int:
    taken: list[float] = []

    def publish(jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        taken.append(clock.now)
        clock.now += clock.work_s

    source.run(publish, FakeStopping(clock, clock.now + seconds))
    return len(taken)


def settings(**values: Any) -> CameraConfig:
    return CameraConfig(**{"source": "pattern", "resolution": Size(320, 240), "framerate": 120, **values})
