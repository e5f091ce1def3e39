"""The page as people use it: with mouse, keyboard and phone."""

import re
import time
from pathlib import Path

import pytest
import simplejpeg

from .conftest import Serve, cameras
from .drive import Browser, BrowserError, Page
from .line import Line
from .looking import VIEW, counts, focused, moving, says, state, tab_to
from .serving import ROOT, Piapp

PAGE_LIMIT = 60_000  # bytes of all its files together

NAMED = """
[[camera]]
name = "front door"
source = "pattern"
resolution = "640x360"
framerate = 15
[[camera]]
name = "garden"
source = "pattern"
resolution = "320x240"
framerate = 15
[[camera]]
name = "Söhne 2"
source = "pattern"
resolution = "240x320"
framerate = 15
"""
THREE = ("front door", "garden", "Söhne 2")

IS_OPEN = """(name) => {
    const shown = [...document.querySelectorAll("camera-view")].filter((view) => view.checkVisibility());
    return name ? shown.length === 1 && shown[0].dataset.name === name : shown.length > 1;
}"""
# Everything that can be pressed or filled in, and is not within the window's width, with a finger's room.
CUT_OFF = """() => [...document.querySelectorAll("a, button, input, select")].flatMap((element) => {
    if (!element.checkVisibility({visibilityProperty: true})) return [];
    const {left, right, height} = element.getBoundingClientRect();
    const small = element.matches("button, a.back") && height < 43.5;
    const wrong = left < 0 || right > innerWidth + 0.5 || small;
    return wrong ? [`${element.outerHTML}: ${left} to ${right}, ${height} high`] : [];
})"""


@pytest.fixture
def three(serve: Serve) -> Piapp:
    return serve(NAMED)


def is_open(page: Page, name: str = "") -> None:
    """Wait until this camera is the only one that is shown; all without a name."""
    page.until(IS_OPEN, name)


