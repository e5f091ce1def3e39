"""All of piapp, as a process of its own, with ffmpeg as its viewer."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from program import Program
from wire import ask

from .conftest import Report
from .filming import pixels, place

av = pytest.importorskip("av")

SETTINGS = """
[[camera]]
source = "picamera2"
device = "Virtual0"
resolution = "{}"
"""
START = "from real_picamera2 import shim; shim.install(); from piapp.__main__ import main; raise SystemExit(main())"
FRAMES = 90


@pytest.fixture(params=["1280x720"])
def piapp(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    environment = program.environment()
    monkeypatch.setattr(program, "command", lambda *arguments: [sys.executable, "-c", START, *map(str, arguments)])
    path = f"{program.ROOT}:{program.ROOT / 'tests'}"
    monkeypatch.setattr(program, "environment", lambda: {**environment, "PYTHONPATH": path})
    (tmp_path / "config.toml").write_text(SETTINGS.format(request.param))
    with Program(tmp_path) as running:
        yield running


def megabytes(pid: int) -> int:
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kilobytes) >> 10


def test_ffmpeg_watches_without_an_error(piapp: Program) -> None:
    """The program, of the computer that this Debian is in."""
    strict = ["-v", "error", "-xerror", "-err_detect", "explode", "-f", "mpjpeg", "-strict_mime_boundary", "1"]
    watch = ["/usr/sbin/chroot", "/host", "ffmpeg", "-nostdin", *strict, "-i", f"{piapp.url}/stream"]
    end = ["-frames:v", str(FRAMES), "-f", "framehash", "-hash", "murmur3", "-"]
    seen = subprocess.run([*watch, *end], capture_output=True, text=True, timeout=60, check=False)
    assert (seen.returncode, seen.stderr) == (0, "")
    hashes = [line.split(",")[-1] for line in seen.stdout.splitlines() if not line.startswith("#")]
    assert len(hashes) == len(set(hashes)) == FRAMES  # whole pictures, and no two the same


def test_every_picture_is_right_and_newer(piapp: Program, report: Report) -> None:
    """By PyAV, ffmpeg's libraries, which picamera2 has here for its own encoder."""
    moves, asleep = [], megabytes(piapp._process.pid)
    strict = {"err_detect": "explode"}
    with av.open(f"{piapp.url}/stream", format="mpjpeg", options={**strict, "strict_mime_boundary": "1"}) as stream:
        stream.streams.video[0].codec_context.options = strict
        for packet in stream.demux(video=0):
            for frame in packet.decode():
                moves.append(place(frame.to_ndarray(format="rgb24")))
            if len(moves) >= FRAMES:
                break
        shown = ask(piapp.port, "/api/cameras/camera").json()
        awake = megabytes(piapp._process.pid)
        report(f"piapp: {asleep} MB before the first viewer, {awake} MB with one at 720p; {shown['fps']} fps")
    steps = [(after - before) % 1280 for before, after in zip(moves, moves[1:], strict=False)]
    assert all(0 < step < FRAMES for step in steps), steps
    assert (shown["source"], shown["device"], shown["faults"]) == ("picamera2", "Virtual0", 0)
    assert shown["fps"] > 20
    assert "Traceback" not in piapp.errors()


@pytest.mark.parametrize("piapp", ["640x360"], indirect=True)
def test_a_snapshot_wakes_the_camera_and_may_have_all_of_the_sensors_pixels(piapp: Program) -> None:
    for query, shape in ("", (360, 640, 3)), ("?full=1", (720, 1280, 3)):
        answer = ask(piapp.port, f"/snapshot.jpg{query}")
        assert answer.headers.get("content-type") == "image/jpeg", answer
        rgb = pixels(answer.body)
        assert rgb.shape == shape
        place(rgb)
    assert "Traceback" not in piapp.errors()
