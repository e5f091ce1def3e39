"""Ports, networks, disks and clocks as they are found in the field."""

import socket

import pytest
from fakes import until

from .conftest import Machines, other_version
from .machine import SETTINGS, Failed, Machine
from .test_survival import drop_in

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def test_port_80(installed: Machine) -> None:
    said = installed.install("--port", "80")
    assert f"watch at http://piapp-test.local:80/ {installed.url(80)}/" in said
    assert installed.shows_picture(80)
    assert "\nport = 80\n" in installed.path("/etc/piapp/config.toml").read_text()
    installed.install()
    assert installed.shows_picture(80)


def test_a_port_that_is_taken(trixie: Machine) -> None:
    trixie.run("systemd-run", "python3", "-m", "http.server", "8081")
    until(lambda: trixie.answers(8081), 60)
    with pytest.raises(Failed, match="does not start") as failure:
        trixie.install("--port", "8081")
    assert "8081" in str(failure.value)
    assert trixie.shows_picture()
    assert "port = 8080" in trixie.path("/etc/piapp/config.toml").read_text()


def test_it_starts_without_a_network_and_is_there_when_that_comes(machines: Machines, suite: str) -> None:
    machine = machines.installed(suite)
    machine.boot(network=False)
    assert machine.property("ActiveState") == "active"
    machine.plug()
    until(machine.shows_picture, 60)


def test_an_address_that_it_gets_after_it_has_started(machines: Machines, suite: str) -> None:
    """One that its settings name. The same piapp is there with it, not another one."""
    machine = machines.installed(suite)
    machine.path(SETTINGS).write_text(f'[server]\nhost = "{machine.address}"\n')
    machine.boot(network=False)
    assert machine.property("ActiveState") == "active"
    assert f"No network interface has the address {machine.address}" in machine.journal()
    assert not machine.answers()
    machine.plug()
    until(machine.shows_picture, 60)
    assert machine.property("NRestarts") == "0"


def test_without_a_network_nothing_is_installed(machines: Machines) -> None:
    machine = machines.fresh("trixie")
    machine.boot()
    with pytest.raises(Failed, match="apt could not install .* Is this computer online?"):
        machine.install()
    assert not machine.ok("test", "-e", "/opt/piapp")
    assert not machine.ok("test", "-e", "/etc/piapp")
    assert not machine.ok("getent", "passwd", "piapp")


def test_a_root_that_cannot_be_written_to(machines: Machines, suite: str) -> None:
    """As raspi-config's overlay mode has it: what is written is gone after the next start."""
    machine = machines.installed(suite)
    machine.boot("--volatile=overlay")
    assert machine.shows_picture()
    machine.run("touch", "/var/lib/piapp/gone")
    machine.power_off()
    machine.boot("--volatile=overlay")
    assert machine.shows_picture()
    assert not machine.ok("test", "-e", "/var/lib/piapp/gone")


def test_a_full_disk(machines: Machines) -> None:
    machine = machines.installed("trixie", disk_mb=30)
    machine.boot()
    newer = other_version(machine, "9.0.0")
    machine.run("sh", "-c", "cat /dev/zero >/var/full", check=False)
    machine.run("systemctl", "restart", "piapp")
    assert machine.shows_picture()
    with pytest.raises(Failed, match="What was installed goes on"):
        machine.install(checkout=newer)
    assert machine.shows_picture()
    machine.power_off()
    machine.boot()
    assert machine.shows_picture()
    machine.run("rm", "/var/full")
    machine.run("ls", "/opt/piapp/current/")


def test_a_clock_that_is_wrong_at_the_start_and_set_while_somebody_watches(installed: Machine) -> None:
    clock = installed.path("/etc/piapp/clock")
    clock.write_text("@1970-01-01 00:00:10\n")
    drop_in(
        installed,
        f"Environment=LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE=/etc/piapp/clock FAKETIME_NO_CACHE=1",
        "Environment=FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
    installed.run("systemctl", "restart", "piapp")
    assert b"1970" in date(installed)
    with socket.create_connection((installed.address, 8080), 10) as viewer:
        viewer.settimeout(2)
        viewer.sendall(b"GET /stream HTTP/1.1\r\nHost: piapp-test.local\r\n\r\n")
        read_frames(viewer, 20)
        clock.write_text("@2031-05-06 07:08:09\n")
        until(lambda: b"2031" in date(installed), 10)
        read_frames(viewer, 20)
    assert installed.shows_picture()
    assert installed.property("NRestarts") == "0"


def date(machine: Machine) -> bytes:
    """What piapp takes the time for."""
    with socket.create_connection((machine.address, 8080), 10) as asking:
        asking.sendall(b"GET /health HTTP/1.1\r\nHost: piapp-test.local\r\nConnection: close\r\n\r\n")
        return next(line for line in asking.recv(4096).splitlines() if line.startswith(b"Date:"))


def read_frames(viewer: socket.socket, count: int) -> None:
    """None later than the socket's limit."""
    while count > 0:
        content = viewer.recv(1 << 20)
        assert content
        count -= content.count(b"Content-Type: image/jpeg")
