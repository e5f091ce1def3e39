"""scripts/make-screenshots: pictures of the page for the README, into docs/."""

import contextlib
import tempfile
from contextlib import closing
from pathlib import Path

from .drive import Browser, BrowserError, Page
from .looking import moving, says
from .serving import ROOT, Piapp

DESKTOP, PHONE = (1280, 800, 1), (360, 640, 2)  # width, height, pixel ratio
NAMES = ("Front door", "Garden", "3D printer", "Bird box")
KINDS = (("1280x720", 30), *[("640x360", 15)] * 3)  # so that a small computer draws them all without a gap
CAMERAS = "\n".join(
    f'[[camera]]\nname = "{name}"\nsource = "pattern"\nresolution = "{size}"\nframerate = {framerate}\n'
    for name, (size, framerate) in zip(NAMES, KINDS, strict=True)
)


def show(page: Page, url: str, names: tuple[str, ...], screen: tuple[int, int, float]) -> None:
    """Until all is as it is when one has watched for a while."""
    page.resize(*screen)
    page.open("about:blank")
    page.open(url)
    moving(page, *names, more=30, limit_s=60)
    with contextlib.suppress(BrowserError):  # on a busy computer some are always skipped
        page.until("() => !/skipped/.test([...document.querySelectorAll('.badge')].map((badge) => badge.textContent))")


def save(page: Page, name: str) -> None:
    page.screenshot(ROOT / "docs" / name)
    print(ROOT / "docs" / name)


with tempfile.TemporaryDirectory() as folder:
    piapp = Piapp(Path(folder), CAMERAS)
    try:
        with closing(Browser("chromium", Path(folder))) as browser, browser.page() as page:
            show(page, piapp.url, NAMES, DESKTOP)
            save(page, "page.png")
            show(page, piapp.url, NAMES[:2], PHONE)
            save(page, "page-phone.png")
            show(page, f"{piapp.url}/#{NAMES[0].replace(' ', '%20')}", NAMES[:1], DESKTOP)
            page.click("button[data-panel=controls]")
            says(page, "aside.panel", "JPEG quality")
            moving(page, NAMES[0], more=30)
            save(page, "camera.png")
    finally:
        piapp.kill()
