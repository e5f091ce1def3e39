"""Rate limits per address, and file descriptors."""

import resource
from collections.abc import Iterator

import pytest
from fakes import until

from piapp.rate_limit import Rate
from piapp.web.limits import LIMITS, Shares, closing, fit, share_of


def test_each_address_has_its_own_and_all_share_one() -> None:
    shares = Shares(Rate(2, 1000.0), Rate(3, 1000.0))

    def spend(share: str) -> bool:
        return all(budget.allows() for budget in shares.budgets(share))

    assert [spend("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert [spend("10.0.0.2"), spend("10.0.0.2"), spend("10.0.0.3"), spend("")] == [True, False, False, False]


def test_unused_shares_are_forgotten() -> None:
    shares = Shares(Rate(1, 0.01), Rate(9, 1.0))
    own, _ = shares.budgets("10.0.0.1")
    assert own.allows()
    shares.sweep()
    kept = shares.budgets("10.0.0.1")[0] is own
    until(lambda: own.is_unused)
    shares.sweep()
    assert shares.budgets("10.0.0.1")[0] is not own
    assert kept or own.is_unused  # a busy box may take longer for one line than that


@pytest.mark.parametrize(
    ("address", "own", "share"),
    [
        ("192.168.1.20", "192.168.1.9", "192.168.1.20"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:9::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:9::1", "2001:db8:1:2::/64"),  # the same host, as far as can be known
        ("2001:db8:1:2::9", "2001:db8:1:2::1", "2001:db8:1:2::9"),  # in the local network
        ("fe80::1%eth0", "fe80::2%eth0", "fe80::1%eth0"),
        *((address, address, "") for address in ("127.0.0.1", "127.9.9.9", "::1", "", "nonsense")),
    ],
)
def test_the_share_of_an_address(address: str, own: str, share: str) -> None:
    assert share_of(address, own) == share


@pytest.fixture
def files() -> Iterator[None]:
    """Whatever is done to the limit of open files is undone."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("files")
def test_the_limit_on_files_is_raised_as_far_as_needed() -> None:
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
    assert viewers + waiting + closing(waiting) + in_use <= max(most, in_use + 2)
