"""Pixels → JPEG, by simplejpeg. All calls release the GIL while they work."""

import numpy as np
import numpy.typing as npt
import simplejpeg

Pixels = npt.NDArray[np.uint8]


def encode_bgr(bgr: Pixels, quality: int) -> bytes:
    """A height x width x 3 picture in OpenCV's order of colours, contiguous."""
    return bytes(simplejpeg.encode_jpeg(bgr, quality, "BGR", "420"))


def encode_planes(y: Pixels, u: Pixels | None, v: Pixels | None, quality: int) -> bytes:
    """Brightness and colour planes as cameras deliver them: 4:2:0 or 4:2:2, or None twice for grey. Contiguous.

    Much cheaper than a way through RGB; simplejpeg before 1.8 (Raspberry Pi OS bookworm) has only that one, though.
    """
    if u is None or v is None:
        return bytes(simplejpeg.encode_jpeg(y[:, :, np.newaxis], quality, "GRAY", "Gray"))
    if hasattr(simplejpeg, "encode_jpeg_yuv_planes"):
        return bytes(simplejpeg.encode_jpeg_yuv_planes(y, u, v, quality))
    return encode_bgr(_bgr(y, u, v), quality)


def turn(pixels: Pixels, hflip: bool, vflip: bool, rotation: int) -> Pixels:
    """Mirror, then turn clockwise by 0, 90, 180 or 270 degrees: a plane or a picture. The result is contiguous."""
    if hflip:
        pixels = pixels[:, ::-1]
    if vflip:
        pixels = pixels[::-1]
    return np.ascontiguousarray(np.rot90(pixels, -rotation // 90))


def _bgr(y: Pixels, u: Pixels, v: Pixels) -> Pixels:
    """ITU-R BT.601, full range, as JFIF has it."""
    rows, columns = y.shape[0] // u.shape[0], y.shape[1] // u.shape[1]
    luma = y.astype(np.float32)
    cb, cr = (plane.repeat(rows, 0).repeat(columns, 1).astype(np.float32) - 128 for plane in (u, v))
    bgr = np.stack((luma + 1.772 * cb, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.402 * cr), axis=2)
    return bgr.round().clip(0, 255).astype(np.uint8)
