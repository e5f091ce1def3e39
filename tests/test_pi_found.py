"""sources/pi_found.py: which Pi cameras there are, what their sensors can do, which tuning file is used."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_libcamera
import pytest
from fake_libcamera import IMX219, IMX708, Formats

from piapp.config import CameraConfig
from piapp.errors import SourceError
from piapp.sources import pi_found
from piapp.sources.pi_found import FoundCamera, Modes

WIDE: dict[str, Any] = {"Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Model": "imx708_wide", "Num": 1}
V2: dict[str, Any] = {"Id": "/base/soc/i2c0mux/i2c@0/imx219@10", "Model": "imx219", "Num": 0}
USB: dict[str, Any] = {"Id": r"\_SB_.PCI0.RP05.usb/usb1/1-1:1.0-046d:082d", "Model": "HD Pro Webcam C920", "Num": 2}

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Cameras in libcamera's order: what is told of each, and its formats."""

    def install(*cameras: tuple[dict[str, Any], Formats | None]) -> None:
        for name, module in fake_libcamera.modules(*cameras).items():
            monkeypatch.setitem(sys.modules, name, module)

    return install


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pi_found.TUNING, "")  # so that it is put back
    monkeypatch.delenv(pi_found.TUNING)


def test_cameras_are_numbered_as_picamera2_counts(install: Install) -> None:
    install((WIDE, IMX708), (V2, IMX219), (USB, None))
    wide, v2 = FoundCamera(0, WIDE["Id"], "imx708_wide"), FoundCamera(1, V2["Id"], "imx219")
    assert pi_found.find_cameras() == [wide, v2]
    assert pi_found.choose("") == pi_found.choose("0") == pi_found.choose(WIDE["Id"]) == wide
    assert pi_found.choose("1") == pi_found.choose(V2["Id"]) == v2
    with pytest.raises(SourceError, match="Pi camera 2 not found"):
        pi_found.choose("2")


def test_no_camera(install: Install) -> None:
    install((USB, None))
    assert pi_found.find_cameras() == []
    with pytest.raises(SourceError, match="look at the ribbon cable"):
        pi_found.choose("")


def test_without_picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    assert pi_found.find_cameras() == []
    with pytest.raises(SourceError, match="apt install python3-picamera2"):
        pi_found.choose("")


# --- modes ---


def modes(install: Install, formats: Formats | None) -> list[Modes]:
    install((WIDE, formats))
    return pi_found.modes(pi_found.choose(""))


def test_modes_the_largest_first(install: Install) -> None:
    assert modes(install, IMX708) == [Modes(10, ((4608, 2592), (2304, 1296), (1536, 864)))]  # type: ignore[arg-type]
    sizes = ((3280, 2464), (1920, 1080), (1640, 1232), (640, 480))
    assert modes(install, IMX219) == [Modes(10, sizes), Modes(8, sizes)]  # type: ignore[arg-type]
    assert str(modes(install, IMX708)[0].sizes[0]) == "4608x2592"


@pytest.mark.parametrize(
    ("pixels", "bits"),
    [("R8", 8), ("R10_CSI2P", 10), ("SGBRG12_CSI2P", 12), ("SRGGB16", 16), ("BGGR_PISP_COMP1", 16), ("R12", 12)],
)
def test_bits_of_a_format(install: Install, pixels: str, bits: int) -> None:
    assert modes(install, {pixels: [(64, 48)]}) == [Modes(bits, ((64, 48),))]  # type: ignore[arg-type]


def test_a_mode_that_comes_in_two_packings_is_one(install: Install) -> None:
    formats = {"SRGGB10": [(64, 48), (32, 24)], "SRGGB10_CSI2P": [(64, 48)]}
    assert modes(install, formats) == [Modes(10, ((64, 48), (32, 24)))]  # type: ignore[arg-type]


@pytest.mark.parametrize("formats", [None, {}, {"YUYV": [(64, 48)], "NV12": [(64, 48)], "RGB888": [(64, 48)]}])
def test_modes_unknown(install: Install, formats: Formats | None) -> None:
    assert modes(install, formats) == []


def test_modes_of_a_camera_that_has_gone(install: Install) -> None:
    install((V2, IMX219))
    assert pi_found.modes(FoundCamera(0, WIDE["Id"], "imx708_wide")) == []


# --- the tuning file ---


@pytest.mark.parametrize(("chip", "folder"), [(b"brcm,bcm2711", "vc4"), (b"brcm,bcm2712", "pisp")])
def test_the_tuning_file_is_that_of_this_kind_of_pi(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chip: bytes, folder: str
) -> None:
    for kind in ("vc4", "pisp"):
        (tmp_path / "ipa" / kind).mkdir(parents=True)
        (tmp_path / "ipa" / kind / "imx219_noir.json").touch()
    (tmp_path / "compatible").write_bytes(b"raspberrypi,model\0" + chip + b"\0")
    monkeypatch.setattr(pi_found, "COMPATIBLE", tmp_path / "compatible")
    monkeypatch.setattr(pi_found, "IPA", (tmp_path / "local", tmp_path / "ipa"))
    pi_found.use_tuning([CameraConfig(), CameraConfig(tuning="imx219_noir.json")])
    assert os.environ[pi_found.TUNING] == str(tmp_path / "ipa" / folder / "imx219_noir.json")
    pi_found.check_tuning()
    pi_found.use_tuning([CameraConfig()])
    assert os.environ[pi_found.TUNING].endswith("imx219_noir.json")  # what the environment says stays


def test_a_tuning_file_that_is_not_there(environment: None, tmp_path: Path) -> None:
    pi_found.check_tuning()
    pi_found.use_tuning([CameraConfig(tuning=f"{tmp_path}/mine.json")])
    with pytest.raises(SourceError, match=f"Tuning file {tmp_path}/mine.json not found"):
        pi_found.check_tuning()
    (tmp_path / "mine.json").touch()
    pi_found.check_tuning()
