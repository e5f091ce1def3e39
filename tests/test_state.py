"""state.py: what users chose comes through restarts, power cuts, full disks and broken files."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import random
import subprocess
import sys
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

from piapp import chosen, state
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.state import StateFile, default_path

ROOT = Path(__file__).parents[1]
CHOSEN: dict[str, Any] = {
    "on": False,
    "controls": {"brightness": 140, "contrast": 0.3, "hflip": True, "exposure": "manual"},
}


@contextlib.asynccontextmanager
async def living(path: Path, device: FakeDevice | None = None) -> AsyncIterator[tuple[Camera, StateFile]]:
    """The camera "door" from start to end, as app.py has it."""
    file = StateFile(path)
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


@in_loop
async def test_it_is_written_a_moment_after_a_change_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "WRITE_AFTER_S", 0.05)
    written: list[bytes] = []
    threads: list[str] = []
    replace = state.replace

    def count(path: Path, new: bytes) -> None:
        with contextlib.suppress(RuntimeError):
            threads.append(str(asyncio.get_running_loop()))
        written.append(new)
        replace(path, new)

    monkeypatch.setattr(state, "replace", count)
    path = tmp_path / "state.json"
    async with living(path) as (camera, file):
        with camera.watching(Watcher()):
            await state_of(camera, State.RUNNING)
            for value in range(50):
                camera.set_controls({"brightness": value})
            await becomes(lambda: path.exists())
            await becomes(lambda: file._writing and file._writing.done())
            assert len(written) == 1 and b'"brightness": 49' in written[0]
            camera.set_controls({"brightness": 49})  # as it was
            camera.switch(True)
        await state_of(camera, State.IDLE)
        assert file._writing and file._writing.done()
        camera.switch(False)
        camera.switch(True)  # as it was, too
        await becomes(lambda: file._writing and file._writing.done())
    assert len(written) == 1
    assert threads == []  # the event loop's thread has better things to do


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
    [b"", b"\0" * 100, b"{", b"[]", b"{}", b"null", b'{"cameras": []}', b"\xff\xfe", b"[" * 100_000, b"1" * 5000],
    ids=["empty", "zeros", "half", "list", "nothing", "null", "list in it", "no UTF-8", "deep", "long number"],
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
        **{"focus_once": None, "nothing": 5, "list": [1], "nan": float("nan")},
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


@pytest.mark.parametrize("step", ["mkdir", "open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@in_loop
async def test_a_disk_that_takes_nothing(
    number: int, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log, the old file stays, and when there is room again all is written."""
    monkeypatch.setattr(state, "WRITE_AFTER_S", 0.001)
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"cameras": {"door": CHOSEN}}))
    before = path.read_bytes()
    tries: list[int] = []

    def fail(*_: object, **__: object) -> Any:
        tries.append(1)
        raise OSError(number, os.strerror(number))

    file = StateFile(path)
    cameras = [Camera(CameraConfig(name=name), FakeDevice(JPEGS), file.of(name)) for name in "abc"]
    for camera in cameras:
        file.follow(camera)
    with monkeypatch.context() as patch:
        patch.setattr(Path if step == "mkdir" else os, step, fail)
        for number_of_tries, camera in enumerate(cameras, 1):
            camera.switch(False)
            await becomes(lambda: file._writing and file._writing.done())
            assert len(tries) == number_of_tries
        assert path.read_bytes() == before
    assert len(messages(caplog)) == 1 and str(path) in messages(caplog)[0]
    assert os.strerror(number) in messages(caplog)[0]
    assert os.listdir(tmp_path) == ["state.json"]
    await file.close()
    off = {"on": False, "controls": {}}
    assert content(path) == {"cameras": {"door": CHOSEN, "a": off, "b": off, "c": off}}
    assert len(messages(caplog)) == 1


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[int, bytes], int] = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    state.replace(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_all_of_it_is_on_the_disk_before_it_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("write", "fsync", "replace"):
        step = getattr(os, name)

        def note(*arguments: Any, step: Any = step, name: str = name) -> Any:
            done.append(name)
            return step(*arguments)

        monkeypatch.setattr(os, name, note)
    state.replace(tmp_path / "file", b"new")
    assert done == ["write", "fsync", "replace", "fsync"]


WRITER = """
import json, sys
from pathlib import Path
from piapp import state

print("ready", flush=True)
number = 0
while True:
    number += 1
    cameras = {f"camera{i}": {"on": True, "controls": {"brightness": number}} for i in range(200)}
    state.replace(Path(sys.argv[1]), json.dumps({"cameras": cameras}).encode())
"""


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    """Many times, for some seconds. What a disk does without power is not tried, only what is asked of it."""
    path, seed = tmp_path / "state.json", random.Random(1)
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
            values = {each["controls"]["brightness"] for each in content(path)["cameras"].values()}
            assert len(values) == 1
            newest = max(newest, *values)
    assert newest > 1
    assert set(os.listdir(tmp_path)) <= {"state.json", ".state.json.new"}


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
