"""The Pi's camera, on a stand-in for picamera2; the real one is tried elsewhere."""

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_picamera2 import PI, SECOND, USB, Picamera2, World, busy, installed, not_installed
from fakes import until

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.hub import Hub
from piapp.run import Run
from piapp.sources import pi_camera
from piapp.sources.pi_camera import PiCamera

LIMIT_S = 30.0  # for what must happen; nothing here takes long

Picture = tuple[bytes, int, int, int]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with installed(world):
        yield world
    assert not world.raised
    assert not world.open
    assert not [thread for thread in threading.enumerate() if thread.name == "fake encoder"]


def source_of(**values: Any) -> PiCamera:
    return PiCamera(CameraConfig(**{"source": "picamera2", "resolution": Size(640, 480), **values}))


class Running:
    """A source in a thread of its own."""

    def __init__(self, source: PiCamera) -> None:
        self.taken: list[Picture] = []
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.stopping = threading.Event()
        self._source = source
        self._thread = threading.Thread(target=self._main, name="source under test")
        self._thread.start()

    def publish(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.taken.append((jpeg, captured_ns, width, height))

    def join(self) -> None:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _main(self) -> None:
        try:
            self._source.run(self.publish, self.stopping)
        except Exception as error:
            self.error = error


@contextlib.contextmanager
def running(source: PiCamera) -> Iterator[Running]:
    run = Running(source)
    try:
        yield run
    finally:
        run.stopping.set()
        run.join()


def failure(source: PiCamera) -> SourceError:
    """The error of a run that fails."""
    with pytest.raises(SourceError) as raised:
        source.run(lambda *_: None, threading.Event())
    return raised.value


# --- frames ---


@pytest.mark.parametrize("memory", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("arguments", [1, 3, 5])
def test_frames_come_from_the_encoder_s_thread(arguments: int, memory: type, world: World) -> None:
    world.arguments, world.memory = arguments, memory
    source = source_of()
    begun = time.monotonic_ns()
    with running(source) as run:
        until(lambda: len(run.taken) >= 5)
    assert run.error is None
    assert run.threads == {"fake encoder"}
    assert [picture[0] for picture in run.taken[:4]] == world.jpegs * 2
    assert all(type(picture[0]) is bytes for picture in run.taken)  # its own, whatever becomes of the encoder's
    assert {picture[2:] for picture in run.taken} == {(640, 480)}
    stamps = [begun, *(picture[1] for picture in run.taken), time.monotonic_ns()]
    assert stamps == sorted(stamps)


def test_what_the_camera_is_told(world: World) -> None:
    with running(source_of(framerate=25)) as run:
        until(lambda: run.taken)
    configuration = world.opened[0].configuration
    assert configuration
    assert configuration["main"] == {"size": (640, 480), "format": "YUV420"}
    assert configuration["raw"] is None
    assert configuration["controls"] == {"FrameRate": 25}


@pytest.mark.parametrize(
    ("settings", "hflip", "vflip"),
    [
        ({}, False, False),
        ({"hflip": True}, True, False),
        ({"vflip": True}, False, True),
        ({"hflip": True, "vflip": True}, True, True),
        ({"rotation": 180}, True, True),
        ({"rotation": 180, "hflip": True}, False, True),
        ({"rotation": 180, "vflip": True}, True, False),
        ({"rotation": 180, "hflip": True, "vflip": True}, False, False),
    ],
)
def test_flips_and_a_half_turn_are_the_camera_s_work(
    settings: dict[str, Any], hflip: bool, vflip: bool, world: World
) -> None:
    with running(source_of(**settings)) as run:
        until(lambda: run.taken)
    configuration = world.opened[0].configuration
    assert configuration
    assert (configuration["transform"].hflip, configuration["transform"].vflip) == (hflip, vflip)


@pytest.mark.parametrize("rotation", [90, 270])
def test_a_quarter_turn_is_refused_with_words(rotation: int) -> None:
    with pytest.raises(SourceError, match=f"by {rotation} degrees: set rotation to 0 or 180"):
        source_of(rotation=rotation)


def test_the_size_is_what_the_camera_made_of_it(world: World) -> None:
    world.adjusted = (640, 472)
    source = source_of()
    with running(source) as run:
        until(lambda: run.taken)
    assert run.taken[0][2:] == (640, 472)
    assert source.negotiated.startswith("640x472 at 30 fps")
    assert source.encoder == "MJPEGEncoder"


def test_it_has_no_controls(world: World) -> None:
    source = source_of()
    source.adjust({"quality": 50})
    with running(source) as run:
        until(lambda: run.taken)
    assert source.controls == ()


def test_opened_again_and_again(world: World) -> None:
    for _ in range(5):
        with running(source_of()) as run:
            until(lambda run=run: run.taken)  # type: ignore[misc]
        assert run.error is None
    assert [camera.closed for camera in world.opened] == [True] * 5


def test_two_cameras_at_once(world: World) -> None:
    world.cameras = [PI, SECOND]
    with running(source_of(device="0")) as first, running(source_of(device="1")) as second:
        until(lambda: first.taken and second.taken)
    assert [camera.info["Num"] for camera in sorted(world.opened, key=lambda camera: camera.info["Num"])] == [0, 1]


def test_outputframe_never_raises_into_the_encoder_s_thread(world: World) -> None:
    """Not after the run was told to stop, and not after the event loop has ended."""
    outputs: list[Any] = []

    async def serve() -> None:
        hub, nudge = Hub(), asyncio.Event()
        run = Run("door", source_of, hub, nudge, {})
        async with asyncio.timeout(LIMIT_S):
            await hub.newer_than(2)
        encoder = world.opened[0].encoder
        assert encoder and encoder.output
        outputs.append(encoder.output)
        run.stop()
        frames, newest = run.frames, hub.newest
        encoder.output.outputframe(b"late", True, 5, None, False)
        assert (run.frames, hub.newest) == (frames, newest)
        async with asyncio.timeout(LIMIT_S):
            await run.ended.wait()
        assert run.error is None

    asyncio.run(serve())
    outputs[0].outputframe(b"later", True)
    assert not outputs[0].recording


# --- which camera ---


def test_find_cameras_leaves_usb_cameras_out(world: World) -> None:
    world.cameras = [USB, SECOND, PI]
    assert pi_camera.find_cameras() == [(1, SECOND["Id"], "ov5647"), (0, PI["Id"], "imx708")]
    world.cameras = [USB]
    assert pi_camera.find_cameras() == []
    world.cameras = []
    assert pi_camera.find_cameras() == []


def test_find_cameras_without_a_model(world: World) -> None:
    world.cameras = [{"Id": "/base/x", "Num": 0}]
    assert [camera.model for camera in pi_camera.find_cameras()] == ["camera"]


@pytest.mark.parametrize(("device", "number"), [("", 1), ("0", 0), ("1", 1), (PI["Id"], 0), (SECOND["Id"], 1)])
def test_the_camera_that_the_settings_name(device: str, number: int, world: World) -> None:
    world.cameras = [USB, SECOND, PI]
    source = source_of(device=device)
    source.check()
    with running(source) as run:
        until(lambda: run.taken)
    assert [camera.info["Num"] for camera in world.opened] == [number]


@pytest.mark.parametrize(
    ("device", "cameras", "what"),
    [
        ("", [], "Pi camera not found"),
        ("", [USB], "Pi camera not found"),
        ("2", [PI, USB], "Pi camera 2 not found"),  # that is the USB camera
        ("1", [PI], "Pi camera 1 not found"),
        (USB["Id"], [PI, USB], f"Pi camera {USB['Id']} not found"),
    ],
)
def test_a_camera_that_is_not_there(device: str, cameras: list[dict[str, Any]], what: str, world: World) -> None:
    world.cameras = cameras
    with pytest.raises(SourceError) as raised:
        source_of(device=device).check()
    found = failure(source_of(device=device))
    assert found.what == raised.value.what == what
    assert "ribbon cable" in found.hint
    assert not world.opened


# --- failures ---


@pytest.mark.parametrize("error", [IndexError("list index out of range"), RuntimeError("No cameras available")])
def test_a_camera_that_goes_between_looking_and_opening(error: Exception, world: World) -> None:
    world.fails["open"] = error
    found = failure(source_of())
    assert (found.what, found.hint) == ("Pi camera not found", "look at the ribbon cable, then restart the Pi")
    assert found.__cause__ is error


def test_a_camera_that_another_program_uses(world: World) -> None:
    world.fails["open"] = busy()
    found = failure(source_of())
    assert (found.what, found.hint) == ("Pi camera is used by another program", "close that program")


def test_a_camera_that_is_open_twice_is_busy(world: World) -> None:
    with running(source_of()) as run:
        until(lambda: run.taken)
        assert failure(source_of()).what == "Pi camera is used by another program"
        taken = len(run.taken)
        until(lambda: len(run.taken) > taken)  # the first one does not suffer


@pytest.mark.parametrize("step", ["configure", "start", "stop"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ProcessLookupError(errno.ESRCH, "No such process"),
        RuntimeError("Failed to start camera"),
    ],
)
def test_the_camera_is_closed_after_every_failure(step: str, error: Exception, world: World) -> None:
    world.fails[step] = error
    with running(source_of()) as run:
        if step == "stop":
            until(lambda: run.taken)
            run.stopping.set()
        run.join()
    assert isinstance(run.error, SourceError)
    assert str(error) in run.error.what
    assert "ribbon cable" in run.error.hint
    assert [camera.closed for camera in world.opened] == [True]

    world.fails.clear()  # and can be had again
    with running(source_of()) as again:
        until(lambda: again.taken)
    assert again.error is None


@pytest.mark.parametrize("step", ["configure", "start"])
def test_the_camera_is_closed_after_an_unexpected_failure_too(step: str, world: World) -> None:
    world.fails[step] = KeyError("NV12")
    with running(source_of()) as run:
        run.join()
    assert isinstance(run.error, KeyError)
    assert [camera.closed for camera in world.opened] == [True]


def test_a_stop_that_came_before_the_opening(world: World) -> None:
    source, stopping = source_of(), threading.Event()
    stopping.set()
    source.run(lambda *_: None, stopping)
    assert not world.open


# --- without picamera2 ---


def test_without_picamera2_it_says_what_to_install() -> None:
    with not_installed():
        assert pi_camera.find_cameras() == []
        source = source_of()
        with pytest.raises(SourceError) as raised:
            source.check()
        assert str(raised.value) == str(failure(source))
    assert str(raised.value) == "Picamera2 is not installed: sudo apt install python3-picamera2"


def test_the_stand_in_leaves_nothing_behind() -> None:
    import sys

    before = sys.modules.get("picamera2")
    with installed(World()):
        assert issubclass(sys.modules["picamera2"].Picamera2, Picamera2)
    assert sys.modules.get("picamera2") is before
