"""sources/encoder.py: from pixels to JPEG, mirrored and turned."""

import itertools

import numpy as np
import pytest
import simplejpeg
from source_case import bgr, luma

from piapp.sources import encoder
from piapp.sources.encoder import Pixels


def coloured(width: int, height: int, down: int, across: int) -> tuple[Pixels, Pixels, Pixels]:
    """Smooth planes, the colour ones smaller by these factors."""
    y = np.add.outer(np.linspace(30, 120, height), np.linspace(20, 100, width))
    u = np.add.outer(np.linspace(90, 140, height // down), np.linspace(0, 40, width // across))
    v = np.add.outer(np.linspace(150, 100, height // down), np.linspace(0, 30, width // across))
    return y.astype(np.uint8), u.astype(np.uint8), v.astype(np.uint8)


@pytest.mark.parametrize(("down", "across"), [(2, 2), (1, 2), (2, 1)])
def test_planes_and_the_way_through_bgr_give_the_same_picture(
    down: int, across: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, u, v = coloured(128, 96, down, across)
    if not hasattr(simplejpeg, "encode_jpeg_yuv_planes"):
        pytest.skip("this simplejpeg has no planes")
    direct = encoder.encode_planes(y, u, v, 95)
    monkeypatch.delattr(simplejpeg, "encode_jpeg_yuv_planes")
    through_bgr = encoder.encode_planes(y, u, v, 95)
    assert direct != through_bgr
    first, second = bgr(direct).astype(int), bgr(through_bgr).astype(int)
    assert first.shape == second.shape == (96, 128, 3)
    assert np.abs(first - second).mean() < 2
    assert np.abs(first - second).max() < 12


def test_planes_have_the_colours_that_jfif_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for fallback in (False, True):
        if fallback:
            monkeypatch.delattr(simplejpeg, "encode_jpeg_yuv_planes", raising=False)
        for (y, u, v), wanted in (
            ((76, 85, 255), (0, 0, 254)),  # red, as blue, green, red
            ((150, 44, 21), (0, 255, 1)),
            ((29, 255, 107), (254, 0, 0)),
            ((255, 128, 128), (255, 255, 255)),
        ):
            planes = np.full((32, 32), y, np.uint8), np.full((16, 16), u, np.uint8), np.full((16, 16), v, np.uint8)
            mean = bgr(encoder.encode_planes(*planes, 95)).reshape(-1, 3).mean(axis=0)
            assert np.abs(mean - wanted).max() < 4


def test_grey_planes_and_quality() -> None:
    y, _, _ = coloured(128, 96, 2, 2)
    y[::7, ::5] = 255
    good, bad = encoder.encode_planes(y, None, None, 95), encoder.encode_planes(y, None, None, 10)
    assert len(bad) * 2 < len(good)
    assert simplejpeg.decode_jpeg_header(good)[:3] == (96, 128, "Gray")
    assert np.abs(luma(good).astype(int) - y).mean() < 3


def test_bgr_is_in_opencv_s_order() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:] = (10, 200, 60)
    assert np.abs(bgr(encoder.encode_bgr(picture, 95)).reshape(-1, 3).mean(axis=0) - (10, 200, 60)).max() < 4


def test_all_eight_orientations() -> None:
    """And mirroring comes before turning."""
    a = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    wanted = {
        (False, False, 0): [[1, 2, 3], [4, 5, 6]],
        (False, False, 90): [[4, 1], [5, 2], [6, 3]],
        (False, False, 180): [[6, 5, 4], [3, 2, 1]],
        (False, False, 270): [[3, 6], [2, 5], [1, 4]],
        (True, False, 0): [[3, 2, 1], [6, 5, 4]],
        (True, False, 90): [[6, 3], [5, 2], [4, 1]],
        (True, False, 180): [[4, 5, 6], [1, 2, 3]],
        (True, False, 270): [[1, 4], [2, 5], [3, 6]],
        (False, True, 0): [[4, 5, 6], [1, 2, 3]],
        (False, True, 90): [[1, 4], [2, 5], [3, 6]],
        (True, True, 0): [[6, 5, 4], [3, 2, 1]],
    }
    for (hflip, vflip, rotation), pixels in wanted.items():
        for picture, turned in ((a, np.array(pixels)), (np.dstack([a] * 3), np.dstack([np.array(pixels)] * 3))):
            found = encoder.turn(picture, hflip, vflip, rotation)
            assert np.array_equal(found, turned), (hflip, vflip, rotation)
            assert found.flags.c_contiguous
    distinct = {
        encoder.turn(a, *turned).tobytes() + bytes(encoder.turn(a, *turned).shape)
        for turned in itertools.product((False, True), (False, True), (0, 90, 180, 270))
    }
    assert len(distinct) == 8
