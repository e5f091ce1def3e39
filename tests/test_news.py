"""What is told to whom, and when."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes import FakeDevice, pattern_jpegs
from live_wire import Messages

from piapp import tasks
from piapp.camera import Camera, State
from piapp.config import CameraConfig
from piapp.web import news
from piapp.web.news import News

NEVER_S = 1e6


class Page:
    """A reader that keeps what it is told."""

    def __init__(self) -> None:
        self.messages = list[tuple[str, bytes]]()
        self.sweeps = 0
        self.renewed = 0
        self.told = asyncio.Event()
        self.on_tell: Callable[[], object] = lambda: None

    def tell(self, kind: str, message: bytes) -> None:
        self.messages.append((kind, message))
        self.told.set()
        self.on_tell()

    def sweep(self) -> None:
        self.sweeps += 1
        self.told.set()

    def renew(self) -> None:
        self.renewed += 1

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.messages]

    def newest(self, kind: str) -> dict[str, Any]:
        parser = Messages()
        parser.rest += next(message for known, message in reversed(self.messages) if known == kind)
        message = parser.take()
        assert isinstance(message, dict) and not parser.rest
        assert message["type"] == kind.split()[0]
        json.dumps(message, allow_nan=False)
        return message

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await tasks.event(self.told, None)


def watcher() -> Any:
    return object()


def run(test: Callable[[list[Camera], FakeDevice], Awaitable[None]], *names: str) -> None:
    """With cameras that have these names and share a device."""

    async def body() -> None:
        device = FakeDevice(pattern_jpegs(2))
        cameras = [Camera(CameraConfig(name=name, idle_stop_s=0), lambda: device()) for name in names or ("one",)]
        for camera in cameras:
            camera.start()
        try:
            await test(cameras, device)
        finally:
            for camera in cameras:
                await camera.stop()

    asyncio.run(body())


async def settled() -> None:
    """What was to be told at once is told."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    assert news.HEARTBEAT_S == 1.0
    monkeypatch.setattr(news, "HEARTBEAT_S", NEVER_S)


def test_who_joins_is_told_everything_at_once() -> None:
    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        told, page = News(cameras, "Mend it."), Page()
        told.join(page)
        assert page.kinds() == ["state", "controls one", "controls two"]
        state = page.newest("state")
        assert state["problem"] == "Mend it."
        assert [(camera["id"], camera["name"]) for camera in state["cameras"]] == [(0, "one"), (1, "two")]
        wanted = {"id": 0} | cameras[0].summary()
        assert {**state["cameras"][0], "since_s": 0} == {**wanted, "since_s": 0}
        assert state["cameras"][0]["since_s"] <= wanted["since_s"]
        assert page.newest("controls two") == {"type": "controls", "camera": "two", "controls": []}
        told.leave(page)

    run(test, "one", "two")


def test_it_listens_only_while_there_are_readers() -> None:
    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        told, pages = News(cameras, ""), [Page(), Page()]
        for _ in range(2):
            assert not cameras[0].listeners and not cameras[1].listeners
            for page in pages:
                told.join(page)
            assert len(cameras[0].listeners) == len(cameras[1].listeners) == 1
            told.leave(pages[0])
            assert len(cameras[0].listeners) == 1
            cameras[0].switch(not cameras[0].on)
            told.leave(pages[1])
            count = len(pages[1].messages)
            await settled()
            assert len(pages[1].messages) == count  # nothing after it has left
            told.leave(pages[1])  # harmless
        assert not cameras[0].listeners and not cameras[1].listeners

    run(test, "one", "two")


def test_changes_that_come_together_are_told_together() -> None:
    """And each message is made once."""

    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        told, pages = News(cameras, ""), [Page(), Page()]
        for page in pages:
            told.join(page)
        await settled()
        for page in pages:
            page.messages.clear()
        for on in (False, True, False):
            cameras[0].switch(on)
            cameras[1].switch(on)
        assert not pages[0].messages  # a camera that changes is not kept up by its listeners
        await settled()
        assert cameras[0].state is State.OFF
        first, second = pages[0].messages, pages[1].messages
        assert 1 <= len(first) <= 4 and set(pages[0].kinds()) == {"state"}
        assert [camera["on"] for camera in pages[0].newest("state")["cameras"]] == [False, False]
        assert [camera["state"] for camera in pages[0].newest("state")["cameras"]] == ["off", "off"]
        assert all(a is b for (_, a), (_, b) in zip(first, second, strict=True))
        for page in pages:
            told.leave(page)

    run(test, "one", "two")


