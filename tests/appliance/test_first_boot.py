"""A card that scripts/build-image has left to install piapp when it starts for the first time."""

from pathlib import Path

import pytest
from fakes import until

from scripts.build_image import setup
from scripts.build_image.system import System

from .conftest import Machines
from .machine import Machine

LIMIT_S = 120.0


@pytest.fixture
def card(machines: Machines, suite: str, tmp_path: Path) -> Machine:
    """Off, never started, with a system that lacks no packages."""
    machine = machines.ready(suite)
    system = System(machine.root, tmp_path)
    setup.put_checkout(system)
    setup.install_later(system, [])
    return machine


def told(machine: Machine) -> str:
    return machine.run("journalctl", "--no-pager", "--boot", "--output=cat", "--unit=piapp-setup.service")


def lead_outside(machine: Machine) -> None:
    """As DHCP does: by this the network counts as one."""
    machine.run("ip", "route", "add", "default", "via", f"10.99.{machine.number}.1")


def test_it_waits_for_the_network_installs_and_is_gone(card: Machine) -> None:
    card.boot(network=False)
    until(lambda: "waiting for the network" in told(card), LIMIT_S)
    assert card.run("systemctl", "is-system-running", check=False) == "running"  # nothing waits for it
    card.plug()
    lead_outside(card)
    until(card.shows_picture, LIMIT_S)
    until(lambda: not card.ok("systemctl", "cat", "piapp-setup.service"), LIMIT_S)
    assert "it serves pictures" in told(card)
    card.power_off()
    card.boot()
    assert card.shows_picture()
    assert told(card) == ""


def test_a_power_cut_while_it_installs(card: Machine) -> None:
    card.boot()
    lead_outside(card)
    until(lambda: "putting piapp" in told(card), LIMIT_S)
    card.cut_power()
    assert card.path("/etc/systemd/system/piapp-setup.service").exists()
    card.boot()
    until(card.shows_picture, LIMIT_S)
    until(lambda: not card.ok("systemctl", "cat", "piapp-setup.service"), LIMIT_S)
