"""So many at once, and then an even pace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piapp.rate_limit import Rate, RateLimit


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


def test_who_comes_too_early_may_wait() -> None:
    limit = RateLimit(Rate(5, 0.5), Clock())
    assert [limit.reserve() for _ in range(8)] == pytest.approx([0.0] * 5 + [0.1, 0.2, 0.3])


def test_what_would_wait_too_long_costs_nothing() -> None:
    clock = Clock()
    limit = RateLimit(Rate(1, 1.0), clock)
    assert limit.reserve() == 0.0
    assert [limit.reserve(longest_s=0.5) for _ in range(100)] == [None] * 100
    clock.now += 1
    assert limit.reserve() == 0.0


def test_it_is_unused_when_all_of_it_is_free_again() -> None:
    clock = Clock()
    limit = RateLimit(Rate(10, 10.0), clock)
    assert limit.is_unused
    limit.reserve(3)
    for _ in range(2):
        clock.now += 1
        assert not limit.is_unused
    clock.now += 1
    assert limit.is_unused


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 20)), max_size=100))
def test_no_more_is_ever_spent_than_there_was(steps: list[tuple[float, float]]) -> None:
    clock, spent = Clock(), 0.0
    limit, began = RateLimit(Rate(20, 2.0), clock), clock.now
    for pause_s, amount in steps:
        clock.now += pause_s
        if limit.reserve(amount, longest_s=0.0) is not None:
            spent += amount
        assert spent <= 20 + 10 * (clock.now - began) + 1e-4


@given(st.floats(0, 1e7), st.sampled_from([Rate(5, 1.0), Rate(3, 1.0), Rate(200, 4.0), Rate(1, 600.0)]))
def test_a_burst_is_whole_at_any_time(now: float, rate: Rate) -> None:
    limit = RateLimit(rate, lambda: now)
    assert sum(limit.allows() for _ in range(2 * int(rate.count))) == rate.count
    assert limit.wait_s > 0
