"""A Pi's card with piapp on it: from its image to the page, and what is set on its boot partition."""

import io
from pathlib import Path

import pytest
from live_wire import Page
from PIL import Image
from wire import ask

from .board import BOOT_LIMIT_S, PI_3, VIRT, Board
from .card import Card
from .conftest import Build, Start

MISTAKE = '/boot/firmware/piapp.toml, line 6: resolution = "large" is not allowed'
SETUP_LIMIT_S = 3600.0  # apt and pip on a processor that is a program itself

GOOD = '\ufeff[server]\nport = 80\n\n[[camera]]\nname = "front door"\nresolution = "640x480"\n'
BAD = '[server]\nport = 80\n\n[[camera]]\nname = "front door"\nresolution = "large"\n'
READY = "systemctl show --property ActiveEnterTimestampMonotonic --value piapp | sed 's/......$//'"


@pytest.fixture
def card(image: Path, folder: Path) -> Card:
    return Card.flashed(image, folder / "card")


def test_the_first_start(card: Card, start: Start) -> None:
    with start(PI_3, card) as pi:
        pi.wait_page()
        print(f"a Pi 3 in QEMU serves the page {pi.run(READY)} s after its kernel has begun")
        assert shows(pi, 8080) == (["camera"], (1280, 720), "")
        assert settled(pi) == "running"
        assert pi.run("tr -d '\\0' </proc/device-tree/model") == "Raspberry Pi 3 Model B"
        assert "Raspberry Pi 3 Model B" in pi.run("/opt/piapp/current/bin/piapp check", check=False)
        pi.power_off()


def test_settings_from_a_pc(card: Card, start: Start) -> None:
    card.write("piapp.toml", GOOD.replace("\n", "\r\n").encode())
    with start(VIRT, card) as board:
        board.wait_page(80)
        assert shows(board, 80) == (["front door"], (640, 480), "")
        board.power_off()
    card.write("piapp.toml", BAD.replace("\n", "\r\n").encode())
    with start(VIRT, card) as board:
        board.wait_page(80)
        cameras, size, problem = shows(board, 80)
        assert (cameras, size) == (["front door"], (640, 480))
        assert MISTAKE in problem and "runs with the last good ones" in problem
        assert MISTAKE in board.run("/opt/piapp/current/bin/piapp check 2>&1", check=False)
        assert MISTAKE in board.run("journalctl --boot --unit piapp")
        board.power_off()


def settled(board: Board) -> str:
    """When all has been started: how systemd finds that, and what has failed."""
    return board.run("systemctl is-system-running --wait; systemctl --failed --quiet")


def shows(board: Board, port: int) -> tuple[list[str], tuple[int, int], str]:
    """To somebody on the network: the cameras' names, the size of the first one's picture, and what is wrong."""
    ours = board.port(port)
    with Image.open(io.BytesIO(ask(ours, "/snapshot.jpg").body)) as picture, Page(ours) as page:
        picture.load()
        state = page.told("state")
    health = ask(ours, "/health")
    assert (health.status == 200) == (state["problem"] == "")
    return [camera["name"] for camera in state["cameras"]], picture.size, state["problem"]


def test_a_card_that_installs_piapp_itself_when_there_is_a_network(build: Build, folder: Path, start: Start) -> None:
    """VIRT has the right time from the start. A Pi needs it from the network first, for apt."""
    card = Card.flashed(build("later.img", "--offline"), folder / "card")
    with start(VIRT, card) as board:
        board.qmp.ask("set_link", name="card", up=False)
        board.wait_serial("waiting for the network, to install piapp", BOOT_LIMIT_S)
        board.qmp.ask("set_link", name="card", up=True)
        board.wait_page(limit_s=SETUP_LIMIT_S)
        board.run("while systemctl --quiet is-active piapp-setup; do sleep 1; done")
        print(board.run("journalctl --unit piapp-setup --output short-monotonic"))
        board.power_off()
    with start(VIRT, card) as board:
        board.wait_page()
        assert shows(board, 8080) == (["camera"], (1280, 720), "")
        assert settled(board) == "running"
        assert board.run("journalctl --boot --unit piapp-setup") == "-- No entries --"
        board.power_off()
