"""The page's Controls panel: every kind of control takes effect, shows what is so, and is the same on every page."""

import time
from contextlib import closing
from typing import Any

from fake_camera import FakeCamera

from .conftest import USB_GREY, Serve, cameras, usb_camera
from .drive import Browser, Page
from .looking import counts, moving, says, shade
from .serving import Piapp, Recorder

VALUE = """(name) => {
    const {type, checked, value} = document.querySelector(`aside [name="${name}"]`);
    return type === "checkbox" ? checked : type === "range" ? Number(value) : value;
}"""
# Requests that were under way at the same time.
OVERLAPS = """() => {
    const sent = performance.getEntriesByType("resource").filter(({name}) => name.endsWith("/api/cameras/camera"));
    const late = sent.filter(({startTime}, i) => i && startTime < sent[i - 1].responseEnd - 1);
    return [sent.length, late.length];
}"""


def serve_usb(serve: Serve, usb: FakeCamera) -> Piapp:
    return serve(usb_camera(usb), environment=usb.env)


def open_panel(page: Page, server: Piapp | Recorder) -> None:
    page.resize(1280, 800)
    page.open(server.url)
    moving(page, "camera")
    page.click("button[data-panel=controls]")
    says(page, "aside.panel", "Mirror left-right")


def value_of(piapp: Piapp, name: str) -> Any:
    controls = piapp.api("GET", "cameras/camera")["controls"]
    return next(control["value"] for control in controls if control["name"] == name)


def becomes(piapp: Piapp, name: str, wanted: object) -> None:
    """Wait for what the camera itself says."""
    end = time.monotonic() + 15
    while (value := value_of(piapp, name)) != wanted:
        assert time.monotonic() < end, f"{name} is {value}, not {wanted}"
        time.sleep(0.02)


def shown(page: Page, name: str, wanted: object) -> None:
    """Wait until the panel shows that value."""
    page.until(f"(name, wanted) => ({VALUE})(name) === wanted", name, wanted)


def until_shade(page: Page, low: float, high: float) -> None:
    """Wait until the upper part of the picture is as bright as that."""
    end = time.monotonic() + 15
    while not low <= (found := shade(page, "camera", 0.1, 0.1, 0.8, 0.5)) <= high:
        assert time.monotonic() < end, found


def test_each_kind_of_control_takes_effect(page: Page, serve: Serve, usb: FakeCamera) -> None:
    piapp = serve_usb(serve, usb)
    open_panel(page, piapp)
    assert value_of(piapp, "brightness") == 0
    usual = shade(page, "camera", 0.1, 0.1, 0.8, 0.5)
    page.drag("input[name=brightness]", 1)
    becomes(piapp, "brightness", 64)
    until_shade(page, usual + 50, 255)
    page.click("input[name=brightness]")  # its middle
    becomes(piapp, "brightness", 0)
    until_shade(page, usual - 5, usual + 5)
    disabled = "(name) => document.querySelector(`aside [name='${name}']`).disabled"
    assert page.run(disabled, "exposure_time_absolute") is True
    choose(page, "auto_exposure", "Manual Mode")
    becomes(piapp, "auto_exposure", "Manual Mode")
    page.until(f"(name) => !({disabled})(name)", "exposure_time_absolute")
    fill(page, "exposure_time_absolute", "1234")
    becomes(piapp, "exposure_time_absolute", 1234)
    page.click("input[name=white_balance_automatic]")
    becomes(piapp, "white_balance_automatic", False)
    page.click("button[name=do_white_balance]")
    page.click("button.all")
    becomes(piapp, "auto_exposure", "Aperture Priority Mode")
    becomes(piapp, "white_balance_automatic", True)
    page.until(f"(name) => ({disabled})(name)", "exposure_time_absolute")
    assert page.errors() == []


