"""The live view's WebSocket, misused: it closes with a code, or nothing happens, and the next page works as ever.

The bytes of a WebSocket are no business of Tornado's: one of its versions will do.
"""

import contextlib
import json
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from fakes import until
from live_wire import BINARY, CLOSE, PING, PONG, TEXT, Closed, Control, Page, frame
from wire import Refused, Stream

from .raw import ANSWERS_S, get, talk_all
from .target import Target, oldest

pytestmark = pytest.mark.parametrize("target", [oldest()], indirect=True, scope="module")

MASK = b"\x37\xfa\x21\x3d"
BROKEN, NOT_UNDERSTOOD, TOO_BIG, OPEN = 1002, 1007, 1009, 0
AT_ONCE = 8
GROWTH = 24 << 20  # bytes of memory that the allocator may keep
UPGRADE = {"Connection": "Upgrade, close", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
KEY = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Wrong(NamedTuple):
    """What a page sends, and how that ends."""

    name: str
    data: bytes
    codes: tuple[int, ...]


def length(opcode: int, marker: int, size: bytes, payload: bytes = b"") -> bytes:
    """A frame whose length is written as one likes."""
    return bytes((0x80 | opcode, 0x80 | marker)) + size + MASK + payload


FRAMES = [
    *(Wrong(f"bits {bits:x}", frame(TEXT | bits, b"x"), (BROKEN,)) for bits in range(0x10, 0x80, 0x10)),
    *(Wrong(f"opcode {each}", frame(each, b"x"), (BROKEN,)) for each in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    *(Wrong(f"opcode {each}, in parts", frame(each, final=False), (BROKEN,)) for each in (3, 7, 8, 9, 10, 11, 15)),
    *(
        Wrong(f"no mask, {each}", frame(each, b"xx", mask=b""), (BROKEN,))
        for each in (0, TEXT, BINARY, CLOSE, PING, PONG)
    ),
    *(Wrong(f"control frame {each} of 126", frame(each, bytes(126)), (BROKEN,)) for each in (CLOSE, PING, PONG)),
    *(Wrong(f"control frame {each} of 64k", frame(each, bytes(65536)), (BROKEN,)) for each in (CLOSE, PING, PONG)),
    *(
        Wrong(f"control frame {each} of 2^62", length(each, 127, struct.pack(">Q", 1 << 62)), (BROKEN,))
        for each in (8, 9, 10)
    ),
    *(
        Wrong(f"a text of {size}", length(TEXT, 127, struct.pack(">Q", size)), (TOO_BIG,))
        for size in (1 << 17, 1 << 31, 1 << 62)
    ),
    *(
        Wrong(f"a picture of {size}", length(BINARY, 127, struct.pack(">Q", size)), (TOO_BIG,))
        for size in (1 << 20, 1 << 40)
    ),
    Wrong("a length of 64 bits", length(TEXT, 127, b"\xff" * 8), (BROKEN, TOO_BIG)),
    Wrong("a text of 2^63", length(TEXT, 127, struct.pack(">Q", 1 << 63)), (BROKEN, TOO_BIG)),
    Wrong("a text of 100 kB", frame(TEXT, bytes(100_000)), (TOO_BIG,)),
    Wrong("100 kB in parts", (frame(TEXT, bytes(60_000), final=False) + frame(0, bytes(60_000))), (TOO_BIG,)),
    Wrong("a continuation of nothing", frame(0, b"x"), (BROKEN,)),
    Wrong("a text within a text", frame(TEXT, b"x", final=False) + frame(TEXT, b"y"), (BROKEN,)),
    Wrong("a picture within a text", frame(TEXT, b"x", final=False) + frame(BINARY, b"y"), (BROKEN,)),
    *(
        Wrong(f"close {code}", frame(CLOSE, struct.pack(">H", code)), (BROKEN,))
        for code in (0, 999, 1005, 1006, 1015, 65535)
    ),
    Wrong("half a close code", frame(CLOSE, b"\x03"), (BROKEN,)),
    Wrong("a close without a code", frame(CLOSE), (OPEN, 1000, 1005)),
    Wrong("a reason that is no UTF-8", frame(CLOSE, b"\x03\xe8\xff\xfe"), (NOT_UNDERSTOOD,)),
    Wrong("HTTP", get(), (BROKEN,)),
    Wrong("TLS", bytes.fromhex("16030100c8010000c40303"), (BROKEN,)),
    Wrong("noise", random.Random(7).randbytes(500), (BROKEN, TOO_BIG, NOT_UNDERSTOOD)),
]
ACKNOWLEDGEMENTS = [bytes(size) for size in (0, 1, 7, 9, 16, 125)]
TEXTS: list[bytes] = [
    b'{"type":"ping","echo":1' + b"0" * 400 + b"}",
    *(
        b'{"type":"ping","echo":%s}' % echo
        for echo in (b"1e999", b"-1e999", b"NaN", b"Infinity", b"-Infinity", b"1" * 5000)
    ),
    *(
        b'{"type":"ping","echo":%s}' % echo
        for echo in (b'"1"', b"null", b"[1]", b"{}", b"01", b"+1", b"1.", b"0x1", b"1_0")
    ),
    *(
        b'{"type":"watch","cameras":%s}' % each
        for each in (b'"camera"', b"null", b"{}", b"[1]", b'["camera",null]', b"[[]]")
    ),
    *(
        b"",
        b" ",
        b"{}",
        b"[]",
        b"null",
        b"true",
        b"1",
        b'""',
        b"{",
        b"}",
        b'{"type"',
        b'{"type":1}',
        b'{"type":"hello"}',
        b"\0",
    ),
    *(
        b'{"type":["ping"],"echo":1}',
        b'{"type":"ping"}',
        b'{"type":"watch"}',
        b'{"type":"ping","echo":1}x',
        b"\xef\xbb\xbf{}",
    ),
    *(
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b'{"type":"ping","echo":1,"\xff":1}',
        b"\xfe\xff\0{\0}",
        b"\xf8\x88\x80\x80\x80",
    ),
    *(
        b"[" * 5000,
        b'{"a":' * 1000,
        b"[" * 2000 + b"]" * 2000,
        b'{"type":"watch","cameras":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ),
]
HARMLESS: list[bytes] = [
    *(b'{"type":"ping","echo":%s}' % echo for echo in (b"0", b"-0.0", b"1e15", b"-1.5", b"1e-400")),
    b'{"type":"ping","echo":1,"echo":2,"more":[1,2,{}]}',
    b'{"type":"watch","cameras":[]}',
    b'{"type":"watch","cameras":["\\ud800","\\udfff\\ud800","","\\u0000","<script>","../camera","camera "]}',
    json.dumps({"type": "watch", "cameras": ["camera"] * 500}).encode(),
]
MAY_BE_EITHER: list[bytes] = [
    b'{"type":"ping","echo":1e308}',
    b'{"type":"ping","echo":9007199254740993}',
    b'{"type":"ping","echo":true}',
    b'{"type":"ping","echo":1' + b"0" * 307 + b"}",
    b'{"type":"ping","echo":123456789012345678901234567890}',
    json.dumps({"type": "watch", "cameras": [f"c{number}" for number in range(3000)]}).encode(),
    json.dumps({"type": "watch", "cameras": ["x" * 30_000]}).encode(),
    b'{"type":"ping","echo":1,"\\ud800":"\\udfff"}',
]


def ending(target: Target, data: bytes) -> tuple[int, str]:
    """The code and reason with which a page is closed that sends this; OPEN if it is not, and answers as ever."""
    with Page(target.port) as page:
        page.socket.settimeout(ANSWERS_S)
        with contextlib.suppress(ConnectionError):
            page.socket.sendall(data)
        try:
            page.say("ping", echo=4711)
            while page.told("pong")["echo"] != 4711:
                pass
            return OPEN, ""
        except Closed as closed:
            return closed.code, closed.reason
        except ConnectionError:
            return page.ended()


def endings(target: Target, each: list[bytes]) -> list[tuple[int, str]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda data: ending(target, data), each))


def test_a_number_too_large_for_a_clock_is_not_understood(target: Target) -> None:
    code, reason = ending(target, frame(TEXT, b'{"type":"ping","echo":1' + b"0" * 400 + b"}"))
    assert code == NOT_UNDERSTOOD and reason


def test_a_malformed_frame_closes_the_page_with_a_code(target: Target) -> None:
    ends = zip(FRAMES, endings(target, [each.data for each in FRAMES]), strict=True)
    wrong = [f"{each.name}: {end}" for each, end in ends if end[0] not in each.codes]
    assert not wrong, "\n".join(wrong)


def test_a_malformed_frame_may_come_in_any_pieces(target: Target) -> None:
    for each in FRAMES[::9]:
        with Page(target.port) as page:
            page.socket.settimeout(ANSWERS_S)
            with contextlib.suppress(ConnectionError):
                for place in range(min(len(each.data), 20)):
                    page.socket.sendall(each.data[place : place + 1])
                page.socket.sendall(each.data[20:])
            assert page.ended()[0] in each.codes, each.name


def test_what_is_not_understood_closes_the_page_with_a_code(target: Target) -> None:
    sent = [frame(TEXT, text) for text in TEXTS] + [frame(BINARY, each) for each in ACKNOWLEDGEMENTS]
    ends = zip(sent, endings(target, sent), strict=True)
    wrong = [f"{data[:80]!r}: {end}" for data, end in ends if end[0] not in (NOT_UNDERSTOOD, TOO_BIG) or not end[1]]
    assert not wrong, "\n".join(wrong)


def test_what_is_unusual_does_no_harm(target: Target) -> None:
    ends = zip(HARMLESS, endings(target, [frame(TEXT, text) for text in HARMLESS]), strict=True)
    wrong = [f"{text[:80]!r}: {end}" for text, end in ends if end[0] != OPEN]
    assert not wrong, "\n".join(wrong)
    ends = zip(MAY_BE_EITHER, endings(target, [frame(TEXT, text) for text in MAY_BE_EITHER]), strict=True)
    wrong = [f"{text[:80]!r}: {end}" for text, end in ends if end[0] not in (OPEN, NOT_UNDERSTOOD, TOO_BIG)]
    assert not wrong, "\n".join(wrong)


def test_pictures_that_were_not_sent_may_be_acknowledged(target: Target) -> None:
    with Page(target.port) as page:
        page.watch("camera")
        first = page.picture()
        for camera, zero, number in ((0, 0, 0), (first.camera, 0, 2**32 - 1), (65535, 65535, 1), (first.camera, 1, 1)):
            page.send(BINARY, struct.pack(">HHI", camera, zero, number))
        for _ in range(20):
            page.drawn(first)
        assert page.draw(3)[-1].number > first.number


def test_a_page_answers_few_of_the_pings_that_come_together(target: Target) -> None:
    count = 2000
    with Page(target.port) as page:
        page.socket.settimeout(1.0)
        page.socket.sendall(frame(PING, b"x") * count)
        pongs = 0
        with contextlib.suppress(TimeoutError, Closed):
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                pongs += isinstance(message := next(page), Control) and message.opcode == PONG
        assert 1 <= pongs <= count / 20


@pytest.mark.parametrize("kind", ["fragments", "empty fragments", "pieces of a frame", "a message without an end"])
def test_what_never_ends_takes_no_memory(target: Target, kind: str) -> None:
    before = target.memory()
    pages = [Page(target.port) for _ in range(8)]
    data = {
        "fragments": frame(TEXT, b"[", final=False) + frame(0, b"[", final=False) * 30_000,
        "empty fragments": frame(TEXT, b"[", final=False) + frame(0, final=False) * 30_000,
        "pieces of a frame": length(TEXT, 126, struct.pack(">H", 8000)) + bytes(7999),
        "a message without an end": frame(BINARY, bytes(100), final=False) * 2000,
    }[kind]
    for page in pages:
        flood(page, data, 0.03)
    assert target.busy(0.5) < 0.7
    assert target.memory() - before < GROWTH
    for page in pages:
        page.reset()
    until(lambda: can_open(target))


def test_a_page_that_says_too_much_is_not_listened_to(target: Target) -> None:
    """Nobody else notices anything."""
    said = frame(TEXT, b'{"type":"ping","echo":1}') + frame(TEXT, b'{"type":"watch","cameras":["camera"]}')
    seconds = 2.0
    with contextlib.ExitStack() as stack:
        viewer = stack.enter_context(Stream(target.port))
        pages = [stack.enter_context(Page(target.port)) for _ in range(4)]
        viewer.take(2)
        pool = stack.enter_context(ThreadPoolExecutor(len(pages) + 1))
        busy = pool.submit(target.busy, seconds)
        floods = [pool.submit(flood, page, said * 100, seconds) for page in pages]
        end, gaps = time.monotonic() + seconds, list[float]()
        while (began := time.monotonic()) < end:
            next(viewer)
            gaps.append(time.monotonic() - began)
        assert max(gaps) < 1.0
        assert busy.result() < 0.6
        assert all(each.result() < 1000 for each in floods)  # answers; some 10000 are asked for


def test_a_page_that_never_reads_takes_no_memory(target: Target) -> None:
    before = target.memory()
    pages = [Page(target.port, receive_buffer=4096) for _ in range(8)]
    for page in pages:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            page.socket.setblocking(False)
            for _ in range(200):
                page.say("watch", cameras=["camera"])
                page.say("ping", echo=1)
    assert target.memory() - before < GROWTH
    for page in pages:
        page.reset()
    until(lambda: can_open(target))


def test_pages_that_were_closed_keep_nobody_out(target: Target) -> None:
    """Though they do not close their end, as they should, and though they are many."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            with contextlib.suppress(Refused):
                stack.enter_context(Page(target.port)).send(3)
        assert can_open(target)


def test_a_handshake_is_exact(target: Target) -> None:
    wrong = {
        "no key": (UPGRADE, 400),
        "an empty key": (UPGRADE | {"Sec-WebSocket-Key": ""}, 400),
        "a short key": (UPGRADE | {"Sec-WebSocket-Key": "eA=="}, 400),
        "a long key": (UPGRADE | {"Sec-WebSocket-Key": "A" * 8000}, 400),
        "a key that is no base64": (UPGRADE | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=!"}, 400),
        "version 8": (UPGRADE | KEY | {"Sec-WebSocket-Version": "8"}, 426),
        "two versions": (UPGRADE | KEY | {"Sec-WebSocket-Version": "13, 8"}, 426),
        "no version": ({"Connection": "Upgrade, close", "Upgrade": "websocket"} | KEY, 426),
        "HTTP/2": (UPGRADE | KEY | {"Upgrade": "h2c"}, 426),
        "no upgrade": ({"Connection": "close", "Sec-WebSocket-Version": "13"} | KEY, 426),
    }
    requests = (get("/api/live", {"Host": "127.0.0.1"} | headers) for headers, _ in wrong.values())
    talks = zip(wrong, talk_all(target.port, requests), strict=True)
    assert not [(name, str(talk)) for name, talk in talks if talk.statuses != [wrong[name][1]]]


def test_a_page_may_have_any_name(target: Target) -> None:
    """Even the same as another one, which then ends; long ones, and such as are no text."""
    for name in ("x" * 2000, "%00", "%ff%fe", "%F0%9F%98%80", "a&client=b", "<script>", "%0d%0aX:y"):
        with contextlib.suppress(Exception), Page(target.port, name) as page:
            page.told("hello")
    with Page(target.port, "same") as old, Page(target.port, "same") as new:
        new.watch("camera")
        new.draw(2)
        old.ended()


def test_the_next_page_works(target: Target) -> None:
    with Page(target.port) as page:
        page.watch("camera")
        assert len(page.draw(5)) == 5


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()


def can_open(target: Target) -> bool:
    try:
        with Page(target.port) as page:
            return bool(page.told("hello"))
    except Refused:
        return False


def flood(page: Page, data: bytes, seconds: float) -> int:
    """Send this again and again as fast as it is taken, and read what comes; how many answers there were."""
    page.socket.setblocking(False)
    answers, end, rest = 0, time.monotonic() + seconds, data
    while time.monotonic() < end:
        try:
            rest = rest[page.socket.send(rest) :] or data
        except BlockingIOError:
            time.sleep(0.005)
        except ConnectionError:
            break
        with contextlib.suppress(BlockingIOError):
            answers += page.socket.recv(1 << 16, socket.MSG_DONTWAIT).count(b'"pong"')
    return answers
