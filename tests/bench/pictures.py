"""Pictures to send: noise that a JPEG encoder makes about as many bytes of as of a camera's picture."""

from pathlib import Path

import numpy as np
import simplejpeg

WIDTH, HEIGHT = 1280, 720
COUNT = 30
WANTED_KB = 100


def draw(folder: Path, wanted_kb: int = WANTED_KB) -> None:
    """COUNT different JPEGs of about so many bytes, the same ones every time."""
    random = np.random.default_rng(seed=1)
    ramp = np.linspace(0, 200, WIDTH, dtype=np.float32)
    noise = random.normal(0, 12, (HEIGHT, WIDTH, 3)).astype(np.float32)
    pixels = np.clip(ramp[None, :, None] + noise + 20, 0, 255).astype(np.uint8)
    quality = min(range(20, 96, 3), key=lambda q: abs(len(_encode(pixels, q)) - wanted_kb * 1000))
    for number in range(COUNT):
        (folder / f"{number:03d}.jpg").write_bytes(_encode(np.roll(pixels, 40 * number, axis=1), quality))


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality))
