"""The live view's ends: who gets in, how it is closed by whichever side, and that nothing is left behind."""

import contextlib
import gc
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from fakes import Running, until
from live_wire import BINARY, CLOSE, NO_WORD, PING, PONG, TEXT, UPGRADE, Control, Page, frame
from numbered import Numbered, number_in
from watching import heard, numbers, rising, several, streaming, viewers
from wire import Refused, Stream, ask, connect, read_all, request

from piapp.web import live, news
from piapp.web.guard import Site

pytestmark = pytest.mark.usefixtures("no_errors")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
NEVER_S = 600.0


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that beats fast."""
    monkeypatch.setattr(news, "HEARTBEAT_S", 0.05)


@contextlib.contextmanager
def held(running: Running) -> Iterator[None]:
    """piapp does nothing meanwhile; what comes in that time it finds all at once."""
    reached, go = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        go.wait(60)

    running.loop.call_soon_threadsafe(hold)
    reached.wait()
    try:
        yield
    finally:
        go.set()


def page_count(running: Running) -> int:
    return len([viewer for viewer in viewers(running) if viewer["kind"] == "page"])


# --- getting in ---


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:1"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Upgrade": "h2c"}, 426),
        ({"Upgrade": ""}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": KEY[:-1]}, 400),
    ],
)
def test_who_is_not_let_in(headers: dict[str, str], status: int) -> None:
    with streaming(Numbered()) as running:
        with pytest.raises(Refused) as caught, Page(running.port, headers={**UPGRADE, **headers}):
            pass
        answer = caught.value.args[0]
        assert answer.status == status and answer.headers["content-type"] == "application/json"
        if status == 426:
            assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")
        headers = {**UPGRADE, "Sec-WebSocket-Key": KEY, **headers, "Connection": "close"}
        plain = ask(running.port, "/api/live", headers=headers)
        assert plain.status == status and plain.sentence()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1"},
        {"Host": "piapp.lan:8080", "Origin": "http://piapp.lan:8080"},
        {"Host": "piapp.lan", "Origin": "https://PIAPP.lan"},  # behind a proxy that does TLS
        {"Upgrade": "WebSocket", "Connection": "keep-alive, upgrade"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
    ],
)
def test_who_is_let_in(headers: dict[str, str]) -> None:
    with streaming(Numbered()) as running, Page(running.port, headers={**UPGRADE, **headers}) as page:
        assert "sec-websocket-extensions" not in page.head.headers
        page.watch("camera")
        page.draw(2)


def test_other_requests_at_that_address() -> None:
    with streaming(Numbered()) as running:
        assert ask(running.port, "/api/live").status == 426  # a person, or a proxy that drops the headers
        assert ask(running.port, "/api/live", "POST", {"Content-Type": "application/json"}, b"{}").status == 405
        assert ask(running.port, "/api/live?client=%FF").status in (400, 426)


# --- places ---


def test_streams_and_pages_share_the_places() -> None:
    with streaming(Numbered(), max_viewers=2) as running, Page(running.port) as first:
        first.watch("camera")
        first.draw(1)
        with Stream(running.port) as second:
            with Page(running.port) as third:
                refused = next(third)
                assert isinstance(refused, dict) and refused.pop("type") == "refused"
                assert "2 viewers" in refused.pop("why") and not refused
                code, reason = third.ended()
                assert code == 1013 and reason
            assert ask(running.port, "/stream").status == 503
            numbers(second, 2)
        until(lambda: len(viewers(running)) == 1)
        with Page(running.port) as fourth:
            assert fourth.told("hello")
            assert ask(running.port, "/stream").status == 503  # it has a place though it watches nothing yet
            fourth.watch("camera")
            fourth.draw(2)
            first.draw(2)


def test_those_who_were_refused_hold_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "END_LIMIT_S", NEVER_S)
    with streaming(Numbered(), max_viewers=1) as running, contextlib.ExitStack() as stack:
        with Stream(running.port):
            for _ in range(3):  # they never answer that they have understood
                assert next(stack.enter_context(Page(running.port)))
        until(lambda: not viewers(running))
        with Page(running.port) as page:
            assert page.told("hello")


def test_a_page_that_connects_again_takes_the_place_of_its_old_connection() -> None:
    device = Numbered()
    with streaming(device, max_viewers=1) as running:
        with Page(running.port, "a-1") as old:
            old.watch("camera")
            old.draw(3)
            for _ in range(3):
                with Page(running.port, "a-1") as new:
                    assert old.ended() == NO_WORD
                    assert new.told("hello") and new.told("state")
                    new.watch("camera")
                    assert rising([number_in(picture.jpeg) for picture in new.draw(10)])
                    assert len(viewers(running)) == 1
                    with Page(running.port, "another") as other:
                        assert other.told("refused")
                    new.draw(2)
            until(lambda: not viewers(running))
    until(lambda: device.open == 0)


def test_pages_without_a_name_of_their_own_are_all_different() -> None:
    with streaming(Numbered()) as running, Page(running.port) as one, Page(running.port) as two:
        for page in (one, two):
            page.watch("camera")
        for _ in range(5):
            one.draw(1)
            two.draw(1)
        assert len(viewers(running)) == 2


# --- the page says something wrong ---


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


WRONG: list[tuple[int, bytes]] = [
    *(
        (1007, frame(TEXT, said))
        for said in (b"", b"nonsense", b"\xff\xfe", b"null", b"[]", b"{}", b'"ping"', nested(4000))
    ),
    *((1007, frame(TEXT, said)) for said in (b'{"type": "walk"}', b'{"type": ["ping"]}', b'{"type": "ping"}')),
    *(
        (1007, frame(TEXT, b'{"type": "ping", "echo": %s}' % echo))
        for echo in (b"null", b'"1"', b"NaN", b"1e999", b"[]")
    ),
    *(
        (1007, frame(TEXT, b'{"type": "watch", "cameras": %s}' % names))
        for names in (b"null", b'"camera"', b"[1]", b"{}")
    ),
    *((1007, frame(BINARY, bytes(length))) for length in (0, 1, 7, 9, 16, 1000)),
    (1002, frame(TEXT, b'{"type": "ping", "echo": 1}', mask=b"")),
    (1002, frame(3)),
    (1002, frame(0, b"x")),
    (1002, frame(PING, b"x", final=False)),
    (1002, frame(0x40 | TEXT, b"x")),
    (1002, frame(CLOSE, b"\x03")),
    (1002, frame(CLOSE, struct.pack(">H", 1006))),
    (1009, frame(BINARY, bytes(8193))),
    (1009, frame(BINARY, bytes(8192), final=False) + frame(0, b"x")),
    (1007, frame(TEXT, b'{"type": "ping", "echo": 1%s}' % (b"0" * 400))),
    (1007, frame(TEXT, b'{"type": "ping", "echo": -1%s}' % (b"0" * 5000))),
    (1009, struct.pack(">BBQ", 0x81, 0xFF, 1 << 40) + bytes(4)),
]


@pytest.mark.parametrize(("code", "said"), WRONG, ids=[f"{code}-{i}" for i, (code, _) in enumerate(WRONG)])
def test_what_a_page_must_not_say(code: int, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "END_LIMIT_S", NEVER_S)
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page, Page(running.port) as other:
        for each in (page, other):
            each.watch("camera")
            each.draw(1)
        page.socket.sendall(said)
        got, reason = page.ended()
        assert got == code and len(reason) > 5
        until(lambda: page_count(running) == 1)
        other.draw(2)
        if said.startswith(b"\x88"):  # that was its last word, and piapp's answer
            return
        page.send(CLOSE, struct.pack(">H", code))  # the last word belongs to the page; then the connection ends
        if code == 1007:
            assert read_all(page.socket) == b""


ACKNOWLEDGEMENT = frame(BINARY, bytes(8))


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (frame(TEXT, b"{", final=False), 1002),  # a message in another one
        (frame(TEXT, bytes(len(ACKNOWLEDGEMENT)))[:6], 1007),  # the text of a message
    ],
)
def test_what_looks_like_an_acknowledgement_but_is_none(before: bytes, code: int) -> None:
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.socket.sendall(before)
        heard(running)
        page.socket.sendall(ACKNOWLEDGEMENT)
        assert page.ended()[0] == code


def test_a_page_that_does_not_answer_the_last_word_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "END_LIMIT_S", 0.1)
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.send(TEXT, b"nonsense")
        page.send(PING, b"nobody hears it")
        page.say("watch", cameras=["camera"])
        assert page.ended()[0] == 1007
        assert read_all(page.socket) == b""
        assert not viewers(running)


def test_the_answer_to_the_last_word_may_stand_behind_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "END_LIMIT_S", NEVER_S)
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.watch("camera")
        page.draw(1)
        page.send(TEXT, b"nonsense")
        assert page.ended()[0] == 1007
        ping = frame(TEXT, b'{"type": "ping", "echo": 1}')
        page.socket.sendall(ping + frame(BINARY, bytes(8)) + frame(CLOSE, struct.pack(">H", 1007)))
        assert read_all(page.socket) == b""


def test_what_a_page_says_may_come_in_pieces() -> None:
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watch = b'{"type": "watch", "cameras": ["camera"]}'
        said = frame(TEXT, watch[:9], final=False) + frame(PING, b"between") + frame(0, watch[9:])
        for place in range(len(said)):
            page.socket.sendall(said[place : place + 1])
        while not isinstance(message := next(page), Control):
            pass
        assert message == (PONG, b"between")
        page.draw(2)


# --- pings, pongs and goodbyes ---


def test_a_ping_frame_is_answered_and_a_pong_is_not() -> None:
    with streaming(Numbered()) as running, Page(running.port) as page:
        page.watch("camera")
        for payload in (b"", b"x", bytes(125)):
            page.send(PONG, payload)
            page.send(PING, payload)
            while not isinstance(message := next(page), Control):
                pass
            assert message == (PONG, payload)


@pytest.mark.parametrize("said", [b"", struct.pack(">H", 1000), struct.pack(">H", 4000) + "tschüß".encode()])
def test_the_page_says_goodbye(said: bytes) -> None:
    device = Numbered()
    with streaming(device) as running, Page(running.port) as page:
        page.watch("camera")
        page.draw(3)
        device.gate.clear()
        heard(running)
        page.send(CLOSE, said)
        assert page.ended() == (int.from_bytes(said[:2]), "")
        assert read_all(page.socket) == b""
        until(lambda: device.open == 0)
        device.gate.set()


def test_piapp_says_goodbye() -> None:
    with contextlib.ExitStack() as stack:
        with streaming(Numbered()) as running:
            watching, quiet = (stack.enter_context(Page(running.port)) for _ in range(2))
            watching.watch("camera")
            watching.draw(3)
            assert quiet.told("hello")
        assert quiet.ended()[0] == watching.ended()[0] == 1001


# --- pages that say nothing ---


@pytest.mark.usefixtures("beats")
def test_a_page_that_says_or_draws_nothing_is_dropped(sites: list[Site]) -> None:
    with (
        streaming(Numbered(), viewer_timeout_s=1.0) as running,
        Page(running.port) as good,
        Page(running.port) as silent,
        Page(running.port) as sleeps,
    ):
        good.watch("camera")
        sleeps.watch("camera")
        [site] = sites
        ends = time.monotonic() + 30
        while len(site.places.connections) > 1:
            assert time.monotonic() < ends
            good.draw(1)  # its acknowledgements are words enough
            with contextlib.suppress(ConnectionError):
                sleeps.say("ping", echo=1)  # but words alone are not: it never draws
        assert silent.ended() == sleeps.ended() == NO_WORD
        good.watch()
        for echo in range(40):  # for longer than the limit
            good.say("ping", echo=echo)
            assert good.told("pong")["echo"] == echo
            good.told("state")


# --- pages that vanish ---


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def handshake(running: Running, size: int | None = None) -> socket.socket:
    """A connection that has asked, and not read yet."""
    sock = connect(running.port, receive_buffer=2048)
    sock.sendall(request("GET", "/api/live?client=gone", {**UPGRADE, "Sec-WebSocket-Key": KEY})[:size])
    return sock


def vanish_asking(running: Running) -> None:
    reset(handshake(running, 60))


def vanish_unanswered(running: Running) -> None:
    with held(running):
        reset(handshake(running))


def vanish_half_answered(running: Running) -> None:
    reset(handshake(running))


def vanish_greeted(running: Running) -> None:
    with Page(running.port) as page:
        page.reset()


def vanish_asking_for_pictures(running: Running) -> None:
    with Page(running.port) as page:
        page.told("controls")
        with held(running):
            page.watch("a", "b", "c")
            page.reset()


def vanish_watching(running: Running) -> None:
    with Page(running.port) as page:
        page.watch("a", "b", "c")
        page.draw(3)
        page.reset()


def vanish_in_a_picture(running: Running) -> None:
    with Page(running.port, receive_buffer=2048) as page:
        page.watch("c", "b")
        page.receive(3000)
        page.reset()


def vanish_half_closed(running: Running) -> None:
    with Page(running.port) as page:
        page.watch("b")
        page.draw(1)
        page.socket.shutdown(socket.SHUT_WR)
        read_all(page.socket)


def vanish_refused(running: Running) -> None:
    with Page(running.port) as page:
        page.send(TEXT, b"nonsense")
        assert page.ended()[0] == 1007
        page.reset()


def vanish_saying_nonsense(running: Running) -> None:
    with Page(running.port) as page:
        page.watch("a")
        page.draw(2)
        with held(running):
            page.send(TEXT, b"nonsense")
            page.reset()


def vanish_in_a_word(running: Running) -> None:
    with Page(running.port) as page:
        page.watch("a")
        page.socket.sendall(frame(TEXT, bytes(60000))[:50000])
        page.reset()


def vanish_by_a_new_one(running: Running) -> None:
    with Page(running.port, "same") as old, Page(running.port, "same") as new:
        old.reset()
        new.reset()


VANISH = [value for name, value in list(globals().items()) if name.startswith("vanish_")]


@pytest.mark.usefixtures("beats")
@pytest.mark.parametrize("vanish", VANISH, ids=[each.__name__[7:] for each in VANISH])
def test_a_page_that_vanishes_leaves_nothing_behind(vanish, sites: list[Site], caplog) -> None:  # type: ignore[no-untyped-def]
    devices = {name: Numbered() for name in "abc"}
    with several(devices) as running, Page(running.port) as stays, Stream(running.port, "/cameras/a/stream") as stream:
        stays.watch("b", "c")
        stays.draw(5)
        numbers(stream, 1)
        [site] = sites
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            vanish(running)
        until(lambda: [len(camera.watchers) for camera in site.cameras.values()] == [1, 1, 1])
        until(lambda: len(site.places.connections) == 2 and len(site.pages) == 1)
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        until(lambda: not gc.collect() and sum(isinstance(thing, live.Page) for thing in gc.get_objects()) == 1)
        assert {picture.camera for picture in stays.draw(6)} == {1, 2}
        for _ in range(3):  # the heart still beats for all
            stays.told("state")
        stays.watch()
        stream.reset()
        until(lambda: not any(device.open for device in devices.values()))
    assert "Traceback" not in caplog.text