def test_controls_are_told_when_they_have_changed_and_not_otherwise() -> None:
    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        told, page = News(cameras, ""), Page()
        told.join(page)
        with cameras[0].watching(watcher()):
            await page.until(lambda: page.newest("controls one")["controls"])
            assert page.newest("controls one")["controls"] == [each.describe() for each in cameras[0].controls]
            cameras[0].set_controls({"brightness": 140, "exposure": "manual"})

            def now() -> dict[str, Any]:
                return {each["name"]: each for each in page.newest("controls one")["controls"]}

            await page.until(lambda: now()["brightness"]["value"] == 140 and now()["exposure_time"]["active"])
            await page.until(lambda: page.newest("state")["cameras"][0]["state"] == "running")
            told_of_controls = page.kinds().count("controls one")
            for _ in range(3):
                cameras[0].switch(not cameras[0].on)
                await settled()
            assert page.kinds().count("controls one") == told_of_controls
        told.leave(page)

    run(test)


def test_controls_that_change_while_nobody_reads_are_told_to_who_comes_next() -> None:
    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        told, page = News(cameras, ""), Page()
        told.join(page)
        told.leave(page)
        changed = asyncio.Event()
        cameras[0].listeners.add(changed.set)
        with cameras[0].watching(watcher()):
            async with asyncio.timeout(20):
                while not cameras[0].controls:
                    await tasks.event(changed, None)
        page.messages.clear()
        told.join(page)
        assert page.newest("controls one")["controls"]
        told.leave(page)

    run(test)


def test_cameras_come_and_go() -> None:
    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        one, two, three = cameras
        told, pages = News([one, two], ""), [Page(), Page()]

        def ids() -> dict[str, int]:
            return {camera["name"]: camera["id"] for camera in pages[0].newest("state")["cameras"]}

        for page in pages:
            told.join(page)
            page.messages.clear()
        told.change([three, two], "")
        assert pages[0].kinds() == pages[1].kinds() == ["state", "controls three"]
        assert ids() == told.ids == {"three": 2, "two": 1} and list(ids()) == ["three", "two"]
        assert not one.listeners and len(two.listeners) == len(three.listeners) == 1
        assert [page.renewed for page in pages] == [1, 1]
        told.change([three, two], "Mend it.")
        assert pages[0].newest("state")["problem"] == "Mend it."
        assert [page.renewed for page in pages] == [1, 1]  # the cameras are the same
        told.change([], "")
        assert ids() == {} and not two.listeners and not three.listeners
        for page in pages:
            told.leave(page)
        told.change([one], "")  # nobody hears it
        assert not one.listeners
        told.join(pages[0])
        assert ids() == {"one": 3} and len(one.listeners) == 1  # no number comes twice
        told.leave(pages[0])

    run(test, "one", "two", "three")


def test_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "HEARTBEAT_S", 0.02)

    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        cameras[0].switch(False)
        told, page = News(cameras, ""), Page()
        for _ in range(2):  # it begins again with the next reader
            told.join(page)
            page.messages.clear()
            await settled()
            times = list[float]()
            for _ in range(5):
                count = len(page.messages)
                await page.until(lambda count=count: len(page.messages) > count)  # type: ignore[misc]
                times.append(page.newest("state")["now_ms"])
            assert times == sorted(times) and len(set(times)) == len(times)
            await page.until(lambda: page.sweeps >= 5)
            told.leave(page)
            page.messages.clear()
            page.sweeps = 0
            asked = list[None]()
            with monkeypatch.context() as patched:
                patched.setattr(cameras[0], "summary", lambda asked=asked: asked.append(None) or {})
                await asyncio.sleep(0.1)
            assert not page.messages and not page.sweeps and not asked  # it does not beat for nobody

    run(test)


def test_a_reader_may_leave_while_it_is_told() -> None:
    async def test(cameras: list[Camera], device: FakeDevice) -> None:
        told, pages = News(cameras, ""), [Page(), Page(), Page()]
        for page in pages:
            told.join(page)
        pages[0].on_tell = lambda: told.leave(pages[0])
        pages[1].on_tell = lambda: list(map(told.leave, pages[1:]))
        cameras[0].switch(False)
        await settled()
        assert not cameras[0].listeners
        last = Page()
        last.on_tell = lambda: told.leave(last)  # as one whose connection turns out to be gone
        told.join(last)
        assert not cameras[0].listeners

    run(test)
