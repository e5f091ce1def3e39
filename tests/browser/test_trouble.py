"""What the page says and does when something is wrong, and that all is well again by itself afterwards."""

import re
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from fake_camera import FakeCamera

from .conftest import Serve, cameras, usb_camera
from .drive import Browser, BrowserError, Page
from .line import Line
from .looking import RECORD, VIEW, moving, says, state
from .serving import ROOT, Recorder

LOST = "No connection to piapp"
BROKEN = "api/|Could not connect|CONNECTION|ABORT|WebSocket|can.t establish"  # what a lost connection may leave behind


def age_words(page: Page, name: str) -> str:
    """Over a picture that is not of now."""
    return says(page, f"{VIEW.format(name)} .old", r"This picture is \d.* old")


def test_piapp_killed_and_started_again(page: Page, serve: Serve) -> None:
    page.preload(RECORD)
    piapp = serve(cameras(2))
    page.open(piapp.url)
    moving(page, "camera", "camera2")
    piapp.kill()
    for name in ("camera", "camera2"):
        assert LOST in state(page, name, "lost")
        age_words(page, name)
    piapp.start()
    back = time.time()
    moving(page, "camera", "camera2")
    late_s = first_after(page, back) - back
    print(f"{page.browser.name}: first picture {late_s:.2f} s after the restart")
    assert late_s < 4
    assert page.errors(BROKEN) == []


def first_after(page: Page, when: float) -> float:
    """When the first picture was drawn after that, in s since 1970."""
    found: float = page.run("(when) => seen.drawn.find(([, , at]) => at > when)[2]", when * 1000)
    return found / 1000


def test_a_blackout(page: Page, line: Line, serve: Serve) -> None:
    """Packets are lost and nobody is told: no connection is refused or reset."""
    page.preload(RECORD)
    piapp = serve(cameras(), place=line.place)
    page.open(piapp.url)
    moving(page, "camera")
    line.cut()
    assert LOST in state(page, "camera", "lost")
    age_words(page, "camera")
    time.sleep(2)  # so much longer that the kernels' own repeated attempts have become rare
    line.carry()
    back = time.time()
    moving(page, "camera")
    late_s = first_after(page, back) - back
    print(f"{page.browser.name}: first picture {late_s:.2f} s after the blackout")
    assert late_s < 4
    assert page.errors(BROKEN) == []


def test_a_camera_unplugged_and_plugged_in_again(page: Page, serve: Serve, usb: FakeCamera) -> None:
    piapp = serve(usb_camera(usb) + cameras(), environment=usb.env)
    page.open(piapp.url)
    moving(page, "camera", "camera2")
    usb.unplug()
    words = state(page, "camera", "failed")
    assert re.search("lost|unplugged|not found|gone", words) and LOST not in words, words
    age_words(page, "camera")
    moving(page, "camera2")  # the other one goes on
    usb.say("run")
    moving(page, "camera", "camera2")
    page.click(f"{VIEW.format('camera')} .open")
    page.click("button[data-panel=details]")
    says(page, "aside.panel", "Recent faults")
    assert page.errors() == []


def test_a_camera_that_is_off_is_told_from_a_lost_connection(page: Page, serve: Serve) -> None:
    piapp = serve(cameras(2))
    page.open(piapp.url)
    moving(page, "camera", "camera2")
    piapp.api("PATCH", "cameras/camera", {"on": False})
    assert state(page, "camera", "off").startswith("Switched off")
    piapp.kill()
    for name in ("camera", "camera2"):
        assert LOST in state(page, name, "lost")
    assert page.run("(view) => document.querySelector(view + ' .old').textContent", VIEW.format("camera")) == ""
    piapp.start()
    moving(page, "camera2")


def test_a_hidden_page_gets_no_pictures(page: Page, serve: Serve) -> None:
    piapp = serve(cameras())
    page.open(piapp.url)
    moving(page, "camera")
    with page.hidden():
        piapp.until("cameras/camera", lambda camera: camera["viewer_count"] == 0, limit_s=8)
    begin = time.monotonic()
    moving(page, "camera", more=1)
    assert time.monotonic() - begin < 4
    says(page, ".badge", r"· \d+ fps")
    skipped = page.run("() => /(\\d+) skipped/.exec(document.querySelector('.badge').textContent)?.[1] ?? 0")
    assert int(skipped) < 10, "what nobody looked at was not skipped"
    assert page.errors() == []


