"""What can be seen on piapp's page, and when it was seen."""

import time
from collections.abc import Sequence
from typing import Any

from .drive import Page

VIEW = 'camera-view[data-name="{}"]'

# The numbers of the drawn pictures, when each of these cameras has drawn `more` of them since this was asked.
_MOVING = """async (names, more, limit) => {
    const numbers = () => names.map((name) => {
        const view = document.querySelector(`camera-view[data-name="${name}"]`);
        return view?.dataset.state === "running" && Number(view.querySelector("canvas").dataset.number || 0);
    });
    const end = performance.now() + limit;
    let first = null;
    for (;;) {
        const now = numbers();
        if (!now.every(Boolean)) first = null;
        else if (!first || now.some((number, i) => number < first[i])) first = now;
        else if (now.every((number, i) => number >= first[i] + more)) return now;
        if (performance.now() > end) {
            throw new Error(`not moving: ${names} at ${numbers()} on a page that says: ${document.body.innerText}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}"""

# Of one camera: the number of the picture on the canvas, and the count that the test pattern has drawn into it.
_COUNTS = """(name) => {
    const canvas = document.querySelector(`camera-view[data-name="${name}"] canvas`);
    const side = Math.max(2, Math.floor(canvas.width / 40));
    const row = canvas.getContext("2d").getImageData(0, side >> 1, side * 24, 1).data;
    let count = 0;
    for (let x = side >> 1; x < side * 24; x += side) count = count * 2 + (row[x * 4] > 128 ? 1 : 0);
    return [Number(canvas.dataset.number), count];
}"""

# The mean of red, green and blue in a part of the canvas, given in shares of it.
_SHADE = """(name, left, top, width, height) => {
    const canvas = document.querySelector(`camera-view[data-name="${name}"] canvas`);
    const [w, h] = [canvas.width, canvas.height];
    const {data} = canvas.getContext("2d").getImageData(left * w, top * h, width * w, height * h);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
    return sum / (data.length / 4 * 3);
}"""

# To be preloaded: writes down each picture when it has been drawn, and each reading of the badge. Drawing and number
# are one step of the page, and a MutationObserver is called directly after it.
#   drawn: [number, captured in ms of the server's clock, drawn in ms since 1970, arrived in ms since 1970]
#   badge: [age in ms, when in ms since 1970]
#   closed: when a WebSocket was last closed, in ms since 1970
RECORD = """() => {
    const now = () => performance.timeOrigin + performance.now();
    const heads = new Map();
    const seen = window.seen = {drawn: [], badge: []};
    window.WebSocket = class extends WebSocket {
        constructor(...what) {
            super(...what);
            this.addEventListener("close", () => { seen.closed = now(); });
            this.addEventListener("message", ({data}) => {
                if (typeof data === "string") return;
                const head = new DataView(data, 0, 16);
                heads.set(head.getUint32(4), [head.getFloat64(8), now()]);
            });
        }
    };
    new MutationObserver((changes) => {
        for (const {target, attributeName} of changes) {
            if (attributeName === "data-number") {
                const number = Number(target.dataset.number);
                const [captured, arrived] = heads.get(number) ?? [];
                seen.drawn.push([number, captured, now(), arrived]);
                for (const old of heads.keys()) if (old <= number) heads.delete(old);
            } else if (target.dataset.ageMs) seen.badge.push([Number(target.dataset.ageMs), now()]);
        }
    }).observe(document, {subtree: true, attributes: true, attributeFilter: ["data-number", "data-age-ms"]});
}"""


def moving(page: Page, *names: str, more: int = 2, limit_s: float = 15) -> list[int]:
    """Wait until all of these show pictures, one after the other; the newest numbers."""
    numbers: list[int] = page.run(_MOVING, names, more, limit_s * 1000)
    return numbers


def counts(page: Page, name: str) -> tuple[int, int]:
    """The number of the picture that is drawn, and the test pattern's own count in it."""
    number, count = page.run(_COUNTS, name)
    return number, count


def shade(page: Page, name: str, left: float, top: float, width: float, height: float) -> float:
    """How bright a part of the picture is, 0 to 255; the part in shares of the whole."""
    found: float = page.run(_SHADE, name, left, top, width, height)
    return found


def says(page: Page, selector: str, pattern: str, limit_s: float = 15) -> str:
    """Wait until the element can be seen and its text matches; the text."""
    found: str = page.until(
        """(selector, pattern) => {
            const element = document.querySelector(selector);
            const text = element?.checkVisibility({visibilityProperty: true}) && element.textContent;
            return text && new RegExp(pattern).test(text) && text;
        }""",
        selector,
        pattern,
        limit_s=limit_s,
    )
    return found


def state(page: Page, name: str, wanted: str, limit_s: float = 15) -> str:
    """Wait for the state of a camera on the page; the words that are said over its picture."""
    found: dict[str, Any] = page.until(
        """(selector, wanted) => {
            const view = document.querySelector(selector);
            return view?.dataset.state === wanted && {words: view.querySelector(".words").textContent};
        }""",
        VIEW.format(name),
        wanted,
        limit_s=limit_s,
    )
    return str(found["words"])


def focused(page: Page) -> str:
    """Which element has the keyboard: tag, classes, and what it is called."""
    found: str = page.run(
        """() => {
            const {tagName, className, textContent, name, dataset} = document.activeElement;
            const called = document.activeElement.getAttribute("aria-label") || name || dataset.panel || textContent;
            return `${tagName} ${className} ${called}`.trim();
        }"""
    )
    return found


def tab_to(page: Page, wanted: str, limit: int = 40) -> None:
    """Press Tab until that is part of what focused() tells."""
    seen = []
    for _ in range(limit):
        page.press("Tab")
        seen.append(focused(page))
        if wanted in seen[-1]:
            return
    raise AssertionError(f"Tab does not come to {wanted}, but to {seen}")


def wall_minus_monotonic_ms() -> float:
    """What makes a time since 1970 of one of the server's clock."""
    return (time.time() - time.monotonic()) * 1000


def averages(drawn: Sequence[Sequence[float]], badge: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """For each reading of the badge: what it said, and the true age in ms, from what RECORD has written.

    As the badge means it: over the time since the reading before it, the average age of what was on the screen; or, if
    nothing was drawn in that time, the age in the end.
    """
    offset = wall_minus_monotonic_ms()
    found = []
    for (_, begin), (said, end) in zip(badge, badge[1:], strict=False):
        before = [picture for picture in drawn if picture[2] <= begin]
        within = [picture for picture in drawn if begin < picture[2] <= end]
        if not before:
            continue
        captured, mark, total = before[-1][1] + offset, begin, 0.0
        for picture in within:
            total += (picture[2] - mark) * ((picture[2] + mark) / 2 - captured)
            captured, mark = picture[1] + offset, picture[2]
        total += (end - mark) * ((end + mark) / 2 - captured)
        found.append((said, total / (end - begin) if within else end - captured))
    return found
