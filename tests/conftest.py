"""What all tests share."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from card import Card

from piapp import app, camera, settings
from piapp.web.guard import Site


def needs(*programs: str) -> None:
    """Call it in a test or a fixture, or put @pytest.mark.needs("ffmpeg") on a test: without these programs it is
    skipped; with CI=true, where scripts/test has installed all of them, it fails instead.

    A snap counts as missing: it sees neither /tmp nor a profile in it.
    """
    missing = [name for name in programs if (shutil.which(name) or "/snap/").startswith("/snap/")]
    if not missing:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}")
    pytest.skip(f"not installed: {', '.join(missing)} (scripts/test says how)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): skipped where one of these is not installed, see conftest.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        needs(*mark.args)


@pytest.fixture
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever viewers do, nothing unexpected is logged."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras notice faults at once, tell of them often and soon try again."""
    monkeypatch.setattr(camera, "NOTICE_EVERY_S", 0.05)
    monkeypatch.setattr(camera, "FROZEN_S", 0.3)
    monkeypatch.setattr(camera, "BACKOFF_S", (0.05, 0.1))


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """In place of this computer's own settings."""
    card = Card(tmp_path)
    monkeypatch.setattr(settings, "SEARCHED", (card.here, card.main))
    monkeypatch.setattr(settings, "BOOT", (card.firmware, card.boot))
    return card


@pytest.fixture
def appliance(card: Card, monkeypatch: pytest.MonkeyPatch) -> Card:
    """What is started as a program takes its settings from there."""
    paths = [[str(path) for path in (card.here, card.main)], [str(path) for path in (card.firmware, card.boot)]]
    script = (
        "import pathlib, sys\nfrom piapp import settings\n"
        f"settings.SEARCHED, settings.BOOT = (tuple(map(pathlib.Path, each)) for each in {paths!r})\n"
        "from piapp.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    )
    monkeypatch.setattr(program, "command", lambda *arguments: [sys.executable, "-c", script, *map(str, arguments)])
    return card


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> list[Site]:
    """What the handlers of each piapp work with that is served while a test runs, to look into."""
    made = list[Site]()

    def remember(*arguments: object) -> Site:
        made.append(Site(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(app, "Site", remember)
    return made
