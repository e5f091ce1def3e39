"""The bytes of a WebSocket, against RFC 6455; its sections in brackets."""

import base64
import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_wire import frame

from piapp.web import websocket
from piapp.web.websocket import MESSAGE_LIMIT, CloseCode, Message, Opcode, Reader, WebSocketError

CONTROL = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)
LENGTHS = (0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536)
HELLO = bytes.fromhex("8185 37fa213d 7f9f4d5158")  # [5.7], masked


def read(reader: Reader, data: bytes) -> list[Message]:
    return list(reader.feed(data))


def error_of(*chunks: bytes) -> CloseCode:
    """How the conversation ends with the last of these chunks; the others are right."""
    reader = Reader()
    for chunk in chunks[:-1]:
        read(reader, chunk)
    with pytest.raises(WebSocketError) as caught:
        read(reader, chunks[-1])
    assert 10 < len(str(caught.value).encode()) <= 123  # fits into a close frame
    return caught.value.code


# --- the handshake ---


def test_the_handshake_of_the_rfc() -> None:
    """[1.3, 4.2.2]"""
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(max_size=40))
def test_a_key_is_16_bytes_in_base64(key: bytes) -> None:
    """[4.2.1]"""
    assert websocket.valid_key(base64.b64encode(key).decode()) == (len(key) == 16)


@pytest.mark.parametrize(
    "key",
    [
        *("", " ", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==\n"),
        *(" dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBs ZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j-_==", "ü" * 24, "\0" * 24),
    ],
)
def test_what_is_no_key(key: str) -> None:
    assert not websocket.valid_key(key)


# --- out ---


def test_the_servers_frames_of_the_rfc() -> None:
    """[5.7]"""
    assert websocket.message(Opcode.TEXT, b"Hello") == bytes.fromhex("8105") + b"Hello"
    assert websocket.message(Opcode.PING, b"Hello") == bytes.fromhex("8905") + b"Hello"
    assert websocket.message(Opcode.BINARY, bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    assert websocket.message(Opcode.BINARY, bytes(65536)) == bytes.fromhex("827f0000000000010000") + bytes(65536)


@pytest.mark.parametrize("length", [*LENGTHS, 1 << 24])
def test_lengths_that_are_sent(length: int) -> None:
    """In as few bytes as can be [5.2], without a mask [5.1]."""
    assert websocket.head(Opcode.BINARY, length) + bytes(length) == frame(2, bytes(length), mask=b"")


def test_a_close_frame() -> None:
    """[5.5.1]"""
    assert websocket.close(CloseCode.GOING_AWAY) == bytes.fromhex("880203e9")
    assert (
        websocket.close(CloseCode.TRY_AGAIN_LATER, "voll, später")
        == bytes.fromhex("880f03f5") + "voll, später".encode()
    )


# --- in: what is right ---


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_lengths_that_are_read(opcode: Opcode, length: int) -> None:
    payload = random.Random(length).randbytes(length)
    for mask in (bytes(4), b"\xff" * 4, b"\x01\x00\x00\x80"):  # [5.3]
        assert read(Reader(1 << 16), frame(opcode, payload, mask=mask)) == [Message(opcode, payload)]


def test_the_clients_frames_of_the_rfc() -> None:
    """[5.7], those that it shows without a mask with one."""
    assert read(Reader(), HELLO) == [Message(Opcode.TEXT, b"Hello")]
    assert read(Reader(), bytes.fromhex("8a8537fa213d7f9f4d5158")) == [Message(Opcode.PONG, b"Hello")]
    parts = frame(1, b"Hel", final=False), frame(0, b"lo")
    assert read(Reader(), b"".join(parts)) == [Message(Opcode.TEXT, b"Hello")]


@pytest.mark.parametrize("opcode", CONTROL)
@pytest.mark.parametrize("length", [0, 2, 125])
def test_control_frames(opcode: Opcode, length: int) -> None:
    payload = struct.pack(">H", 1000) + b"x" * (length - 2) if length else b""
    assert read(Reader(), frame(opcode, payload)) == [Message(opcode, payload)]


def test_control_frames_between_parts_do_not_wait_for_them() -> None:
    """[5.4, 5.5]"""
    reader = Reader()
    assert read(reader, frame(2, b"a", final=False)) == []
    assert read(reader, frame(9, b"p")) == [Message(Opcode.PING, b"p")]
    assert read(reader, frame(0, b"", final=False) + frame(10)) == [Message(Opcode.PONG, b"")]
    assert read(reader, frame(0, b"b")) == [Message(Opcode.BINARY, b"ab")]
    assert read(reader, HELLO) == [Message(Opcode.TEXT, b"Hello")]  # nothing of that is left


def test_a_length_may_come_in_pieces() -> None:
    for length in (200, 65536):
        whole = frame(2, bytes(length))
        reader, got = Reader(1 << 16), list[Message]()
        for place in range(20):
            got += read(reader, whole[place : place + 1])
        assert got == [] and read(reader, whole[20:]) == [Message(Opcode.BINARY, bytes(length))]


parts = st.lists(st.binary(max_size=300), min_size=1, max_size=4)
between = st.lists(st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)), max_size=2)


