"""system/storage.py: small files are read within bounds and replaced as a whole."""

import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from no_file import each_no_file

from piapp.system import storage

ROOT = Path(__file__).parents[1]


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    assert storage.read(file, 100) == b"x" * 100
    with pytest.raises(storage.TooLarge):
        storage.read(file, 99)
    with pytest.raises(FileNotFoundError):
        storage.read(tmp_path / "other", 100)


@each_no_file
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "file")
    with pytest.raises(OSError) as caught:
        storage.read(tmp_path / "file", 1 << 20, private=True)
    assert isinstance(caught.value, storage.NoFile | storage.TooLarge | IsADirectoryError) and caught.value.strerror


def test_what_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"x")
    link.symlink_to(file)
    file.chmod(0o644)
    assert storage.read(file, 9) == storage.read(link, 9, private=True) == b"x"
    assert mode(file) == 0o644  # it may be anybody's, behind a link
    assert storage.read(file, 9, private=True) == b"x"
    assert mode(file) == 0o600


def test_a_file_and_its_folder_are_for_nobody_else(tmp_path: Path, no_umask: None) -> None:
    file = tmp_path / "new" / "file"
    storage.replace(file, b"1")
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)
    file.chmod(0o644)
    file.parent.chmod(0o755)
    storage.replace(file, b"2")
    assert (mode(file.parent), mode(file), file.read_bytes()) == (0o755, 0o600, b"2")


@pytest.mark.parametrize("kind", ["file", "pipe", "link"])
def test_what_was_left_behind_has_no_part_in_it(tmp_path: Path, no_umask: None, kind: str) -> None:
    left, other = tmp_path / ".file.new", tmp_path / "other"
    other.write_bytes(b"other")
    if kind == "file":
        left.write_bytes(b"much more than is written")
    elif kind == "pipe":
        os.mkfifo(left)
    else:
        left.symlink_to(other)
    storage.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and mode(tmp_path / "file") == 0o600
    assert stat.S_ISREG((tmp_path / "file").lstat().st_mode) and other.read_bytes() == b"other"


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[int, bytes], int] = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    storage.replace(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_all_of_it_is_on_the_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("write", "fsync", "replace"):
        step = getattr(os, name)

        def note(*arguments: Any, step: Any = step, name: str = name) -> Any:
            done.append(name)
            return step(*arguments)

        monkeypatch.setattr(os, name, note)
    storage.replace(tmp_path / "file", b"new")
    assert done == ["write", "fsync", "replace", "fsync"]


WRITER = """
import sys
from pathlib import Path
from piapp.system import storage

print("ready", flush=True)
number = 0
while True:
    number += 1
    storage.replace(Path(sys.argv[1]), b"%d " % number * 5000)
"""


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    """Many times, for some seconds. What a disk does without power is not tried, only what is asked of it."""
    path, seed = tmp_path / "file", random.Random(1)
    ends, kills, newest = time.monotonic() + 4, 0, 0
    while time.monotonic() < ends or kills < 3:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert writer.stdout and writer.stdout.readline() == b"ready\n"
        time.sleep(seed.random() * 0.1)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        kills += 1
        if path.exists():
            numbers = path.read_text().split()
            assert len(numbers) == 5000 and len(set(numbers)) == 1
            newest = max(newest, int(numbers[0]))
    assert newest > 1
    assert set(os.listdir(tmp_path)) <= {"file", ".file.new"}
