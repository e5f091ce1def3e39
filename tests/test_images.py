"""sources/images.py: a folder of JPEGs, and what may happen to it meanwhile."""

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import pattern_jpegs, until
from source_case import LIMIT_S, FakeTime, Picture, claiming, count_pictures, running, settings, take

from piapp.errors import SourceError
from piapp.rate_limit import Rate
from piapp.sources import jpeg
from piapp.sources import source as base
from piapp.sources.images import Images, Limits

JPEGS = pattern_jpegs(6)
USUAL = Limits()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, b, c and d."""
    for name, content in zip("bcd", JPEGS, strict=False):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    return tmp_path


def source_of(folder: Path, limits: Limits = USUAL, **values: Any) -> Images:
    return Images(settings(source="images", device=str(folder), **values), limits)


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


# Only what has not changed for an hour is settled, however slow this machine is
HOUR = Limits(settled_ns=3600 * 10**9)


@pytest.fixture
def long_ago() -> float:
    return time.time() - 2 * 3600


def age(*paths: Path) -> None:
    """They have not changed for long."""
    old = time.time() - 2 * 3600
    for path in paths:
        os.utime(path, (old, old))


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

    taken = take(source_of(folder, HOUR), 8, overwrite)
    assert shown(taken[:4]) == [0, 1, 2, 0]
    if content is ALIKE:
        assert [picture[2:] for picture in taken[4:]] == [(48, 64), (64, 48), (64, 48), (48, 64)]
        assert taken[4][0] == ALIKE
    else:
        assert shown(taken[4:]) == [2, 0, 2, 0]


def test_files_that_have_not_changed_for_long_are_looked_through_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(*folder.iterdir(), folder)
    looked: list[bytes] = []
    complete = jpeg.complete

    def noted(content: bytes) -> bytes | None:
        looked.append(content)
        return complete(content)

    monkeypatch.setattr(jpeg, "complete", noted)
    assert shown(take(source_of(folder, HOUR), 9)) == [0, 1, 2] * 3
    assert looked == JPEGS[:3]


class Counted:
    """Counts the calls of one of os's functions, by their first argument."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: list[Any] = []
        self._function: Callable[..., Any] = getattr(os, name)
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args: Any) -> Any:
        self.of.append(args[0])
        return self._function(*args)


def test_an_old_folder_is_not_listed_for_every_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(folder)
    listed = Counted("scandir", monkeypatch)
    take(source_of(folder), 8)
    assert listed.of == [folder]


