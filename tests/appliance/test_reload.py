"""systemctl reload: new settings, while viewers watch."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from fakes import until
from live_wire import Page
from test_reload import MAIN, ended
from wire import Stream

from .machine import SETTINGS, Machine


@pytest.fixture
def house(installed: Machine) -> Machine:
    """It runs with the hall and the yard."""
    installed.path(SETTINGS).write_text(MAIN)
    installed.run("systemctl", "restart", "piapp")
    return installed


@contextlib.contextmanager
def stays(machine: Machine) -> Iterator[None]:
    """The same piapp, all the time."""
    pid = machine.property("MainPID")
    yield
    assert machine.property("MainPID") == pid


def stream(machine: Machine, name: str) -> Stream:
    return Stream(8080, f"/cameras/{name}/stream", host=machine.address)


def page_of(machine: Machine) -> Page:
    return Page(8080, host=machine.address)


def reload(machine: Machine, settings: str) -> None:
    machine.path(SETTINGS).write_text(settings)
    machine.run("systemctl", "reload", "piapp")


def goes_on(viewer: Stream) -> None:
    """Its pictures come in order, up to those that were taken after now."""
    now, last = time.time(), 0.0
    while last < now:
        before, last = last, float(next(viewer).timestamp)
        assert last > before


def test_who_watches_a_camera_that_did_not_change_keeps_watching(house: Machine) -> None:
    with stays(house), stream(house, "hall") as hall, stream(house, "yard") as yard, page_of(house) as page:
        page.watch("yard")
        before = page.picture().camera
        next(hall), next(yard)
        reload(house, MAIN + 'quality = 50\n[[camera]]\nname = "attic"\nsource = "pattern"\n')  # of the yard
        goes_on(hall)
        assert ended(yard)
        until(lambda: house.cameras() == ["hall", "yard", "attic"])
        goes_on(hall)
        while page.picture().camera == before:  # the page has the changed one by itself
            pass
        for name in ("yard", "attic"):
            with stream(house, name) as anew:
                goes_on(anew)
        reload(house, MAIN)
        until(lambda: house.cameras() == ["hall", "yard"])
        goes_on(hall)
    assert house.journal().count("settings read again; cameras that go on: hall\n") == 2


def test_a_mistake_stops_nobody_and_is_told(house: Machine) -> None:
    mistake = f"{SETTINGS}, line 9: qality is not a setting. Did you mean quality? It goes on with those that it has."
    says = f"piapp cannot use its settings. {mistake} Mend that, then start piapp again."
    with stays(house), stream(house, "hall") as hall, stream(house, "yard") as yard, page_of(house) as page:
        assert page.told("state")["problem"] == ""
        reload(house, MAIN + "qality = 50\n")
        while page.told("state")["problem"] != says:
            pass
        assert f"ERROR piapp.last_good: {mistake}" in house.journal()
        until(lambda: says in house.property("StatusText"))
        assert says in house.run("systemctl", "status", "--full", "--no-pager", "piapp")
        goes_on(hall)
        goes_on(yard)
        reload(house, MAIN)
        while page.told("state")["problem"] != "":
            pass
        until(lambda: house.property("StatusText").startswith("2 cameras: hall running "))
        goes_on(hall)
        goes_on(yard)
