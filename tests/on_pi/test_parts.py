"""The parts of tests/on_pi that need no camera, and its steps on a camera that is none."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from fakes import until
from program import ROOT

from piapp import check
from piapp.config import CameraConfig
from piapp.errors import SourceError
from piapp.sources import encoder
from piapp.sources.control import Control, Kind, Value
from piapp.sources.encoder import Pixels
from piapp.sources.source import Publish, Source

from . import __main__, camera, computer, figures, report, steps
from .figures import Frame
from .steps import Step

MS = 1_000_000


def frames(*captured_ms: int, age_ms: float = 30, size: int = 50_000) -> list[Frame]:
    return [Frame(int((each + age_ms) * MS), each * MS, size) for each in captured_ms]


# --- figures ---


def test_rate_and_losses() -> None:
    assert figures.fps(frames(0, 40, 80, 120)) == 25
    assert figures.lost(frames(0, 33, 67, 100, 133)) == 0
    assert figures.lost(frames(0, 33, 67, 133, 166, 200, 300)) == 3


def test_shares() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [figures.share(values, part) for part in (0, 0.5, 0.95, 1)] == [1, 3, 5, 5]


def test_which_clock() -> None:
    assert figures.clock(frames(0, 33, 66, 99)).startswith("CLOCK_MONOTONIC at the exposure; intervals vary by 0.00 ms")
    assert figures.clock(frames(0, 33, 66, 99, age_ms=0.01)).startswith("the time of arrival")
    assert "vary by 7.00 ms" in figures.clock(frames(0, 33, 66, 99, 139))


def test_in_lines() -> None:
    assert figures.describe(frames(*range(0, 400, 40))) == [
        "25.00 fps, 10 frames, 0 lost",
        "50 kB a frame, the largest 50 kB, 10.0 Mbit/s",
        "age when published: median 30.0 ms, 95 % 30.0 ms, most 30.0 ms",
        "captured_ns: CLOCK_MONOTONIC at the exposure; intervals vary by 0.00 ms (95 %)",
    ]


@pytest.fixture
def scene() -> Pixels:
    """Nothing in it looks like anything else."""
    fields = np.random.default_rng(1).integers(0, 255, (6, 8), np.uint8)
    return np.kron(fields, np.ones((20, 20), np.uint8))


def test_likeness(scene: Pixels) -> None:
    assert figures.likeness(scene, scene) == pytest.approx(1)
    assert figures.likeness(scene, scene // 2 + 10) == pytest.approx(1, abs=0.01)
    other = figures.likeness(scene, scene[::-1])
    assert other is not None and other < 0.5
    assert figures.likeness(scene, np.full_like(scene, 90)) is None


def test_what_a_picture_has_become(scene: Pixels) -> None:
    mirrored = np.ascontiguousarray(scene[:, ::-1])
    assert figures.nearer(mirrored, mirrored, scene).startswith("works (")
    assert figures.nearer(scene, mirrored, scene).startswith("DOES NOT WORK (")
    assert figures.nearer(scene[::-1], mirrored, scene).startswith("DOES NOT WORK (")
    assert figures.nearer(scene, scene, scene).startswith("cannot be told: what the camera sees looks the same")
    assert figures.nearer(scene * 0, mirrored, scene).startswith("cannot be told: there is too little")


def test_the_middle(scene: Pixels) -> None:
    assert np.array_equal(figures.middle(scene, 1), scene)
    assert np.array_equal(figures.middle(scene, 2), scene[30:90, 40:120])


def test_sharpness(scene: Pixels) -> None:
    blurred = (scene.astype(int) + np.roll(scene, 1, 1) + np.roll(scene, 2, 1)).astype(float) / 3
    assert figures.sharpness(blurred.astype(np.uint8)) < figures.sharpness(scene)


def test_decoded() -> None:
    plane = np.full((48, 64), 77, np.uint8)
    assert np.array_equal(figures.grey(encoder.encode_planes(plane, None, None, 90)), plane)


# --- the computer ---


@pytest.mark.parametrize(
    ("command", "serves"),
    [
        ("/home/me/piapp/.venv/bin/python -P -s -m piapp --config x", True),
        ("/usr/bin/python3 /usr/local/bin/piapp", True),
        ("/usr/local/bin/piapp run", True),
        ("python -m piapp check", False),
        ("python -P -s -m on_pi", False),
        ("vi /home/me/piapp/README.md piapp", False),
        ("", False),
    ],
)
def test_a_piapp_is_known_by_its_command_line(command: str, serves: bool) -> None:
    assert computer.is_piapp(command.split()) is serves


def test_nothing_personal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setattr(socket, "gethostname", lambda: "attic")
    text = "attic: ada at 192.168.1.20 (b8:27:eb:12:34:56), /home/ada/x /home/bob/y, [0x1234abcd] cattic attic-2 0x14"
    said = computer.scrub(text)
    assert said == "HOST: USER at ADDRESS (MAC), ~/x ~/y, [0xNUMBER] cattic attic-2 0x14"
    assert computer.scrub(kept := "http://127.0.0.1:8080/ picamera2 0.3.38, 6.12.47, imx708 0.0.0.0") == kept
    monkeypatch.setattr(socket, "gethostname", lambda: "raspberrypi")
    assert computer.scrub(kept := "raspberrypi,4-model-b") == kept


def test_what_is_told_of_a_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.txt"
    file.write_text("camera_auto_detect=1\n[pi5]\ndtoverlay=imx219,cam0\n[all]\ndtparam=audio=on\n")
    monkeypatch.setattr(computer.config_txt, "FILES", (file,))  # type: ignore[attr-defined]
    monkeypatch.setattr(check, "MODEL", tmp_path / "missing")
    monkeypatch.setattr(check, "pi_cameras", lambda: iter(["Pi camera 0: imx708"]))
    told = list(computer.describe())
    assert f"{file}: camera_auto_detect=1; dtoverlay=imx219,cam0 [pi5]" in told
    assert told[-1] == "Pi camera 0: imx708" and socket.gethostname() not in "\n".join(told)


# --- the report ---


def attempted(tmp_path: Path, script: str, limit_s: float = 30) -> tuple[str, list[str]]:
    """What went wrong with a step that is this script, and what the report says of it."""
    found = report.Report(tmp_path)
    step = Step("name", "a title", 1, limit_s, lambda: None)
    problem = report.attempt(step, found, [sys.executable, "-I", "-S", "-c", script])
    found.close()
    return problem, found.path.read_text().splitlines()


def test_a_step_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import sys; print('one'); print('two'); print('a warning', file=sys.stderr)"
    assert attempted(tmp_path, script) == ("", ["   one", "   two", "   | a warning"])
    assert "   two" in capsys.readouterr().out


def test_a_step_that_fails(tmp_path: Path) -> None:
    problem, lines = attempted(tmp_path, "print('one', flush=True); 1 / 0")
    assert problem == "ZeroDivisionError: division by zero (code 1)" and lines[0] == "   one"
    (other := tmp_path / "other").mkdir()
    problem, _ = attempted(other, "import os; os._exit(3)")
    assert problem == "it ended (code 3)"


def test_a_step_that_hangs_says_where(tmp_path: Path) -> None:
    script = (
        "import faulthandler, time\nfaulthandler.enable()\ndef stuck():\n    print(1, flush=True)\n    "
        "time.sleep(60)\nstuck()"
    )
    problem, lines = attempted(tmp_path, script, limit_s=1)
    assert problem == "not done within 1 s"
    assert lines[0] == "   1" and any("in stuck" in line for line in lines)


def test_a_step_that_leaves_something_behind(tmp_path: Path) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
    problem, [line] = attempted(tmp_path, script)
    assert problem == ""
    state = Path(f"/proc/{line.strip()}/stat")

    def ended() -> bool:
        """Though nobody may have waited for it yet."""
        try:
            return state.read_text().split()[2] == "Z"
        except OSError:
            return True

    until(ended)


def test_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "attempt", lambda step, _: "broken" if step.name == "b" else "")
    found = report.Report(tmp_path)
    failed = report.run([Step(name, f"title {name}", 5, 5, lambda: None) for name in "abc"], found)
    found.close()
    text = re.sub(r"-- \d+ s", "--", found.path.read_text())
    assert failed == ["title b"]
    assert text == "\n== title a\n--\n\n== title b\nFAILED: broken\n--\n\n== title c\n--\n"


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    found = report.Report(tmp_path / "missing")
    found.close()
    assert found.path.is_file() and found.path.parent != tmp_path
    found.path.unlink()
    found.path.parent.rmdir()


@pytest.mark.parametrize("model", ["", "Raspberry Pi"])
def test_where_there_is_no_pi_camera_one_line_says_so(tmp_path: Path, model: str) -> None:
    """Off a Pi from the script, on a Pi without a camera from the program."""
    environment = {"PATH": "/usr/bin:/bin", "PIAPP_MODEL": model}
    command = [str(ROOT / "tests/on_pi/run")]
    if model:
        environment["PYTHONPATH"] = f"{ROOT}:{ROOT}/tests"
        command = [sys.executable, "-P", "-s", "-m", "on_pi"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "needs a" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("problem", "running", "says"),
    [
        ("", [], ""),
        ("", ["a piapp", "another"], "end first a piapp, and another"),
        ("Pi camera is in use: python3 uses it", ["a piapp"], "end first a piapp"),
        ("Pi camera is in use: rpicam-vid uses it", [], "Pi camera is in use: rpicam-vid uses it"),
        ("Pi camera not found: look", ["a piapp"], "Pi camera not found: look"),
    ],
)
def test_what_stands_in_the_way(problem: str, running: list[str], says: str) -> None:
    assert __main__.obstacle(problem, running) == says


# --- the steps ---


class Scene(Source):
    """A camera without a device, whose pictures follow its controls."""

    kind = "picamera2"
    broken = frozenset[str]()  # controls without effect
    fails = ""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__(config)
        self._pixels = np.kron(
            np.random.default_rng(1).integers(40, 160, (6, 8), np.uint8), np.ones((16, 16), np.uint8)
        )
        focus = ("manual", "auto", "continuous")
        self.controls = (
            Control("quality", "", Kind.RANGE, 80, 80, 1, 100),
            Control("hflip", "", Kind.SWITCH, False, False),
            Control("vflip", "", Kind.SWITCH, False, False),
            Control("brightness", "", Kind.RANGE, 0.0, 0.0, -1.0, 1.0, 0.05),
            Control("zoom", "", Kind.RANGE, 1.0, 1.0, 1.0, 8.0, 0.1),
            Control("auto_exposure", "", Kind.SWITCH, True, True),
            Control("exposure_time", "", Kind.RANGE, 10000, 10000, 10, 30000, 10),
            Control("focus_mode", "", Kind.CHOICE, "continuous", "continuous", choices=focus),
            Control("lens_position", "", Kind.RANGE, 1.0, 1.0, 0.0, 10.0, 0.1),
            Control("autofocus", "", Kind.ACTION),
        )

    def check(self) -> None:
        pass

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        captured_ns = 0
        while not stopping.wait(0.0005):
            if self.fails:
                raise SourceError(self.fails, "look")
            self._obey()
            captured_ns += 33 * MS
            publish(self._draw(), captured_ns, 128, 96)

    def _draw(self) -> bytes:
        now = {each.name: each.default if each.name in self.broken else each.value for each in self.controls}
        picture = self._pixels.astype(float)
        if not now["auto_exposure"]:
            picture *= float(now["exposure_time"] or 0) / 10000
        picture += 80 * float(now["brightness"] or 0)
        picture = picture[:, :: -1 if now["hflip"] else 1][:: -1 if now["vflip"] else 1]
        rows = figures.middle(picture.clip(0, 255).astype(np.uint8), float(now["zoom"] or 1))
        rows = rows.repeat(2, 0).repeat(2, 1)[:96, :128] if len(rows) < 96 else rows
        if now["focus_mode"] == "manual":  # out of focus
            rows = ((rows.astype(int) + np.roll(rows, 4, 1) + np.roll(rows, 8, 1)) // 3).astype(np.uint8)
        return encoder.encode_planes(np.ascontiguousarray(rows), None, None, int(now["quality"] or 0))

    def _set(self, values: Mapping[str, Value]) -> None:
        super()._set({name: value for name, value in values.items() if name != "autofocus"})


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> type[Scene]:
    """What is opened, with attributes that a test changes."""
    made = type("Made", (Scene,), {})
    monkeypatch.setattr(camera, "Opener", lambda config: lambda: made(config))
    return made


def test_controls_that_work(source: type[Scene], capsys: pytest.CaptureFixture[str]) -> None:
    steps.controls()
    said = capsys.readouterr().out
    for name in ("brightness", "quality", "auto_exposure", "focus_mode"):
        assert f"\n{name}: works (" in said, said
    assert "\nzoom: 2 times: works (" in said


def test_controls_that_do_not(source: type[Scene], capsys: pytest.CaptureFixture[str]) -> None:
    source.broken = frozenset({"brightness", "quality", "zoom", "exposure_time"})
    steps.controls()
    said = capsys.readouterr().out
    assert said.count("DOES NOT WORK") == 4 and "\nfocus_mode: works" in said


def test_mirroring(source: type[Scene], capsys: pytest.CaptureFixture[str]) -> None:
    source.broken = frozenset({"vflip"})
    steps.mirror()
    said = capsys.readouterr().out
    assert said.startswith("hflip: works (") and "\nvflip: DOES NOT WORK (" in said


def test_openings(source: type[Scene], capsys: pytest.CaptureFixture[str]) -> None:
    steps.openings()
    said = capsys.readouterr().out
    assert "start to first frame: median 0.0" in said and "files:" in said


def test_a_camera_that_fails(source: type[Scene]) -> None:
    source.fails = "Pi camera not found"
    with pytest.raises(camera.Trouble, match="Pi camera not found: look"):
        steps.mirror()


def test_steps_are_found_by_name() -> None:
    names = [step.name for step in steps.steps()]
    assert len(set(names)) == len(names) and "hardware-1280x720" in names and names[0] == "computer"
