"""New settings under an open page."""

import signal
from pathlib import Path

import pytest

from .conftest import Serve
from .drive import Page
from .looking import moving, says
from .serving import Piapp

SIZED = '[[camera]]\nname = "{}"\nsource = "pattern"\nresolution = "{}"\nframerate = 15\n'
NAMES = "() => [...document.querySelectorAll('camera-view')].map(({name}) => name)"


@pytest.fixture
def two(serve: Serve) -> Piapp:
    return serve(SIZED.format("hall", "320x240") + SIZED.format("yard", "320x240"))


def change(piapp: Piapp, folder: Path, settings: str) -> None:
    file = folder / "config.toml"
    server, _, _ = file.read_text().partition("[[camera]]")
    file.write_text(server + settings)
    piapp.tell(signal.SIGHUP)


def test_an_open_page_follows(page: Page, two: Piapp, tmp_path: Path) -> None:
    """Cameras that come, go or are another one now; and one that is as it was."""
    page.open(two.url)
    moving(page, "hall", "yard")
    # the pictures of a new camera have smaller numbers than the newest one that is drawn then
    page.until("() => document.querySelector('camera-view[data-name=yard] canvas').dataset.number > 40")
    change(two, tmp_path, "".join(SIZED.format(*each) for each in (("attic", "320x240"), ("yard", "640x360"))))
    page.until(f"() => ({NAMES})().join() === 'attic,yard'")
    moving(page, "attic", "yard")
    assert page.run("() => document.querySelector('camera-view[data-name=yard] canvas').width") == 640
    change(two, tmp_path, "[[camera]]\nquality = 0\n")
    says(page, "#problem", "quality = 0 is not allowed: .+ It goes on with those that it has")
    moving(page, "attic", "yard")
    change(two, tmp_path, SIZED.format("yard", "640x360"))
    page.until(f"() => ({NAMES})().join() === 'yard'")
    page.until("() => !document.getElementById('problem').textContent")
    moving(page, "yard")
    assert page.errors() == []
