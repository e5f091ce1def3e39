"""What scripts/build-image is made of, and what systemd/image gives to rpi-image-gen."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from card_image import ROOT_MIB, START, make_image, write_system
from conftest import needs

from piapp import config
from scripts.build_image import copying, manifest, setup, system, tools
from scripts.build_image.card import MIB, Card
from scripts.build_image.tools import BuildError

ROOT = Path(__file__).parents[1]
LAYER = ROOT / "systemd/image"


def test_missing_programs_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match="sudo apt install e2fsprogs fdisk mount mtools util-linux$"):
        tools.check()


def test_an_image_grows_only_at_its_end(tmp_path: Path) -> None:
    folder = write_system(tmp_path / "system")
    end = f"start={START[1] + ROOT_MIB}MiB, size=1MiB, type=83\n"
    card = Card(make_image(tmp_path / "card.img", folder, extra=end))
    card.make_room(MIB)
    with pytest.raises(BuildError, match="MB of 64 are free in the image, and it cannot grow"):
        card.make_room(64 * MIB)


def test_copying_leaves_holes(tmp_path: Path) -> None:
    image, output = tmp_path / "image", tmp_path / "output"
    image.write_bytes(bytes(8 * MIB) + b"x" + bytes(8 * MIB))
    copying.copy(image, output)
    assert output.read_bytes() == image.read_bytes()
    assert output.stat().st_blocks * 512 < 4 * MIB


def test_the_kind_of_first_start_is_that_of_the_stock_image(tmp_path: Path) -> None:
    root = write_system(tmp_path / "root")
    stock = system.System(root, tmp_path)
    assert manifest.init_format(stock, {"cmdline.txt"}) == "systemd"
    (root / "var/lib/dpkg/info/cloud-init.list").touch()
    assert manifest.init_format(stock, {"cmdline.txt"}) == "systemd"
    assert manifest.init_format(stock, {"cmdline.txt", "user-data"}) == "cloudinit-rpi"
    (root / "etc/rpi-issue").unlink()
    assert manifest.init_format(stock, {"cmdline.txt", "user-data"}) == "cloudinit"
    assert manifest.init_format(stock, {"cmdline.txt"}) == "none"
    (root / "var/lib/dpkg/info/rpi-preseed.list").touch()
    assert manifest.init_format(stock, {"cmdline.txt"}) == "rpi-preseed"


def test_boards_are_those_of_the_architecture(tmp_path: Path) -> None:
    root = write_system(tmp_path / "root", "armhf")
    (entry,) = manifest.describe(system.System(root, tmp_path), set(), "1")["os_list"]
    assert entry["architecture"] == "armhf"
    assert entry["devices"] == ["pi5-32bit", "pi4-32bit", "pi3-32bit", "pi2-32bit", "pi1-32bit"]


def test_a_system_that_piapp_cannot_run_on(tmp_path: Path) -> None:
    root = write_system(tmp_path / "root")
    (root / "usr/bin/python3").unlink()
    (root / "usr/bin/python3").symlink_to("python3.9")
    with pytest.raises(BuildError, match="too old"):
        system.System(root, tmp_path)
    (root / "usr/bin/dpkg").unlink()
    with pytest.raises(BuildError, match="no Raspberry Pi OS or Debian"):
        system.System(root, tmp_path)


def test_an_emulator_without_its_flag_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binfmt = tmp_path / "binfmt"
    binfmt.mkdir()
    monkeypatch.setattr(system, "BINFMT", binfmt)
    (binfmt / "qemu-aarch64").write_text("enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OC\noffset 0\n")
    stock = system.System(write_system(tmp_path / "root"), tmp_path)
    monkeypatch.setattr(stock, "runs", lambda *_: False)
    with pytest.raises(
        BuildError, match="qemu-aarch64 lacks the flag F, please run: sudo apt install qemu-user-static"
    ):
        stock.check_runs()
    (binfmt / "qemu-aarch64").unlink()
    with pytest.raises(BuildError, match="for arm64, please run"):
        stock.check_runs()


def test_the_sample_changes_nothing_and_is_right_when_it_is_taken(tmp_path: Path) -> None:
    text = (LAYER / "piapp.toml").read_text()
    assert all(not line or line.startswith("#") for line in text.splitlines())
    assert tomllib.loads(text) == {}
    settings = "\n".join(line[1:] for line in text.splitlines() if line[1:2] not in ("", " "))
    assert config.parse(settings, "piapp.toml") == config.parse("[[camera]]\n", "piapp.toml")


# --- the layer for rpi-image-gen ---


def test_the_layer_has_the_packages_and_parts_that_the_scripts_have() -> None:
    layer = (LAYER / "layer/piapp.yaml").read_text()
    packages = set(layer.partition("packages:\n")[2].partition("  customize-hooks:")[0].split()) - {"-"}
    script = (ROOT / "scripts/install.sh").read_text()
    (modules,) = re.findall(r'modules="(picamera2 .*)"', script)
    (avahi,) = re.findall(r'avahi="(\S+)"', script)
    assert packages == {"python3", avahi, *(f"python3-{name}" for name in modules.split())}
    assert f"for part in {' '.join(setup.PARTS)}; do" in layer
    assert f"/{setup.PLACE}/scripts/install.sh" in layer


def test_the_shell_parts_are_clean_under_shellcheck() -> None:
    needs("shellcheck")
    subprocess.run(["shellcheck", "-x", "scripts/build_image/chroot.sh"], cwd=ROOT, check=True)
