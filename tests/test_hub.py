"""The hub: the order of numbers, the telling of who waits, and what happens at the end."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from piapp.frame import Frame
from piapp.hub import Hub

LIMIT_S = 20.0  # for what must happen; nothing here takes long


def put(hub: Hub, jpeg: bytes = b"jpeg", notice: str = "") -> None:
    hub.publish(jpeg, 1, 64, 48, notice)


async def next_frame(hub: Hub, number: int) -> Frame:
    async with asyncio.timeout(LIMIT_S):
        return await hub.newer_than(number)


async def settle() -> None:
    """Let the loop run all that is due: wake-ups, and the tasks that they wake."""
    for _ in range(5):
        await asyncio.sleep(0)


class Wakes:
    """Counts the loop's call_soon_threadsafe; the hub has no other way to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(callback: Callable[..., object], *args: Any) -> object:
            self.count += 1
            return wake(callback, *args)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)


def in_threads(count: int, work: Callable[[], None]) -> None:
    """Run it in several threads at once, and wait for them."""
    begin = threading.Barrier(count)

    def main() -> None:
        begin.wait()
        work()

    threads = [threading.Thread(target=main) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_frame_is_what_was_published() -> None:
    async def run() -> None:
        hub = Hub()
        assert hub.newest is None
        hub.publish(b"jpeg", 123, 640, 480)
        assert hub.newest == Frame(b"jpeg", 1, 123, 640, 480, "")
        hub.publish(b"words", 124, 320, 240, "Camera unplugged")
        assert hub.newest == Frame(b"words", 2, 124, 320, 240, "Camera unplugged")

    asyncio.run(run())


def test_numbers_rise_by_one_and_are_not_reused_after_forgetting() -> None:
    async def run() -> None:
        hub, numbers = Hub(), []
        for _ in range(5):
            put(hub)
            assert hub.newest
            numbers.append(hub.newest.number)
            hub.forget()
            assert hub.newest is None
        assert numbers == [1, 2, 3, 4, 5]

    asyncio.run(run())


def test_two_hubs_count_apart() -> None:
    async def run() -> None:
        first, second = Hub(), Hub()
        put(first)
        put(first)
        put(second)
        assert first.newest and second.newest
        assert (first.newest.number, second.newest.number) == (2, 1)

    asyncio.run(run())


def test_from_many_threads_no_number_is_lost_or_given_twice() -> None:
    """And the newest frame always is the one of the highest number so far."""
    threads, each = 8, 300

    async def run() -> None:
        hub = Hub()
        seen: list[int] = []
        hub.listeners.add(lambda frame: seen.append(frame.number))

        def work() -> None:
            before = 0
            for _ in range(each):
                put(hub)
                newest = hub.newest
                assert newest and newest.number > before  # else it went back, or this thread's own was lost
                before = newest.number

        await asyncio.to_thread(in_threads, threads, work)
        await settle()
        assert hub.newest and hub.newest.number == threads * each
        assert seen == sorted(set(seen))
        assert seen[-1] == threads * each

    asyncio.run(run())


def test_frames_that_are_not_wanted_wake_nobody() -> None:
    async def run() -> None:
        hub, asked = Hub(), list[int]()

        def wanted(frame: Frame) -> bool:
            asked.append(frame.number)
            return frame.jpeg == b"good"

        put(hub, b"bad")
        task = asyncio.create_task(hub.newer_than(0, wanted))
        await settle()
        for jpeg in (b"bad", b"bad", b"good", b"good"):
            put(hub, jpeg)
            await settle()
        assert (await task).number == 4
        assert asked == [1, 2, 3, 4]  # and not of what came after it
        assert (await hub.newer_than(4, wanted)).number == 5
        assert not hub.listeners

    asyncio.run(run())


def test_forgetting_between_threads_never_brings_an_old_number_back() -> None:
    async def run() -> None:
        hub = Hub()
        stop = threading.Event()

        def forget() -> None:
            while not stop.is_set():
                hub.forget()

        def work() -> None:
            before = 0
            for _ in range(300):
                put(hub)
                newest = hub.newest
                if newest:
                    assert newest.number > before
                    before = newest.number

        forgetting = threading.Thread(target=forget)
        forgetting.start()
        await asyncio.to_thread(in_threads, 4, work)
        stop.set()
        forgetting.join()
        put(hub)
        assert hub.newest and hub.newest.number == 4 * 300 + 1

    asyncio.run(run())


@pytest.mark.parametrize("waiting", [0, 1, 50])
def test_a_burst_wakes_the_loop_once_however_many_wait(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        hub = Hub()
        tasks = [asyncio.create_task(next_frame(hub, 0)) for _ in range(waiting)]
        await settle()
        wakes = Wakes(monkeypatch)
        for _ in range(10):
            put(hub)
        assert wakes.count == 1
        frames = await asyncio.gather(*tasks)
        assert [frame.number for frame in frames] == [10] * waiting  # newest only: nobody hears of the nine before
        await settle()
        put(hub)
        put(hub)
        assert wakes.count == 2  # the next burst wakes it again
        await settle()

    asyncio.run(run())


def test_a_burst_from_threads_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        hub, heard = Hub(), list[int]()
        hub.listeners.add(lambda frame: heard.append(frame.number))
        wakes = Wakes(monkeypatch)

        def work() -> None:
            for _ in range(50):
                put(hub)

        in_threads(4, work)  # the loop stands still meanwhile
        assert wakes.count == 1
        await settle()
        assert heard == [200]

    asyncio.run(run())


def test_newer_than_gives_the_newest_at_once_when_it_is_newer() -> None:
    async def run() -> None:
        hub = Hub()
        for _ in range(3):
            put(hub)
        for number in (0, 1, 2):
            assert (await next_frame(hub, number)).number == 3
        await settle()
        assert not hub.listeners

    asyncio.run(run())


def test_newer_than_waits_for_a_number_above() -> None:
    async def run() -> None:
        hub = Hub()
        put(hub)
        await settle()
        task = asyncio.create_task(next_frame(hub, 2))
        await settle()
        assert not task.done()
        put(hub)  # number 2: not newer
        await settle()
        assert not task.done()
        put(hub)
        assert (await task).number == 3
        assert not hub.listeners

    asyncio.run(run())


def test_a_frame_forgotten_before_the_loop_came_to_it_wakes_nobody() -> None:
    async def run() -> None:
        hub = Hub()
        task = asyncio.create_task(next_frame(hub, 0))
        await settle()
        put(hub)
        hub.forget()
        await settle()
        assert not task.done()
        put(hub)
        assert (await task).number == 2

    asyncio.run(run())


def test_a_frame_published_by_a_thread_wakes_who_waits() -> None:
    async def run() -> None:
        hub = Hub()
        task = asyncio.create_task(next_frame(hub, 0))
        await settle()
        thread = threading.Thread(target=put, args=(hub,))
        thread.start()
        assert (await task).number == 1
        thread.join()

    asyncio.run(run())


def test_cancelling_leaves_no_listener() -> None:
    async def run() -> None:
        hub = Hub()
        tasks = [asyncio.create_task(next_frame(hub, 0)) for _ in range(3)]
        await settle()
        assert len(hub.listeners) == 3
        tasks[1].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[1]
        assert len(hub.listeners) == 2
        put(hub)
        assert [(await task).number for task in (tasks[0], tasks[2])] == [1, 1]
        assert not hub.listeners

    asyncio.run(run())


def test_cancelling_while_the_wake_up_is_on_its_way() -> None:
    async def run() -> None:
        hub = Hub()
        task = asyncio.create_task(next_frame(hub, 0))
        await settle()
        put(hub)  # the wake-up is queued behind this:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await settle()
        assert not hub.listeners

    asyncio.run(run())


def test_publishing_after_the_loop_has_ended_does_not_raise() -> None:
    async def make() -> Hub:
        return Hub()

    hub = asyncio.run(make())
    for _ in range(3):
        put(hub)
    in_threads(2, lambda: put(hub))
    assert hub.newest and hub.newest.number == 5


def test_listeners_hear_the_newest_frame_in_the_loop() -> None:
    async def run() -> None:
        hub = Hub()
        heard: list[tuple[int, int]] = []
        hub.listeners.add(lambda frame: heard.append((frame.number, threading.get_ident())))
        await asyncio.to_thread(put, hub)
        await settle()
        put(hub)
        put(hub)
        await settle()
        assert heard == [(1, threading.get_ident()), (3, threading.get_ident())]

    asyncio.run(run())


def test_listeners_may_come_and_go_while_a_frame_is_told() -> None:
    async def run() -> None:
        hub = Hub()
        heard: list[str] = []

        def late(_: Frame) -> None:
            heard.append("late")

        def once(_: Frame) -> None:
            heard.append("once")
            hub.listeners.discard(once)
            hub.listeners.add(late)

        def always(_: Frame) -> None:
            heard.append("always")

        hub.listeners |= {once, always}
        put(hub)
        await settle()
        assert sorted(heard) == ["always", "once"]
        heard.clear()
        put(hub)
        await settle()
        assert sorted(heard) == ["always", "late"]

    asyncio.run(run())


def test_a_listener_may_publish() -> None:
    """It hears of its own frame in another round of the loop, not in an endless one of its own."""

    async def run() -> None:
        hub = Hub()
        heard: list[int] = []

        def listener(frame: Frame) -> None:
            heard.append(frame.number)
            if frame.number < 3:
                put(hub)

        hub.listeners.add(listener)
        put(hub)
        await settle()
        assert heard == [1, 2, 3]

    asyncio.run(run())
