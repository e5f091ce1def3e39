"""scripts/uninstall.sh, and what it leaves."""

from .conftest import Machines
from .machine import Machine

PLACES = ("/opt/piapp", "/etc/piapp", "/var/lib/piapp", "/etc/systemd/system/piapp.service")


def there(machine: Machine) -> list[str]:
    return [place for place in PLACES if machine.ok("test", "-e", place)]


def test_settings_and_recordings_stay(installed: Machine) -> None:
    settings = installed.path("/etc/piapp/config.toml")
    settings.write_text(settings.read_text().replace("quality = 80", "quality = 70"))
    installed.run("touch", "/var/lib/piapp/recording")
    installed.uninstall()
    assert there(installed) == ["/etc/piapp", "/var/lib/piapp"]
    assert not installed.shows_picture()
    assert installed.run("systemctl", "list-unit-files", "--no-legend", "piapp*", check=False) == ""
    assert "there is nothing of piapp here" in installed.uninstall()
    installed.install()
    assert "quality = 70" in settings.read_text()
    assert installed.shows_picture()
    assert installed.run("stat", "-c", "%U", "/var/lib/piapp/recording") == "root"


def test_purge_leaves_nothing(installed: Machine) -> None:
    installed.uninstall("--purge")
    assert there(installed) == []
    assert not installed.ok("getent", "passwd", "piapp")
    assert not installed.ok("getent", "group", "piapp")
    left = installed.run("find", "/etc", "/opt", "/usr/local", "/var", "-name", "*piapp*")
    assert left == ""
    assert "there is nothing of piapp here" in installed.uninstall("--purge")


def test_purge_after_uninstall(trixie: Machine) -> None:
    trixie.uninstall()
    trixie.uninstall("--purge")
    assert there(trixie) == []


def test_a_new_card_that_was_to_install_it(machines: Machines) -> None:
    machine = machines.fresh("trixie")
    unit = machine.path("/etc/systemd/system/piapp-setup.service")
    unit.write_text("[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
    machine.boot()
    machine.run("systemctl", "enable", "--now", unit.name)
    assert machine.uninstall() == "piapp: piapp is removed"
    assert not machine.ok("systemctl", "is-active", unit.name)
    assert machine.run("find", "/etc/systemd", "-name", f"*{unit.name}*") == ""


def test_where_it_never_was(machines: Machines) -> None:
    machine = machines.fresh("trixie")
    machine.boot()
    assert machine.uninstall() == "piapp: there is nothing of piapp here"
