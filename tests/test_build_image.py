"""scripts/build-image on cards of a few MB, as root. The cards of real systems are in tests/image."""

import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from card_image import START, Made, add_program, make_image, write_system
from conftest import needs
from fakes import until

from piapp import __version__
from scripts.build_image.card import MIB, Card

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "scripts/build-image"
COMMAND = [sys.executable, "-P", "-s", "-m", "scripts.build_image"]  # which that calls
LAYER = ROOT / "systemd/image"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    return make_image(folder / "stock.img", write_system(folder / "system"))


@pytest.fixture
def as_root() -> None:
    """Where images can be mounted."""
    if os.geteuid():
        pytest.skip("only root can mount an image")
    if subprocess.run(["losetup", "--find"], stdout=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("there are no loop devices here")
    needs("sfdisk", "mcopy", "e2fsck")


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in arguments]
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )


def make(image: Path, output: Path, *options: str) -> Made:
    done = call("--from", image, output, *options)
    assert done.returncode == 0, done.stderr
    return Made(output, done.stderr)


def fails(image: Path, output: Path, *options: str) -> str:
    """Its last line."""
    done = call("--from", image, output, *options)
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1].removeprefix("piapp: ")


# --- all of it ---


@pytest.fixture(scope="session")
def offline(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Made]:
    """The image for a first start that installs, made once."""
    made = list[Made]()

    def once() -> Made:
        if not made:
            before = stock.read_bytes()
            made.append(make(stock, tmp_path_factory.mktemp("made") / "out put.img", "--offline"))
            assert stock.read_bytes() == before
        return made[0]

    return once


@pytest.mark.usefixtures("as_root")
def test_an_image_that_installs_piapp_on_its_first_start(offline: Callable[[], Made]) -> None:
    made = offline()
    assert "when it starts for the first time" in made.told
    assert made.look("usr/lib/piapp/scripts/install.sh") == (ROOT / "scripts/install.sh").read_text()
    assert made.look("usr/lib/piapp/piapp/hub.py") == (ROOT / "piapp/hub.py").read_text()
    assert made.look("etc/systemd/system/piapp-setup.service") == (ROOT / "systemd/piapp-setup.service").read_text()
    link = made.debugfs("stat", "etc/systemd/system/multi-user.target.wants/piapp-setup.service")
    assert 'link dest: "/etc/systemd/system/piapp-setup.service"' in link
    card = Card(made.image)
    card.verify()
    assert card.free >= 64 * MIB and made.image.stat().st_size > 64 * MIB


@pytest.mark.usefixtures("as_root")
def test_the_boot_partition_has_a_sample_of_the_settings(offline: Callable[[], Made], stock: Path) -> None:
    made = offline()
    sample = made.look_at_boot("piapp.toml")
    assert sample == (LAYER / "piapp.toml").read_text()
    assert made.look_at_boot("cmdline.txt") == "root=PARTUUID=1234abcd-02"


@pytest.mark.usefixtures("as_root")
def test_an_image_that_has_piapp_already(offline: Callable[[], Made], tmp_path: Path) -> None:
    made = make(offline().image, tmp_path / "again.img", "--offline")
    assert made.look("usr/lib/piapp/piapp/hub.py") == (ROOT / "piapp/hub.py").read_text()


