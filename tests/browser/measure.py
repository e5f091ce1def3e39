"""Measures the page in real browsers, and prints a table: scripts/measure-page [chromium] [firefox].

The tests hold the same figures to generous limits; here they are taken with time, and with nothing else running.
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.links import missing

from .drive import NAMES, Browser, Page
from .line import Line, laid
from .looking import RECORD, averages, moving, wall_minus_monotonic_ms
from .pictures import draw
from .serving import Piapp

FRAME_BYTES = 140_000
SLOW_MBIT = 8.0
BLACKOUT_S = 20.0
HIDDEN_S = 30.0  # so long hidden, a page closes its connection


@dataclass(frozen=True)
class Freshness:
    """All in ms: from the picture's being published to its being drawn, to its arrival in the page's script, and how
    far the page's badge was from the truth."""

    drawn: list[float]
    arrived: list[float]
    badge_errors: list[float]
    ages: list[float]  # the truth at each reading of the badge

    def __str__(self) -> str:
        return (
            f"drawn after {spread(self.drawn)} ms, arrived after {spread(self.arrived)} ms, {len(self.drawn)} pictures;"
            f" badge wrong by {statistics.median(self.badge_errors):.1f} ms, at most {max(self.badge_errors):.1f} ms"
        )


def spread(values: Sequence[float]) -> str:
    return f"p50 {statistics.median(values):.1f} p95 {percentile(values, 95):.1f}"


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def images(folder: Path, size: int = FRAME_BYTES) -> str:
    """Settings for a camera of 720p pictures of that size, 30 a second.

    They are stamped in the moment in which they are published: so their age is that from sending on.
    """
    draw(folder, size)
    return f'[[camera]]\nsource = "images"\ndevice = "{folder}"\nframerate = 30\n'


def freshness(page: Page, seconds: float) -> Freshness:
    """Of the one camera on a page that RECORD was preloaded into, from now on."""
    moving(page, "camera", more=5)
    page.run("() => { seen.drawn.length = seen.badge.length = 0; }")
    time.sleep(seconds)
    seen = page.run("() => seen")
    offset = wall_minus_monotonic_ms()
    drawn = [picture for picture in seen["drawn"] if picture[1] is not None]
    badge = averages(drawn, seen["badge"])
    return Freshness(
        drawn=[at - captured - offset for _, captured, at, _ in drawn],
        arrived=[at - captured - offset for _, captured, _, at in drawn],
        badge_errors=[abs(said - true) for said, true in badge],
        ages=[true for _, true in badge],
    )


def link_frame_ms(piapp: Piapp, seconds: float = 3.0) -> float:
    """How long a picture takes on the way between here and piapp, measured on a stream that is never waited for."""
    connection = http.client.HTTPConnection(piapp.host, piapp.port, timeout=10)
    with closing(connection):
        connection.request("GET", "/stream")
        answer = connection.getresponse()
        answer.read1(1)
        begin, length = time.monotonic(), 0
        while time.monotonic() < begin + seconds:
            length += len(answer.read1(1 << 16))
        return FRAME_BYTES * 1000 / (length / (time.monotonic() - begin))


def first_picture_ms(page: Page, url: str, times: int = 5) -> list[float]:
    """From the beginning of the navigation to the first picture; the camera must be running."""
    found = []
    for _ in range(times):
        page.open("about:blank")
        page.open(url)
        moving(page, "camera", more=0)
        found.append(page.run("() => seen.drawn[0][2] - performance.timeOrigin"))
    return found


def recovery_s(page: Page, back: float) -> float:
    """From `back` (in s since 1970) to the first picture after it."""
    moving(page, "camera")
    found: float = page.run("(when) => seen.drawn.find(([, , at]) => at > when)[2]", back * 1000)
    return found / 1000 - back


@contextmanager
def watching(piapp: Piapp) -> Iterator[None]:
    """Somebody else watches the camera, so that it runs."""
    connection = http.client.HTTPConnection(piapp.host, piapp.port, timeout=10)
    with closing(connection):
        connection.request("GET", "/stream?fps=1")
        connection.getresponse().read1(1)
        yield


