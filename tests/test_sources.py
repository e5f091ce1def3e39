"""The sources that need no device, the opener that chooses one, and what draws and encodes for them."""

import contextlib
import itertools
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from fakes import pattern_jpegs, until

from piapp import notice
from piapp.config import CameraConfig, Size
from piapp.errors import SourceError, Unsupported
from piapp.sources import encoder, images, opener, pattern, pi_camera, text, usb_camera, v4l2
from piapp.sources.encoder import Pixels
from piapp.sources.images import Images
from piapp.sources.opener import NoCamera, Opener
from piapp.sources.pattern import Pattern
from piapp.sources.pi_camera import PiCamera
from piapp.sources.source import Source
from piapp.sources.usb_camera import UsbCamera

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


# --- the test picture ---


@pytest.mark.parametrize("size", [(64, 64), (320, 240), (64, 480), (1280, 64), (1920, 1080)])
def test_pattern_has_the_size_and_the_count(size: tuple[int, int]) -> None:
    taken = take(Pattern(settings(resolution=Size(*size), quality=95)), 3)
    for count, (jpeg, _, width, height) in enumerate(taken, 1):
        assert (width, height) == size
        picture = luma(jpeg)
        assert picture.shape == (height, width)
        assert pattern.count_in(picture) == count


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(("hflip", "vflip"), [*itertools.product((False, True), repeat=2)])
def test_pattern_can_be_turned_and_turned_back(hflip: bool, vflip: bool, rotation: int) -> None:
    source = Pattern(settings(hflip=hflip, vflip=vflip, rotation=rotation, quality=90))
    for count, (jpeg, _, width, height) in enumerate(take(source, 2), 1):
        assert (width, height) == ((320, 240) if rotation in (0, 180) else (240, 320))
        picture = luma(jpeg)
        assert picture.shape == (height, width)
        straight = encoder.turn(encoder.turn(picture, False, False, -rotation % 360), hflip, vflip, 0)
        assert pattern.count_in(straight) == count
        # colours turn with the brightness: the blue bar stays left of the red one, seen the right way up
        colours = encoder.turn(encoder.turn(bgr(jpeg), False, False, -rotation % 360), hflip, vflip, 0).astype(int)
        magenta, green = colours[40, 320 * 9 // 14], colours[40, 320 * 7 // 14]
        assert magenta[1] < 120 < green[1]
        assert green[2] < 120 < magenta[2]


def test_pattern_moves() -> None:
    first, second = (luma(picture[0]).astype(int) for picture in take(Pattern(settings(framerate=10)), 2))
    assert np.abs(first - second).max() > 100


def test_pattern_counts_on_and_says_when_it_was_taken() -> None:
    begun = time.monotonic_ns()
    taken = take(Pattern(settings()), 20)
    ended = time.monotonic_ns()
    assert [pattern.count_in(luma(picture[0])) for picture in taken] == list(range(1, 21))
    stamps = [picture[1] for picture in taken]
    assert stamps == sorted(set(stamps))
    assert begun <= stamps[0]
    assert stamps[-1] <= ended


def test_pattern_takes_another_quality_at_once() -> None:
    source = Pattern(settings(quality=95, resolution=Size(640, 480)))
    taken = take(source, 6, lambda count: source.set_quality(10) if count == 3 else None)
    sizes = [len(picture[0]) for picture in taken]
    assert max(sizes[3:]) * 2 < min(sizes[:3])


@pytest.mark.parametrize(("framerate", "work_s"), [(1, 0.0), (25, 0.0), (25, 0.03), (120, 0.001)])
def test_pattern_keeps_its_rate(framerate: int, work_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime(work_s)
    monkeypatch.setattr(pattern, "time", clock)
    source = Pattern(settings(framerate=framerate, resolution=Size(64, 64)))
    assert abs(count_pictures(source, clock, 4.0) - 4 * framerate) <= 1


def test_pattern_skips_what_it_has_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is too slow gives fewer pictures; after a pause there is no burst of late ones."""
    clock = FakeTime(work_s=0.1)
    monkeypatch.setattr(pattern, "time", clock)
    source = Pattern(settings(framerate=100, resolution=Size(64, 64)))
    assert abs(count_pictures(source, clock, 4.0) - 40) <= 1

    times: list[float] = []

    def publish(jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        times.append(clock.now)
        if len(times) == 5:
            clock.now += 10  # the machine was asleep

    clock = FakeTime()
    monkeypatch.setattr(pattern, "time", clock)
    source.run(publish, FakeStopping(clock, clock.now + 10.5))
    after = [moment for moment in times[5:] if moment < times[4] + 10 + 0.0001]
    assert len(after) <= 2


def test_pattern_stops_though_the_next_picture_is_far() -> None:
    with running(Pattern(settings(framerate=1))) as (taken, stopping, thread):
        until(lambda: taken)
        stopping.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_pattern_is_always_there() -> None:
    source = Pattern(settings())
    source.check()
    assert (source.kind, source.negotiated, source.encoder) == ("pattern", "320x240 drawn at 120 fps", "simplejpeg")


# --- a folder of images ---

JPEGS = pattern_jpegs(6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, b, c and d."""
    for name, jpeg in zip("bcd", JPEGS, strict=False):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg)
    return tmp_path


def source_of(folder: Path, **values: Any) -> Images:
    return Images(settings(source="images", device=str(folder), **values))


def shown(pictures: list[Picture]) -> list[int]:
    """Which of JPEGS they are."""
    return [JPEGS.index(picture[0]) for picture in pictures]


def test_images_are_shown_in_order_untouched_for_ever(folder: Path) -> None:
    taken = take(source_of(folder), 7)
    assert shown(taken) == [0, 1, 2, 0, 1, 2, 0]
    assert {picture[2:] for picture in taken} == {(64, 48)}
    stamps = [picture[1] for picture in taken]
    assert stamps == sorted(set(stamps))


def test_images_have_each_their_own_size(folder: Path) -> None:
    (folder / "a.jpeg").write_bytes(pattern_jpegs(1, (128, 96))[0])
    assert [picture[2:] for picture in take(source_of(folder), 2)] == [(128, 96), (64, 48)]


def test_images_of_upper_case_and_nothing_else(folder: Path) -> None:
    (folder / "A.JPG").write_bytes(JPEGS[3])
    (folder / "B.Jpeg").write_bytes(JPEGS[4])
    for name in ("notes.txt", "e.png", "jpg", "f.jpg.part"):
        (folder / name).write_bytes(b"no picture")
    assert shown(take(source_of(folder), 6)) == [3, 4, 0, 1, 2, 3]


@pytest.mark.parametrize(("framerate", "work_s"), [(1, 0.0), (25, 0.0), (25, 0.03), (120, 0.001)])
def test_images_keep_their_rate(framerate: int, work_s: float, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime(work_s)
    monkeypatch.setattr(images, "time", clock)
    assert abs(count_pictures(source_of(folder, framerate=framerate), clock, 4.0) - 4 * framerate) <= 1


def test_images_stop_though_the_next_is_far(folder: Path) -> None:
    with running(source_of(folder, framerate=1)) as (taken, stopping, thread):
        until(lambda: taken)
        stopping.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("broken", [b"", b"no picture", JPEGS[3][:-200], JPEGS[3][:3]])
def test_a_broken_file_is_skipped_with_one_line_and_shown_when_it_is_mended(
    broken: bytes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "ba.jpg"
    path.write_bytes(broken)
    source = source_of(folder)

    def mend(count: int) -> None:
        if count == 7:
            assert source.bad_frames == 1
            path.write_bytes(JPEGS[3])
        elif count == 12:
            path.write_bytes(broken)

    taken = shown(take(source, 18, mend))
    assert taken[:7] == [0, 1, 2, 0, 1, 2, 0]
    assert taken[7:12] == [3, 1, 2, 0, 3]
    assert taken[12:] == [1, 2, 0, 1, 2, 0]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2  # broken, mended, broken again
    assert all(line.startswith(f"{path}: skipped: ") for line in lines)


def test_files_that_come_and_go_are_noticed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def change(count: int) -> None:
        if count == 3:
            (folder / "a.jpg").write_bytes(JPEGS[3])
        elif count == 6:
            (folder / "c.jpg").unlink()
        elif count == 9:
            for name in "abd":
                (folder / f"{name}.jpg").unlink()
            (folder / "z.jpg").write_bytes(JPEGS[5])

    source = source_of(folder)
    taken = shown(take(source, 12, change))
    #                b  c  d  a  b  c  d  a  b  z
    assert taken == [0, 1, 2, 3, 0, 1, 2, 3, 0, 5, 5, 5]
    assert source.negotiated == "1 files at 120 fps"
    assert not caplog.records


def test_a_file_that_comes_in_the_same_tick_of_the_clock_is_noticed(folder: Path) -> None:
    """The folder's time does not tell then."""

    def change(count: int) -> None:
        if count == 2:
            before = folder.stat()
            (folder / "e.jpg").write_bytes(JPEGS[4])
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert shown(take(source_of(folder), 5, change)) == [0, 1, 2, 4, 0]


def test_an_old_folder_is_not_listed_for_every_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = time.time() - 3600
    os.utime(folder, (old, old))
    listed: list[Path] = []
    iterdir = Path.iterdir

    def noted(path: Path) -> Iterator[Path]:
        listed.append(path)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", noted)
    take(source_of(folder), 8)
    assert listed == [folder]


def test_a_folder_that_is_taken_away_is_a_fault(folder: Path) -> None:
    with pytest.raises(SourceError, match="^Folder of images lost") as raised:
        take(source_of(folder), 10, lambda count: shutil.rmtree(folder) if count == 2 else None)
    assert str(folder) in raised.value.hint


def test_a_folder_that_runs_empty_is_a_fault(folder: Path) -> None:
    def remove(count: int) -> None:
        if count == 2:
            for path in folder.iterdir():
                path.unlink()

    with pytest.raises(SourceError, match="No JPEG found in the folder"):
        take(source_of(folder), 10, remove)


def test_what_is_said_of_a_folder_without_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing, empty, broken = (tmp_path / name for name in ("missing", "empty", "broken"))
    empty.mkdir()
    broken.mkdir()
    for name in "abc":
        (broken / f"{name}.jpg").write_bytes(b"no picture")
    for folder, what, hint in (
        (missing, "Folder of images lost (No such file or directory)", f"look at {missing}"),
        (empty, "No JPEG found in the folder", f"put some into {empty}"),
        (broken, "No JPEG in the folder could be read", f"look at the files in {broken}"),
    ):
        for use in (lambda source: source.check(), lambda source: take(source, 1)):
            with pytest.raises(SourceError) as raised:
                use(source_of(folder))
            assert (raised.value.what, raised.value.hint) == (what, hint)
    assert {record.getMessage().partition(":")[0] for record in caplog.records} == {
        str(broken / f"{name}.jpg") for name in "abc"
    }


def test_what_images_cannot_do(folder: Path) -> None:
    with pytest.raises(SourceError, match="device ="):
        Images(settings(source="images"))
    for turned in ({"hflip": True}, {"vflip": True}, {"rotation": 90}):
        with pytest.raises(SourceError, match="cannot be turned: set hflip, vflip and rotation back"):
            source_of(folder, **turned)
    source = source_of(folder)
    source.check()
    with pytest.raises(Unsupported):
        source.set_quality(50)


# --- pixels to JPEG ---


def coloured(width: int, height: int, down: int, across: int) -> tuple[Pixels, Pixels, Pixels]:
    """Smooth planes, the colour ones smaller by these factors."""
    y = np.add.outer(np.linspace(30, 120, height), np.linspace(20, 100, width))
    u = np.add.outer(np.linspace(90, 140, height // down), np.linspace(0, 40, width // across))
    v = np.add.outer(np.linspace(150, 100, height // down), np.linspace(0, 30, width // across))
    return y.astype(np.uint8), u.astype(np.uint8), v.astype(np.uint8)


@pytest.mark.parametrize(("down", "across"), [(2, 2), (1, 2), (2, 1)])
def test_planes_and_the_way_through_bgr_give_the_same_picture(
    down: int, across: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, u, v = coloured(128, 96, down, across)
    if not hasattr(simplejpeg, "encode_jpeg_yuv_planes"):
        pytest.skip("this simplejpeg has no planes")
    direct = encoder.encode_planes(y, u, v, 95)
    monkeypatch.delattr(simplejpeg, "encode_jpeg_yuv_planes")
    through_bgr = encoder.encode_planes(y, u, v, 95)
    assert direct != through_bgr
    first, second = bgr(direct).astype(int), bgr(through_bgr).astype(int)
    assert first.shape == second.shape == (96, 128, 3)
    assert np.abs(first - second).mean() < 2
    assert np.abs(first - second).max() < 12


def test_planes_have_the_colours_that_jfif_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for fallback in (False, True):
        if fallback:
            monkeypatch.delattr(simplejpeg, "encode_jpeg_yuv_planes", raising=False)
        for (y, u, v), wanted in (
            ((76, 85, 255), (0, 0, 254)),  # red, as blue, green, red
            ((150, 44, 21), (0, 255, 1)),
            ((29, 255, 107), (254, 0, 0)),
            ((255, 128, 128), (255, 255, 255)),
        ):
            planes = np.full((32, 32), y, np.uint8), np.full((16, 16), u, np.uint8), np.full((16, 16), v, np.uint8)
            mean = bgr(encoder.encode_planes(*planes, 95)).reshape(-1, 3).mean(axis=0)
            assert np.abs(mean - wanted).max() < 4


def test_grey_planes_and_quality() -> None:
    y, _, _ = coloured(128, 96, 2, 2)
    y[::7, ::5] = 255
    good, bad = encoder.encode_planes(y, None, None, 95), encoder.encode_planes(y, None, None, 10)
    assert len(bad) * 2 < len(good)
    assert simplejpeg.decode_jpeg_header(good)[:3] == (96, 128, "Gray")
    assert np.abs(luma(good).astype(int) - y).mean() < 3


def test_bgr_is_in_opencv_s_order() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:] = (10, 200, 60)
    assert np.abs(bgr(encoder.encode_bgr(picture, 95)).reshape(-1, 3).mean(axis=0) - (10, 200, 60)).max() < 4


def test_all_eight_orientations() -> None:
    """And mirroring comes before turning."""
    a = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    wanted = {
        (False, False, 0): [[1, 2, 3], [4, 5, 6]],
        (False, False, 90): [[4, 1], [5, 2], [6, 3]],
        (False, False, 180): [[6, 5, 4], [3, 2, 1]],
        (False, False, 270): [[3, 6], [2, 5], [1, 4]],
        (True, False, 0): [[3, 2, 1], [6, 5, 4]],
        (True, False, 90): [[6, 3], [5, 2], [4, 1]],
        (True, False, 180): [[4, 5, 6], [1, 2, 3]],
        (True, False, 270): [[1, 4], [2, 5], [3, 6]],
        (False, True, 0): [[4, 5, 6], [1, 2, 3]],
        (False, True, 90): [[1, 4], [2, 5], [3, 6]],
        (True, True, 0): [[6, 5, 4], [3, 2, 1]],
    }
    for (hflip, vflip, rotation), pixels in wanted.items():
        for picture, turned in ((a, np.array(pixels)), (np.dstack([a] * 3), np.dstack([np.array(pixels)] * 3))):
            found = encoder.turn(picture, hflip, vflip, rotation)
            assert np.array_equal(found, turned), (hflip, vflip, rotation)
            assert found.flags.c_contiguous
    distinct = {
        encoder.turn(a, *turned).tobytes() + bytes(encoder.turn(a, *turned).shape)
        for turned in itertools.product((False, True), (False, True), (0, 90, 180, 270))
    }
    assert len(distinct) == 8


# --- words ---

WORDS = (
    "Camera unplugged 12 s ago: check the cable",
    "Überprüfe die Kabel – 電源 µ²ß ÿ",
    "aMuchLongerWordThanAnyLineHasRoomForWhichMustBeBrokenSomewhere",
    "x",
)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("room", [(1, 1), (40, 20), (140, 60), (333, 77), (560, 240), (1234, 300), (4000, 1000)])
def test_wrapped_lines_fit_into_their_width(words: str, room: tuple[int, int]) -> None:
    height, lines = text.wrap(words, *room)
    assert height in text.HEIGHTS
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    for line in lines:
        drawn = np.zeros((height, 8000), np.uint8)
        text.draw(drawn, line, 0, 0, height, 255)
        columns = np.flatnonzero(drawn.any(axis=0))
        assert columns.size
        assert columns[-1] < room[0] or len(line) == 1
    if height > text.HEIGHTS[-1]:
        assert len(lines) * height * 1.25 <= room[1]


def test_wrapping_no_words() -> None:
    assert text.wrap("", 100, 100)[1] == []
    assert text.wrap("   ", 100, 100)[1] == []


def test_more_room_never_means_smaller_letters() -> None:
    heights = [text.wrap(WORDS[0], 20 * i, 10 * i)[0] for i in range(1, 200)]
    assert heights == sorted(heights)
    assert set(heights) == set(text.HEIGHTS)


@pytest.mark.parametrize("height", text.HEIGHTS)
def test_drawing_stays_within_the_plane(height: int) -> None:
    around = np.full((300, 400), 77, np.uint8)
    inside = around[100:140, 100:150]
    for x, y in ((0, 0), (45, 0), (0, 35), (49, 39), (50, 40), (500, 500)):
        text.draw(inside, "Üñ電W" * 20, x, y, height)
    mask = np.ones(around.shape, bool)
    mask[100:140, 100:150] = False
    assert (around[mask] == 77).all()
    assert (inside != 77).any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 10), (10, 0), (1, 1), (3, 200), (200, 3)])
def test_drawing_into_tiny_planes(shape: tuple[int, int]) -> None:
    plane = np.zeros(shape, np.uint8)
    for height in text.HEIGHTS:
        text.draw(plane, "words", 0, 0, height)


def test_drawing_nothing() -> None:
    plane = np.full((64, 64), 9, np.uint8)
    for height in text.HEIGHTS:
        text.draw(plane, "", 0, 0, height)
        text.draw(plane, "   ", 0, 0, height)
    assert (plane == 9).all()


def drawn(words: str) -> bytes:
    plane = np.zeros((64, 800), np.uint8)
    text.draw(plane, words, 0, 0, 64)
    return plane.tobytes()


def test_letters_beyond_ascii() -> None:
    assert len({drawn(letter) for letter in "aäAÄ?oöøß"}) == 9
    assert drawn("電") == drawn("–") == drawn("😀") == drawn("?")
    assert drawn("a電b") == drawn("a?b")


def test_the_level_is_reached_from_above_and_below() -> None:
    for under, level in ((0, 255), (0, 100), (255, 0), (200, 50), (80, 80)):
        plane = np.full((64, 64), under, np.uint8)
        text.draw(plane, "M", 0, 0, 64, level)
        assert {int(plane.min()), int(plane.max())} == {under, level}


@pytest.mark.parametrize("size", [(64, 64), (64, 2160), (3840, 64), (160, 120), (640, 480), (1280, 720), (3840, 2160)])
@pytest.mark.parametrize("words", WORDS)
def test_a_notice_is_a_picture_with_words_at_any_size(size: tuple[int, int], words: str) -> None:
    picture = luma(notice.draw("Tür", words, Size(*size)))
    assert picture.shape == (size[1], size[0])
    assert picture.max() > 120  # letters
    assert np.median(picture) < 50  # on a dark ground


def test_different_words_are_different_notices() -> None:
    def middle(words: str) -> bytes:
        return luma(notice.draw("door", words, Size(640, 480)))[120:360].tobytes()

    assert middle("Camera unplugged") != middle("Camera switched off")
    assert middle("Camera unplugged") == middle("Camera unplugged")


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (1280, 720), (1920, 1080)])
def test_all_of_a_notice_is_within_the_picture(size: tuple[int, int]) -> None:
    """Nothing touches the edge, so nothing was cut off."""
    picture = luma(notice.draw("door", "Camera unplugged 12 s ago: check the cable", Size(*size)))
    edge = np.concatenate((picture[:4].ravel(), picture[-4:].ravel(), picture[:, :4].ravel(), picture[:, -4:].ravel()))
    assert edge.max() < 60


def test_a_notice_without_room_shows_the_beginning_of_its_words() -> None:
    words = "Wherever this picture has no room for all of the words, the first of them are there. " * 3
    cut = luma(notice.draw("x", words, Size(64, 64))).astype(int)
    beginning = luma(notice.draw("x", words[:60], Size(64, 64))).astype(int)
    assert np.abs(cut - beginning)[:16].max() < 60


def test_spans_of_time_as_a_person_says_them() -> None:
    for seconds, said in (
        (0, "0 s"),
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172799, "48 h"),
        (172800, "2 days"),
        (8640000, "100 days"),
    ):
        assert notice.ago(seconds) == said


# --- which source a camera gets ---


class Found:
    """What the find functions say is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pi: list[pi_camera.FoundCamera] = []
        self.usb: list[v4l2.FoundCamera] = []
        self.asked = threading.Event()
        monkeypatch.setattr(pi_camera, "find_cameras", lambda: self.pi)
        monkeypatch.setattr(v4l2, "find_cameras", self._find_usb)

    def _find_usb(self) -> list[v4l2.FoundCamera]:
        self.asked.set()
        return self.usb


PI = [pi_camera.FoundCamera(0, "/base/soc/i2c0mux/imx708", "imx708"), pi_camera.FoundCamera(1, "/base/other", "ov5647")]
USB = [v4l2.FoundCamera("/dev/video7", "Webcam"), v4l2.FoundCamera("/dev/video9", "Other")]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    monkeypatch.setattr(opener, "LOOK_AGAIN_S", 0.01)
    return Found(monkeypatch)


def test_auto_prefers_the_pi_s_camera(found: Found) -> None:
    found.pi, found.usb = PI, USB
    source = Opener(CameraConfig(source="auto"))()
    assert isinstance(source, PiCamera)
    assert source.device == PI[0].id


def test_auto_takes_the_first_usb_camera(found: Found) -> None:
    found.usb = USB
    source = Opener(CameraConfig(source="auto"))()
    assert isinstance(source, UsbCamera)
    assert source.device == "/dev/video7"


def test_what_was_found_is_kept(found: Found) -> None:
    """When that camera fails, viewers read so, and do not see another room."""
    found.usb = USB[:1]
    open_source = Opener(CameraConfig(source="auto"))
    assert isinstance(open_source(), UsbCamera)
    found.pi, found.usb = PI, USB[1:]
    again = open_source()
    assert isinstance(again, UsbCamera)
    assert again.device == "/dev/video7"
    found.pi, found.usb = [], []
    assert isinstance(open_source(), UsbCamera)
    assert isinstance(Opener(CameraConfig(source="auto"))(), NoCamera)  # for this camera only


def test_other_settings_are_kept_by_auto(found: Found) -> None:
    found.usb = USB
    source = Opener(settings(source="auto", quality=33, name="door"))()
    assert (source.config.quality, source.config.name, source.config.resolution) == (33, "door", Size(320, 240))


def test_without_a_camera_there_is_a_test_picture_until_one_is_plugged_in(
    found: Found, caplog: pytest.LogCaptureFixture
) -> None:
    open_source = Opener(settings(source="auto", name="door"))
    source = open_source()
    assert isinstance(source, NoCamera)
    assert source.kind == "pattern"
    assert "No camera found" in source.title
    assert [record.getMessage() for record in caplog.records] == ["door: no camera found: showing the test picture"]
    with running(source) as (taken, stopping, thread):
        until(lambda: len(taken) >= 3)
        found.asked.clear()
        assert found.asked.wait(LIMIT_S)
        assert thread.is_alive()
        found.usb = USB
        thread.join(LIMIT_S)
        assert not thread.is_alive()
        assert not stopping.is_set()
    assert isinstance(open_source(), UsbCamera)


def test_the_test_picture_ends_when_it_is_asked_to(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opener, "LOOK_AGAIN_S", 1000.0)
    with running(NoCamera(settings(framerate=1))) as (taken, stopping, thread):
        until(lambda: taken)
        stopping.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "look for cameras"])


def test_the_test_picture_ends_when_looking_for_cameras_fails(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    """Else nothing could ever stop it."""

    def fail() -> list[v4l2.FoundCamera]:
        raise ZeroDivisionError

    raised: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))
    monkeypatch.setattr(v4l2, "find_cameras", fail)
    with running(NoCamera(settings())) as (_, _, thread):
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    until(lambda: raised == [ZeroDivisionError])


@pytest.mark.parametrize(
    ("name", "kind"), [("pattern", Pattern), ("images", Images), ("usb", UsbCamera), ("picamera2", PiCamera)]
)
def test_a_named_source_is_opened_without_looking(name: str, kind: type[Source], found: Found) -> None:
    found.pi, found.usb = PI, USB
    source = Opener(CameraConfig(source=name, device="/some/where"))()
    assert type(source) is kind
    assert source.device == "/some/where"
    assert not found.asked.is_set()


def test_two_openers_know_nothing_of_each_other(found: Found) -> None:
    first, second = Opener(settings(source="auto")), Opener(settings(source="auto"))
    found.usb = USB
    assert isinstance(first(), UsbCamera)
    found.usb = []
    assert isinstance(second(), NoCamera)


def test_a_usb_camera_keeps_what_it_is_given() -> None:
    assert usb_camera.UsbCamera.kind == "usb"
    assert {kind.kind for kind in (Pattern, Images, UsbCamera, PiCamera)} == {"pattern", "images", "usb", "picamera2"}
