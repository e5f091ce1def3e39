"""sources/jpeg.py: whole and broken JPEGs, and bytes that are neither."""

import contextlib
import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from source_case import claiming

from piapp.sources import jpeg

PIXELS = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
JPEG = simplejpeg.encode_jpeg(PIXELS, 85, "BGR", "422")
OTHER = simplejpeg.encode_jpeg(PIXELS[::-1].copy(), 85, "BGR", "422")


def pillow(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "jpeg", **options)
    return file.getvalue()


PROGRESSIVE = pillow(progressive=True)
WITH_THUMBNAIL = JPEG[:2] + b"\xff\xe1" + (len(OTHER) + 2).to_bytes(2, "big") + OTHER + JPEG[2:]
WITH_RESTARTS = pillow(restart_marker_blocks=2)
WITH_FILL_BYTES = JPEG[:-2] + b"\xff\xff" + JPEG[-2:]
ALL = [JPEG, PROGRESSIVE, WITH_THUMBNAIL, WITH_RESTARTS, WITH_FILL_BYTES]

pieces = st.sampled_from(
    [b"\xff", b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc4", b"\xff\xc0", b"\x00", b"\x00\x02"]
)
hostile = st.lists(st.one_of(pieces, st.binary(max_size=8)), max_size=30).map(b"".join)


def without_tables(picture: bytes) -> bytes:
    """What a camera sends that leaves the Huffman tables out."""
    out, at = picture[:2], 2
    while picture[at + 1] != jpeg.SOS:
        end = at + 2 + int.from_bytes(picture[at + 2 : at + 4], "big")
        if picture[at + 1] != jpeg.DHT:
            out += picture[at:end]
        at = end
    return out + picture[at:]


@pytest.mark.parametrize("picture", ALL)
def test_a_whole_jpeg_comes_back_as_the_same_object(picture: bytes) -> None:
    assert jpeg.complete(picture) is picture


@pytest.mark.parametrize("picture", ALL)
@pytest.mark.parametrize("behind", [bytes(4096), b"\xff\xd9", OTHER, OTHER[-300:], b"\xff", b"\xff" * 9])
def test_what_lies_behind_is_cut_off(picture: bytes, behind: bytes) -> None:
    assert jpeg.complete(picture + behind) == picture
    assert jpeg.complete(memoryview(picture + behind)) == picture


def test_from_a_view_come_bytes() -> None:
    assert type(jpeg.complete(memoryview(JPEG))) is bytes


@pytest.mark.parametrize("picture", ALL)
def test_no_part_of_a_jpeg_is_a_whole_one(picture: bytes) -> None:
    assert all(jpeg.complete(picture[:length]) is None for length in range(len(picture)))


@pytest.mark.parametrize("picture", ALL)
def test_a_part_of_a_picture_and_then_a_whole_one_is_torn(picture: bytes) -> None:
    """So it looks when the end of a frame is lost on the cable."""
    assert jpeg.complete(picture[:-200] + OTHER) is None


@pytest.mark.parametrize("bad", [b"", b"\xff", JPEG[1:], b"\0" + JPEG, b"\xff\xd8\xff\xd9", bytes(100), b"U" * 4096])
def test_what_is_no_jpeg(bad: bytes) -> None:
    assert jpeg.complete(bad) is None
    assert jpeg.with_huffman_tables(bad) is bad
    with pytest.raises(ValueError):
        jpeg.size(bad)


@pytest.mark.parametrize("picture", ALL)
def test_size(picture: bytes) -> None:
    assert jpeg.size(picture) == (64, 48)


def test_a_header_without_a_size() -> None:
    with pytest.raises(ValueError):
        jpeg.size(JPEG.replace(b"\xff\xc0", b"\xff\xe5"))


@pytest.mark.parametrize("told", [(65535, 65535), (65535, 1), (1, 16385), (16385, 16385)])
def test_a_size_that_no_camera_has_is_refused(told: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{told[0]}x{told[1]}"):
        jpeg.size(claiming(JPEG, *told))


@pytest.mark.parametrize("told", [(16384, 16384), (1, 16384), (16384, 1), (1, 1)])
def test_the_largest_and_the_smallest_sizes(told: tuple[int, int]) -> None:
    assert jpeg.size(claiming(JPEG, *told)) == told


def test_whoever_knows_better_says_what_is_too_large() -> None:
    assert jpeg.size(JPEG, 64) == (64, 48)
    with pytest.raises(ValueError, match="64x48, more than 63 pixels a side"):
        jpeg.size(JPEG, 63)


@pytest.mark.parametrize("picture", ALL)
def test_where_huffman_tables_are_nothing_is_put_in(picture: bytes) -> None:
    assert jpeg.with_huffman_tables(picture) is picture


def test_the_standards_huffman_tables_are_put_in_where_there_are_none() -> None:
    bare = without_tables(JPEG)
    assert len(bare) < len(JPEG)
    made = jpeg.with_huffman_tables(bare)
    assert jpeg.complete(made) is made
    assert len(made) == len(bare) + 420  # as every tool that does so finds it
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(made), simplejpeg.decode_jpeg(JPEG))
    assert b"".join(sorted(tables(made))) == b"".join(sorted(tables(JPEG)))  # libjpeg writes the standard's


def tables(picture: bytes) -> list[bytes]:
    """The contents of the tables; one segment may hold several."""
    found = []
    for part in picture.split(b"\xff\xc4")[1:]:
        content = part[2 : int.from_bytes(part[:2], "big")]
        while content:
            length = 17 + sum(content[1:17])
            found.append(content[:length])
            content = content[length:]
    return found


@given(hostile)
def test_hostile_bytes_do_no_harm(content: bytes) -> None:
    for bad in (content, b"\xff\xd8" + content, JPEG[:-2] + content):
        whole = jpeg.complete(bad)
        assert whole is None or (
            bad.startswith(whole) and whole.startswith(b"\xff\xd8") and whole.endswith(b"\xff\xd9")
        )
        assert jpeg.complete(memoryview(bad)) == whole
        jpeg.with_huffman_tables(bad)
        with contextlib.suppress(ValueError):
            width, height = jpeg.size(bad)
            assert width > 0 and height > 0


@given(st.integers(0, len(JPEG) - 1), st.integers(0, 255))
def test_a_wrong_byte_does_no_harm(at: int, byte: int) -> None:
    bad = bytearray(JPEG)
    bad[at] = byte
    whole = jpeg.complete(bytes(bad))
    assert whole is None or JPEG.startswith(whole[:at])
    jpeg.with_huffman_tables(bytes(bad))
