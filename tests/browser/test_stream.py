"""What a browser makes of a plain stream: formats and delay. And what foreign pages are kept from."""

import http.client
import statistics
from collections.abc import Iterator
from contextlib import closing

import pytest

from .conftest import Serve
from .drive import Browser, Page
from .serving import Exchange, Piapp, Recorder, foreign_server

FRAMERATE = 2
SLOW = f"""
[[camera]]
source = "pattern"
resolution = "640x360"
framerate = {FRAMERATE}
"""

ADD_IMAGE = """(url) => {
    const image = document.body.appendChild(document.createElement("img"));
    image.src = url;
}"""

# The count that the test pattern has drawn into the picture that an <img> shows; 0 for a notice and while it loads.
# Not by drawImage(): for that Firefox keeps a picture of a stream for seconds (its CanvasImageCache).
COUNT = """async (image) => {
    const side = Math.floor(image.naturalWidth / 40);
    const bitmap = side && await createImageBitmap(image, 0, side >> 1, side * 24, 1).catch(() => null);
    if (!bitmap) return 0;
    const context = new OffscreenCanvas(bitmap.width, 1).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const row = context.getImageData(0, 0, bitmap.width, 1).data;
    let count = 0;
    for (let x = side >> 1; x < bitmap.width; x += side) count = count * 2 + (row[x * 4] > 128 ? 1 : 0);
    bitmap.close();
    return count;
}"""
# For each of the addresses, all in an <img> at once: the counts seen there and when, for the first `number` of them.
WATCH = f"""(urls, number) => Promise.all(urls.map(async (url) => {{
    const image = document.body.appendChild(document.createElement("img"));
    image.src = url;
    const seen = [];
    while (seen.length < number) {{
        const count = await ({COUNT})(image);
        if (count && count !== seen.at(-1)?.[0]) seen.push([count, Date.now() / 1000]);
        await new Promise((resolve) => setTimeout(resolve, 4));
    }}
    image.remove();
    return seen;
}}))"""


@pytest.fixture
def slow(serve: Serve) -> Piapp:
    return serve(SLOW)


@pytest.fixture
def recorder(slow: Piapp) -> Iterator[Recorder]:
    with closing(Recorder(slow.port)) as recorder:
        yield recorder


# --- formats ---


def advance_headers(exchange: Exchange) -> bool:
    """Whether the answer is in the browsers' format; fails when it is in none."""
    body = exchange.body()
    if body.startswith(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8"):
        return True
    assert body.startswith(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: "), body[:200]
    return False


def test_images_and_navigation_get_the_browsers_format_and_programs_theirs(page: Page, recorder: Recorder) -> None:
    page.open(f"{recorder.url}/metrics")
    page.run(ADD_IMAGE, "/cameras/camera/stream?by=img")
    assert advance_headers(recorder.find("/cameras/camera/stream?by=img"))
    page.run(
        """async () => {
            const stop = new AbortController();
            const answer = await fetch("/cameras/camera/stream?by=fetch", {signal: stop.signal});
            await answer.body.getReader().read();
            setTimeout(() => stop.abort(), 100);
        }"""
    )
    assert not advance_headers(recorder.find("/cameras/camera/stream?by=fetch"))
    with closing(http.client.HTTPConnection(recorder.url.removeprefix("http://"), timeout=10)) as program:
        program.request("GET", "/cameras/camera/stream?by=program")
        program.getresponse().read(1000)
        assert not advance_headers(recorder.find("/cameras/camera/stream?by=program"))
    page.open(f"{recorder.url}/cameras/camera/stream", wait="none")
    assert advance_headers(recorder.find("/cameras/camera/stream"))
    page.until("() => document.images[0]?.naturalWidth === 640")


# --- delay ---


def delays(exchange: Exchange, seen: list[tuple[int, float]]) -> list[float]:
    """Seconds from each picture's last byte on the wire to its being seen, or else a later one."""
    first, last = seen[0][0], seen[-1][0]
    return [
        next(moment for count, moment in seen if count >= picture.count) - picture.sent
        for picture in exchange.pictures()
        if first <= picture.count <= last
    ]


def test_the_newest_picture_is_on_the_screen_before_the_next_one_is_sent(
    browser: Browser, page: Page, recorder: Recorder
) -> None:
    paths = ["/cameras/camera/stream", "/cameras/camera/stream?advance_headers=0"]
    page.open(f"{recorder.url}/metrics")
    default, classic = (
        statistics.median(delays(recorder.find(path), seen))
        for path, seen in zip(paths, page.run(WATCH, paths, 6), strict=True)
    )
    print(f"{browser.name}, sent to seen: {default * 1000:.0f} ms; in the classic format {classic * 1000:.0f} ms")
    assert default < 0.4 / FRAMERATE
    if browser.name == "chromium":  # a whole frame late: this is what the other format is for
        assert classic > 0.8 / FRAMERATE


# --- foreign pages ---

# What a page can get at with piapp's address `base`: everything for its own page, nothing for a foreign one.
ATTEMPTS = """async (base) => {
    const tried = async (attempt) => {
        try { return (await attempt()) || "refused"; } catch { return "refused"; }
    };
    const shown = (path) => new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = () => resolve(`${image.naturalWidth} pixels`);
        image.onerror = reject;
        image.src = base + path;
    });
    const change = {method: "PATCH", headers: {"Content-Type": "application/json"}, body: '{"on": false}'};
    const simple = {...change, method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}};
    return {
        read: await tried(async () => (await (await fetch(base + "/api/cameras")).json()).cameras[0].name),
        blind: await tried(async () => (await fetch(base + "/api/cameras", {mode: "no-cors"})).type),
        snapshot: await tried(() => shown("/cameras/camera/snapshot.jpg")),
        stream: await tried(() => shown("/cameras/camera/stream")),
        live: await tried(() => new Promise((resolve, reject) => {
            const socket = new WebSocket(base.replace("http", "ws") + "/api/live?client=foreign");
            socket.onmessage = ({data}) => { socket.close(); resolve(JSON.parse(data).type); };
            socket.onclose = reject;
        })),
        post: await tried(async () => (await fetch(base + "/api/cameras/camera", simple)).ok && "changed"),
        patch: await tried(async () => (await fetch(base + "/api/cameras/camera", change)).ok && "changed"),
    };
}"""


def test_a_foreign_page_reads_nothing_and_changes_nothing(page: Page, slow: Piapp) -> None:
    with foreign_server() as port:
        for host in ("localhost", "127.0.0.1"):
            page.open(f"http://{host}:{port}/")
            assert set(page.run(ATTEMPTS, slow.url).values()) == {"refused"}
    assert slow.api("GET", "cameras/camera")["on"] is True
    page.open(f"{slow.url}/metrics")
    assert page.run(ATTEMPTS, slow.url) == {
        "read": "camera",
        "blind": "basic",
        "snapshot": "640 pixels",
        "stream": "640 pixels",
        "live": "hello",
        "post": "refused",
        "patch": "changed",
    }
    assert slow.api("GET", "cameras/camera")["on"] is False
