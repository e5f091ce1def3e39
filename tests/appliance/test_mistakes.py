"""Mistakes in the settings: piapp starts all the same, shows pictures, and says what is wrong and where.

The boot partition is a folder here: there is no FAT in containers.
"""

import re

import pytest
from fakes import until
from live_wire import Page
from test_settings_mistakes import DATE, MAIN, MISTAKES
from wire import ask

from .machine import SETTINGS, Failed, Machine

PROGRAM = "/opt/piapp/current/bin/piapp"
KEPT = "/var/lib/piapp/settings.json"
MEND = r"Mend that, then start piapp again\."
YARD = '[[camera]]\nname = "yard"\nsource = "pattern"\n'


class Card:
    """The settings of a machine: a camera "hall" in /etc, and what a test writes onto the boot partition."""

    def __init__(self, machine: Machine, suite: str) -> None:
        self.machine = machine
        self.folder = "/boot/firmware" if suite == "trixie" else "/boot"
        self.file = f"{self.folder}/piapp.toml"
        machine.path(self.folder).mkdir(parents=True, exist_ok=True)
        machine.path(SETTINGS).write_text(MAIN)

    def write(self, content: bytes | str, name: str = "piapp.toml") -> None:
        file = self.machine.path(f"{self.folder}/{name}")
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def remove(self) -> None:
        self.machine.run("rm", "-rf", self.file, f"{self.file}.txt")


@pytest.fixture
def card(installed: Machine, suite: str) -> Card:
    return Card(installed, suite)


@pytest.fixture
def card_with_good(card: Card) -> Card:
    """Last good settings are kept, with "yard" from the boot partition."""
    card.write(YARD)
    restart(card.machine)
    until(lambda: '"yard"' in kept(card.machine), 60)
    return card


def restart(machine: Machine) -> None:
    """It has to start."""
    machine.run("systemctl", "restart", "piapp")


def kept(machine: Machine) -> str:
    file = machine.path(KEPT)
    return file.read_text() if file.exists() else ""


def problem(machine: Machine) -> str:
    """What the page says, and /health."""
    with Page(8080, host=machine.address) as page:
        told = str(page.told("state")["problem"])
    health = ask(8080, "/health", host=machine.address)
    assert (health.status, health.json()["problem"]) == (503 if told else 200, told)
    return told


def errors(machine: Machine) -> list[str]:
    """What the piapp that runs now has said of the kind in the journal."""
    return re.findall(rf"\[{machine.property('MainPID')}\]: ERROR \S+ (.*)", machine.journal())


def check(machine: Machine) -> str:
    """By the user that piapp runs as: root could read any file."""
    return machine.run("setpriv", "--reuid=piapp", "--regid=piapp", "--clear-groups", PROGRAM, "check", check=False)


def runs_with_the_last_good_ones(card: Card, says: str) -> None:
    """`says`: of the mistake."""
    machine = card.machine
    restart(machine)
    assert machine.cameras() == ["hall", "yard"]
    assert machine.shows_picture()
    assert b"<title>" in machine.get("/")
    runs = rf"{says}\.? It runs with the last good ones, of {DATE}\."
    [error] = errors(machine)
    assert re.fullmatch(runs, error), error
    told = problem(machine)
    assert re.fullmatch(rf"piapp cannot use its settings\. {runs} {MEND}", told), told
    told = check(machine)
    assert re.fullmatch(rf"piapp: {says}\.? Until that is mended piapp runs with the settings of {DATE}\.", told), told


def test_on_the_boot_partition(card_with_good: Card, suite: str) -> None:
    for kind in MISTAKES if suite == "trixie" else ("no TOML", "wrong value", "no text"):
        text, says = MISTAKES[kind]
        card_with_good.write(text.encode("latin-1"))
        runs_with_the_last_good_ones(card_with_good, card_with_good.file + says)


def test_what_is_no_file_to_be_read(card_with_good: Card) -> None:
    card, machine = card_with_good, card_with_good.machine
    machine.path(card.file).chmod(0)
    runs_with_the_last_good_ones(card, f"{card.file} cannot be read: Permission denied")
    card.remove()
    machine.path(card.file).mkdir()
    runs_with_the_last_good_ones(card, f"{card.file} cannot be read: Is a directory")
    card.remove()
    card.write("")
    card.write("", "piapp.toml.txt")
    runs_with_the_last_good_ones(card, f"{card.folder}: there are piapp.toml and piapp.toml.txt: remove all but one .+")
    card.remove()
    with machine.path(SETTINGS).open("wb") as file:
        file.truncate(10 << 30)
    runs_with_the_last_good_ones(card, f"{SETTINGS}: this is larger than 64 kB, and no file of settings")


def test_without_any_good_ones(card: Card) -> None:
    """There is no camera, but the page is where [server] has it, and says so. A reload is enough once it is mended."""
    machine = card.machine
    machine.run("systemctl", "stop", "piapp")
    machine.path(KEPT).unlink()
    card.write(f"[server]\nport = 8081\n{YARD}quality = 101\n")
    machine.run("systemctl", "start", "piapp")
    says = f"{card.file}, line 6: quality = 101 is not allowed: it takes a whole number from 1 to 100"
    assert errors(machine) == [f"{says}. It runs without any camera."]
    answer = ask(8081, "/snapshot.jpg", host=machine.address)
    assert (answer.status, answer.sentence()) == (
        503,
        f"piapp cannot use its settings. {says}. Mend that, then start piapp again.",
    )
    assert check(machine) == f"piapp: {says}."
    assert kept(machine) == ""
    card.write(f"[server]\nport = 8081\n{YARD}")
    machine.run("systemctl", "reload", "piapp")
    until(lambda: machine.shows_picture(8081), 60)
    assert ask(8081, "/health", host=machine.address).status == 200
    until(lambda: '"yard"' in kept(machine), 60)


def test_what_is_no_mistake(card: Card) -> None:
    """Curly quotes, the name that Windows gives, what a Mac leaves behind; nothing at all."""
    machine = card.machine
    for encoding in ("utf-8-sig", "utf-16"):
        card.write("[[camera]]\r\nname = “yard”\r\nsource = “pattern”\r\n".encode(encoding), "piapp.toml.txt")
        card.write(b"\0\5\x16\7", "._piapp.toml")
        restart(machine)
        assert (machine.cameras(), problem(machine), errors(machine)) == (["hall", "yard"], "", [])
        assert f"\nsettings  {card.file}.txt, which is laid over it\n" in check(machine)
    card.remove()
    card.write("")
    restart(machine)
    assert (machine.cameras(), problem(machine), errors(machine)) == (["hall"], "", [])


def test_the_port_of_another_program(card: Card) -> None:
    """This is nothing that piapp can get around: it says so, and tries again until that is gone."""
    machine = card.machine
    machine.run("systemd-run", "--unit=other", "python3", "-m", "http.server", "8081")
    until(lambda: machine.answers(8081), 60)
    card.write("[server]\nport = 8081\n")
    with pytest.raises(Failed):
        restart(machine)
    says = "Another program uses port 8081"
    assert says in machine.journal()
    assert f"\nwrong     {says}" in check(machine)
    machine.run("systemctl", "stop", "other")
    until(lambda: machine.shows_picture(8081), 60)
