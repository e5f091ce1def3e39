"""sources/text.py and notice.py: words in a picture."""

import numpy as np
import pytest
from source_case import luma

from piapp import notice
from piapp.config import Size
from piapp.sources import text

WORDS = (
    "Camera unplugged 12 s ago: check the cable",
    "Überprüfe die Kabel – 電源 µ²ß ÿ",
    "aMuchLongerWordThanAnyLineHasRoomForWhichMustBeBrokenSomewhere",
    "x",
)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("room", [(1, 1), (40, 20), (140, 60), (333, 77), (560, 240), (1234, 300), (4000, 1000)])
def test_wrapped_lines_fit_into_their_width(words: str, room: tuple[int, int]) -> None:
    height, lines = text.wrap(words, *room)
    assert height in text.HEIGHTS
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    for line in lines:
        drawn = np.zeros((height, 8000), np.uint8)
        text.draw(drawn, line, 0, 0, height, 255)
        columns = np.flatnonzero(drawn.any(axis=0))
        assert columns.size
        assert columns[-1] < room[0] or len(line) == 1
    if height > text.HEIGHTS[-1]:
        assert len(lines) * height * 1.25 <= room[1]


@pytest.mark.parametrize("long", ["x" * (text.LONG_WORD + 1), "/srv/pictures/of/the/garden/in/the/rain", "/a" * 100])
def test_a_long_word_is_broken_rather_than_all_made_tiny_for_its_sake(long: str) -> None:
    words, room = "Folder of images lost: look at", (300, 10_000)
    height, lines = text.wrap(f"{words} {long}", *room)
    assert height == text.wrap(words, *room)[0]
    assert height > text.wrap(f"{words} {'x' * text.LONG_WORD}", *room)[0]  # a word that is kept whole
    assert not any(long in line for line in lines)
    assert "".join(lines).replace(" ", "") == (words + long).replace(" ", "")


@pytest.mark.parametrize("length", [1, 8, text.LONG_WORD - 1, text.LONG_WORD])
def test_no_other_word_is_broken_while_smaller_letters_would_help(length: int) -> None:
    words = ["x" * length, "look", "at", "y" * 60, "z" * length]
    for width in range(8, 2000, 8):
        height, lines = text.wrap(" ".join(words), width, 10_000)
        if height > text.HEIGHTS[-1]:
            assert "y" * 60 in "".join(lines)
            for word in words[:3] + words[4:]:
                assert any(word in line.split() for line in lines), (width, height, lines)


def test_wrapping_no_words() -> None:
    assert text.wrap("", 100, 100)[1] == []
    assert text.wrap("   ", 100, 100)[1] == []


def test_more_room_never_means_smaller_letters() -> None:
    heights = [text.wrap(WORDS[0], 20 * i, 10 * i)[0] for i in range(1, 200)]
    assert heights == sorted(heights)
    assert set(heights) == set(text.HEIGHTS)


@pytest.mark.parametrize("height", text.HEIGHTS)
def test_drawing_stays_within_the_plane(height: int) -> None:
    around = np.full((300, 400), 77, np.uint8)
    inside = around[100:140, 100:150]
    for x, y in ((0, 0), (45, 0), (0, 35), (49, 39), (50, 40), (500, 500)):
        text.draw(inside, "Üñ電W" * 20, x, y, height)
    mask = np.ones(around.shape, bool)
    mask[100:140, 100:150] = False
    assert (around[mask] == 77).all()
    assert (inside != 77).any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 10), (10, 0), (1, 1), (3, 200), (200, 3)])
def test_drawing_into_tiny_planes(shape: tuple[int, int]) -> None:
    plane = np.zeros(shape, np.uint8)
    for height in text.HEIGHTS:
        text.draw(plane, "words", 0, 0, height)


def test_drawing_nothing() -> None:
    plane = np.full((64, 64), 9, np.uint8)
    for height in text.HEIGHTS:
        text.draw(plane, "", 0, 0, height)
        text.draw(plane, "   ", 0, 0, height)
    assert (plane == 9).all()


def drawn(words: str) -> bytes:
    plane = np.zeros((64, 800), np.uint8)
    text.draw(plane, words, 0, 0, 64)
    return plane.tobytes()


def test_letters_beyond_ascii() -> None:
    assert len({drawn(letter) for letter in "aäAÄ?oöøß"}) == 9
    assert drawn("電") == drawn("–") == drawn("😀") == drawn("?")
    assert drawn("a電b") == drawn("a?b")


