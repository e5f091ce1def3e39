"""sources/pattern.py: the test picture."""

import itertools
import time

import numpy as np
import pytest
from fakes import until
from source_case import LIMIT_S, FakeStopping, FakeTime, bgr, count_pictures, luma, running, settings, take

from piapp.config import Size
from piapp.sources import encoder, pattern
from piapp.sources import source as base
from piapp.sources.pattern import Pattern


@pytest.mark.parametrize("size", [(64, 64), (320, 240), (64, 480), (1280, 64), (1920, 1080)])
def test_pattern_has_the_size_and_the_count(size: tuple[int, int]) -> None:
    taken = take(Pattern(settings(resolution=Size(*size), quality=95)), 3)
    for count, (jpeg, _, width, height) in enumerate(taken, 1):
        assert (width, height) == size
        picture = luma(jpeg)
        assert picture.shape == (height, width)
        assert pattern.count_in(picture) == count


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(("hflip", "vflip"), [*itertools.product((False, True), repeat=2)])
def test_pattern_can_be_turned_and_turned_back(hflip: bool, vflip: bool, rotation: int) -> None:
    source = Pattern(settings(hflip=hflip, vflip=vflip, rotation=rotation, quality=90))
    for count, (jpeg, _, width, height) in enumerate(take(source, 2), 1):
        assert (width, height) == ((320, 240) if rotation in (0, 180) else (240, 320))
        picture = luma(jpeg)
        assert picture.shape == (height, width)
        straight = encoder.turn(encoder.turn(picture, False, False, -rotation % 360), hflip, vflip, 0)
        assert pattern.count_in(straight) == count
        # colours turn with the brightness: the blue bar stays left of the red one, seen the right way up
        colours = encoder.turn(encoder.turn(bgr(jpeg), False, False, -rotation % 360), hflip, vflip, 0).astype(int)
        magenta, green = colours[40, 320 * 9 // 14], colours[40, 320 * 7 // 14]
        assert magenta[1] < 120 < green[1]
        assert green[2] < 120 < magenta[2]


def test_pattern_moves() -> None:
    first, second = (luma(picture[0]).astype(int) for picture in take(Pattern(settings(framerate=10)), 2))
    assert np.abs(first - second).max() > 100


def test_pattern_counts_on_and_says_when_it_was_taken() -> None:
    begun = time.monotonic_ns()
    taken = take(Pattern(settings()), 20)
    ended = time.monotonic_ns()
    assert [pattern.count_in(luma(picture[0])) for picture in taken] == list(range(1, 21))
    stamps = [picture[1] for picture in taken]
    assert stamps == sorted(set(stamps))
    assert begun <= stamps[0]
    assert stamps[-1] <= ended


def test_pattern_takes_another_quality_at_once() -> None:
    source = Pattern(settings(quality=95, resolution=Size(640, 480)))
    taken = take(source, 6, lambda count: source.adjust({"quality": 10}) if count == 3 else None)
    sizes = [len(picture[0]) for picture in taken]
    assert max(sizes[3:]) * 2 < min(sizes[:3])


@pytest.mark.parametrize(("framerate", "work_s"), [(1, 0.0), (25, 0.0), (25, 0.03), (120, 0.001)])
def test_pattern_keeps_its_rate(framerate: int, work_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeTime(work_s)
    monkeypatch.setattr(base, "time", clock)
    source = Pattern(settings(framerate=framerate, resolution=Size(64, 64)))
    assert abs(count_pictures(source, clock, 4.0) - 4 * framerate) <= 1


def test_pattern_skips_what_it_has_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is too slow gives fewer pictures; after a pause there is no burst of late ones."""
    clock = FakeTime(work_s=0.1)
    monkeypatch.setattr(base, "time", clock)
    source = Pattern(settings(framerate=100, resolution=Size(64, 64)))
    assert abs(count_pictures(source, clock, 4.0) - 40) <= 1

    times: list[float] = []

    def publish(jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        times.append(clock.now)
        if len(times) == 5:
            clock.now += 10  # the machine was asleep

    clock = FakeTime()
    monkeypatch.setattr(base, "time", clock)
    source.run(publish, FakeStopping(clock, clock.now + 10.5))
    after = [moment for moment in times[5:] if moment < times[4] + 10 + 0.0001]
    assert len(after) <= 2


def test_pattern_stops_though_the_next_picture_is_far() -> None:
    with running(Pattern(settings(framerate=1))) as (taken, stopping, thread):
        until(lambda: taken)
        stopping.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_pattern_is_always_there() -> None:
    source = Pattern(settings())
    source.check()
    assert (source.kind, source.negotiated, source.encoder) == ("pattern", "320x240 drawn at 120 fps", "simplejpeg")