def test_where_no_websocket_gets_through_there_are_pictures_all_the_same(page: Page, serve: Serve) -> None:
    piapp = serve(cameras(2))
    with closing(Recorder(piapp.port)) as proxy:
        proxy.takes_sockets = False
        page.open(proxy.url)
        page.until("() => document.body.dataset.transport === 'image'")
        image = f"{VIEW.format('camera')} img"
        page.until("(image) => document.querySelector(image)?.naturalWidth === 320", image)
        piapp.until("cameras/camera", lambda camera: camera["viewers"] and camera["viewers"][0]["fps"] > 10)
        assert "Click to watch" in state(page, "camera2", "waiting")
        page.click(f"{VIEW.format('camera2')} .open")
        page.until("(image) => document.querySelector(image)?.naturalWidth === 320", f"{VIEW.format('camera2')} img")
        piapp.until("cameras", lambda told: [camera["viewer_count"] for camera in told["cameras"]] == [0, 1])
        page.click("#bar .switch")
        state(page, "camera2", "off")
        page.click("#bar .switch")
        piapp.until("cameras/camera2", lambda camera: camera["viewers"] and camera["viewers"][0]["fps"] > 10)
        piapp.kill()
        assert LOST in state(page, "camera2", "lost")
        piapp.start()
        state(page, "camera2", "running")
        piapp.until("cameras/camera2", lambda camera: camera["viewers"] and camera["viewers"][0]["fps"] > 10)
        proxy.takes_sockets = True
        page.run("() => dispatchEvent(new Event('online'))")  # else it tries each half minute
        moving(page, "camera2")
        assert page.run("() => [document.body.dataset.transport, document.querySelector('img')]") == ["socket", None]
        assert page.errors(BROKEN) == []


def test_one_page_too_many_is_told_so_and_let_in_later(browser: Browser, page: Page, serve: Serve) -> None:
    piapp = serve(cameras(), server="max_viewers = 1")
    page.open(piapp.url)
    with browser.page() as first:
        says(page, ".badge", "ms")
        first.open(piapp.url)
        says(first, "#message", "limit of 1 viewers is reached")
        assert first.errors("WebSocket") == []
        page.open("about:blank")
        moving(first, "camera")


def test_settings_that_cannot_be_used_are_the_page(page: Page, serve: Serve) -> None:
    piapp = serve('[[camera]]\nsource = "pattern"\nframerate = "fast"\n')
    page.open(piapp.url)
    words = says(page, "#problem", "framerate")
    assert "config.toml, line" in words and "fast" in words
    assert page.run("() => document.querySelectorAll('camera-view').length") == 0
    assert page.errors() == []


def test_the_page_loads_itself_anew_when_piapp_was_updated(page: Page, serve: Serve, tmp_path: Path) -> None:
    code = tmp_path / "code"
    shutil.copytree(ROOT / "piapp", code / "piapp", ignore=shutil.ignore_patterns("__pycache__"))
    piapp = serve(cameras(), code=code)
    page.open(f"{piapp.url}/#camera")
    moving(page, "camera")
    page.run("() => { window.old = true; }")
    piapp.stop()
    piapp.start()
    state(page, "camera", "running")
    moving(page, "camera")
    assert page.run("() => window.old") is True  # nothing has changed
    piapp.stop()
    with (code / "piapp" / "web" / "page" / "style.css").open("a") as file:
        file.write("\n:root { --updated: yes; }\n")
    piapp.start()
    updated = "() => getComputedStyle(document.documentElement).getPropertyValue('--updated').trim() === 'yes'"
    for _ in range(100):
        try:
            page.until(updated, limit_s=10)
            break
        except BrowserError as error:  # the page that was asked has gone meanwhile
            assert "not within" not in str(error)
    assert page.run("() => window.old ?? null") is None
    moving(page, "camera")


def test_without_scripts_there_is_the_first_camera(
    browser: Browser, serve: Serve, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    piapp = serve(cameras(2))
    folder = tmp_path_factory.mktemp("plain")  # Chromium makes a socket there, whose path must not be long
    with closing(Browser(browser.name, folder, scripts=False)) as plain, plain.page() as page:
        page.open(piapp.url)
        piapp.until("cameras/camera", lambda camera: camera["viewers"] and camera["viewers"][0]["fps"] > 10)
        seen = set()
        for _ in range(50):
            page.screenshot(tmp_path / "seen.png")
            seen.add((tmp_path / "seen.png").read_bytes())
            if len(seen) > 3:
                return
        raise AssertionError("the picture does not move")
