"""Budgets, shares and places."""

import resource
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piapp.web.limits import LIMITS, Budget, Limits, Rate, Requests, fit, share_of


def test_a_burst_then_the_rate() -> None:
    budget = Budget(Rate(per_s=10, burst=5))
    waits = [budget.spend(100.0) for _ in range(8)]
    assert waits[:5] == [0.0] * 5
    assert waits[5:] == pytest.approx([0.1, 0.2, 0.3])
    assert budget.spend(101.0) == 0.0  # it has had a second to recover
    assert [budget.spend(1000.0) for _ in range(6)] == pytest.approx([0.0] * 5 + [0.1])  # but is never more than whole


def test_what_would_wait_too_long_costs_nothing() -> None:
    budget = Budget(Rate(per_s=1, burst=1))
    assert budget.spend(0.0) == 0.0
    assert [budget.spend(0.0, longest_s=0.5) for _ in range(100)] == [None] * 100
    assert budget.spend(1.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 20)), max_size=100))
def test_no_more_is_ever_spent_than_burst_and_rate_allow(steps: list[tuple[float, float]]) -> None:
    budget, now, spent = Budget(Rate(per_s=10, burst=20)), 0.0, 0.0
    for pause_s, amount in steps:
        now += pause_s
        if budget.spend(now, amount, longest_s=0.0) == 0.0:
            spent += amount
        assert spent <= 20 + 10 * now + 1e-6


def test_each_address_has_its_own_and_all_share_one() -> None:
    requests = Requests(Limits(requests_of_one=Rate(1, 2), requests=Rate(1, 3)))

    def spend(share: str) -> bool:
        return all(budget.spend(0.0, longest_s=0.0) == 0.0 for budget in requests.budgets(share))

    assert [spend("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert [spend("10.0.0.2"), spend("10.0.0.2"), spend("10.0.0.3"), spend("")] == [True, False, False, False]


def test_an_address_that_asks_for_nothing_more_is_forgotten() -> None:
    requests = Requests(LIMITS)
    own, _ = requests.budgets("10.0.0.1")
    own.spend(100.0)
    requests.sweep(100.0)
    assert requests.budgets("10.0.0.1")[0] is own
    requests.sweep(101.0)
    assert requests.budgets("10.0.0.1")[0] is not own


@pytest.mark.parametrize(
    ("address", "share"),
    [
        ("192.168.1.20", "192.168.1.20"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),  # the same host, for all that can be known
        ("fe80::1%eth0", "fe80::/64"),
        *((address, "") for address in ("127.0.0.1", "127.9.9.9", "::1", "", "nonsense")),
    ],
)
def test_whose_share_an_address_counts_for(address: str, share: str) -> None:
    assert share_of(address) == share


@pytest.fixture
def files() -> Iterator[None]:
    """Whatever is done to the limit of open files is undone."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("files")
def test_as_many_files_as_are_needed_are_asked_for() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    assert fit(500, LIMITS, in_use=20) == (500, LIMITS.waiting)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 580 < soft < 700


@pytest.mark.parametrize(("most", "in_use"), [(64, 20), (256, 30), (20, 30)])
def test_where_there_are_too_few_files_there_are_fewer_places(
    most: int, in_use: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (most, most))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    viewers, waiting = fit(500, LIMITS, in_use)
    assert viewers >= 1 and 1 <= waiting <= LIMITS.waiting
    assert viewers + waiting + in_use <= max(most, in_use + 2)