@given(
    st.lists(st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), parts, between), max_size=5),
    st.binary(min_size=4, max_size=4),
    st.lists(st.integers(1, 40), max_size=60),
)
def test_messages_come_out_as_they_were_sent(
    messages: list[tuple[Opcode, list[bytes], list[tuple[Opcode, bytes]]]], mask: bytes, sizes: list[int]
) -> None:
    """However they are cut into frames and the frames into chunks, and with control frames anywhere in between."""
    sent, wanted = bytearray(), list[Message]()
    for opcode, pieces, controls in messages:
        for i, piece in enumerate(pieces):
            sent += frame(0 if i else opcode, piece, final=i == len(pieces) - 1, mask=mask)
            if i < len(pieces) - 1:
                for control in controls:
                    sent += frame(*control, mask=mask)
                    wanted.append(Message(*control))
        wanted.append(Message(opcode, b"".join(pieces)))
    reader, got = Reader(), list[Message]()
    for size in sizes:
        got += read(reader, bytes(sent[:size]))
        del sent[:size]
    got += read(reader, bytes(sent))
    assert got == wanted


# --- in: what is wrong ---


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10, 0x70])
def test_reserved_bits(bits: int) -> None:
    """[5.2]"""
    assert error_of(frame(1 | bits, b"x")) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_opcodes_that_there_are_not(opcode: int) -> None:
    """[5.2]"""
    assert error_of(frame(opcode, b"x")) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [1, 2, 8, 9, 10])
def test_a_frame_without_a_mask(opcode: int) -> None:
    """[5.1]"""
    assert error_of(frame(opcode, b"xx", mask=b"")) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frames_are_short_and_whole(opcode: Opcode) -> None:
    """[5.5]"""
    assert error_of(frame(opcode, bytes(126))[:2]) is CloseCode.PROTOCOL_ERROR
    assert error_of(frame(opcode, bytes(65536))[:2]) is CloseCode.PROTOCOL_ERROR
    assert error_of(frame(opcode, b"", final=False)) is CloseCode.PROTOCOL_ERROR
    assert error_of(frame(1, b"x", final=False), frame(opcode, b"", final=False)) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "chunks",
    [
        (frame(0, b"x"),),
        (frame(0, b"x", final=False),),
        (HELLO, frame(0, b"x")),
        (frame(1, b"x", final=False), frame(1, b"y")),
        (frame(1, b"x", final=False), frame(9), frame(2, b"y", final=False)),
        (frame(1, b"x", final=False), frame(0, b"y"), frame(0, b"z")),
    ],
)
def test_frames_out_of_order(chunks: tuple[bytes, ...]) -> None:
    """[5.4]"""
    assert error_of(*chunks) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "code", [b"\x03", *(struct.pack(">H", n) for n in (0, 999, 1004, 1005, 1006, 1015, 5000, 65535))]
)
def test_a_close_frame_with_a_code_that_none_may_send(code: bytes) -> None:
    """[5.5.1, 7.4]"""
    assert error_of(frame(8, code)) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_a_close_frame_with_a_code_that_may_be(code: int) -> None:
    payload = struct.pack(">H", code) + b"why"
    assert read(Reader(), frame(8, payload)) == [Message(Opcode.CLOSE, payload)]


def test_a_reason_is_utf_8() -> None:
    """[5.5.1, 8.1]"""
    assert error_of(frame(8, struct.pack(">H", 1000) + b"\xff")) is CloseCode.NOT_UNDERSTOOD


