"""system/config_txt.py: what the firmware's settings say of cameras, and what is said of them."""

from pathlib import Path

import pytest

from piapp.system import config_txt
from piapp.system.config_txt import hints, settings

PI_3, PI_3_PLUS = "Raspberry Pi 3 Model B Rev 1.2", "Raspberry Pi 3 Model B Plus Rev 1.3"
PI_4, PI_5 = "Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 5 Model B Rev 1.0"
ZERO_2, CM_4 = "Raspberry Pi Zero 2 W Rev 1.0", "Raspberry Pi Compute Module 4 Rev 1.0"

# as Raspberry Pi OS comes with it, in short
ORIGINAL = """# For more options and information see
# http://rptl.io/configtxt
#dtparam=i2c_arm=on
dtparam=audio=on

# Automatically load overlays for detected cameras
camera_auto_detect=1
dtoverlay=vc4-kms-v3d
arm_boost=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.txt"


def told(file: Path, text: str, model: str = PI_4) -> list[str]:
    """The hints for this text, without the file's name."""
    file.write_text(text)
    return [hint.removeprefix(str(file)).lstrip(", :") for hint in hints(model, (file,))]


def test_nothing_is_wrong_with_the_original(file: Path) -> None:
    for model in (PI_3, PI_4, PI_5, ZERO_2, CM_4):
        assert told(file, ORIGINAL, model) == []
        assert told(file, ORIGINAL.replace("\n", "\r\n"), model) == []


@pytest.mark.parametrize("text", ["", "arm_boost=1\n", "#camera_auto_detect=1\n", "# a sensor: dtoverlay=imx219\n"])
def test_no_detection(file: Path, text: str) -> None:
    assert told(file, text) == [
        "no camera_auto_detect, and no dtoverlay for a sensor: add camera_auto_detect=1 below [all]"
    ]


def test_detection_is_off(file: Path) -> None:
    assert told(file, "\n\ncamera_auto_detect=0\n") == [
        "line 3: camera_auto_detect=0, and no dtoverlay for a sensor: write camera_auto_detect=1"
    ]


def test_the_last_of_two_counts(file: Path) -> None:
    assert told(file, "camera_auto_detect=0\ncamera_auto_detect=1\n") == []
    [hint] = told(file, "camera_auto_detect=1\ncamera_auto_detect=0\n")
    assert hint.startswith("line 2: camera_auto_detect=0,")


def test_a_sensor_is_named_beside_detection(file: Path) -> None:
    assert told(file, "camera_auto_detect=1\ndtoverlay=imx708\n") == [
        "line 2: dtoverlay=imx708 beside camera_auto_detect=1: write camera_auto_detect=0, or take this line out"
    ]


@pytest.mark.parametrize("overlay", ["imx219", "ov5647", "imx708,vcm=off", "arducam-64mp", "ov64a40"])
def test_a_sensor_is_named(file: Path, overlay: str) -> None:
    for more in ("", "camera_auto_detect=0\n"):
        [hint] = told(file, f"{more}dtoverlay={overlay}\n")
        assert f"dtoverlay={overlay} is right for no other sensor" in hint and "write camera_auto_detect=1" in hint


@pytest.mark.parametrize("overlay", ["vc4-kms-v3d", "disable-bt", "i2c-gpio", "overlays", "arch", "", "uart0,imx219"])
def test_other_overlays_are_no_sensors(file: Path, overlay: str) -> None:
    assert told(file, f"camera_auto_detect=1\ndtoverlay={overlay}\n") == []


@pytest.mark.parametrize(
    ("model", "overlay", "says"),
    [
        (PI_5, "imx219", "for CAM0 write dtoverlay=imx219,cam0"),
        (PI_5, "imx219,rotation=0", "for CAM0 write dtoverlay=imx219,rotation=0,cam0"),
        (CM_4, "imx219", "for CAM0 write dtoverlay=imx219,cam0"),
        (PI_5, "imx219,cam0", ""),
        (PI_5, "imx219,cam1", ""),
        (PI_4, "imx219", ""),
        (PI_4, "imx219,cam0", "one connector: write it without cam0"),
        (ZERO_2, "imx219,cam0", "one connector: write it without cam0"),
    ],
)
def test_which_connector(file: Path, model: str, overlay: str, says: str) -> None:
    said = [hint for hint in told(file, f"dtoverlay={overlay}\n", model) if "connector" in hint]
    assert len(said) == bool(says) and all(says in hint for hint in said)


def test_the_old_camera_software(file: Path) -> None:
    said = told(file, "camera_auto_detect=1\ngpu_mem=128\nstart_x=1\n")
    assert said[0].startswith("line 3: start_x=1 is for the old camera software") and len(said) == 2
    assert said[1].startswith("line 2: gpu_mem=128")
    assert told(file, "camera_auto_detect=1\nstart_x=0\ngpu_mem=64\n") == []
    [hint] = told(file, "camera_auto_detect=1\nstart_file=start_x.elf\n")
    assert "start_file=start_x.elf is for the old camera software" in hint


