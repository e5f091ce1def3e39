"""scripts/make-screenshots: pictures of the page for the README."""

import tempfile
from contextlib import closing
from pathlib import Path

from .drive import Browser
from .serving import ROOT, Piapp

CAMERAS = """
[[camera]]
name = "Front door"
source = "pattern"
resolution = "1280x720"
"""
SCREENS = (("page.png", 1280, 800, 1), ("page-phone.png", 360, 640, 2))  # width, height, pixel ratio

with tempfile.TemporaryDirectory() as folder:
    piapp = Piapp(Path(folder), CAMERAS)
    try:
        with closing(Browser("chromium", Path(folder))) as browser, browser.page() as page:
            for name, width, height, ratio in SCREENS:
                page.resize(width, height, ratio)
                page.open(piapp.url)
                page.until(
                    "() => /· (29|30)[.].*1.viewer/.test(document.querySelector('.running .facts')?.textContent)"
                )
                page.screenshot(ROOT / "docs" / name)
                print(ROOT / "docs" / name)
    finally:
        piapp.kill()