def downloaded(browser: Browser, pattern: str) -> Path:
    """Wait for a file with such a name that is complete."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        for file in browser.downloads.iterdir():
            if re.fullmatch(pattern, file.name) and file.read_bytes().endswith(b"\xff\xd9"):
                return file
        time.sleep(0.02)
    raise AssertionError(f"{pattern} is not among {list(browser.downloads.iterdir())}")


def test_all_cameras_are_shown_moving_in_their_own_shapes_with_age_and_rate(page: Page, three: Piapp) -> None:
    page.resize(1280, 800)
    page.open(three.url)
    moving(page, *THREE)
    for name, shape in zip(THREE, (640 / 360, 320 / 240, 240 / 320), strict=True):
        number, count = counts(page, name)
        moving(page, name)
        later, later_count = counts(page, name)
        assert later > number and later - number == later_count - count > 0  # it is that picture, and no other
        says(page, f"{VIEW.format(name)} .badge", r"^\d+ ms · 1[3-7] fps")
        assert page.run(
            """(name) => {
                const {width, height} = document.querySelector(name).getBoundingClientRect();
                return width / height;
            }""",
            f"{VIEW.format(name)} canvas",
        ) == pytest.approx(shape, rel=0.03)
    assert page.run("() => document.documentElement.scrollHeight") <= 800
    assert page.errors() == []


def test_a_click_opens_a_camera_and_the_browsers_own_buttons_go_back_and_forth(page: Page, three: Piapp) -> None:
    page.open(three.url)
    moving(page, *THREE)
    page.click(f"{VIEW.format('garden')} .open")
    is_open(page, "garden")
    assert page.run("() => [location.hash, document.title]") == ["#garden", "garden – piapp"]
    moving(page, "garden")
    page.run("() => history.back()")
    is_open(page)
    page.run("() => history.forward()")
    is_open(page, "garden")
    page.press("Escape")
    is_open(page)
    page.click(f"{VIEW.format('front door')} .open")
    is_open(page, "front door")
    page.click("a.back")
    is_open(page)
    moving(page, *THREE)
    assert page.errors() == []


def test_a_bookmark_opens_its_camera_and_one_that_is_gone_opens_all(page: Page, three: Piapp) -> None:
    page.open(f"{three.url}/#S%C3%B6hne%202")
    is_open(page, "Söhne 2")
    moving(page, "Söhne 2")
    for unknown in ("#attic", "#50%"):
        page.open("about:blank")
        page.open(f"{three.url}/{unknown}")
        is_open(page)
    moving(page, *THREE)
    assert page.errors("ABORTED") == []  # left in the middle of something


def test_only_pictures_in_sight_are_sent(page: Page, three: Piapp) -> None:
    page.open(three.url)
    moving(page, *THREE)
    page.click(f"{VIEW.format('garden')} .open")
    watched(three, [0, 1, 0])
    page.press("Escape")
    watched(three, [1, 1, 1])
    page.resize(360, 440)
    page.open("about:blank")
    page.open(three.url)
    moving(page, THREE[0], THREE[1])
    watched(three, [1, 1, 0])
    page.run("(name) => document.querySelector(name).scrollIntoView()", VIEW.format(THREE[2]))
    moving(page, THREE[2])


def watched(piapp: Piapp, wanted: list[int]) -> None:
    """Wait until so many watch each of the cameras."""
    piapp.until("cameras", lambda told: [camera["viewer_count"] for camera in told["cameras"]] == wanted)


def test_everything_can_be_done_with_the_keyboard(page: Page, three: Piapp) -> None:
    page.resize(1280, 800)
    page.open(three.url)
    moving(page, *THREE)
    tab_to(page, "Open garden")
    page.press("Enter")
    is_open(page, "garden")
    assert "All cameras" in focused(page)
    tab_to(page, "controls")
    page.press("Enter")
    says(page, "aside.panel", "JPEG quality")
    tab_to(page, "hflip")
    page.press(" ")
    three.until("cameras/garden", lambda camera: value(camera, "hflip") is True)
    page.press("Escape")
    assert page.until("() => document.querySelector('aside.panel').hidden")
    assert "controls" in focused(page)
    page.press("f")
    page.until("() => document.fullscreenElement")
    page.press("f")
    page.until("() => !document.fullscreenElement")
    page.press("Escape")
    is_open(page)
    assert "Open garden" in focused(page)
    tab_to(page, "Switch off Söhne 2")
    page.press("Enter")
    state(page, "Söhne 2", "off")
    assert three.api("GET", "cameras")["cameras"][2]["on"] is False
    assert page.errors() == []


def value(camera: dict[str, object], name: str) -> object:
    """Of a control, as the API tells it."""
    controls = camera["controls"]
    assert isinstance(controls, list)
    return next((control["value"] for control in controls if control["name"] == name), None)


def test_full_screen_by_button_and_by_double_click(page: Page, three: Piapp) -> None:
    page.open(f"{three.url}/#garden")
    moving(page, "garden")
    page.click("button.fullscreen")
    page.until("() => document.fullscreenElement?.dataset.name === 'garden'")
    moving(page, "garden")
    page.click(f"{VIEW.format('garden')} .leave")
    page.until("() => !document.fullscreenElement")
    page.click(f"{VIEW.format('garden')} canvas", times=2)
    page.until("() => document.fullscreenElement")
    page.run("() => document.exitFullscreen()")
    assert page.errors() == []


def test_a_camera_is_switched_off_and_on_and_other_pages_follow(browser: Browser, page: Page, three: Piapp) -> None:
    with browser.page() as other:
        page.open(three.url)
        other.open(f"{three.url}/#garden")
        moving(other, "garden")
        moving(page, *THREE)
        page.click(f"{VIEW.format('garden')} .switch")
        for window in (page, other):
            assert re.match("Switched off since .*[0-9]", state(window, "garden", "off"))
            assert window.run(
                """(view) => !document.querySelector(view + " canvas").checkVisibility({visibilityProperty: true})""",
                VIEW.format("garden"),
            )
        assert three.api("GET", "cameras/garden")["on"] is False
        says(other, "#bar .switch", "^Off$")
        other.click("#bar .switch")
        moving(page, "garden")
        moving(other, "garden")
        says(other, "#bar .switch", "^On$")
        assert page.errors() == other.errors() == []


def test_a_snapshot_is_saved_under_the_cameras_name_and_the_time(browser: Browser, page: Page, serve: Serve) -> None:
    piapp = serve('[[camera]]\nname = "Böse Tür"\nsource = "pattern"\nresolution = "640x360"\n')
    page.open(piapp.url)
    moving(page, "Böse Tür")
    page.click("button.snapshot")
    file = downloaded(browser, r"Böse Tür \d{4}-\d\d-\d\d \d\d[.]\d\d[.]\d\d[.]jpg")
    assert simplejpeg.decode_jpeg_header(file.read_bytes())[:2] == (360, 640)
    says(page, "button.snapshot", "^Snapshot$")
    piapp.api("PATCH", "cameras/B%C3%B6se%20T%C3%BCr", {"on": False})
    page.click("button.snapshot")
    says(page, "#note", "switched off")
    assert page.errors(but_for="503 for") == []


def test_details_tell_what_is_known_of_the_camera_and_of_piapp(page: Page, three: Piapp) -> None:
    page.open(f"{three.url}/#garden")
    moving(page, "garden")
    page.click("button[data-panel=details]")
    told = says(page, "aside.panel", "320 × 240[^]*pattern[^]*127.0.0.1[^]*Version")
    assert "Recent faults" not in page.run("() => document.querySelector('aside.panel').innerText"), told
    for wanted in (r"Rate\s*1[45][.0-9]* pictures per second", r"Running for\s*\d+ s", r"page\s*1[0-9.]+"):
        says(page, "aside.panel", wanted)
    page.click("aside.panel header button")
    page.until("() => document.querySelector('aside.panel').hidden")
    assert page.errors() == []


@pytest.mark.parametrize("secure", [True, False])
def test_links_are_right_and_can_be_copied(
    page: Page, serve: Serve, request: pytest.FixtureRequest, secure: bool
) -> None:
    """Browsers give the clipboard only to pages over TLS or from this computer: at home there is neither."""
    line: Line | None = None if secure else request.getfixturevalue("line")
    piapp = serve(NAMED, place=line.place) if line else serve(NAMED)
    page.open(f"{piapp.url}/#front%20door")
    assert page.run("() => isSecureContext") is secure
    moving(page, "front door")
    page.click("button[data-panel=links]")
    for i, path in enumerate(("/#front%20door", "/cameras/front%20door/stream", "/cameras/front%20door/snapshot.jpg")):
        page.click(f".link:nth-of-type({i + 1}) button")
        says(page, f".link:nth-of-type({i + 1}) button", "^Copied$")
        page.run(
            """() => {
                document.querySelector("#pasted")?.remove();
                document.body.append(Object.assign(document.createElement("textarea"), {id: "pasted"}));
                document.querySelector("#pasted").focus();
            }"""
        )
        page.press("Control v")
        assert page.until("() => document.querySelector('#pasted').value") == piapp.url + path
    assert page.errors() == []


@pytest.mark.parametrize(("width", "height"), [(360, 640), (640, 360)])
def test_nothing_is_cut_off_on_a_phone(page: Page, three: Piapp, width: int, height: int) -> None:
    page.resize(width, height)
    page.open(three.url)
    moving(page, "front door")
    fits(page, width)
    page.click(f"{VIEW.format('front door')} .open")
    is_open(page, "front door")
    fits(page, width)
    for panel in ("controls", "details", "links"):
        page.click(f"button[data-panel={panel}]")
        says(page, "aside.panel", {"controls": "Reset all", "details": "Version", "links": "Copy"}[panel])
        fits(page, width)
        moving(page, "front door")
        assert page.run(
            """(canvas) => {
                const {top, bottom, height} = document.querySelector(canvas).getBoundingClientRect();
                return top >= 0 && bottom <= innerHeight + 1 && height > 60;
            }""",
            f"{VIEW.format('front door')} canvas",
        ), "the picture stays in sight"
    assert page.errors() == []


def fits(page: Page, width: int) -> None:
    page.until("(width) => innerWidth === width", width)
    assert page.run("() => document.documentElement.scrollWidth") <= width
    assert page.run(CUT_OFF) == []
    panel = page.run(
        "() => { const panel = document.querySelector('aside'); return panel.scrollWidth - panel.clientWidth; }"
    )
    assert panel <= 0


def test_a_single_camera_is_large_at_once(page: Page, serve: Serve) -> None:
    piapp = serve(cameras())
    page.open(piapp.url)
    moving(page, "camera")
    assert page.run("() => document.querySelector('a.back').checkVisibility()") is False
    page.press("Escape")
    moving(page, "camera")
    assert page.errors() == []


def test_nine_windows_at_once_all_move_and_all_answer(browser: Browser, serve: Serve) -> None:
    piapp = serve(cameras())
    pages = []
    try:
        for _ in range(9):  # browsers allow six connections for requests: each stream in an <img> would be one
            pages.append(Page(browser))
            pages[-1].open(piapp.url)
        for page in pages:
            moving(page, "camera", more=1)
        pages[-1].click("#bar .switch")
        for page in pages:
            state(page, "camera", "off", limit_s=3)
            assert page.errors() == []
    finally:
        for page in pages:
            page.close()


def test_the_page_is_small_and_asks_for_everything_in_one_go(page: Page, serve: Serve) -> None:
    folder = ROOT / "piapp" / "web" / "page"
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    assert sum(file.stat().st_size for file in files.values()) <= PAGE_LIMIT
    page.open(serve(cameras()).url, wait="complete")
    moving(page, "camera")
    loaded = page.run(
        """() => performance.getEntriesByType("resource").filter(({name}) => !name.includes("/api/")).map((entry) =>
            [new URL(entry.name).pathname.slice(1), entry.startTime, entry.initiatorType, entry.decodedBodySize])"""
    )
    in_page = page.run(
        """() => [...document.querySelectorAll("link[rel=modulepreload], link[rel=stylesheet], script[src]")].map(
            (element) => new URL(element.href || element.src).pathname.slice(1))"""
    )
    asked = [path for path, *_ in loaded if path != "icon.svg"]
    assert sorted(asked) == sorted(in_page) == sorted(set(files) - {"index.html", "icon.svg"})
    starts = [start for path, start, *_ in loaded if path != "icon.svg"]
    print(f"{sum(size for *_, size in loaded)} bytes, all asked for within {max(starts) - min(starts):.0f} ms")
    with pytest.raises(BrowserError):  # nothing by chance from elsewhere: offline is how most of them run
        page.run("() => fetch('https://example.org/')")
