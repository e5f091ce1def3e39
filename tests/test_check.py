"""`piapp check` on a Raspberry Pi; tests/test_main.py has the rest of it."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import fake_libcamera
import pytest
from fake_libcamera import IMX219, IMX708, Formats
from fakes import free_port

from piapp import check
from piapp.config import CameraConfig, Config, ServerConfig, Size
from piapp.errors import SourceError
from piapp.sources import pi_encoder, pi_found, v4l2
from piapp.sources.pi_encoder import Choice
from piapp.system import config_txt, mdns, network

WIDE = {"Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Model": "imx708_wide"}
V2 = {"Id": "/base/soc/i2c0mux/i2c@0/imx219@10", "Model": "imx219"}
PI, MUTE = CameraConfig(source="picamera2"), CameraConfig(name="mute", source="pattern")
MEMORY = "MemTotal:  3885396 kB\nMemFree: 1 kB\nMemAvailable:  2150000 kB\nCmaTotal:  524288 kB\nCmaFree:  409600 kB\n"


class Computer:
    """A Raspberry Pi whose cameras, files and rights a test changes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.dev, self.config_txt = folder, folder / "dev", folder / "config.txt"
        self._monkeypatch, self._capsys = monkeypatch, capsys
        (self.dev / "dma_heap").mkdir(parents=True)
        for node in ("media0", "video0", "video11", "dma_heap/linux,cma", "dma_heap/system"):
            (self.dev / node).touch()
        (folder / "meminfo").write_text(MEMORY)
        self.config_txt.write_text("camera_auto_detect=1\n")
        monkeypatch.setattr(check, "MEMORY", folder / "meminfo")
        monkeypatch.setattr(check, "MODEL", folder / "model")
        monkeypatch.setattr(check, "DEV", self.dev)
        monkeypatch.setattr(config_txt, "FILES", (self.config_txt,))
        monkeypatch.setattr(v4l2, "find_cameras", lambda: [])
        monkeypatch.setenv(pi_found.TUNING, "")
        monkeypatch.delenv(pi_found.TUNING)
        self.model("Raspberry Pi 4 Model B Rev 1.4")
        self.cameras()

    def model(self, name: str) -> None:
        (self.folder / "model").write_text(name + "\0")

    def cameras(self, *cameras: tuple[dict[str, Any], Formats | None]) -> None:
        for name, module in fake_libcamera.modules(*cameras).items():
            self._monkeypatch.setitem(sys.modules, name, module)

    def encoder(self, setting: str, size: Size) -> Choice:
        """In place of pi_encoder.choose: a Pi's hardware."""
        return Choice(setting == "auto", "" if setting == "auto" else f"set for {size}")

    def checked(self, *cameras: CameraConfig, announce: bool = True) -> tuple[int, list[str]]:
        """The exit code and the lines."""
        code = check.run(Config(ServerConfig(host="127.0.0.1", port=free_port(), announce=announce), cameras))
        return code, self._capsys.readouterr().out.splitlines()

    def hints(self, *cameras: CameraConfig) -> list[str]:
        _, lines = self.checked(*cameras)
        return [line.removeprefix("hint      ") for line in lines if line.startswith("hint ")]


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Computer:
    computer = Computer(tmp_path, monkeypatch, capsys)
    monkeypatch.setattr(pi_encoder, "choose", computer.encoder)
    return computer


def test_cameras_with_their_modes(computer: Computer) -> None:
    computer.cameras((WIDE, IMX708), (V2, IMX219))
    code, lines = computer.checked(PI)
    assert code == 0 and lines[-1] == "nothing is wrong"
    at = lines.index(f"found     Pi camera 0: imx708_wide, {WIDE['Id']}")
    assert lines[at : at + 5] == [
        f"found     Pi camera 0: imx708_wide, {WIDE['Id']}",
        "found         10 bit 4608x2592, 2304x1296, 1536x864",
        f"found     Pi camera 1: imx219, {V2['Id']}",
        "found         10 bit 3280x2464, 1920x1080, 1640x1232, 640x480",
        "found         8 bit 3280x2464, 1920x1080, 1640x1232, 640x480",
    ]


def test_a_camera_without_raw_pictures(computer: Computer) -> None:
    computer.cameras((WIDE, None))
    code, lines = computer.checked(PI)
    assert code == 0 and "found         modes unknown" in lines


def test_usb_cameras_are_told_as_ever(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "find_cameras", lambda: [v4l2.FoundCamera("/dev/video9", "Webcam")])
    formats = [v4l2.Format("MJPG", "Motion-JPEG", (Size(640, 480), Size(320, 240)))]
    monkeypatch.setattr(v4l2, "formats", lambda _: formats)
    _, lines = computer.checked(MUTE)
    at = lines.index("found     USB camera Webcam: /dev/video9")
    assert lines[at + 1] == "found         MJPG 640x480, 320x240"


def test_the_computer_and_its_memory(computer: Computer) -> None:
    _, lines = computer.checked(MUTE)
    assert any(line.startswith("computer  Raspberry Pi 4 Model B Rev 1.4; Python 3.") for line in lines)
    assert "memory    3794 MB, 2099 MB free; for cameras (CMA) 512 MB, 400 MB free" in lines
    (computer.folder / "meminfo").write_text(MEMORY.replace("524288", "0"))
    assert "memory    3794 MB, 2099 MB free" in computer.checked(MUTE)[1]