class Table:
    """What was measured, printed line by line as it comes."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def row(self, what: str, found: object, wanted: str = "") -> None:
        print(f"{self._browser.name:9} {what:42} {wanted:24} {found}", flush=True)


def measure(browser: Browser, line: Line | None, folder: Path) -> None:
    table = Table(browser)
    settings = images(folder / "pictures")
    with ExitStack() as stack:
        here = Piapp(_new(folder, "here"), settings)
        stack.callback(here.kill)
        with browser.page() as page:
            page.preload(RECORD)
            page.open(here.url)
            moving(page, "camera", more=60)
            table.row("720p30, this computer", freshness(page, 30), "p50 ≤ 20 p95 ≤ 40")
            with watching(here):
                table.row("first picture after the navigation, ms", _whole(first_picture_ms(page, here.url)), "≤ 500")
            found = []
            for _ in range(3):
                here.kill()
                time.sleep(5)
                here.start()
                found.append(recovery_s(page, time.time()))
            table.row("picture after a restart of piapp, s", _hundredths(found), "≤ 1")
            table.row("hidden", hide(page, here), "2 s, 30 s")
        if line:
            _measure_line(table, browser, line, stack, folder, settings)
        else:
            table.row("slow links and blackouts", f"not measured: missing {missing()}")


def _measure_line(table: Table, browser: Browser, line: Line, stack: ExitStack, folder: Path, settings: str) -> None:
    there = Piapp(_new(folder, "there"), settings, place=line.place)
    stack.callback(there.kill)
    with browser.page() as page:
        page.preload(RECORD)
        line.carry(SLOW_MBIT)
        frame_ms = link_frame_ms(there)
        page.open(there.url)
        moving(page, "camera", more=60, limit_s=60)
        slow = freshness(page, 60)
        table.row(f"{SLOW_MBIT:g} Mbit/s", slow)
        table.row(
            "  a picture's time on that link", f"{frame_ms:.0f} ms, p50 is {ratio(slow, frame_ms):.2f} of it", "≤ 1.2"
        )
        line.carry()
        found = []
        for _ in range(3):
            moving(page, "camera", more=60)
            line.cut()
            time.sleep(BLACKOUT_S)
            line.carry()
            found.append(recovery_s(page, time.time()))
        table.row(f"picture after {BLACKOUT_S:g} s of blackout, s", _hundredths(found), "≤ 1")


def ratio(found: Freshness, frame_ms: float) -> float:
    return statistics.median(found.drawn) / frame_ms


def hide(page: Page, piapp: Piapp) -> str:
    """How long after being hidden the page gets no pictures any more, and then no messages."""
    moving(page, "camera")
    with page.hidden():
        hidden, begin = time.time(), time.monotonic()
        piapp.until("cameras/camera", lambda camera: camera["viewer_count"] == 0)
        pictures_s = time.monotonic() - begin
        while (closed_ms := page.run("() => seen.closed ?? 0")) < hidden * 1000 and time.time() < hidden + 2 * HIDDEN_S:
            time.sleep(0.5)
        closed_s = closed_ms / 1000 - hidden
        back = time.time()
    late_s = recovery_s(page, back)
    return f"no pictures after {pictures_s:.1f} s, closed after {closed_s:.1f} s; then back in {late_s:.2f} s"


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _whole(values: Sequence[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)


def _hundredths(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def main() -> int:
    options = argparse.ArgumentParser(prog="scripts/measure-page", description=__doc__)
    options.add_argument("browsers", nargs="*", choices=[[], *NAMES])
    names = options.parse_args().browsers or NAMES
    with ExitStack() as stack:
        line = None if missing() else stack.enter_context(laid())  # before the browsers, see there
        for name in names:
            with tempfile.TemporaryDirectory() as folder, closing(Browser(name, Path(folder))) as browser:
                measure(browser, line, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