def test_what_comes_behind_a_close_frame_is_nothing() -> None:
    """[5.5.1, 1.4]"""
    for behind in (b"\xff" * 20, frame(0, b"x"), frame(9), HELLO):
        reader = Reader()
        assert read(reader, frame(8) + behind) == [Message(Opcode.CLOSE, b"")]
        assert read(reader, behind) == []


def test_messages_before_an_error_are_not_lost_with_it() -> None:
    """Nor is anything said after it heard."""
    reader = Reader()
    messages = iter(reader.feed(HELLO + frame(9) + frame(3) + HELLO))
    assert [next(messages), next(messages)] == [Message(Opcode.TEXT, b"Hello"), Message(Opcode.PING, b"")]
    with pytest.raises(WebSocketError):
        next(messages)
    assert read(reader, HELLO) == []


# --- limits ---


@pytest.mark.parametrize("length", [MESSAGE_LIMIT + 1, 1 << 20, 1 << 31, (1 << 63) - 1])
def test_a_message_that_is_too_long_is_refused_before_it_comes(length: int) -> None:
    head = struct.pack(">BBQ", 0x82, 0xFF, length) + bytes(4)
    assert error_of(head) is CloseCode.TOO_BIG
    first = frame(2, b"x", final=False)
    assert error_of(first, head.replace(b"\x82", b"\x80", 1)) is CloseCode.TOO_BIG


def test_a_length_of_64_bits_is_no_length() -> None:
    """[5.2]: its highest bit is 0."""
    assert error_of(struct.pack(">BBQ", 0x82, 0xFF, 1 << 63) + bytes(4)) in (
        CloseCode.TOO_BIG,
        CloseCode.PROTOCOL_ERROR,
    )


def test_the_limit_is_for_a_message_not_for_its_frames() -> None:
    half = frame(2, bytes(MESSAGE_LIMIT // 2), final=False)
    rest = frame(0, bytes(MESSAGE_LIMIT // 2))
    assert read(Reader(), half + rest) == [Message(Opcode.BINARY, bytes(MESSAGE_LIMIT))]
    assert read(Reader(), (half + rest) * 2) == [Message(Opcode.BINARY, bytes(MESSAGE_LIMIT))] * 2
    assert error_of(half, rest.replace(b"\x80", b"\x00", 1), frame(0, b"x")) is CloseCode.TOO_BIG


def test_a_control_frame_is_no_part_of_the_message_around_it() -> None:
    reader = Reader()
    read(reader, frame(2, bytes(MESSAGE_LIMIT), final=False))
    assert read(reader, frame(9, bytes(125))) == [Message(Opcode.PING, bytes(125))]
    assert read(reader, frame(0)) == [Message(Opcode.BINARY, bytes(MESSAGE_LIMIT))]


@pytest.mark.parametrize("wrong", [False, True], ids=["empty parts", "after an error"])
def test_what_never_ends_takes_no_memory(wrong: bool) -> None:
    reader = Reader()
    read(reader, frame(2, b"x", final=False))
    if wrong:
        with pytest.raises(WebSocketError):
            read(reader, frame(3))
    endless = frame(0, b"", final=False) * 1000
    tracemalloc.start()
    try:
        for _ in range(100):
            assert read(reader, endless) == []
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


# --- whatever comes ---


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_no_bytes_bring_another_error(chunks: list[bytes]) -> None:
    reader = Reader()
    try:
        for chunk in chunks:
            read(reader, chunk)
    except WebSocketError as error:
        assert error.code in (CloseCode.PROTOCOL_ERROR, CloseCode.TOO_BIG, CloseCode.NOT_UNDERSTOOD)


heads = st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30)).map(
    lambda made: bytes(made[:2]) + made[2]
)


@given(st.lists(st.one_of(heads, st.binary(max_size=125).map(lambda payload: frame(9, payload))), max_size=12))
def test_nearly_right_bytes_bring_no_other_error(frames: list[bytes]) -> None:
    """Frames with anything for a head, right ones among them."""
    whole = b"".join(frames)
    outcomes = []
    for step in (len(whole) or 1, 1, 7):
        reader, got, code = Reader(), list[Message](), None
        try:
            for place in range(0, len(whole), step):
                for message in reader.feed(whole[place : place + step]):
                    got.append(message)
        except WebSocketError as error:
            code = error.code
        outcomes.append((code, got))
    assert outcomes[0] == outcomes[1] == outcomes[2]  # the same however it is cut
