"""Found by name, as another computer finds it, with the real avahi on both sides of a cable."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import NamedTuple, Self

import pytest
from fakes import until

from .conftest import Machines
from .machine import LIMIT_S, Machine

NAME, SERVICE = "piapp-test.local", "piapp-test camera"


class Found(NamedTuple):
    host: str
    port: int
    text: str


HERE = Found(NAME, 8080, '"path=/"')


class Browser:
    """What avahi-browse lists on a machine, as it comes and goes: web servers that are announced over IPv4 or IPv6."""

    def __init__(self, machine: Machine) -> None:
        self.lists: dict[str, dict[str, Found]] = {"IPv4": {}, "IPv6": {}}
        command = "stdbuf --output=L avahi-browse --parsable --resolve --no-db-lookup _http._tcp"
        self._program = machine.start(*command.split())
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._program.pid, signal.SIGKILL)
        self._reader.join()
        assert self._program.stdout
        self._program.stdout.close()
        self._program.wait()

    def wait_for(self, services: dict[str, Found]) -> None:
        """Until these and no others are listed, over both."""
        try:
            until(lambda: all(found == services for found in self.lists.values()), LIMIT_S)
        except AssertionError:
            raise AssertionError(f"not {services} but {self.lists}") from None

    def _read(self) -> None:
        assert self._program.stdout
        for line in self._program.stdout:
            match line.strip().replace("\\032", " ").replace("\\035", "#").split(";"):
                case "=", _, protocol, name, _, _, host, _, port, text:
                    self.lists[protocol][name] = Found(host, int(port), text)
                case "-", _, protocol, name, *_:
                    self.lists[protocol].pop(name, None)  # when it went before it was resolved


@pytest.fixture
def other(machines: Machines, suite: str) -> Machine:
    """Another computer, at the other end of a cable from `installed`."""
    machine = machines.ready(suite)
    machine.path("/etc/hostname").write_text("other\n")
    machine.boot(network=False)
    return machine


@pytest.fixture
def browser(installed: Machine, other: Machine) -> Iterator[Browser]:
    """On that one."""
    connect(installed, other)
    with Browser(other) as browser:
        yield browser


def connect(one: Machine, another: Machine) -> None:
    ip(one, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", another.name)
    for number, machine in enumerate((one, another), 1):
        ip(machine, "address", "add", f"10.98.0.{number}/24", "dev", "eth1")
        ip(machine, "link", "set", "eth1", "up")


def ip(machine: Machine, *words: str) -> None:
    subprocess.run(["ip", "-n", machine.name, *words], check=True)


def change(machine: Machine, old: str, new: str) -> None:
    """The settings."""
    settings = machine.path("/etc/piapp/config.toml")
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))


def opens(machine: Machine, url: str) -> str:
    """What the machine gets there."""
    return machine.run("python3", "-c", f"import urllib.request as r; print(r.urlopen({url!r}, timeout=20).read())")


def checked(machine: Machine) -> str:
    """What `piapp check` says there."""
    return machine.run("piapp", "check", check=False)


def test_it_is_listed_and_its_page_opens(installed: Machine, other: Machine, browser: Browser) -> None:
    browser.wait_for({SERVICE: HERE})
    assert "<title>" in opens(other, f"http://{NAME}:8080/")
    until(lambda: f"avahi: Established under name '{SERVICE}'" in installed.journal(), 60)
    assert f'name      http://{NAME}:8080/, announced as "{SERVICE}"' in checked(installed)


def test_it_follows_the_settings(installed: Machine, other: Machine, browser: Browser) -> None:
    change(installed, "port = 8080", "port = 80")
    installed.run("systemctl", "restart", "piapp")
    browser.wait_for({SERVICE: HERE._replace(port=80)})
    assert "<title>" in opens(other, f"http://{NAME}/")
    change(installed, "announce = true", "announce = false")
    installed.run("systemctl", "reload", "piapp")
    browser.wait_for({})
    assert f"name      http://{NAME}:80/, and not announced: announce = false" in checked(installed)
    change(installed, "announce = false", "announce = true")
    installed.run("systemctl", "reload", "piapp")
    browser.wait_for({SERVICE: HERE._replace(port=80)})


def test_it_goes_and_comes_with_piapp(installed: Machine, browser: Browser) -> None:
    browser.wait_for({SERVICE: HERE})
    installed.run("systemctl", "stop", "piapp")
    browser.wait_for({})
    installed.run("systemctl", "start", "piapp")
    browser.wait_for({SERVICE: HERE})
    installed.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "piapp")
    browser.wait_for({})
    browser.wait_for({SERVICE: HERE})


def test_it_comes_back_when_avahi_does(installed: Machine, browser: Browser) -> None:
    browser.wait_for({SERVICE: HERE})
    installed.run("systemctl", "restart", "avahi-daemon")
    until(lambda: installed.journal().count("Established") == 2, 60)
    browser.wait_for({SERVICE: HERE})
    # one that is only stopped D-Bus starts again, for whoever wants to announce something
    installed.run("systemctl", "disable", "--now", "avahi-daemon.service", "avahi-daemon.socket")
    browser.wait_for({})
    assert "name      none: avahi does not run: sudo systemctl enable --now avahi-daemon" in checked(installed)
    installed.run("systemctl", "restart", "piapp")
    assert installed.shows_picture()
    installed.run("systemctl", "enable", "--now", "avahi-daemon")
    browser.wait_for({SERVICE: HERE})


def test_two_of_the_same_name(machines: Machines, suite: str) -> None:
    """As two Raspberry Pis have it that are both called raspberrypi."""
    first, second = machines.installed(suite), machines.installed(suite)
    change(second, "port = 8080", "port = 8082")
    connect(first, second)
    first.boot()
    until(lambda: f"avahi: Established under name '{SERVICE}'" in first.journal(), 60)  # the name is its own by now
    second.boot()
    with Browser(first) as browser:
        browser.wait_for({SERVICE: HERE, f"{SERVICE} #2": Found("piapp-test-2.local", 8082, HERE.text)})
    assert "<title>" in opens(first, "http://piapp-test-2.local:8082/")
    assert "name      http://piapp-test-2.local:8082/" in checked(second)
    assert "watch at http://piapp-test-2.local:8082/" in second.install()


def test_without_what_announces(installed: Machine) -> None:
    """Nor a network to get it from: everything else works."""
    installed.run("dpkg", "--remove", "avahi-utils")
    said = installed.install()
    assert "without avahi-utils it will not be found by name" in said
    installed.run("systemctl", "restart", "piapp")
    assert installed.shows_picture()
    assert "avahi-publish-service is missing: sudo apt install avahi-utils" in installed.journal()
    assert f"name      http://{NAME}:8080/, and not announced: sudo apt install avahi-utils" in checked(installed)