@pytest.mark.usefixtures("as_root")
def test_settings_that_are_there_stay(stock: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    shutil.copy(stock, card)
    command = ["mcopy", "-i", f"{card}@@{START[0] * MIB}", "-", "::PIAPP.TOML"]
    subprocess.run(command, input=b"[server]\nport = 81\n", check=True)
    assert make(card, tmp_path / "out.img", "--offline").look_at_boot("piapp.toml") == "[server]\nport = 81\n"


@pytest.mark.usefixtures("as_root")
def test_a_packed_image_and_usb(stock: Path, tmp_path: Path) -> None:
    packed = tmp_path / "stock.img.xz"
    packed.write_bytes(lzma.compress(stock.read_bytes(), preset=0))
    made = make(packed, tmp_path / "out.img", "--offline", "--usb")
    unit = made.look("etc/systemd/system/piapp-setup.service")
    assert "\nExecStart=/usr/lib/piapp/scripts/first-boot.sh --usb\n" in unit


@pytest.mark.usefixtures("as_root")
def test_the_manifest_tells_imager_all_that_it_needs(offline: Callable[[], Made]) -> None:
    """By doc/json-schema/os-list-schema.json of rpi-imager: the fields it requires, of their kinds."""
    made = offline()
    told = json.loads(made.image.with_suffix(".rpi-imager-manifest").read_text())
    (entry,) = told["os_list"]
    texts = {"name", "description", "icon", "url", "extract_sha256", "release_date", "init_format", "architecture"}
    numbers = {"extract_size", "image_download_size"}
    assert set(entry) == texts | numbers | {"devices"}
    assert all(isinstance(entry[name], str) and entry[name] for name in texts)
    assert entry["url"] == f"file://{made.image.parent}/out%20put.img"
    assert entry["extract_size"] == entry["image_download_size"] == made.image.stat().st_size
    checksum = subprocess.check_output(["sha256sum", "--", made.image], text=True).split()[0]
    assert entry["extract_sha256"] == checksum
    assert entry["name"] == f"piapp {__version__}" and "Debian GNU/Linux 13 (trixie)" in entry["description"]
    assert (entry["init_format"], entry["architecture"]) == ("systemd", "armv8")
    assert entry["devices"] == ["pi5-64bit", "pi4-64bit", "pi3-64bit"]
    assert [tag for device in told["imager"]["devices"] for tag in device["tags"]] == entry["devices"]
    assert all(device["name"] and device["description"] for device in told["imager"]["devices"])


@pytest.mark.usefixtures("as_root")
def test_programs_that_cannot_run_here_are_told_and_nothing_is_left(stock: Path, tmp_path: Path) -> None:
    """Its /bin/true is missing, as if it could not be emulated."""
    said = fails(stock, tmp_path / "out.img")
    assert "for arm64, please run: sudo apt install qemu-user-static binfmt-support; or use --offline" in said
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in subprocess.check_output(["losetup", "--list"], text=True)


# --- its programs, run ---

APT_GET = """\
#!/bin/sh
{
    echo dev /dev/*
    echo left /tmp/* /run/*
    read -r name </etc/resolv.conf && echo "names $name"
    [ -x /usr/sbin/policy-rc.d ] && echo policy
    echo "as $HOME, model ${PIAPP_MODEL-none}, in $PWD, secret ${SECRET-none}"
    : >/var/lib/apt/lists/list >/var/cache/apt/archive >/tmp/file >/run/file
} >/seen
exit 100
"""


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A system some of whose programs run on this computer, and whose apt-get writes down what it sees and fails."""
    needs("ldd")
    folder = write_system(tmp_path / "system")
    for program in ("/bin/sh", "/bin/true"):
        add_program(folder, program)
    (folder / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (folder / "etc/machine-id").write_text("uninitialized\n")
    (folder / "usr/bin/apt-get").write_text(APT_GET)
    (folder / "usr/bin/apt-get").chmod(0o755)
    return folder


@pytest.mark.usefixtures("as_root")
def test_where_apt_is_out_of_reach_the_first_start_installs(
    running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "SECRET", "42")
    made = make(make_image(tmp_path / "card.img", running), tmp_path / "out.img")
    assert "apt's archives cannot be reached from here" in made.told
    assert "Installs piapp" in made.look("etc/systemd/system/piapp-setup.service")
    # Of this computer it has seen the names of the network and no more, and what it has written is gone, but for this.
    names = Path("/etc/resolv.conf").read_text().splitlines()[0]
    assert made.look("seen").splitlines() == [
        "dev /dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/urandom /dev/zero",
        "left /tmp/* /run/*",
        f"names {names}",
        "policy",
        "as /root, model Raspberry Pi, in /, secret none",
    ]
    for file in ("var/lib/apt/lists/list", "var/cache/apt/archive", "tmp/file", "run/file", "usr/sbin/policy-rc.d"):
        assert "File not found" in made.debugfs("stat", file)
    assert 'link dest: "../run/systemd/resolve/stub-resolv.conf"' in made.debugfs("stat", "etc/resolv.conf")
    assert made.look("etc/machine-id") == "uninitialized\n"


@pytest.mark.usefixtures("as_root")
def test_an_installation_that_fails_makes_no_image(running: Path, tmp_path: Path) -> None:
    """There is not even a dirname for install.sh."""
    (running / "usr/bin/apt-get").write_text("#!/bin/sh\n")
    said = fails(make_image(tmp_path / "card.img", running), tmp_path / "out.img")
    assert said == "piapp could not be installed in the image, see above"
    assert not list(tmp_path.glob("out*"))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_nothing_that_runs_or_is_mounted(
    running: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """While apt-get hangs, which hears of nothing. After a SIGKILL there are its files still."""
    (running / "usr/bin/apt-get").write_text("#!/bin/sh\necho begun\nwhile :; do :; done\n")
    image = make_image(tmp_path / "card.img", running)
    command = [PROGRAM, "--from", image, tmp_path / "out.img"]
    environment = ENVIRONMENT | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    until(lambda: process.stdout.readline() == "begun\n", 120)  # type: ignore[union-attr]
    process.send_signal(number)
    process.communicate(timeout=120)  # all of them have let go of their end
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    until(lambda: str(tmp_path) not in subprocess.check_output(["losetup", "--list"], text=True), 10)
    if number != signal.SIGKILL:
        assert not list(tmp_path.glob("out*")) and not list(tmp_path.glob("piapp-image-*"))


@pytest.mark.usefixtures("as_root")
def test_growing_keeps_what_is_there(stock: Path, tmp_path: Path) -> None:
    path = tmp_path / "card.img"
    shutil.copy(stock, path)
    card = Card(path)
    before = card.boot, card.root.start
    card.make_room(300 * MIB)
    assert card.free >= 300 * MIB and (card.boot, card.root.start) == before
    assert path.stat().st_size == card.root.start + card.root.size
    card.verify()
    told = json.loads(subprocess.check_output(["sfdisk", "--json", path]))["partitiontable"]
    assert told["id"] == "0x1234abcd"
    assert Made(path, "").look("etc/os-release").startswith("ID=debian")
    folder = tmp_path / "mounted"
    folder.mkdir()
    with card.mounted(folder):
        (folder / "big").write_bytes(b"x" * 200 * MIB)
    card.verify()


# --- what it will not take ---


@pytest.mark.usefixtures("as_root")
def test_what_is_no_image_of_a_card(stock: Path, tmp_path: Path) -> None:
    image, out = tmp_path / "card.img", tmp_path / "out.img"

    def refused(content: bytes) -> str:
        image.write_bytes(content)
        return fails(image, out, "--offline")

    assert refused(b"x" * MIB) == "that is no image of a card: it has no partition table"
    assert refused(b"") == "that is no image of a card: it has no partition table"
    assert "unpack it first, with unzip" in refused(b"PK\x03\x04" + b"x" * 1000)
    packed = lzma.compress(os.urandom(MIB))
    assert "Download it again" in refused(packed[:-500])
    content = bytearray(stock.read_bytes())
    assert "ends before its partitions do" in refused(bytes(content[: (START[1] + 3) * MIB]))
    content[START[1] * MIB + 1024 + 56] = 0
    assert refused(bytes(content)) == "partition 2 of the image is no ext4"
    content[START[0] * MIB : START[0] * MIB + 512] = bytes(512)
    assert refused(bytes(content)) == "partition 1 of the image is no FAT"
    with image.open("wb") as file:
        file.truncate(8 * MIB)
    subprocess.run(["sfdisk", "--quiet", image], input="label: gpt\n,2M\n,2M\n", text=True, check=True)
    assert "as Raspberry Pi OS has it" in fails(image, out, "--offline")
    assert not out.exists()


@pytest.mark.usefixtures("as_root")
def test_what_cannot_be_read_or_written(stock: Path, tmp_path: Path) -> None:
    assert fails(tmp_path / "none.img", tmp_path / "out.img") == f"there is no file {tmp_path}/none.img"
    assert fails(stock, tmp_path / "none/out.img") == f"there is no folder {tmp_path}/none"
    for output in (stock, Path("/dev/null"), tmp_path):
        assert "must be a new file" in fails(stock, output)
    for arguments, missing in ((["--from", stock], "OUTPUT"), ([stock], "--from IMAGE"), (["--usb"], "--from IMAGE")):
        done = call(*arguments)
        assert done.returncode == 2 and f"{missing} is missing" in done.stderr


@pytest.mark.usefixtures("as_root")
def test_a_full_disk(stock: Path, tmp_path: Path) -> None:
    """A small one, which nobody else sees."""
    script = 'mount -t tmpfs -o size=100k tmpfs "$1" && exec "$2" --from "$3" "$1/out.img" --offline'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), str(PROGRAM), str(stock)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "piapp: the new image does not fit onto this disk")


def test_without_root_it_says_how(stock: Path) -> None:
    words = [str(PROGRAM), "--from", str(stock), "out put.img"]
    if os.geteuid() == 0:
        needs("setpriv")
        words = ["setpriv", "--reuid=65534", "--clear-groups", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"please run: sudo scripts/build-image --from {stock} 'out put.img'")


# --- without an image ---


def test_rpi_image_gen_is_called_or_told_of(tmp_path: Path) -> None:
    done = call("--rpi-image-gen", tmp_path)
    assert (
        done.returncode == 1 and f"git clone https://github.com/raspberrypi/rpi-image-gen {tmp_path} &&" in done.stderr
    )
    program = tmp_path / "rpi-image-gen"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    done = call("--rpi-image-gen", tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["build", "-S", str(LAYER), "-c", "piapp.yaml"])
