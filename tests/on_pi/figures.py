"""What is made of the frames of a camera: rates, ages, and how pictures differ. No camera, no clock, no files."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import simplejpeg

from piapp.sources.encoder import Pixels

ROWS, COLUMNS = 24, 32  # of a thumbnail
FLAT = 2.0  # a thumbnail's standard deviation, of 255, below which nothing can be recognised in it


class Frame(NamedTuple):
    """When a picture was published and exposed, in ns, and how large it is, in bytes."""

    published_ns: int
    captured_ns: int
    size: int


def share(values: Sequence[float], part: float) -> float:
    """The value that so many of them (0 to 1) do not exceed: 0.5 is the median."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def fps(frames: Sequence[Frame]) -> float:
    span_ns = frames[-1].published_ns - frames[0].published_ns
    return (len(frames) - 1) * 1e9 / span_ns


def lost(frames: Sequence[Frame]) -> int:
    """Those missing in between, going by the times of exposure."""
    intervals = _intervals(frames)
    usual = share(intervals, 0.5)
    return sum(round(interval / usual) - 1 for interval in intervals if interval > 1.5 * usual)


def ages_ms(frames: Sequence[Frame]) -> list[float]:
    """From the exposure until it was published."""
    return [(frame.published_ns - frame.captured_ns) / 1e6 for frame in frames]


def clock(frames: Sequence[Frame]) -> str:
    """What captured_ns is. Where the camera's own time cannot be, sources put the time of arrival in its place."""
    usual = share(_intervals(frames), 0.5)
    wavering = share([abs(interval - usual) / 1e6 for interval in _intervals(frames)], 0.95)
    if share(ages_ms(frames), 0.5) < 1:
        what = "the time of arrival: the camera's own is of another clock"
    else:
        what = "CLOCK_MONOTONIC at the exposure"
    return f"{what}; intervals vary by {wavering:.2f} ms (95 %)"


def _intervals(frames: Sequence[Frame]) -> list[int]:
    return [after.captured_ns - before.captured_ns for before, after in zip(frames, frames[1:], strict=False)]


def describe(frames: Sequence[Frame]) -> list[str]:
    """All of this in lines."""
    sizes, ages = [frame.size / 1000 for frame in frames], ages_ms(frames)
    return [
        f"{fps(frames):.2f} fps, {len(frames)} frames, {lost(frames)} lost",
        f"{share(sizes, 0.5):.0f} kB a frame, the largest {max(sizes):.0f} kB, "
        f"{fps(frames) * sum(sizes) / len(sizes) * 8 / 1000:.1f} Mbit/s",
        f"age when published: median {share(ages, 0.5):.1f} ms, 95 % {share(ages, 0.95):.1f} ms, "
        f"most {max(ages):.1f} ms",
        f"captured_ns: {clock(frames)}",
    ]


# --- pictures ---


def grey(jpeg: bytes) -> Pixels:
    """Its brightness, height x width."""
    pixels: Pixels = simplejpeg.decode_jpeg(jpeg, "GRAY")[:, :, 0]
    return pixels


def middle(picture: Pixels, times: float) -> Pixels:
    """What a zoom of so many times shows of it."""
    height, width = picture.shape
    rows, columns = round(height / times), round(width / times)
    top, left = (height - rows) // 2, (width - columns) // 2
    return picture[top : top + rows, left : left + columns]


def likeness(one: Pixels, other: Pixels) -> float | None:
    """Of two pictures in coarse: 1 for the same, about 0 for different ones; None where one shows next to nothing."""
    a, b = _thumbnail(one), _thumbnail(other)
    if min(a.std(), b.std()) < FLAT:
        return None
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def nearer(picture: Pixels, expected: Pixels, before: Pixels) -> str:
    """In words, whether a picture has become what was expected of it, or is still as before."""
    found, still = likeness(picture, expected), likeness(picture, before)
    alike = likeness(expected, before)
    if found is None or still is None or alike is None:
        return "cannot be told: there is too little to see"
    figures = f"likeness to what is expected {found:.2f}, to the picture before {still:.2f}"
    if alike > 0.95:
        return f"cannot be told: what the camera sees looks the same either way ({figures})"
    return f"{'works' if found > still and found > 0.5 else 'DOES NOT WORK'} ({figures})"


def sharpness(picture: Pixels) -> float:
    """Higher where there are finer details."""
    return float(np.diff(picture.astype(np.int16), axis=1).var())


def _thumbnail(picture: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Means of ROWS x COLUMNS fields."""
    height, width = (side // parts * parts for side, parts in zip(picture.shape, (ROWS, COLUMNS), strict=True))
    fields = picture[:height, :width].reshape(ROWS, height // ROWS, COLUMNS, width // COLUMNS)
    means: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = fields.mean(axis=(1, 3))
    return means
