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


class BrowserError(Exception):
    """The browser did not start or not answer, or a script in it failed."""


class Page:
    """A tab. JavaScript is given as the text of a function, which may be async; arguments and result are JSON."""

    def __init__(self, browser: "Browser") -> None:
        self._browser = browser
        self._tab = browser.command("browsingContext.create", type="tab")["context"]

    def open(self, url: str, wait: str = "interactive") -> None:
        """`wait`: for "complete", where all must be loaded; "interactive", or "none". A stream is never complete."""
        self._browser.command("browsingContext.navigate", context=self._tab, url=url, wait=wait)

    def run(self, function: str, *arguments: object) -> Any:
        """Its result, awaited. Raises BrowserError when it throws."""
        call = f"({function})(...{json.dumps(arguments)})"
        found = self._browser.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await {call}) ?? null))()",
            target={"context": self._tab},
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
        self._browser.command("browsingContext.setViewport", context=self._tab, viewport=size, devicePixelRatio=ratio)

    def screenshot(self, file: Path) -> None:
        """What can be seen, as PNG."""
        found = self._browser.command("browsingContext.captureScreenshot", context=self._tab)
        file.write_bytes(base64.b64decode(found["data"]))

    def errors(self) -> list[str]:
        """What went wrong so far: on the console, uncaught, against the Content-Security-Policy, not loaded."""
        self.run("() => 0")  # what had happened before this has been told when it is answered
        return [wrong for event in self._browser.events if (wrong := self._wrong(event["method"], event["params"]))]

    def _wrong(self, method: str, told: dict[str, Any]) -> str | None:
        if method == "log.entryAdded":
            mine = told["source"].get("context") == self._tab and told["level"] == "error"
            return str(told["text"]) if mine else None
        url = told["request"]["url"]
        if told["context"] != self._tab:
            return None
        if method == "network.fetchError":  # also when the page itself gives up
            return f"{told['errorText']} for {url}"
        status = told["response"]["status"]
        return f"{status} for {url}" if status >= 400 else None

    def close(self) -> None:
        self._browser.command("browsingContext.close", context=self._tab)


class Browser:
    """One running browser with a fresh profile. Not to be shared between threads."""

    def __init__(self, name: str, folder: Path) -> None:
        """`name` is one of NAMES; the profile and the log go into `folder`."""
        self.name = name
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
        """A new tab, closed at the end."""
        page = Page(self)
        try:
            yield page
        finally:
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