@pytest.mark.parametrize(
    ("only_here", "name", "installed", "announce", "said"),
    [
        (True, "pi.local", True, True, 'none: with host = "127.0.0.1" piapp is for this computer only'),
        (False, "", False, True, "none: sudo apt install avahi-utils"),
        (False, "", True, True, "none: avahi does not run: sudo systemctl enable --now avahi-daemon"),
        (False, "pi.local", False, True, "http://pi.local:PORT/, and not announced: sudo apt install avahi-utils"),
        (False, "pi.local", True, False, "http://pi.local:PORT/, and not announced: announce = false"),
        (False, "pi.local", True, True, 'http://pi.local:PORT/, announced as "pi camera"'),
    ],
)
def test_by_which_name_it_is_found(
    only_here: bool,
    name: str,
    installed: bool,
    announce: bool,
    said: str,
    computer: Computer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, "only_here", lambda host: only_here)
    monkeypatch.setattr(network, "local_name", lambda: name)
    monkeypatch.setattr(mdns, "installed", lambda: installed)
    monkeypatch.setattr(mdns, "service_name", lambda: "pi camera")
    code, lines = computer.checked(MUTE, announce=announce)
    [line] = [line for line in lines if line.startswith("name ")]
    assert re.sub(r":\d+/", ":PORT/", line) == f"name      {said}"
    assert code == 0


def test_which_encoder_and_tuning_file_each_pi_camera_would_have(computer: Computer) -> None:
    computer.cameras((WIDE, IMX708))
    other = CameraConfig(name="other", source="auto", encoder="software", resolution=Size(640, 480))
    _, lines = computer.checked(MUTE, PI, other)
    at = next(at for at, line in enumerate(lines) if line.startswith("would run mute"))
    assert lines[at + 1 : at + 7] == [
        f"would run camera: picamera2 {WIDE['Id']} 1280x720 at 30 fps",
        "          encoder: the Pi's hardware",
        "          tuning: what libcamera has for the sensor",
        f"would run other: picamera2 {WIDE['Id']} 640x480 at 30 fps",
        "          encoder: simplejpeg on the processor: set for 640x480",
        "          tuning: what libcamera has for the sensor",
    ]


def test_a_tuning_file(computer: Computer) -> None:
    computer.cameras((WIDE, IMX708))
    file = computer.folder / "mine.json"
    code, lines = computer.checked(CameraConfig(source="picamera2", tuning=str(file)))
    assert code == 1 and any(line.startswith(f"wrong     camera: Tuning file {file} not found") for line in lines)
    file.touch()
    code, lines = computer.checked(CameraConfig(source="picamera2", tuning=str(file)))
    assert code == 0 and f"          tuning: {file}" in lines


def test_an_encoder_that_is_not_there(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SourceError("Hardware encoder cannot be used", "set another")

    monkeypatch.setattr(pi_encoder, "choose", refuse)
    computer.cameras((WIDE, IMX708))
    code, lines = computer.checked(CameraConfig(source="picamera2", encoder="hardware"))
    assert code == 1 and any("wrong     camera: Hardware encoder cannot be used" in line for line in lines)
    assert not any(line.lstrip().startswith("encoder") for line in lines)


# --- hints ---


@pytest.mark.parametrize(("source", "code"), [("picamera2", 1), ("auto", 0)])
def test_hints_when_no_camera_is_found(computer: Computer, source: str, code: int) -> None:
    computer.config_txt.write_text("camera_auto_detect=0\r\n")
    camera = CameraConfig(source=source)
    assert computer.checked(camera)[0] == code
    of_settings, *of_cable = computer.hints(camera)
    assert of_settings.startswith(f"{computer.config_txt}, line 1: camera_auto_detect=0")
    assert len(of_cable) == 3 and "towards the HDMI socket" in of_cable[0] and "dmesg" in of_cable[2]


@pytest.mark.parametrize(
    ("model", "side", "pins"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "towards the network socket", "22 pins"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "down, towards the board", "22 pins"),
        ("Raspberry Pi Compute Module 4 Rev 1.0", "away from the connector's flap", "22 pins"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "towards the HDMI socket", "15 pins"),
    ],
)
def test_hints_of_the_cable(computer: Computer, model: str, side: str, pins: str) -> None:
    computer.model(model)
    cable, connector, _ = computer.hints(PI)
    assert side in cable and pins in connector


def test_a_pi_without_a_connector(computer: Computer) -> None:
    computer.model("Raspberry Pi 400 Rev 1.0")
    assert computer.hints(PI) == ["this Pi has no connector for a ribbon cable: use a USB camera"]


def test_no_hints_where_none_are_needed(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.config_txt.write_text("")
    assert computer.hints(MUTE) == []
    computer.cameras((WIDE, IMX708))
    assert computer.hints(PI) == []
    computer.cameras()
    monkeypatch.setattr(v4l2, "find_cameras", lambda: [v4l2.FoundCamera("/dev/video9", "Webcam")])
    assert computer.hints(CameraConfig()) == []
    computer.model("A PC")
    assert computer.hints(PI) == []


def test_without_picamera2_there_is_one_hint(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    assert computer.hints(CameraConfig()) == ["Picamera2 is not installed: sudo apt install python3-picamera2"]


def test_devices_that_cannot_be_opened(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.cameras((WIDE, IMX708))
    refused = {"media0", "video11"}
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name not in refused)
    assert computer.hints(PI) == [
        f"{computer.dev}/media0 and 1 more cannot be opened: sudo usermod -aG video USER, then log in again"
    ]
    refused.clear()
    refused.add("system")  # one heap is enough
    assert computer.hints(PI) == []
    refused.add("linux,cma")
    assert computer.hints(PI)[0].startswith(f"{computer.dev}/dma_heap/linux,cma and 1 more cannot be opened")
    computer.cameras()
    assert len(computer.hints(PI)) == 4  # and those of the cable