def test_the_level_is_reached_from_above_and_below() -> None:
    for under, level in ((0, 255), (0, 100), (255, 0), (200, 50), (80, 80)):
        plane = np.full((64, 64), under, np.uint8)
        text.draw(plane, "M", 0, 0, 64, level)
        assert {int(np.min(plane)), int(np.max(plane))} == {under, level}


SHAPES = {  # of the camera's picture, and of the notice that takes its place
    (64, 64): (64, 64),
    (64, 48): (64, 48),
    (160, 120): (160, 120),
    (641, 479): (641, 479),
    (1280, 720): (1280, 720),
    (1920, 1080): (1920, 1080),
    (1080, 1920): (1080, 1920),
    (3840, 2160): (1920, 1080),
    (4608, 2592): (1920, 1080),
    (2592, 1944): (1920, 1440),
    (16384, 16384): (1920, 1920),
    (65535, 65535): (1920, 1920),
    (64, 2160): (57, 1920),
    (3840, 64): (1920, 48),
    (16, 9000): (48, 1920),
    (1, 65535): (48, 1920),
    (65535, 1): (1920, 48),
    (1, 1): (48, 48),
    (0, 0): (48, 48),
}


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("words", WORDS)
def test_a_notice_is_a_picture_with_words_at_any_size(size: tuple[int, int], words: str) -> None:
    drawn = notice.draw("Tür", words, Size(*size))
    assert drawn.size == SHAPES[size]
    picture = luma(drawn.jpeg)
    assert picture.shape == (drawn.size.height, drawn.size.width)
    assert np.max(picture) > 120  # letters
    assert np.median(picture) < 50  # on a dark ground


@pytest.mark.parametrize("longest", [100, 1000])
def test_how_large_a_notice_may_be(longest: int) -> None:
    drawn = notice.draw("door", "Camera unplugged", Size(4000, 2000), notice.Limits(shortest=32, longest=longest))
    assert drawn.size == (longest, longest // 2)


@pytest.mark.parametrize("title", ["", " ", "x" * 10_000])
@pytest.mark.parametrize("words", ["", "word " * 1000, "x" * 10_000])
@pytest.mark.parametrize("size", [(64, 64), (1, 9000), (9000, 1), (640, 480)])
def test_titles_and_words_of_any_length_are_drawn(title: str, words: str, size: tuple[int, int]) -> None:
    drawn = notice.draw(title, words, Size(*size))
    assert luma(drawn.jpeg).shape == (drawn.size.height, drawn.size.width)


def test_different_words_are_different_notices() -> None:
    def middle(words: str) -> bytes:
        return luma(notice.draw("door", words, Size(640, 480)).jpeg)[120:360].tobytes()

    assert middle("Camera unplugged") != middle("Camera switched off")
    assert middle("Camera unplugged") == middle("Camera unplugged")


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (1280, 720), (1920, 1080)])
def test_all_of_a_notice_is_within_the_picture(size: tuple[int, int]) -> None:
    """Nothing touches the edge, so nothing was cut off."""
    picture = luma(notice.draw("door", "Camera unplugged 12 s ago: check the cable", Size(*size)).jpeg)
    edge = np.concatenate((picture[:4].ravel(), picture[-4:].ravel(), picture[:, :4].ravel(), picture[:, -4:].ravel()))
    assert np.max(edge) < 60


def test_a_notice_without_room_shows_the_beginning_of_its_words() -> None:
    words = "Wherever this picture has no room for all of the words, the first of them are there. " * 3
    cut = luma(notice.draw("x", words, Size(64, 64)).jpeg).astype(int)
    beginning = luma(notice.draw("x", words[:60], Size(64, 64)).jpeg).astype(int)
    assert np.abs(cut - beginning)[:16].max() < 60


def test_spans_of_time_as_a_person_says_them() -> None:
    for seconds, said in (
        (0, "0 s"),
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172799, "48 h"),
        (172800, "2 days"),
        (8640000, "100 days"),
    ):
        assert notice.span(seconds) == said


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Camera unplugged", "Camera unplugged"),
        ("  two\nlines\tand\r\nmore ", "two lines and more"),
        ("\x1b[31mred\x1b[0m \x07 \xe9 \udc80", "?[31mred?[0m ? é ?"),
        (ValueError("x" * 100), "x" * 17 + "..."),
        ("x" * 20, "x" * 20),
        ("\n" * 10**6, ""),
    ],
)
def test_what_a_driver_says_becomes_one_short_printable_line(said: object, shown: str) -> None:
    assert text.plain(said, 20) == shown


def test_texts_that_are_not_too_long_stay_as_they_are() -> None:
    assert text.plain("word " * 40) == ("word " * 40).strip()
    assert len(text.plain("words " * 10**6)) == 200
