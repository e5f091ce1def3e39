"""UsbCamera over OpenCV's real V4L2 code and a camera made of files (fake_camera/), in a process of its own."""

import base64
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from fake_camera import FakeCamera
from source_case import claiming

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources import jpeg, usb_camera
from piapp.sources.source import plausible
from piapp.sources.usb_camera import UsbCamera
from piapp.sources.v4l2 import Format

pytestmark = pytest.mark.needs("cc")
pytest.importorskip("cv2")

Pixels = npt.NDArray[np.uint8]

SIZE = Size(320, 240)
LIMIT_S = 15.0  # for what takes milliseconds on a machine with nothing else to do
ROOT = Path(__file__).parents[1]


def picture(shade: int = 0) -> Pixels:
    """BGR: red and green above, blue and white below, so that every turn of it can be told from the others."""
    bgr = np.zeros((SIZE.height, SIZE.width, 3), np.uint8)
    bgr[:120, :160, 2] = bgr[:120, 160:, 1] = bgr[120:, :160, 0] = 200 + shade
    bgr[120:, 160:] = 200 + shade
    return bgr


def corners(bgr: Pixels) -> str:
    """The colours of the quarters, clockwise from the upper left: "RGWB" for picture()."""
    height, width, _ = bgr.shape
    middles = [bgr[y, x] for y, x in ((1, 1), (1, 3), (3, 3), (3, 1)) for y, x in [(height * y // 4, width * x // 4)]]
    names = {"001": "R", "010": "G", "111": "W", "100": "B"}
    return "".join(names.get("".join("01"[int(level > 128)] for level in middle), "?") for middle in middles)


def planes(bgr: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """As video has them: 16 to 235, colours at half the width and height."""
    b, g, r = (bgr[:, :, i].astype(float) / 255 for i in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    y = 16 + 219 * luma
    u, v = (128 + 224 * colour[::2, ::2] for colour in ((b - luma) / 1.772, (r - luma) / 1.402))
    as_bytes = [plane.round().astype(np.uint8) for plane in (y, u, v)]
    return as_bytes[0], as_bytes[1], as_bytes[2]


def yuyv(bgr: Pixels, order: tuple[int, int, int] = (0, 1, 3)) -> bytes:
    y, u, v = planes(bgr)
    rows = np.empty((SIZE.height, SIZE.width * 2), np.uint8)
    rows[:, order[0] :: 2], rows[:, order[1] :: 4], rows[:, order[2] :: 4] = y, u.repeat(2, 0), v.repeat(2, 0)
    return rows.tobytes()


def half_planar(bgr: Pixels, u_first: bool) -> bytes:
    y, u, v = planes(bgr)
    return y.tobytes() + np.stack((u, v) if u_first else (v, u), axis=2).tobytes()


def raw(fourcc: str, bgr: Pixels) -> bytes:
    if fourcc in ("YUYV", "UYVY"):
        return yuyv(bgr, (0, 1, 3) if fourcc == "YUYV" else (1, 0, 2))
    if fourcc in ("NV12", "NV21"):
        return half_planar(bgr, u_first=fourcc == "NV12")
    if fourcc == "BGR3":
        return bgr.tobytes()
    y, u, v = planes(bgr)
    return y.tobytes() + (u.tobytes() + v.tobytes() if fourcc == "YU12" else b"")


JPEGS = [simplejpeg.encode_jpeg(picture(shade), 85, "BGR", "422") for shade in range(0, 50, 10)]


class Driver:
    """drive.py at work. `next` waits for what it tells."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.log: list[str] = []
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        assert process.stdout and process.stderr and process.stdin
        self._stdin = process.stdin
        self._threads = [
            threading.Thread(target=self._listen, args=(process.stdout, self._told)),
            threading.Thread(target=self._listen, args=(process.stderr, self.log.append)),
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self, pipe: IO[str], take: Callable[[str], None]) -> None:
        for line in pipe:
            take(line.rstrip("\n"))

    def _told(self, line: str) -> None:
        self._events.put(json.loads(line))

    def say(self, words: str) -> None:
        self._stdin.write(words + "\n")
        self._stdin.flush()

    def next(self, event: str) -> dict[str, Any]:
        """The next event of this kind; frames are passed over while waiting for another one."""
        until = time.monotonic() + LIMIT_S
        while True:
            try:
                told = self._events.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event!r} came; log: {self.log}") from None
            if told["event"] == event:
                return told
            assert told["event"] == "frame", f"{told} instead of {event!r}; log: {self.log}"

    def frame(self, accept: Callable[[dict[str, Any]], bool] = lambda frame: True) -> dict[str, Any]:
        """The next frame that is accepted, with its JPEG as bytes."""
        until = time.monotonic() + LIMIT_S
        while True:
            frame = self.next("frame")
            frame["jpeg"] = base64.b64decode(frame["jpeg"])
            if accept(frame):
                return frame
            assert time.monotonic() < until, f"no such frame came; log: {self.log}"

    def end(self) -> None:
        self._stdin.close()
        try:
            self._process.wait(LIMIT_S)
        finally:
            self._process.kill()
            self._process.wait()
            for thread in self._threads:
                thread.join()
            for pipe in (self._process.stdout, self._process.stderr):
                assert pipe
                pipe.close()


@contextmanager
def driving(camera: FakeCamera, **settings: Any) -> Iterator[Driver]:
    """A started UsbCamera in a process that has the fake camera."""
    arguments = {"device": str(camera.device), "resolution": SIZE, **settings}
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests/fake_camera/drive.py", json.dumps(arguments)],
        env=os.environ | camera.env | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    driver = Driver(process)
    try:
        driver.say("start")
        yield driver
    finally:
        driver.end()
    assert process.returncode == 0, driver.log
    assert [line for line in driver.log if "Traceback" in line] == []


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[FakeCamera]:
    with FakeCamera(tmp_path, {"MJPG": JPEGS, "YUYV": [raw("YUYV", picture())]}, SIZE) as camera:
        yield camera


def test_the_cameras_own_jpegs_are_passed_on_untouched(camera: FakeCamera) -> None:
    with driving(camera) as driver:
        frames = [driver.frame() for _ in range(10)]
        driver.say('adjust {"quality": 50}')
        assert "quality" in driver.frame()["inactive"]
        driver.say("second")
        assert driver.next("second")["what"] == "Camera is in use"
        driver.frame()
        asked_at = time.monotonic()
        driver.say("stop")
        assert driver.next("stopped")["at"] - asked_at < 1
    assert {frame["jpeg"] for frame in frames} == set(JPEGS)
    assert frames[0]["size"] == list(SIZE)
    assert frames[0]["negotiated"] == "320x240 MJPG at 30 fps"
    assert frames[0]["encoder"] == "the camera's own"
    assert all(0 <= frame["age_ms"] < 2000 for frame in frames)
    assert driver.log == []


def test_padding_is_cut_off(tmp_path: Path) -> None:
    padded = [JPEGS[0] + bytes(3000), JPEGS[1] + JPEGS[2][-500:], JPEGS[2] + b"\xff\xd9"]
    with FakeCamera(tmp_path, {"MJPG": padded}, SIZE) as camera, driving(camera) as driver:
        assert {driver.frame()["jpeg"] for _ in range(6)} == set(JPEGS[:3])


def test_missing_huffman_tables_are_put_in(tmp_path: Path) -> None:
    bare = without_tables(JPEGS[0])
    with FakeCamera(tmp_path, {"MJPG": [bare]}, SIZE) as camera, driving(camera) as driver:
        frame = driver.frame()["jpeg"]
    assert len(bare) < len(frame)
    assert b"\xff\xc4" in frame and b"\xff\xc4" not in bare
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(frame), simplejpeg.decode_jpeg(JPEGS[0]))


def without_tables(picture: bytes) -> bytes:
    tables = [(start - 2, end) for marker, start, end in jpeg._header(picture) if marker == jpeg.DHT]
    for start, end in reversed(tables):
        picture = picture[:start] + picture[end:]
    return picture


@pytest.mark.parametrize("word", ["truncate", "garbage"])
def test_broken_pictures_are_left_out_and_counted(camera: FakeCamera, word: str) -> None:
    with driving(camera) as driver:
        for _ in range(2):  # two bursts close together
            driver.frame()
            camera.say(word)
            time.sleep(0.3)  # nothing is told of a broken picture, so there is nothing to wait for
            camera.say("run")
            frame = driver.frame(lambda frame: frame["bad_frames"] > 0)
            assert frame["jpeg"] in JPEGS
    assert [line for line in driver.log if "broken" in line] == driver.log
    assert len(driver.log) == 1


def test_nothing_but_broken_pictures_is_a_fault(camera: FakeCamera) -> None:
    with driving(camera) as driver:
        driver.frame()
        camera.say("garbage")
        failed = driver.next("failed")
    assert failed["what"] == "Camera sent only broken pictures"


def test_a_stall_is_a_fault(camera: FakeCamera) -> None:
    with driving(camera) as driver:
        driver.frame()
        camera.say("stall")
        stalled_at = time.monotonic()
        failed = driver.next("failed")
        assert failed["what"] == "Camera stopped sending pictures"
        assert 1.5 < failed["at"] - stalled_at < 4
        camera.say("run")
        driver.say("start")
        driver.frame()


def test_a_camera_that_never_sends_anything(camera: FakeCamera) -> None:
    camera.say("stall")
    with driving(camera) as driver:
        assert driver.next("failed")["what"] == "Camera sends no pictures"


def test_stopping_a_stalled_camera_takes_no_longer_than_one_wait(camera: FakeCamera) -> None:
    camera.say("stall")
    with driving(camera) as driver:
        asked_at = time.monotonic()
        driver.say("stop")
        assert driver.next("stopped")["at"] - asked_at < 4  # with the start of the process and of OpenCV


def test_unplugged_and_plugged_in_again(camera: FakeCamera) -> None:
    with driving(camera) as driver:
        driver.frame()
        camera.unplug()
        unplugged_at = time.monotonic()
        failed = driver.next("failed")
        assert (failed["what"], failed["hint"]) == ("Camera unplugged", "check the cable")
        assert failed["at"] - unplugged_at < 1
        driver.say("start")
        assert driver.next("failed")["what"] == "Camera not found"
        camera.say("run")
        driver.say("start")
        assert driver.frame()["jpeg"] in JPEGS
    assert [line for line in driver.log if line] == []  # OpenCV's own complaints say less than ours


def test_a_camera_that_cannot_do_what_was_asked(camera: FakeCamera) -> None:
    with driving(camera, resolution=[1920, 1080], framerate=60) as driver:
        told = driver.frame()["negotiated"]
    assert told == "320x240 MJPG at 30 fps, asked for 1920x1080 at 60 fps"
    assert driver.log == [f"camera: the camera delivers {told}"]


@pytest.mark.parametrize(
    ("fourcc", "rotation"),
    [("YUYV", 0), ("YUYV", 90), ("UYVY", 0), ("NV12", 0), ("NV12", 90), ("NV21", 0), ("YU12", 0), ("BGR3", 90)],
)
def test_raw_formats_become_jpegs(tmp_path: Path, fourcc: str, rotation: int) -> None:
    with (
        FakeCamera(tmp_path, {fourcc: [raw(fourcc, picture())]}, SIZE) as camera,
        driving(camera, rotation=rotation) as driver,
    ):
        frame = driver.frame()
        driver.say('adjust {"quality": 10}')
        driver.frame(lambda worse: len(worse["jpeg"]) < len(frame["jpeg"]))
    assert frame["encoder"] == "simplejpeg"
    assert f"320x240 {fourcc} at 30 fps" in frame["negotiated"]
    assert frame["size"] == ([240, 320] if rotation else [320, 240])
    decoded = simplejpeg.decode_jpeg(frame["jpeg"], "BGR")
    assert corners(decoded) == ("BRGW" if rotation else "RGWB")
    wrong = np.abs(decoded.astype(int) - np.rot90(picture(), -rotation // 90))
    assert wrong[10:100, 10:100].mean() < 6  # the full range from black to white, too


def test_grey_stays_grey(tmp_path: Path) -> None:
    with FakeCamera(tmp_path, {"GREY": [raw("GREY", picture())]}, SIZE) as camera, driving(camera) as driver:
        frame = driver.frame()
    assert simplejpeg.decode_jpeg_header(frame["jpeg"])[:3] == (SIZE.height, SIZE.width, "Gray")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"hflip": True}, "GRBW"),
        ({"vflip": True}, "BWGR"),
        ({"rotation": 90}, "BRGW"),
        ({"rotation": 180}, "WBRG"),
        ({"rotation": 270}, "GWBR"),
        ({"rotation": 90, "hflip": True}, "WGRB"),
    ],
)
def test_mirrored_and_turned(camera: FakeCamera, settings: dict[str, Any], expected: str) -> None:
    with driving(camera, **settings) as driver:
        frame = driver.frame()
    assert corners(simplejpeg.decode_jpeg(frame["jpeg"], "BGR")) == expected
    assert frame["size"] == ([240, 320] if settings.get("rotation", 0) % 180 else [320, 240])
    assert frame["encoder"] == "simplejpeg"
    assert len(driver.log) == 1


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("told", [(65535, 65535), (20000, 1)])
def test_pictures_that_claim_an_absurd_size_are_broken(told: tuple[int, int], rotation: int, tmp_path: Path) -> None:
    pictures = [JPEGS[0], claiming(JPEGS[1], *told)]
    with FakeCamera(tmp_path, {"MJPG": pictures}, SIZE) as camera, driving(camera, rotation=rotation) as driver:
        frame = driver.frame(lambda frame: frame["bad_frames"] > 1)
        assert frame["size"] == ([240, 320] if rotation else [320, 240])
    (line,) = [line for line in driver.log if "broken pictures are left out" in line]
    assert f"{told[0]}x{told[1]}" in line


def test_pictures_that_are_decoded_are_no_larger_than_the_camera_agreed_to(tmp_path: Path) -> None:
    """A claim of 8192x8192 would take 200 MB for each."""
    pictures = [JPEGS[0], claiming(JPEGS[1], 8192, 8192)]
    with FakeCamera(tmp_path, {"MJPG": pictures}, SIZE) as camera, driving(camera, hflip=True) as driver:
        frames = [driver.frame() for _ in range(4)]
        driver.frame(lambda frame: frame["bad_frames"] > 1)
    assert {tuple(frame["size"]) for frame in frames} == {SIZE}
    assert any(line.endswith("its header says 8192x8192, the camera agreed to 320x240") for line in driver.log)


def test_a_camera_whose_pictures_are_a_little_larger_than_agreed_is_turned(tmp_path: Path) -> None:
    """Some have their height rounded up."""
    larger = simplejpeg.encode_jpeg(np.zeros((248, 320, 3), np.uint8), 85, "BGR", "422")
    with FakeCamera(tmp_path, {"MJPG": [larger]}, SIZE) as camera, driving(camera, hflip=True) as driver:
        assert driver.frame()["size"] == [320, 248]


def test_turning_to_and_fro_is_one_line_in_the_log(camera: FakeCamera) -> None:
    with driving(camera) as driver:
        for turned in (True, False) * 5:
            driver.say(f'adjust {{"hflip": {json.dumps(turned)}}}')
            driver.frame(lambda frame: frame["controls"]["hflip"] is turned)  # noqa: B023
    assert len(driver.log) == 1


def test_opencv_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SourceError, match="OpenCV is not installed: .* pip install"):
        UsbCamera(CameraConfig(source="usb")).run(lambda *_: None, threading.Event())


def test_the_drivers_time_is_used_where_it_can_be_right() -> None:
    now_ns = time.monotonic_ns()
    for stamp_ns in (now_ns, now_ns - 40_000_000):
        assert plausible(stamp_ns, now_ns) == stamp_ns
    for stamp_ns in (0, -1, now_ns + 1, now_ns - 3_000_000_000, time.time_ns()):
        assert plausible(stamp_ns, now_ns) == now_ns


SMALL, LARGE = Size(640, 480), Size(1920, 1080)


@pytest.mark.parametrize(
    ("formats", "chosen"),
    [
        ({"YUYV": [SMALL, LARGE], "MJPG": [SMALL, LARGE]}, "MJPG"),
        ({"YUYV": [SMALL, LARGE], "MJPG": [SMALL]}, "YUYV"),
        ({"H264": [LARGE], "NV12": [SMALL], "YUYV": [SMALL]}, "YUYV"),
        ({"YUYV": [LARGE], "MJPG": []}, "MJPG"),
        ({"GREY": [], "BGR3": []}, "GREY"),
        ({"BGR3": [LARGE]}, "MJPG"),
        ({}, "MJPG"),
    ],
)
def test_which_format_is_asked_for(formats: dict[str, list[Size]], chosen: str) -> None:
    offered = [Format(fourcc, "", tuple(sizes)) for fourcc, sizes in formats.items()]
    assert usb_camera._choose(offered, LARGE) == chosen
