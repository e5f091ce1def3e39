"""Other people's programs as viewers of a piapp of its own: ffmpeg, OpenCV, curl."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from program import LIMIT_S, Program, environment
from wire import Parser, ask

from piapp.sources.encoder import Pixels
from piapp.sources.pattern import count_in

WIDTH, HEIGHT = 320, 240
SETTINGS = f"""
[[camera]]
source = "pattern"
resolution = "{WIDTH}x{HEIGHT}"
[[camera]]
name = "Küche 2"
source = "pattern"
resolution = "640x480"
"""
STREAMS = [
    "/stream",
    "/stream.mjpg",
    "/cameras/camera/stream",
    "/?action=stream",
    "/webcam/?action=stream&1608856928650",
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("piapp")
    (folder / "config.toml").write_text(SETTINGS)
    with Program(folder) as running:
        yield running
        assert "Traceback" not in running.errors()


def output_of(*command: str) -> bytes:
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return done.stdout


def counts_rise(counts: list[int]) -> None:
    assert counts[0] > 0 and all(a < b for a, b in zip(counts, counts[1:], strict=False)), counts


def count_of(jpeg: bytes, width: int = WIDTH, height: int = HEIGHT) -> int:
    luma: Pixels = simplejpeg.decode_jpeg(jpeg, colorspace="GRAY")[:, :, 0]
    assert luma.shape == (height, width)
    return count_in(luma)


# --- ffmpeg ---


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("form", [[], ["-f", "mpjpeg"]], ids=["found out", "told"])
def test_ffmpeg_reads_the_stream(program: Program, path: str, form: list[str]) -> None:
    read = ["-v", "error", "-nostdin", *form, "-i", program.url + path]
    pixels = output_of("ffmpeg", *read, *("-frames:v 12 -fps_mode passthrough -f rawvideo -pix_fmt gray -").split(" "))
    assert len(pixels) == 12 * WIDTH * HEIGHT
    counts_rise([count_in(luma) for luma in np.frombuffer(pixels, np.uint8).reshape(12, HEIGHT, WIDTH)])


@pytest.mark.needs("ffmpeg")
def test_ffmpeg_reads_the_snapshot(program: Program) -> None:
    read = ["-v", "error", "-nostdin", "-i", f"{program.url}/snapshot.jpg"]
    pixels = output_of("ffmpeg", *read, *"-f rawvideo -pix_fmt gray -".split(" "))
    assert count_in(np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH)) > 0


@pytest.mark.needs("ffprobe")
@pytest.mark.parametrize(("path", "size"), [("/stream", (WIDTH, HEIGHT)), ("/stream_1", (640, 480))])
def test_ffprobe_knows_what_it_is(program: Program, path: str, size: tuple[int, int]) -> None:
    asked = "-v error -show_entries stream=codec_name,width,height:format=format_name -of json".split()
    found: dict[str, Any] = json.loads(output_of("ffprobe", *asked, program.url + path))
    [video] = found["streams"]
    assert (video["codec_name"], video["width"], video["height"]) == ("mjpeg", *size)
    assert found["format"]["format_name"] == "mpjpeg"


# --- OpenCV ---


@pytest.fixture
def cv2(monkeypatch: pytest.MonkeyPatch) -> Any:
    """With CI=true it has to be there, as scripts/test has installed it."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    if os.environ.get("CI") == "true":
        import cv2

        return cv2
    return pytest.importorskip("cv2")


@pytest.mark.parametrize("path", STREAMS)
def test_opencv_reads_the_stream(program: Program, cv2: Any, path: str) -> None:
    capture = cv2.VideoCapture(program.url + path, cv2.CAP_FFMPEG)
    try:
        counts = []
        for _ in range(12):
            good, picture = capture.read()
            assert good and picture.shape == (HEIGHT, WIDTH, 3)
            counts.append(count_in(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)))
    finally:
        capture.release()
    counts_rise(counts)


def test_opencv_reads_the_snapshot(program: Program, cv2: Any) -> None:
    capture = cv2.VideoCapture(f"{program.url}/snapshot.jpg", cv2.CAP_FFMPEG)
    try:
        good, picture = capture.read()
    finally:
        capture.release()
    assert good and picture.shape == (HEIGHT, WIDTH, 3)
    assert count_in(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) > 0


# --- curl ---


@pytest.mark.needs("curl")
@pytest.mark.parametrize("options", [[], ["-0"], ["--compressed"]], ids=["1.1", "1.0", "compressed"])
@pytest.mark.parametrize("path", STREAMS)
def test_curl_reads_the_stream(program: Program, path: str, options: list[str]) -> None:
    command = ["curl", "-sSN", *options, program.url + path]
    parser, jpegs = Parser(advance=False), list[bytes]()
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
        assert curl.stdout
        try:
            while len(jpegs) < 12:
                data = os.read(curl.stdout.fileno(), 1 << 16)
                assert data, curl.stderr and curl.stderr.read()
                jpegs += [part.jpeg for part in parser.feed(data)]
        finally:
            curl.terminate()
    counts_rise([count_of(jpeg) for jpeg in jpegs])


@pytest.mark.needs("curl")
def test_curl_reads_snapshots_each_newer_than_the_last(program: Program, tmp_path: Path) -> None:
    counts = []
    for _ in range(3):
        output_of("curl", "-sSf", "-o", str(tmp_path / "now.jpg"), f"{program.url}/snapshot.jpg")
        counts.append(count_of((tmp_path / "now.jpg").read_bytes()))
    counts_rise(counts)


@pytest.mark.needs("curl")
def test_curl_changes_a_setting_as_the_readme_says(program: Program) -> None:
    url = f"{program.url}/api/cameras/K%C3%BCche%202"
    for on in ("false", "true"):
        change = ["-X", "PATCH", "-H", "Content-Type: application/json", "-d", f'{{"on": {on}}}']
        assert json.loads(output_of("curl", "-sSf", *change, url))["on"] == json.loads(on)
    assert ask(program.port, "/api/cameras/K%C3%BCche%202").json()["name"] == "Küche 2"


@pytest.mark.needs("curl")
def test_curl_asks_for_the_head(program: Program) -> None:
    for path in ("/", "/stream", "/snapshot.jpg", "/api/cameras"):
        assert output_of("curl", "-sSfI", program.url + path).startswith(b"HTTP/1.1 200 OK\r\n")