def test_a_large_folder_that_changes_all_the_time_is_not_listed_for_every_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And what is gone meanwhile is passed over without a word."""
    listed = Counted("scandir", monkeypatch)

    def change(count: int) -> None:
        (folder / f"{count}.txt").touch()
        if count == 3:
            (folder / "c.jpg").unlink()

    taken = take(source_of(folder, Limits(list_again_s_per_name=1000.0)), 8, change)
    assert shown(taken) == [0, 1, 2, 0, 2, 0, 2, 0]
    assert listed.of == [folder]
    assert not caplog.records


# --- files that are no pictures ---


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def of_bytes(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


STRANGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a FIFO": (fifo, "not a file"),
    "a folder": (Path.mkdir, "not a file"),
    "a socket": (unix_socket, "not a file"),
    "an endless device": (link_to("/dev/zero"), "not a file"),
    "a device": (link_to("/dev/null"), "not a file"),
    "a terminal": (link_to("/dev/tty"), "not a file"),
    "an endless file": (link_to("/proc/self/pagemap"), "it has 0 bytes"),
    "a folder elsewhere": (link_to("/"), "not a file"),
    "a link to itself": (link_to("ba.jpg"), "Too many levels of symbolic links"),
    "a link to nothing": (link_to("nothing.jpg"), "No such file"),
    "nothing in it": (of_bytes(b""), "it has 0 bytes"),
    "too much in it": (of_bytes(JPEGS[3] + bytes(100_000)), "it has 1"),
    "junk": (of_bytes(b"junk" * 10_000), "not a JPEG"),
    "an absurd size": (of_bytes(claiming(pattern_jpegs(1)[0], 65535, 65535)), "the JPEG's header says 65535x65535"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_picture_is_skipped_with_one_line(what: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    make, reason = STRANGE[what]
    path = folder / "ba.jpg"
    make(path)
    source = source_of(folder, Limits(file_bytes=100_000))
    assert shown(take(source, 10)) == [0, 1, 2] * 3 + [0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: skipped: {reason}")
    assert source.bad_frames == 1


def test_what_is_no_picture_is_not_even_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (make, _) in enumerate(STRANGE.values()):
        make(folder / f"ba{number}.jpg")
    opened = Counted("open", monkeypatch)
    take(source_of(folder, Limits(file_bytes=100_000)), 10)
    names = {Path(path).name for path in opened.of}
    numbers = {f"ba{number}.jpg" for number, what in enumerate(STRANGE) if what in ("junk", "an absurd size")}
    assert names == {"b.jpg", "c.jpg", "d.jpg"} | numbers


@pytest.mark.parametrize("content", [JPEGS[3][:-200], b"junk" * 10_000])
def test_a_broken_file_is_read_again_only_when_it_has_changed(
    content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "ba.jpg"
    path.write_bytes(content)
    age(path)
    opened = Counted("open", monkeypatch)

    def change(count: int) -> None:
        if count == 6:
            path.write_bytes(content + b"more")
            age(path)
        elif count == 12:
            path.write_bytes(JPEGS[3])

    assert shown(take(source_of(folder, HOUR), 15, change)) == [0, 1, 2] * 4 + [0, 3, 1]
    assert opened.of.count(str(path)) == 3


def test_a_file_that_may_be_read_now_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That changes neither its length nor the time at which it was written."""
    path = folder / "ba.jpg"
    path.write_bytes(JPEGS[3])
    age(path)
    allowed = os.open

    def refuse(name: str, *flags: int) -> int:
        if name == str(path) and not os.stat(path).st_mode & 0o400:
            raise PermissionError(13, "Permission denied")  # as for who is not root
        return allowed(name, *flags)

    monkeypatch.setattr(os, "open", refuse)
    path.chmod(0o000)
    taken = take(source_of(folder, HOUR), 9, lambda count: path.chmod(0o600) if count == 6 else None)
    assert shown(taken) == [0, 1, 2, 0, 1, 2, 0, 3, 1]


def test_files_that_are_bad_in_a_new_way_each_time_do_not_fill_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = source_of(folder, Limits(lines=Rate(5, 1000.0)))

    def change(count: int) -> None:
        (folder / "ba.jpg").write_bytes(b"junk" * count)
        (folder / f"bb{count}.jpg").write_bytes(b"junk")

    assert shown(take(source, 30, change)) == [0, 1, 2] * 10
    assert len(caplog.records) == 5
    assert source.bad_frames > 20


def test_a_folder_with_more_files_than_anybody_looks_at(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = source_of(folder, Limits(names=2))
    assert len(set(shown(take(source, 6)))) == 2
    assert source.negotiated == "2 files at 120 fps"
    assert source.remark == "The folder has too many files: only 2 of them are used."
    assert [record.getMessage() for record in caplog.records] == [f"{folder}: {source.remark}"]


def test_a_folder_of_broken_files_can_be_left_at_any_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are."""
    for number in range(50):
        (folder / f"e{number}.jpg").write_bytes(JPEGS[0][:-20])
    stopping, tried = threading.Event(), list[bytes]()

    def slow(content: bytes) -> bytes | None:
        tried.append(content)
        if len(tried) == 10:
            stopping.set()
        return jpeg_complete(content)

    jpeg_complete = jpeg.complete
    monkeypatch.setattr(jpeg, "complete", slow)
    source_of(folder, Limits(looking=LIMIT_S)).run(lambda *_: None, stopping)
    assert len(tried) == 10


def test_many_broken_files_cost_a_frame_rather_than_hold_up_all(folder: Path) -> None:
    for number in range(20):
        (folder / f"e{number}.jpg").write_bytes(b"junk")
    clock = FakeTime()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(base, "time", clock)
        source = source_of(folder, Limits(looking=0.0), framerate=10)
        assert count_pictures(source, clock, 4.0) == 6  # a round is 23 files, of which three are good


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
