"""Words on a picture: one monospaced font, drawn into a brightness plane without an imaging library.

font.npz holds 256 Latin-1 glyphs in 16 shades; `scripts/make-font` made it. Other characters appear as "?".
"""

import functools
import textwrap
from pathlib import Path

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]  # height x width

CELL = (64, 33)  # a glyph's height and width in font.npz; other sizes are made from it
HEIGHTS = (128, 64, 32, 21, 16)  # that is CELL x 2, x 1, / 2, / 3, / 4

LONG_WORD = 24  # a longer one is a file's path: broken, rather than all made tiny for its sake


@functools.cache
def _glyphs(height: int) -> Plane:
    """All glyphs at one of HEIGHTS, 0 (nothing) to 255 (full): 256 x height x width."""
    with np.load(Path(__file__).with_name("font.npz")) as file:
        glyphs: Plane = file["glyphs"] * np.uint8(17)
    if height > CELL[0]:
        return glyphs.repeat(height // CELL[0], axis=1).repeat(height // CELL[0], axis=2)
    divisor = CELL[0] // height
    width = CELL[1] // divisor
    blocks = glyphs[:, : height * divisor, : width * divisor].reshape(256, height, divisor, width, divisor)
    small: Plane = blocks.mean(axis=(2, 4)).astype(np.uint8)
    return small


def _line(text: str, height: int) -> Plane:
    """One line of text: 0 where nothing is, 255 where the letter is."""
    codes = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)
    return _glyphs(height)[codes].transpose(1, 0, 2).reshape(height, -1)


def draw(plane: Plane, text: str, x: int, y: int, height: int, level: int = 235) -> None:
    """Write one line into the plane, in place, its upper left corner at x, y; what does not fit is cut off."""
    where = plane[y : y + height, x:]
    letters = _line(text, height)[: where.shape[0], : where.shape[1]].astype(np.int32)
    under = where[: letters.shape[0], : letters.shape[1]]
    under[:] = under + (level - under.astype(np.int16)) * letters // 255


def wrap(text: str, width: int, max_height: int) -> tuple[int, list[str]]:
    """The largest of HEIGHTS at which the text fits into width x max_height pixels, and its lines."""
    for height in HEIGHTS:
        columns = max(1, width // _glyphs(height).shape[2])
        lines = textwrap.wrap(text, columns)
        longest = max((len(word) for word in text.split() if len(word) <= LONG_WORD), default=0)
        if len(lines) * height * 1.25 <= max_height and longest <= columns:
            break
    return height, lines


def plain(words: object, most: int = 200) -> str:
    """The words on one line, printable, at most `most` characters: drivers and exceptions may say anything."""
    line = " ".join(str(words)[: 4 * most].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= most else f"{line[: most - 3]}..."
