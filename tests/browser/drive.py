"""Drives the system's own Chromium and Firefox, headless, over WebDriver BiDi: JSON commands and events on a WebSocket.

Both speak it with nothing in between: Firefox itself, and for Chromium its chromedriver, each at /session. The
specification is https://w3c.github.io/webdriver-bidi/.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "firefox")
PROGRAMS = {"chromium": ("chromium", "chromedriver"), "firefox": ("firefox-esr",)}

_START_LIMIT_S = 60.0
_ANSWER_LIMIT_S = 40.0
_STOP_LIMIT_S = 5.0
_CHROMIUM = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
_EVENTS = ("log.entryAdded", "network.responseStarted", "network.fetchError")
_KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "Shift": "\ue008",
    "Right": "\ue014",
    "End": "\ue010",
    "Control": "\ue009",
}

# A violation of the Content-Security-Policy is no console message by itself.
_PRELOAD = """() => addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP: ${event.violatedDirective} forbids ${event.blockedURI}`))"""

_UNTIL = """async (limit) => {
    const end = performance.now() + limit;
    for (;;) {
        const value = await (FUNCTION)(...ARGUMENTS);
        if (value) return value;
        if (performance.now() > end) throw new Error(`not within ${limit} ms`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}"""


# The middle of the element that can be clicked now; it is scrolled into sight before.
_MIDDLE = """(selector) => {
    const element = document.querySelector(selector);
    if (!element || element.disabled || !element.checkVisibility({visibilityProperty: true})) return null;
    element.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
    const {left, top, width, height} = element.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2].map(Math.round);
    const there = document.elementFromPoint(x, y);
    return there && (element.contains(there) || there.contains(element)) && [x, y];
}"""


class BrowserError(Exception):
    """The browser did not start or not answer, or a script in it failed."""


class Page:
    """A window with one tab: so it can be seen, however many others there are. JavaScript is given as the text of a
    function, which may be async; arguments and result are JSON."""

    def __init__(self, browser: "Browser") -> None:
        self.browser = browser
        self.tab: str = browser.command("browsingContext.create", type="window")["context"]

    def open(self, url: str, wait: str = "interactive") -> None:
        """`wait`: for "complete", where all must be loaded; "interactive", or "none". A stream is never complete."""
        self.browser.command("browsingContext.navigate", context=self.tab, url=url, wait=wait)

    def run(self, function: str, *arguments: object) -> Any:
        """Its result, awaited. Raises BrowserError when it throws."""
        call = f"({function})(...{json.dumps(arguments)})"
        found = self.browser.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await {call}) ?? null))()",
            target={"context": self.tab},
            awaitPromise=True,
        )
        if found["type"] == "exception":
            raise BrowserError(f"{found['exceptionDetails']['text']} in {function}, called with {arguments}")
        return json.loads(found["result"]["value"])

    def until(self, function: str, *arguments: object, limit_s: float = 15) -> Any:
        """Its result as soon as that is true; it is called every 20 ms. Raises BrowserError."""
        waiting = _UNTIL.replace("FUNCTION", function).replace("ARGUMENTS", json.dumps(arguments))
        return self.run(waiting, limit_s * 1000)

    def resize(self, width: int, height: int, ratio: float = 1) -> None:
        """The room for the page, in its pixels, each `ratio` of the screen's wide and high."""
        size = {"width": width, "height": height}
        self.browser.command("browsingContext.setViewport", context=self.tab, viewport=size, devicePixelRatio=ratio)

    def screenshot(self, file: Path) -> None:
        """What can be seen, as PNG."""
        found = self.browser.command("browsingContext.captureScreenshot", context=self.tab)
        file.write_bytes(base64.b64decode(found["data"]))

    def preload(self, function: str) -> None:
        """Run it at the beginning of every page that is opened from now on, before the page's own scripts."""
        self.browser.command("script.addPreloadScript", functionDeclaration=function, contexts=[self.tab])

    def press(self, *keys: str) -> None:
        """One after the other: a character, or a name of _KEYS; "Shift Tab" is both together."""
        actions: list[dict[str, object]] = []
        for key in keys:
            values = [_KEYS.get(name, name) for name in (key.split() if len(key) > 1 else [key])]
            actions += [{"type": "keyDown", "value": value} for value in values]
            actions += [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._perform("key", actions)

    def click(self, selector: str, times: int = 1, limit_s: float = 15) -> None:
        """With the mouse, as soon as the first such element is there and nothing lies over it."""
        x, y = self.until(_MIDDLE, selector, limit_s=limit_s)
        click: list[dict[str, object]] = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._perform("pointer", [{"type": "pointerMove", "x": x, "y": y}, *click * times])

    def drag(self, selector: str, share: float, steps: int = 10) -> None:
        """Press a slider in its middle, move to that share of its width, and let go."""
        x, y = self.until(_MIDDLE, selector)
        left, width = self.run(
            "(selector) => { const r = document.querySelector(selector).getBoundingClientRect();"
            " return [r.left, r.width]; }",
            selector,
        )
        end = left + width * share
        moves = [round(x + (end - x) * step / steps) for step in range(1, steps + 1)]
        self._perform(
            "pointer",
            [
                {"type": "pointerMove", "x": x, "y": y},
                {"type": "pointerDown", "button": 0},
                *({"type": "pointerMove", "x": place, "y": y, "duration": 20} for place in moves),
                {"type": "pointerUp", "button": 0},
            ],
        )

    def _perform(self, kind: str, actions: list[dict[str, object]]) -> None:
        what = [{"type": kind, "id": kind, "actions": actions}]
        self.browser.command("input.performActions", context=self.tab, actions=what)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Behind another tab of its window."""
        self.browser.command("browsingContext.activate", context=self.tab)
        created = self.browser.command("browsingContext.create", type="tab", referenceContext=self.tab)
        self.until("() => document.hidden")
        try:
            yield
        finally:
            self.browser.command("browsingContext.close", context=created["context"])
            self.browser.command("browsingContext.activate", context=self.tab)
            self.until("() => !document.hidden")

    def prefer(self, **features: str) -> None:
        """What the user has set in the system, as prefers_color_scheme="dark". Chromium only."""
        named = {name.replace("_", "-"): value for name, value in features.items()}
        self.browser.command("emulation.setMediaFeaturesOverride", features=named, contexts=[self.tab])

    def errors(self, but_for: str = "(?!)") -> list[str]:
        """What went wrong so far: on the console, uncaught, against the Content-Security-Policy, not loaded.

        `but_for`: a regular expression of what was meant to go wrong.
        """
        self.run("() => 0")  # what had happened before this has been told when it is answered
        found = (self._wrong(event["method"], event["params"]) for event in self.browser.events)
        return [wrong for wrong in found if wrong and not re.search(but_for, wrong)]

    def _wrong(self, method: str, told: dict[str, Any]) -> str | None:
        if method == "log.entryAdded":
            mine = told["source"].get("context") == self.tab and told["level"] == "error"
            return str(told["text"]) if mine else None
        url = told["request"]["url"]
        if told["context"] != self.tab:
            return None
        if method == "network.fetchError":  # also when the page itself gives up
            return f"{told['errorText']} for {url}"
        status = told["response"]["status"]
        return f"{status} for {url}" if status >= 400 else None

    def close(self) -> None:
        self.browser.command("browsingContext.close", context=self.tab)


class Browser:
    """One running browser with a fresh profile. Not to be shared between threads."""

    def __init__(self, name: str, folder: Path, scripts: bool = True) -> None:
        """`name` is one of NAMES; profile, log and downloads go into `folder`. `scripts`: whether pages have them."""
        self.name = name
        self.downloads = folder / "downloads"
        self._scripts = scripts
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._loop = asyncio.new_event_loop()
        self._log = folder / f"{name}.log"
        start = self._start_chromium if name == "chromium" else self._start_firefox
        try:
            where, capabilities = start(folder)
            self._socket: WebSocketClientConnection = self._loop.run_until_complete(_connect(f"ws://{where}/session"))
            self.command("session.new", capabilities=capabilities)
            self.command("session.subscribe", events=_EVENTS)
            self.command("script.addPreloadScript", functionDeclaration=_PRELOAD)
            self.downloads.mkdir()
            behavior = {"type": "allowed", "destinationFolder": str(self.downloads)}
            self.command("browser.setDownloadBehavior", downloadBehavior=behavior)
            if not scripts and name == "chromium":
                self.command("emulation.setScriptingEnabled", enabled=False, userContexts=["default"])
        except BaseException:
            self._kill()
            raise

    def _start_chromium(self, folder: Path) -> tuple[str, dict[str, Any]]:
        options = {"binary": "/usr/bin/chromium", "args": [*_CHROMIUM.split(), f"--user-data-dir={folder / 'profile'}"]}
        port = self._start("started successfully on port ([0-9]+)", "chromedriver", "--port=0", home=folder)
        return f"127.0.0.1:{port}", {"alwaysMatch": {"goog:chromeOptions": options}}

    def _start_firefox(self, folder: Path) -> tuple[str, dict[str, Any]]:
        profile = folder / "profile"
        profile.mkdir()
        if not self._scripts:
            (profile / "user.js").write_text('user_pref("javascript.enabled", false);')
        command = ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0"]
        return self._start("BiDi listening on ws://([0-9.:]+)", *command, home=folder), {}

    def _start(self, ready: str, *command: str, home: Path) -> str:
        """Run it until it says that it is ready; what stands in the group of `ready`."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(home), "TMPDIR": str(home)},
                start_new_session=True,
            )
        end = time.monotonic() + _START_LIMIT_S
        while not (found := re.search(ready, self._log.read_text(errors="replace"))):
            if self._process.poll() is not None or time.monotonic() > end:
                raise BrowserError(f"{command[0]} did not start: {self._log.read_text(errors='replace')}")
            time.sleep(0.02)
        return found[1]

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """The browser's answer. Events that come before it are kept. Raises BrowserError."""
        return self._loop.run_until_complete(self._command(method, parameters))

    async def _command(self, method: str, parameters: dict[str, object]) -> dict[str, Any]:
        self._number += 1
        await self._socket.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                while (message := await self._socket.read_message()) is not None:
                    told: dict[str, Any] = json.loads(message)
                    if told["type"] == "event":
                        self.events.append(told)
                    elif told["id"] == self._number:
                        if told["type"] == "error":
                            raise BrowserError(f"{method}: {told['message']}")
                        result: dict[str, Any] = told["result"]
                        return result
        except TimeoutError:
            raise BrowserError(f"{self.name} does not answer to {method}") from None
        raise BrowserError(f"{self.name} is gone: {self._log.read_text(errors='replace')}")

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """A new window, closed at the end."""
        page = Page(self)
        try:
            yield page
        except BaseException:
            with contextlib.suppress(BrowserError):  # the first error is the one to be told
                page.close()
            raise
        page.close()

    def close(self) -> None:
        with contextlib.suppress(BrowserError):
            self.command("browser.close")
        self._kill()

    def _kill(self) -> None:
        """Whatever is left of it: its processes are a session of their own."""
        if socket := getattr(self, "_socket", None):
            self._loop.run_until_complete(_disconnect(socket))
        self._loop.close()
        if process := getattr(self, "_process", None):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_LIMIT_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _connect(url: str) -> WebSocketClientConnection:
    return await websocket_connect(url, max_message_size=1 << 28)


async def _disconnect(socket: WebSocketClientConnection) -> None:
    socket.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_LIMIT_S):
            while await socket.read_message() is not None:
                pass