@pytest.mark.parametrize(
    ("text", "model", "holds"),
    [
        ("[pi4]\n{}", PI_4, True),
        ("[pi4]\n{}", PI_5, False),
        ("[pi4]\n{}", CM_4, True),
        ("[cm4]\n{}", PI_4, False),
        ("[pi3]\n{}", PI_3_PLUS, True),
        ("[pi3+]\n{}", PI_3_PLUS, True),
        ("[pi3+]\n{}", PI_3, False),
        ("[pi0]\n{}", ZERO_2, True),
        ("[pi02]\n{}", "Raspberry Pi Zero W Rev 1.1", False),
        ("[pi5]\n{}", "Raspberry Pi 500 Rev 1.0", True),
        ("[pi400]\n{}", PI_4, False),
        ("[pi1]\n{}", "Raspberry Pi Model B Plus Rev 1.2", True),
        ("[pi4]\n[pi5]\n{}", PI_5, True),  # one model in place of the other
        ("[pi4]\n[all]\n{}", PI_5, True),
        ("[none]\n{}", PI_5, False),
        ("[none]\n[pi5]\n{}", PI_5, False),  # filters of different kinds add up
        ("[none]\n[all]\n{}", PI_5, True),
        ("[gpio4=1]\n{}", PI_5, False),
        ("[all]\n  {}  \n[pi4]\nx=1", PI_5, True),
        ("[pi5]\n{}", "", False),
    ],
)
def test_filters(file: Path, text: str, model: str, holds: bool) -> None:
    file.write_text(text.format("camera_auto_detect=1"))
    [setting] = [each for each in settings(file, model) if each.key == "camera_auto_detect"]
    assert setting.value == "1" and (setting.unmet == "") is holds


def test_what_is_there_but_for_another_model(file: Path) -> None:
    assert told(file, "[cm5]\ndtoverlay=imx708\n", PI_5) == [
        "line 2: dtoverlay=imx708 is not for this computer below [cm5]: move it below [all]"
    ]
    [hint] = told(file, "[none]\n[pi4]\ncamera_auto_detect=1\n[all]\ncamera_auto_detect=0\n", PI_5)
    assert hint.startswith("line 3: ") and "[none] and [pi4]" in hint


def test_included_files(file: Path) -> None:
    (file.parent / "user.txt").write_text("\n[pi4]\ncamera_auto_detect=1\n")
    assert told(file, "include user.txt\n") == []
    (file.parent / "user.txt").write_text("include config.txt\ncamera_auto_detect=0\n")
    assert any("user.txt, line 2" in hint for hint in hints(PI_4, (file,)))
    assert len(told(file, "include missing.txt\ninclude ..\n")) == 1


def test_the_first_file_that_is_there(tmp_path: Path) -> None:
    new, old = tmp_path / "firmware", tmp_path / "boot"
    [hint] = hints(PI_4, (new, old))
    assert str(new) in hint and str(old) in hint
    old.write_text(ORIGINAL)
    assert hints(PI_4, (new, old)) == []
    new.write_text("")
    assert len(hints(PI_4, (new, old))) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00c\x00a\x00",
        b"\x00" * 1000,
        b"=\n==\n[\n[]\n]\n[all\n[=]\ninclude \ninclude /dev/zero/x\ndtoverlay=,\ndtoverlay=:\n",
        b"dtoverlay=imx219" + b"," * 100_000,
        b"dtoverlay=imx219\x1b[2J\x07\n",
        "dtoverlay=ïmx219\u2028\n".encode(),
    ],
)
def test_whatever_stands_in_it_there_is_an_answer(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    said = hints(PI_4, (file,))
    assert said and all(hint.isprintable() and len(hint) < 400 for hint in said)


def test_a_file_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    file.touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert hints(PI_4, (file,)) == [f"{file} cannot be read: Permission denied"]


def test_what_is_about_cameras(file: Path) -> None:
    file.write_text(
        ORIGINAL
        + "dtoverlay=imx219,cam0\ngpu_mem=128\ndtoverlay=vc4-kms-v3d,cma-512\n#dtoverlay=x,cma-256\nstart_x=1\n"
    )
    said = [str(each) for each in settings(file, PI_4) if each.about_cameras]
    assert said == [
        "camera_auto_detect=1",
        "dtoverlay=imx219,cam0",
        "gpu_mem=128",
        "dtoverlay=vc4-kms-v3d,cma-512",
        "start_x=1",
    ]


def test_a_comment_behind_a_value(file: Path) -> None:
    assert told(file, "camera_auto_detect=1 # find it\n") == []
    assert config_txt.settings(file, PI_4)[0].value == "1"
