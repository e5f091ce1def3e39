"""sources/pi_encoder.py: who makes the JPEGs of a Pi camera, and what of them costs how much."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import simplejpeg
from fake_picamera2 import VERSIONS, World, installed
from fake_picamera2.encoders import JpegEncoder

from piapp.config import Size
from piapp.errors import SourceError
from piapp.sources import pi_encoder, v4l2
from piapp.sources.pi_encoder import Choice

HD, FULL_HD = Size(1280, 720), Size(1920, 1080)
NO_HARDWARE = "this computer has no hardware for it"


class Device:
    """What stands at /dev/video11."""

    def __init__(self, name: str | OSError) -> None:
        self.name = name
        self.path: Path | None = None  # that was asked for

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        self.path = path
        if isinstance(self.name, OSError):
            raise self.name
        yield 0

    def named(self, fd: int) -> str:
        assert isinstance(self.name, str)
        return self.name


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | OSError], Device]:
    def put(name: str | OSError) -> Device:
        device = Device(name)
        monkeypatch.setattr(v4l2, "opened", device.opened)
        monkeypatch.setattr(v4l2, "name", device.named)
        return device

    return put


At = Callable[[str | OSError], Device]


# --- the choice ---


def test_a_pi_up_to_4_has_hardware(at: At) -> None:
    device = at("bcm2835-codec-encode")
    for setting in ("auto", "hardware"):
        assert pi_encoder.choose(setting, HD) == Choice(True, "")
        assert str(pi_encoder.choose(setting, HD)) == "the Pi's hardware"
    assert device.path == Path("/dev/video11")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (FileNotFoundError(2, "No such file or directory"), NO_HARDWARE),
        ("Webcam", NO_HARDWARE),  # on a PC any camera may have this number
        ("pispbe", NO_HARDWARE),
        ("", NO_HARDWARE),
        (PermissionError(13, "Permission denied"), "/dev/video11 cannot be opened, permission denied"),
        (OSError(16, "Device or resource busy"), "/dev/video11 cannot be opened, device or resource busy"),
        (
            OSError(25, "Inappropriate ioctl for device"),
            "/dev/video11 cannot be opened, inappropriate ioctl for device",
        ),
        (OSError("odd"), "/dev/video11 cannot be opened, odd"),
    ],
)
def test_without_hardware_it_says_why(name: str | OSError, why: str, at: At) -> None:
    at(name)
    assert pi_encoder.choose("auto", HD) == Choice(False, why)
    assert str(pi_encoder.choose("auto", HD)) == f"simplejpeg on the processor: {why}"
    with pytest.raises(SourceError) as raised:
        pi_encoder.choose("hardware", HD)
    assert raised.value.what == f"Hardware encoder cannot be used ({why})"
    assert raised.value.hint == 'set encoder = "auto" in config.toml'


@pytest.mark.parametrize("name", ["bcm2835-codec-encode", FileNotFoundError(2, "No such file or directory")])
def test_software_because_the_settings_say_so(name: str | OSError, at: At) -> None:
    at(name)
    assert pi_encoder.choose("software", HD) == Choice(False, "set in config.toml")


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        (Size(64, 64), True),
        (Size(1920, 1080), True),
        (Size(1920, 1920), True),
        (Size(1922, 1080), False),
        (Size(1080, 1922), False),
        (Size(4608, 2592), False),
    ],
)
def test_the_hardware_takes_1920_pixels_a_side(size: Size, fits: bool, at: At) -> None:
    """Above that its STREAMON fails, which is late to find out."""
    at("bcm2835-codec-encode")
    why = "" if fits else f"{size} is more than the hardware takes, 1920 pixels a side"
    assert pi_encoder.choose("auto", size) == Choice(fits, why)


def test_real_files_are_no_hardware(tmp_path: Path) -> None:
    """By the kernel's own answers."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert pi_encoder.choose("auto", HD, tmp_path / "none").why == NO_HARDWARE
    for name in ("file", "folder"):
        assert "cannot be opened" in pi_encoder.choose("auto", HD, tmp_path / name).why
    assert "inappropriate ioctl" in pi_encoder.choose("auto", HD, Path(os.devnull)).why


# --- the encoders ---


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("platform", ["VC4", "PISP"])
def test_encoders_are_never_ffmpeg_s(version: str, platform: str) -> None:
    """On a Pi 5 the package's MJPEGEncoder is, and the hardware's own refuses to be made; up to 0.3.12 nobody looks."""
    world = World(version=version, platform=platform, video11="" if platform == "PISP" else "bcm2835-codec-encode")
    with installed(world):
        software = pi_encoder.software(60)
        assert isinstance(software, JpegEncoder) and software.q == 60
        pi_encoder.release(software)
        if platform == "PISP" and version != "0.3.12":
            with pytest.raises(RuntimeError, match="Hardware MJPEG not available"):
                pi_encoder.hardware(60, HD)
        else:
            hardware = pi_encoder.hardware(60, HD)
            assert type(hardware).__name__ == "MJPEGEncoder"
            assert hardware.bitrate == pi_encoder.bitrate(60, HD)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_numbers_that_are_set_are_not_overwritten(version: str) -> None:
    """picamera2 has a quality of its own, for encoders that were given none."""
    with installed(World(version=version)):
        for encoder in (pi_encoder.software(33), pi_encoder.hardware(33, HD)):
            before = dict(vars(encoder))
            encoder.setup(None)
            assert {name: vars(encoder).get(name) for name in ("q", "bitrate")} == {
                name: before.get(name) for name in ("q", "bitrate")
            }
            pi_encoder.release(encoder)


@pytest.mark.parametrize(
    ("version", "takes"), [("0.3.12", False), ("0.3.22", False), ("0.3.25", False), ("0.3.26", True), ("0.3.38", True)]
)
def test_which_versions_encode_planes(version: str, takes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with installed(World(version=version)):
        monkeypatch.setattr(simplejpeg, "encode_jpeg_yuv_planes", lambda *_: b"", raising=False)
        assert pi_encoder.takes_planes() is takes
        monkeypatch.delattr(simplejpeg, "encode_jpeg_yuv_planes")
        assert not pi_encoder.takes_planes()


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (4, 4), (64, 4), (None, 1)])
def test_as_many_threads_as_cores(cores: int | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert pi_encoder.threads() == threads


# --- the bit rate ---


@pytest.mark.parametrize(("quality", "mbit"), [(1, 0.64), (25, 16), (30, 18), (35, 20), (50, 30), (65, 40), (80, 50)])
def test_qualities_stand_where_picamera2_has_them(quality: int, mbit: float) -> None:
    assert pi_encoder.bitrate(quality, FULL_HD) == round(mbit * 1e6)


def test_the_bit_rate_grows_with_quality_and_with_size() -> None:
    for size in (Size(64, 64), HD, FULL_HD, Size(1920, 1920)):
        rates = [pi_encoder.bitrate(quality, size) for quality in range(1, 101)]
        assert rates == sorted(rates) and rates[0] > 0
    for quality in (1, 50, 100):
        assert pi_encoder.bitrate(quality, HD) < pi_encoder.bitrate(quality, FULL_HD)


def test_the_mean_picture_fills_half_of_the_hardware_s_buffer_at_most() -> None:
    """picamera2 gives it 512 KiB for each; what does not fit is cut off."""
    for quality in range(1, 101):
        assert pi_encoder.bitrate(quality, Size(1920, 1920)) / 8 / 30 <= 512 * 1024 / 2
