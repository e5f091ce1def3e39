"""The last faults with their times, as the API tells them."""

import json
from typing import Any

import pytest
from fakes import FakeDevice, unplugged

from piapp import faults as module
from piapp.camera import State
from piapp.errors import SourceError
from piapp.faults import Faults

from .case import JPEGS, Watcher, in_loop, opened, started, state


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def shown(faults: Faults) -> list[tuple[Any, ...]]:
    return [tuple(fault.values()) for fault in faults.recent()]


def test_an_outage_is_one_of_them_with_its_first_words(clock: Clock) -> None:
    faults = Faults("door")
    assert faults.recent() == []
    faults.add(unplugged(), was_running=True)
    clock.now += 10
    faults.add(SourceError("Camera not found", "plug it in"), was_running=False)
    clock.now += 5.25
    assert faults.recent() == [{"what": "Camera unplugged", "hint": "check the cable", "ago_s": 15.2, "lasted_s": None}]
    faults.end()
    clock.now += 4.75
    assert shown(faults) == [("Camera unplugged", "check the cable", 20.0, 15.2)]
    assert (faults.count, faults.current) == (2, None)
    faults.end()  # and all is well, still
    assert len(faults.recent()) == 1


def test_the_newest_is_first_and_ten_are_kept(clock: Clock) -> None:
    faults = Faults("door")
    for number in range(15):
        faults.add(SourceError(f"Fault {number}", "mend it"), was_running=True)
        clock.now += 1
        faults.end()
        clock.now += 1
    assert [fault["what"] for fault in faults.recent()] == [f"Fault {number}" for number in range(14, 4, -1)]
    faults.add(unplugged(), was_running=True)
    assert len(faults.recent()) == 10
    assert (shown(faults)[0][0], shown(faults)[0][3], shown(faults)[-1][0]) == ("Camera unplugged", None, "Fault 6")


def test_the_time_in_which_nobody_tried_does_not_count(clock: Clock) -> None:
    faults = Faults("door")
    faults.leave()  # nothing was wrong then
    faults.add(unplugged(), was_running=True)
    clock.now += 7
    faults.leave()
    clock.now += 1
    faults.leave()
    assert shown(faults)[0][3] is None
    clock.now += 8 * 3600
    faults.end()
    assert shown(faults)[0][2:] == (8 * 3600 + 8.0, 7.0)


def test_an_outage_that_goes_on_after_a_night_lasted_all_the_time(clock: Clock) -> None:
    faults = Faults("door")
    faults.add(unplugged(), was_running=True)
    faults.leave()
    clock.now += 3600
    faults.add(unplugged(), was_running=False)
    clock.now += 60
    faults.end()
    assert shown(faults)[0][3] == 3660.0


@in_loop
async def test_of_a_camera() -> None:
    device = FakeDevice(JPEGS)
    async with started(device) as camera:
        with camera.watching(Watcher()):
            await state(camera, State.RUNNING)
            assert camera.describe()["recent_faults"] == []
            device.fault = unplugged()
            await opened(device, 4)
            [fault] = camera.describe()["recent_faults"]
            assert (fault["what"], fault["hint"], fault["lasted_s"]) == ("Camera unplugged", "check the cable", None)
            device.fault = None
            await state(camera, State.RUNNING)
            device.fault = SourceError("Camera is busy", "close the other program")
            await state(camera, State.FAILED)
            newest, oldest = json.loads(json.dumps(camera.describe()["recent_faults"]))
            assert (newest["what"], newest["lasted_s"]) == ("Camera is busy", None)
            assert oldest["what"] == "Camera unplugged" and 0 <= oldest["lasted_s"] <= oldest["ago_s"]
