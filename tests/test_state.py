"""state.py: what users chose comes through restarts, power cuts, full disks and broken files."""

import asyncio
import contextlib
import errno
import itertools
import json
import logging
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from camera.case import JPEGS, LIMIT_S, Watcher, becomes, in_loop, messages
from camera.case import state as state_of
from fakes import FakeDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from no_file import each_no_file

from piapp import chosen, config
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.state import Limits, StateFile, default_path

DEFAULTS = Limits()
CHOSEN: dict[str, Any] = {
    "on": False,
    "controls": {"brightness": 140, "contrast": 0.3, "hflip": True, "exposure": "manual"},
}


@contextlib.asynccontextmanager
async def living(
    path: Path, device: FakeDevice | None = None, limits: Limits = DEFAULTS
) -> AsyncIterator[tuple[Camera, StateFile]]:
    """The camera "door" from start to end, as app.py has it."""
    file = StateFile(path, limits)
    camera = Camera(
        CameraConfig(name="door", source="pattern", idle_stop_s=0), device or FakeDevice(JPEGS), file.of("door")
    )
    file.follow(camera)
    camera.start()
    try:
        yield camera, file
    finally:
        await camera.stop(LIMIT_S)
        await file.close()


def content(path: Path) -> Any:
    return json.loads(path.read_text())


@in_loop
async def test_what_users_chose_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "state.json"
    device = FakeDevice(JPEGS)
    async with living(path, device) as (camera, _):
        assert camera.on
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
            camera.set_controls({"brightness": 140, "exposure": "manual", "exposure_time": 500, "focus_once": True})
            camera.set_controls({"hflip": True, "contrast": 1.5})
            camera.set_controls({"contrast": None})
            await becomes(lambda: ("contrast", 1.0) in device.set and ("exposure_time", 500) in device.set)
            await becomes(lambda: "contrast" not in camera.kept()["controls"])  # the default needs no keeping
        camera.switch(False)
    kept = {"brightness": 140, "exposure": "manual", "exposure_time": 500, "hflip": True}
    assert content(path) == {"cameras": {"door": {"on": False, "controls": kept}}}

    device = FakeDevice(JPEGS)
    async with living(path, device) as (camera, _):
        assert (camera.on, camera.state, camera.kept()) == (False, State.OFF, {"on": False, "controls": kept})
        camera.switch(True)
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
            assert dict(device.set) == kept  # before the first picture
            assert {c.name: c.value for c in camera.controls if c.name in kept} == kept
    assert content(path) == {"cameras": {"door": {"on": True, "controls": kept}}}


def writes(path: Path, until: float) -> list[float]:
    """When the file is replaced, up to that time."""
    found, seen = [], (0, 0)
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            now = path.stat()
            if (now.st_ino, now.st_mtime_ns) != seen:
                seen = now.st_ino, now.st_mtime_ns
                found.append(time.monotonic())
        time.sleep(0.002)
    return found


@in_loop
async def test_it_is_written_a_moment_after_a_change_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    fsync = os.fsync

    def note(file: int) -> None:
        threads.append(threading.current_thread())
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    path = tmp_path / "state.json"
    async with living(path, limits=Limits(write_after_s=0.05, write_every_s=0.05)) as (camera, _):
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
            for value in range(50):
                camera.set_controls({"brightness": value})
            await becomes(path.exists)
            assert content(path)["cameras"]["door"]["controls"] == {"brightness": 49}
            camera.set_controls({"brightness": 49})  # as it was
            camera.switch(True)
        await state_of(camera, State.IDLE)
        camera.switch(False)
        camera.switch(True)  # as it was, too
        await asyncio.sleep(0.3)
    assert len(threads) == 2  # the file and its folder, once
    assert threading.main_thread() not in threads  # which has better things to do


