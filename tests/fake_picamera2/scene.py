"""What the cameras see, as pixels in their memory, and how a test reads it back from a JPEG.

The scene is dark but for its top left quarter, with some texture that makes the JPEG's size depend on its quality. Its
colour is the frame's number, so that a picture can be matched with its exposure.
"""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

Pixels = npt.NDArray[np.uint8]

DARK, LIGHT, SWING, TEXTURE = 90, 160, 30, 6  # luma; how far the control Brightness moves it; the texture's height
FORMATS = {"YUV420": 1, "RGB888": 3, "BGR888": 3, "XBGR8888": 4, "XRGB8888": 4}  # bytes for a pixel of a line
PADDING = 0x99  # behind the pixels of each line: shows as a stripe when somebody takes it for pixels


class View(NamedTuple):
    """What a frame shows."""

    number: int  # of the frame, from 0
    brightness: float = 0.0
    hflip: bool = False
    vflip: bool = False
    narrow: bool = False  # luma from 16 to 235, as television has it: not what JPEG means by it


class Seen(NamedTuple):
    """What a JPEG shows."""

    width: int
    height: int
    number: int  # of the frame, modulo 256
    corner: str  # where it is light: "top left" unless the picture was mirrored
    brightness: float


def stride(pixel_format: str, width: int) -> int:
    """Bytes from line to line, of the first plane: a multiple of 64, as the Pi's scaler wants it."""
    return (width * FORMATS[pixel_format] + 63) // 64 * 64


def frame_size(pixel_format: str, width: int, height: int) -> int:
    lines = height * 3 // 2 if pixel_format == "YUV420" else height
    return stride(pixel_format, width) * lines


def render(view: View, pixel_format: str, width: int, height: int) -> Pixels:
    """The memory of one buffer."""
    y, u, v = _planes(view, width, height)
    line = stride(pixel_format, width)
    if pixel_format == "YUV420":
        half = (height // 2, width // 2)
        planes = [_padded(y, line), *(_padded(np.full(half, value, np.uint8), line // 2) for value in (u, v))]
        return np.concatenate([plane.reshape(-1) for plane in planes])
    rgb = np.dstack([y + 1.402 * (v - 128), y - 0.344 * (u - 128) - 0.714 * (v - 128), y + 1.772 * (u - 128)])
    rgb = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    if pixel_format in ("RGB888", "XRGB8888"):  # named from the highest byte: blue comes first in memory
        rgb = rgb[:, :, ::-1]
    if FORMATS[pixel_format] == 4:
        rgb = np.dstack([rgb, np.full(y.shape, 255, np.uint8)])
    return _padded(rgb.reshape(height, -1), line).reshape(-1)


def look(jpeg: bytes) -> Seen:
    """Read it back; for a quality of 50 or more, unless the control Brightness is all that is asked for."""
    whole = simplejpeg.decode_jpeg(jpeg, "RGB")
    rgb = whole[::2, ::2].astype(float)
    height, width, _ = rgb.shape
    luma = rgb @ (0.299, 0.587, 0.114)
    across, down = width // 2, height // 2
    quarters = {
        "top left": luma[:down, :across],
        "top right": luma[:down, across:],
        "bottom left": luma[down:, :across],
        "bottom right": luma[down:, across:],
    }
    means = {name: float(quarter.mean()) for name, quarter in quarters.items()}
    corner = max(means, key=lambda name: means[name])
    u, v = float((rgb[:, :, 2] - luma).mean() / 1.772), float((rgb[:, :, 0] - luma).mean() / 1.402)
    number = _digit(u) + 16 * _digit(v)
    return Seen(whole.shape[1], whole.shape[0], number, corner, (means[corner] - LIGHT) / SWING)


def _planes(view: View, width: int, height: int) -> tuple[Pixels, int, int]:
    """Luma, and the one value that each plane of colour is full of."""
    y = _luma(width, height) + round(SWING * view.brightness)
    if view.narrow:
        y = 16 + y * 219 // 255
    if view.hflip:
        y = y[:, ::-1]
    if view.vflip:
        y = y[::-1]
    return y.astype(np.uint8), _tint(view.number % 16), _tint(view.number // 16 % 16)


@functools.lru_cache(maxsize=8)
def _luma(width: int, height: int) -> npt.NDArray[np.int16]:
    y = np.full((height, width), DARK, np.int16)
    y[: height // 2, : width // 2] = LIGHT
    y += np.random.default_rng(1).integers(-TEXTURE, TEXTURE + 1, y.shape, np.int16)
    return y


def _padded(plane: Pixels, line: int) -> Pixels:
    return np.pad(plane, ((0, 0), (0, line - plane.shape[1])), constant_values=PADDING)


def _tint(digit: int) -> int:
    return 128 + 4 * (digit - 8)


def _digit(tint: float) -> int:
    return round(tint / 4) + 8