def choose(page: Page, name: str, choice: str) -> None:
    """In a list, by the keyboard: by its first letters."""
    page.run("(name) => document.querySelector(`aside [name='${name}']`).focus()", name)
    page.press(*choice)
    page.press("Tab")


def fill(page: Page, name: str, text: str) -> None:
    """The number beside a slider."""
    page.run("(name) => document.querySelector(`.control:has([name='${name}']) input[type=number]`).select()", name)
    page.run("(name) => document.querySelector(`.control:has([name='${name}']) input[type=number]`).focus()", name)
    page.press(*text, "Enter")


def test_what_was_chosen_is_kept_while_the_camera_is_away_and_piapp_is_started_again(
    page: Page, serve: Serve, usb: FakeCamera
) -> None:
    piapp = serve_usb(serve, usb)
    open_panel(page, piapp)
    page.drag("input[name=brightness]", 1)
    becomes(piapp, "brightness", 64)
    usb.unplug()
    piapp.until("cameras/camera", lambda camera: camera["state"] == "failed")
    usb.say("run")
    moving(page, "camera")
    until_shade(page, USB_GREY + 45, 255)
    piapp.stop()
    piapp.start()
    moving(page, "camera")
    until_shade(page, USB_GREY + 45, 255)
    shown(page, "brightness", 64)
    page.click(".control:has([name=brightness]) .reset")
    becomes(piapp, "brightness", 0)
    until_shade(page, 0, USB_GREY + 30)


def test_a_picture_is_mirrored_and_two_pages_agree(browser: Browser, page: Page, serve: Serve) -> None:
    piapp = serve(cameras())
    with browser.page() as other:
        open_panel(other, piapp)
        open_panel(page, piapp)
        _, before = counts(page, "camera")
        page.click("input[name=hflip]")
        becomes(piapp, "hflip", True)
        shown(other, "hflip", True)
        end = time.monotonic() + 15
        while shade(page, "camera", 0.9, 0.1, 0.05, 0.1) < shade(page, "camera", 0.05, 0.1, 0.05, 0.1):
            assert time.monotonic() < end  # the lightest colour bar is the first one, on the left
        other.click(".control:has([name=hflip]) .reset")
        becomes(piapp, "hflip", False)
        shown(page, "hflip", False)
        while not before < counts(page, "camera")[1] < before + 10_000:
            assert time.monotonic() < end  # the pattern's count can be read again
        page.drag("input[name=quality]", 0.1)
        low = value_of_slider(page)
        becomes(piapp, "quality", low)
        shown(other, "quality", low)
        assert page.errors() == other.errors() == []


def value_of_slider(page: Page) -> float:
    found: float = page.run(VALUE, "quality")
    return found


def test_a_dragged_slider_sends_one_change_at_a_time_and_the_last_one_counts(page: Page, serve: Serve) -> None:
    piapp = serve(cameras())
    with closing(Recorder(piapp.port)) as proxy:
        proxy.delay_s = 0.1  # so many moves come while a change is under way
        open_panel(page, proxy)
        page.drag("input[name=quality]", 0.05, steps=30)
        last = value_of_slider(page)
        assert last < 20
        becomes(piapp, "quality", last)
        sent, overlaps = page.run(OVERLAPS)
        assert 1 < sent < 20 and overlaps == 0
        time.sleep(1.2)  # no late answer takes it back
        assert value_of_slider(page) == last == value_of(piapp, "quality")
        fill(page, "quality", "999")
        becomes(piapp, "quality", 100)
        assert page.errors() == []


def test_controls_of_a_camera_that_is_off(page: Page, serve: Serve) -> None:
    piapp = serve(cameras(2))
    piapp.api("PATCH", "cameras/camera2", {"on": False})
    page.open(f"{piapp.url}/#camera2")
    page.click("button[data-panel=controls]")
    says(page, "aside.panel", "once the camera runs")
    page.click("#bar .switch")
    says(page, "aside.panel", "JPEG quality")
    assert page.errors() == []
