"""sources/rate_limit.py: so many at once, and then an even pace."""

import pytest

from piapp.sources.rate_limit import Rate, RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def times(limit: RateLimit, clock: Clock, seconds: float, step_s: float = 0.125) -> int:
    """How often it is allowed to who tries again and again."""
    count, end = 0, clock.now + seconds
    while clock.now < end:
        count += limit.allows()
        clock.now += step_s
    return count


def test_so_many_at_once_and_then_an_even_pace() -> None:
    clock = Clock()
    limit = RateLimit(Rate(4, 8.0), clock)
    assert [limit.allows() for _ in range(6)] == [True] * 4 + [False] * 2
    assert limit.wait_s == 2.0
    clock.now += 1.5
    assert not limit.allows() and limit.wait_s == 0.5
    clock.now += limit.wait_s
    assert limit.wait_s == 0
    assert [limit.allows() for _ in range(2)] == [True, False]
    assert times(limit, clock, 801) == 400


def test_what_is_not_used_is_saved_but_never_more_than_so_many_at_once() -> None:
    clock = Clock()
    limit = RateLimit(Rate(3, 3.0), clock)
    for pause_s in (0, 3, 1000):
        clock.now += pause_s
        assert [limit.allows() for _ in range(5)] == [True] * 3 + [False] * 2


def test_asking_how_long_costs_nothing() -> None:
    clock = Clock()
    limit = RateLimit(Rate(1, 5.0), clock)
    assert {limit.wait_s for _ in range(10)} == {0}
    assert limit.allows()
    assert {limit.wait_s for _ in range(10)} == {5.0}


@pytest.mark.parametrize("count", [1, 7])
def test_without_a_limit(count: int) -> None:
    limit = RateLimit(Rate(count, 0.0), Clock())
    assert all(limit.allows() and limit.wait_s == 0 for _ in range(1000))
