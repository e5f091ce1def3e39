"""Which viewer is evicted when all places are taken."""

from typing import cast

import pytest
from fakes import until
from live_wire import Page
from numbered import Numbered
from watching import streaming
from wire import Refused, Stream, ask

from piapp.web.connection import Connection
from piapp.web.limits import LIMITS, Limits, share_of
from piapp.web.places import Places


class Guest:
    """A connection that watches, or does not."""

    def __init__(self, address: str, opened: float = 0.0, pace_s: float = 0.1, has_place: bool = True) -> None:
        self.share = share_of(address, "2001:db8:ffff::1")
        self.opened, self.has_place = opened, has_place
        self._pace_s = pace_s
        self.gone = False

    def pace_s(self) -> float:
        return self._pace_s

    def give_up_place(self) -> None:
        self.gone, self.has_place = True, False


def full(guests: list[Guest], newcomer: str, limits: Limits = LIMITS) -> bool:
    places = Places(len(guests), limits)
    places.connections |= {cast(Connection, guest) for guest in guests}
    return not places.make_room(Guest(newcomer).share)


def test_nothing_is_evicted_while_there_are_places() -> None:
    guests = [*(Guest("10.0.0.1", pace_s=100) for _ in range(9)), Guest("10.0.0.1", has_place=False)]
    assert not full(guests, "10.0.0.1")
    assert not any(guest.gone for guest in guests)


def test_the_slowest_viewer_is_evicted_first() -> None:
    guests = [Guest("10.0.0.1"), Guest("10.0.0.2", pace_s=11), Guest("10.0.0.3", pace_s=60), Guest("10.0.0.1")]
    assert not full(guests, "10.0.0.4")
    assert [guest.gone for guest in guests] == [False, False, True, False]


def test_a_slow_link_is_no_reason_to_evict() -> None:
    assert full([Guest("10.0.0.1", pace_s=9), Guest("10.0.0.2", pace_s=9)], "10.0.0.3")


def test_no_address_can_hold_all_places() -> None:
    guests = [Guest("10.0.0.1", opened=i) for i in range(4)]
    assert not full(guests, "10.0.0.2")
    assert [guest.gone for guest in guests] == [False, False, False, True]  # the newest of them


def test_no_address_is_evicted_below_its_share() -> None:
    assert full([Guest("10.0.0.1"), Guest("10.0.0.2")], "10.0.0.3")
    assert full([Guest("10.0.0.1"), Guest("10.0.0.1"), Guest("10.0.0.2")], "10.0.0.2")  # it would be the same again
    assert full([Guest("10.0.0.1") for _ in range(5)], "10.0.0.1")


def test_a_host_has_one_share_whatever_its_addresses() -> None:
    guests = [*(Guest(f"2001:db8::{i}", opened=i) for i in range(1, 4)), Guest("10.0.0.1"), Guest("10.0.0.2")]
    assert full(guests, "2001:db8::99")
    assert not full(guests, "10.0.0.3")
    assert guests[2].gone


def test_clients_of_a_local_proxy_have_no_share() -> None:
    guests = [Guest("127.0.0.1") for _ in range(5)]
    assert full(guests, "127.0.0.1") and full(guests, "10.0.0.1")


def test_streams_that_want_hardly_any_pictures_make_room() -> None:
    with streaming(Numbered(), max_viewers=2) as running:
        with Stream(running.port, "/stream?fps=0.01"), Stream(running.port, "/stream?fps=0.05"):
            with Stream(running.port) as one, Stream(running.port) as two:
                one.take(3)
                two.take(3)
                with pytest.raises(Refused) as caught, Stream(running.port):
                    pass
    assert caught.value.args[0].status == 503


def test_a_page_that_looks_away_makes_room() -> None:
    with streaming(Numbered(), Limits(least_pace_s=0.2), max_viewers=1) as running, Page(running.port) as page:
        assert page.told("hello")["max_viewers"] == 1
        with pytest.raises(Refused), Stream(running.port):
            pass
        page.watch("camera")
        page.draw(3)
        page.watch()
        until(lambda: _watches(running.port))
        assert "is reached" in page.told("refused")["why"]


def _watches(port: int) -> bool:
    try:
        with Stream(port) as viewer:
            return bool(viewer.take(2))
    except Refused:
        ask(port, "/health")
        return False