@in_loop
async def test_changes_all_the_time_do_not_wear_out_the_card(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    async with living(path, limits=Limits(write_after_s=0.05, write_every_s=0.5)) as (camera, file):
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
            begun = time.monotonic()
            watching = asyncio.create_task(asyncio.to_thread(writes, path, begun + 1.8))
            for value in itertools.count():
                camera.set_controls({"brightness": value % 250})
                await asyncio.sleep(0.005)
                if watching.done():
                    break
            found = await watching
            assert 2 <= len(found) <= 4 and all(later - one > 0.4 for one, later in itertools.pairwise(found))
            assert 0.04 < found[0] - begun < 0.4
            camera.set_controls({"brightness": 251})
            await file.close()
            assert time.monotonic() - begun < 2.2
            assert content(path)["cameras"]["door"]["controls"] == {"brightness": 251}


@in_loop
async def test_what_nobody_changed_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    async with living(path) as (camera, _):
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
        camera.switch(False)
        camera.switch(True)
    assert os.listdir(tmp_path) == []


@in_loop
async def test_other_cameras_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"cameras": {"Küche": CHOSEN, "\ud800": CHOSEN}, "other": 1}))
    async with living(path) as (camera, file):
        assert camera.kept() == {"on": True, "controls": {}}
        assert file.of("Küche") == CHOSEN
        camera.switch(False)
    assert content(path)["cameras"] == {"Küche": CHOSEN, "\ud800": CHOSEN, "door": {"on": False, "controls": {}}}
    assert "Küche" in path.read_text()  # for people


