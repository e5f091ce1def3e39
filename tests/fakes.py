"""Stand-ins that tests steer: a device, and piapp running in this process on a real port."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from piapp import app
from piapp.config import CameraConfig, Config, ServerConfig
from piapp.errors import SourceError, Unsupported
from piapp.sources import encoder
from piapp.sources.control import Control, Kind, Value
from piapp.sources.source import Publish, Source, Still
from piapp.web.limits import LIMITS, Limits

CONTROLS: tuple[Control, ...] = (
    Control("brightness", "Brightness", Kind.RANGE, 128, 128, 0, 255, 1),
    Control("contrast", "Contrast", Kind.RANGE, 1.0, 1.0, 0.0, 2.0, 0.1),
    Control("hflip", "Mirror left-right", Kind.SWITCH, False, False),
    Control("exposure", "Exposure", Kind.CHOICE, "auto", "auto", choices=("auto", "manual"), group="Camera"),
    Control(
        "exposure_time", "Exposure time", Kind.RANGE, 250, 250, 10, 1000, 10, unit="µs", group="Camera", active=False
    ),
    Control("focus_once", "Focus once", Kind.ACTION, group="Camera"),
)


class FakeDevice:
    """A camera that does what a test says. Call it to open it, as a Camera does; every opening is a new FakeSource.

    Frames are `jpegs` in turn, at `fps`. All attributes may be changed at any time, from any thread. Of its CONTROLS,
    exposure_time has an effect only while exposure is "manual".
    """

    def __init__(self, jpegs: list[bytes], fps: float = 100.0, size: tuple[int, int] = (64, 48)) -> None:
        self.jpegs = jpegs
        self.fps = fps
        self.size = size
        self.stalled = False  # sends nothing, and no error
        self.fault: Exception | None = None  # raised by the open source and at each opening, while set
        self.hangs = threading.Event()  # clear it and run() does not return when it is asked to stop
        self.hangs.set()
        self.openings = 0
        self.open = 0  # sources that are in run() now
        self.sent = 0
        self.controls = CONTROLS  # of the next opening
        self.set: list[tuple[str, Value]] = []  # what its controls were set to, in this order
        self.full: bytes | SourceError | None = None  # its full picture, or how that fails; None: it has none
        self.full_comes = threading.Event()  # clear it and full pictures are not taken
        self.full_comes.set()
        self.stills: list[Future[Still]] = []  # asked for and not taken

    def __call__(self) -> Source:
        self.openings += 1
        if self.fault:
            raise self.fault
        return FakeSource(self)


class FakeSource(Source):
    kind = "pattern"

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(CameraConfig(source="pattern"))
        self.encoder = "fake"
        self.negotiated = "{}x{} fake".format(*device.size)
        self._device = device

    def check(self) -> None:
        pass

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        device = self._device
        device.open += 1
        self.controls = device.controls
        try:
            while not stopping.wait(1 / device.fps):
                if device.fault:
                    raise device.fault
                if not device.stalled:
                    self._obey()
                    self._take_stills()
                    jpeg = device.jpegs[device.sent % len(device.jpegs)]
                    device.sent += 1
                    publish(jpeg, time.monotonic_ns(), *device.size)
            device.hangs.wait()
        finally:
            device.open -= 1

    def still(self) -> Future[Still]:
        if self._device.full is None:
            raise Unsupported("This camera has no full pictures.")
        self._device.stills.append(Future())
        return self._device.stills[-1]

    def _take_stills(self) -> None:
        while self._device.stills and self._device.full_comes.is_set():
            future, full = self._device.stills.pop(0), self._device.full
            if not future.set_running_or_notify_cancel():
                continue
            if isinstance(full, bytes):
                future.set_result(Still(full, time.monotonic_ns(), 128, 96))
            else:
                future.set_exception(full)

    def _set(self, values: Mapping[str, Value]) -> None:
        self._device.set += values.items()
        super()._set(values)
        manual = any(each.value == "manual" for each in self.controls)
        self.controls = tuple(
            replace(each, active=manual) if each.name == "exposure_time" else each for each in self.controls
        )


@dataclass
class Running:
    """A piapp that serves in another thread of this process."""

    port: int
    loop: asyncio.AbstractEventLoop
    host: str = "127.0.0.1"
    ends: list[app.End] = field(default_factory=list)  # how it has ended, then
    configs: list[Config] = field(default_factory=list)  # what it reads when it is told to: the last of these
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def reload(self, *cameras: CameraConfig, problem: str = "", **server: object) -> None:
        """As after SIGHUP, with these settings; those of [server] that are not given stay."""
        config = self.configs[-1]
        self.configs.append(replace(config, server=replace(config.server, **server), cameras=cameras, problem=problem))  # type: ignore[arg-type]
        self.loop.call_soon_threadsafe(self.asked.set)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def serving(
    opener: Callable[[CameraConfig], Callable[[], Source]],
    cameras: tuple[CameraConfig, ...] = (CameraConfig(),),
    limits: Limits = LIMITS,
    **server: object,
) -> Iterator[Running]:
    """piapp with these cameras; `opener` makes what opens each. Other arguments are settings of [server]."""
    config = Config(ServerConfig(**{"host": "127.0.0.1", "port": free_port(), **server}), cameras)  # type: ignore[arg-type]
    started, loops, failures = threading.Event(), list[asyncio.AbstractEventLoop](), list[BaseException]()
    stops: list[asyncio.Event] = []
    ends: list[app.End] = []
    configs = [config]
    reload = app.Reload(asyncio.Event(), lambda: configs[-1])

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        stops.append(asyncio.Event())
        ends.append(await app.run(config, stops[0], opener=opener, started=started.set, reload=reload, limits=limits))

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=main, name="piapp under test")
    thread.start()
    started.wait()
    try:
        if not failures:
            yield Running(config.server.port, loops[0], ends=ends, configs=configs, asked=reload.asked)
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loops[0].call_soon_threadsafe(stops[0].set)
        thread.join()
    if failures:
        raise failures[0]


def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait for a state of another thread or process that tells nobody when it changes."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s"
        time.sleep(0.005)


def unplugged() -> SourceError:
    return SourceError("Camera unplugged", "check the cable")


def pattern_jpegs(count: int, size: tuple[int, int] = (64, 48)) -> list[bytes]:
    """Real, small JPEGs that differ."""
    planes = [np.full((size[1], size[0]), 20 * i % 256, np.uint8) for i in range(count)]
    return [encoder.encode_planes(plane, None, None, 80) for plane in planes]
