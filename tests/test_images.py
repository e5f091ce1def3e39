"""sources/images.py: a folder of JPEGs, and what may happen to it meanwhile."""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import pattern_jpegs, until
from source_case import LIMIT_S, FakeTime, Picture, count_pictures, running, settings, take

from piapp.errors import SourceError
from piapp.sources import images, jpeg
from piapp.sources import source as base
from piapp.sources.images import Images

JPEGS = pattern_jpegs(6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, b, c and d."""
    for name, content in zip("bcd", JPEGS, strict=False):
        (tmp_path / f"{name}.jpg").write_bytes(content)
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
    monkeypatch.setattr(base, "time", clock)
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


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> float:
    """Only what has not changed for an hour is settled, however slow this machine is; a time before that."""
    monkeypatch.setattr(images, "SETTLED_NS", 3600 * 10**9)
    return time.time() - 2 * 3600


ALIKE = pattern_jpegs(2, (48, 64))[1]  # another size, and as many bytes as JPEGS[1]


@pytest.mark.parametrize(("file_is_old", "folder_is_old"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize(
    "content", [ALIKE, bytes(len(JPEGS[1])), JPEGS[1][:-2] + b"no"], ids=["resized", "zeros", "torn"]
)
def test_a_file_overwritten_in_the_same_tick_of_the_clock_with_the_same_length_is_noticed(
    content: bytes, file_is_old: bool, folder_is_old: bool, folder: Path, long_ago: float
) -> None:
    """Nothing tells then but the bytes themselves."""
    path = folder / "c.jpg"
    for old, changed in ((file_is_old, path), (folder_is_old, folder)):
        if old:
            os.utime(changed, (long_ago, long_ago))

    def overwrite(count: int) -> None:
        if count == 4:
            before = [(changed, changed.stat()) for changed in (path, folder)]
            path.write_bytes(content)
            for changed, stat in before:
                os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            assert path.stat().st_size == before[0][1].st_size

    taken = take(source_of(folder), 8, overwrite)
    assert shown(taken[:4]) == [0, 1, 2, 0]
    if content is ALIKE:
        assert [picture[2:] for picture in taken[4:]] == [(48, 64), (64, 48), (64, 48), (48, 64)]
        assert taken[4][0] == ALIKE
    else:
        assert shown(taken[4:]) == [2, 0, 2, 0]


def test_files_that_have_not_changed_for_long_are_looked_through_once(
    folder: Path, long_ago: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (*folder.iterdir(), folder):
        os.utime(path, (long_ago, long_ago))
    looked: list[bytes] = []
    complete = jpeg.complete

    def noted(content: bytes) -> bytes | None:
        looked.append(content)
        return complete(content)

    monkeypatch.setattr(jpeg, "complete", noted)
    assert shown(take(source_of(folder), 9)) == [0, 1, 2] * 3
    assert looked == JPEGS[:3]


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
    source.adjust({"quality": 50})
    take(source, 2)
    assert source.controls == ()