@pytest.mark.parametrize(
    "broken",
    [
        b"x" * 2_000_000,
        b"",
        b"\0" * 100,
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"cameras": []}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
    ],
    ids=[
        "too much",
        "empty",
        "zeros",
        "half",
        "list",
        "nothing",
        "null",
        "list in it",
        "no UTF-8",
        "deep",
        "long number",
    ],
)
@in_loop
async def test_a_broken_file_is_put_aside(broken: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(broken)
    async with living(path) as (camera, _):
        assert camera.kept() == {"on": True, "controls": {}}
        assert len(messages(caplog)) == 1 and str(path) in messages(caplog)[0]
        assert (tmp_path / "state.json.broken").read_bytes() == broken
        camera.switch(False)
    assert content(path) == {"cameras": {"door": {"on": False, "controls": {}}}}
    assert len(messages(caplog)) == 1


@in_loop
async def test_a_file_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    async with living(path) as (camera, _):
        assert camera.on and len(messages(caplog)) == 1
        camera.switch(False)
    assert content(path)["cameras"]["door"]["on"] is False


@each_no_file
@in_loop
async def test_what_is_no_file_is_put_aside(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    make(path)
    kind = stat.S_IFMT(path.lstat().st_mode)
    async with living(path) as (camera, _):
        assert camera.on and len(messages(caplog)) == 1 and str(path) in messages(caplog)[0]
        assert stat.S_IFMT((tmp_path / "state.json.broken").lstat().st_mode) == kind
        camera.switch(False)
    assert content(path)["cameras"]["door"]["on"] is False


@pytest.mark.parametrize("broken", [True, False])
@in_loop
async def test_all_files_are_for_nobody_else(tmp_path: Path, broken: bool) -> None:
    path = tmp_path / "new" / "state.json"
    before = os.umask(0)
    try:
        async with living(path) as (camera, _):
            camera.switch(False)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.write_bytes(b"{" if broken else path.read_bytes())
        path.chmod(0o644)
        async with living(path):
            pass
    finally:
        os.umask(before)
    files = list(path.parent.iterdir())
    assert [file.name for file in files] == ["state.json.broken" if broken else "state.json"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


@in_loop
async def test_of_a_file_with_too_much_in_it_a_part_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    many = {f"a{i}": {"on": False} for i in range(5000)}
    path.write_text(json.dumps({"cameras": many}))
    async with living(path) as (camera, file):
        assert file.of("a0")["on"] is file.of("a999")["on"] is False and file.of("a1000")["on"] is True
        camera.switch(False)
    assert len(content(path)["cameras"]) == 1001 and len(messages(caplog)) == 1

    one = {"on": True, "controls": {f"c{i}": i for i in range(1000)}}
    path.write_text(json.dumps({"cameras": {f"a{i}": one for i in range(70)}}))
    async with living(path) as (camera, file):
        assert len(file.of("a0")["controls"]) == 200
        camera.switch(False)
    assert path.stat().st_size < 1 << 20 and "a0" in content(path)["cameras"]  # so that it can be read again


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["on", "controls", "brightness", "hflip", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["on", "controls", "x"]), JSON) | JSON)
@settings(max_examples=200)
def test_whatever_is_in_it_is_made_sound(found: Any) -> None:
    kept = chosen.kept(found)
    assert set(kept) == {"on", "controls"} and isinstance(kept["on"], bool)
    json.dumps(kept, allow_nan=False)
    assert chosen.kept(json.loads(json.dumps(kept))) == kept


@in_loop
async def test_wrong_values_harm_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong: dict[str, Any] = {
        **{"brightness": "bright", "contrast": 99, "hflip": 1, "exposure": "auto ", "exposure_time": True},
        **{"focus_once": None, "nothing": 5, "list": [1], "nan": float("nan"), "infinite": float("-inf")},
        **{"huge": 10**400, "half": "\ud800", "long": "x" * 1000, "y" * 1000: 1, "deep": [[[[]]]]},
    }
    path, device = tmp_path / "state.json", FakeDevice(JPEGS)
    path.write_text(json.dumps({"cameras": {"door": {"on": "yes", "controls": wrong}, "b": 1, "c": {"on": None}}}))
    async with living(path, device) as (camera, _):
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
            await becomes(lambda: device.sent > 2)
            assert device.set == []
            assert [control.value for control in camera.controls] == [control.value for control in device.controls]
    assert messages(caplog) == []


def failing(number: int) -> Callable[..., Any]:
    """In place of a function of the system."""

    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("step", ["mkdir", "open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "make the disk writable"),
        (errno.EACCES, "let piapp write to {}"),
        (errno.EIO, "check {}"),
    ],
)
@in_loop
async def test_a_disk_that_takes_nothing(
    number: int,
    advice: str,
    step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The page and one line in the log say so, the old file stays, and when there is room again all is written."""
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"cameras": {"door": CHOSEN}}))
    before = path.read_bytes()
    file = StateFile(path, Limits(write_after_s=0.001, write_every_s=0.001, retry_s=0.01))
    told: list[str] = []
    file.listeners.add(lambda: told.append(file.problem))
    cameras = [Camera(CameraConfig(name=name), FakeDevice(JPEGS), file.of(name)) for name in "abc"]
    for camera in cameras:
        file.follow(camera)
    problem = (
        f"Changes made on the page cannot be saved: {os.strerror(number)}. "
        f"They will be lost when piapp restarts: {advice.format(config.cut(str(tmp_path), 100))}."
    )
    with monkeypatch.context() as patch:
        patch.setattr(Path if step == "mkdir" else os, step, failing(number))
        for camera in cameras:
            camera.switch(False)
            await becomes(lambda: file.problem)
        await asyncio.sleep(0.05)
        assert told == [problem] and path.read_bytes() == before
        assert messages(caplog) == [f"{path}: {problem}"]
        assert os.listdir(tmp_path) == ["state.json"]
    await becomes(lambda: file.problem == "")  # nobody has changed anything
    off = {"on": False, "controls": {}}
    assert content(path) == {"cameras": {"door": CHOSEN, "a": off, "b": off, "c": off}}
    assert told == [problem, ""] and len(messages(caplog)) == 1
    await file.close()


@in_loop
async def test_a_change_tries_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    async with living(path, limits=Limits(write_after_s=0.001, write_every_s=0.001, retry_s=1000)) as (camera, file):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", failing(errno.ENOSPC))
            camera.switch(False)
            await becomes(lambda: file.problem)
            camera.switch(True)  # as it is in the file: nothing would be lost
            await becomes(lambda: not file.problem)
            camera.switch(False)
            await becomes(lambda: file.problem)
        with camera.watching(Watcher()):
            camera.switch(True)
            await state_of(camera, State.RUNNING)
            camera.set_controls({"brightness": 3})
            await becomes(lambda: not file.problem)
    assert content(path)["cameras"]["door"]["controls"] == {"brightness": 3}


@in_loop
async def test_a_disk_that_never_takes_anything_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def fail(*_: object) -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", fail)
    async with living(tmp_path / "state.json") as (camera, file):
        camera.switch(False)
        begun = time.monotonic()
        await file.close()
        assert len(tries) == 1 and time.monotonic() - begun < 0.9 and file.problem


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/piapp"}, "/var/lib/piapp/state.json"),
        ({"STATE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "/x"}, "/a/state.json"),
        ({"XDG_STATE_HOME": "/x"}, "/x/piapp/state.json"),
        ({"XDG_STATE_HOME": "x", "HOME": "/home/pi"}, "/home/pi/.local/state/piapp/state.json"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": "/home/pi"}, "/home/pi/.local/state/piapp/state.json"),
    ],
)
def test_where_it_is(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_path() == Path(expected)


@in_loop
async def test_without_any_place_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert default_path() is None
    file = StateFile(None)
    camera = Camera(CameraConfig(), FakeDevice(JPEGS), file.of("camera"))
    file.follow(camera)
    camera.switch(False)
    await file.close()
    assert len(messages(caplog, logging.WARNING)) == 1
