"""How fresh the page's pictures are, and whether its badge tells the truth. measure.py has the exact figures; here are
generous limits, for computers that are busy with other things."""

import statistics

import pytest

from .conftest import Serve, cameras
from .drive import Page
from .line import Line
from .looking import RECORD, moving
from .measure import FRAME_BYTES, SLOW_MBIT, first_picture_ms, freshness, images, ratio, watching


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Settings."""
    return images(tmp_path_factory.mktemp("pictures"))


def test_a_picture_is_drawn_as_soon_as_it_comes(page: Page, serve: Serve, pictures: str) -> None:
    piapp = serve(pictures)
    page.preload(RECORD)
    page.open(piapp.url)
    moving(page, "camera", more=15)
    found = freshness(page, 3)
    print(f"{page.browser.name}: {found}")
    assert statistics.median(found.drawn) < 80
    assert statistics.median(found.badge_errors) < 20
    assert page.errors() == []


def test_on_a_slow_link_a_picture_is_hardly_older_than_its_way_takes(
    page: Page, line: Line, serve: Serve, pictures: str
) -> None:
    piapp = serve(pictures, place=line.place)
    line.carry(SLOW_MBIT)
    frame_ms = FRAME_BYTES * 8 / SLOW_MBIT / 1000 * 1.04  # packets have heads
    page.preload(RECORD)
    page.open(piapp.url)
    moving(page, "camera", more=10, limit_s=30)
    found = freshness(page, 4)
    print(f"{page.browser.name}, {SLOW_MBIT:g} Mbit/s: {found}; a picture takes {frame_ms:.0f} ms")
    assert ratio(found, frame_ms) < 1.6
    assert statistics.median(found.badge_errors) < 40
    assert page.errors() == []


def test_the_first_picture_comes_soon(page: Page, serve: Serve) -> None:
    piapp = serve(cameras(size="1280x720", framerate=30))
    page.preload(RECORD)
    with watching(piapp):
        found = first_picture_ms(page, piapp.url, 3)
    print(f"{page.browser.name}: first picture after {found} ms")
    assert min(found) < 1500
