"""Frames for cameras that are files."""

from pathlib import Path

import numpy as np
import simplejpeg

from piapp.config import Size


def frames(size: Size, grey: int, count: int = 5) -> list[bytes]:
    """As a camera gives them raw (YUYV): grey, with a bright bar below that is somewhere else in each frame."""
    found = []
    for number in range(count):
        luma = np.full((size.height, size.width), grey, np.uint8)
        left = size.width * number // count
        luma[size.height * 3 // 4 :, left : left + size.width // count] = 200
        found.append(np.stack((luma, np.full_like(luma, 128)), axis=2).tobytes())
    return found


def draw(folder: Path, wanted_bytes: int, count: int = 30) -> None:
    """Different 720p JPEGs of that size: noise, of which there is as much in a camera's. The same ones every time."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed=1)
    ramp = np.linspace(0, 200, 1280, dtype=np.float32)
    noise = random.normal(0, 12, (720, 1280, 3)).astype(np.float32)
    rgb = np.clip(ramp[None, :, None] + noise + 20, 0, 255).astype(np.uint8)
    quality = min(range(20, 96, 3), key=lambda quality: abs(len(_encoded(rgb, quality)) - wanted_bytes))
    for number in range(count):
        picture = _encoded(np.roll(rgb, 40 * number, axis=1), quality)
        (folder / f"{number:03d}.jpg").write_bytes(_padded(picture, wanted_bytes))


def _encoded(rgb: np.ndarray, quality: int) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality, "RGB", "420"))


def _padded(picture: bytes, wanted_bytes: int) -> bytes:
    """With comment segments after the first marker, up to that size."""
    comments = b""
    while (missing := wanted_bytes - len(picture) - len(comments)) > 4:
        length = min(missing - 2, 0xFFFF)
        comments += b"\xff\xfe" + length.to_bytes(2, "big") + bytes(length - 2)
    return picture[:2] + comments + picture[2:]
