"""Pictures that carry a number and can be told apart to the last byte, and a device that sends them."""

import asyncio
import contextlib
import functools
import random
import re
import struct
import threading
import time

from fakes import FakeDevice, FakeSource, pattern_jpegs

from piapp.sources.source import Publish, Source

NOISE = 20_000  # bytes; of the size of a small camera picture
# What would mislead a reader that searches for boundaries where a length stands.
BOUNDARIES = (
    b"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n\r\n--frame--\r\n--frame\xff\xd9\r\n\r\n"
)
NEARLY = b"\r\n--fram\xff\xd9\r\n--framf\r\n\r\n-frame\r\nContent-Type: image/jpeg\r\n\r\n\r\n\r\n\xff\xd8"
_NUMBER = re.compile(rb"\xff\xd8\xff\xfe..number (\d+) ", re.DOTALL)


@functools.lru_cache(4096)
def numbered(number: int, extra: bytes = NEARLY, noise: int = NOISE) -> bytes:
    """A JPEG that decodes; its comment holds the number, `extra` and bytes that no other number has."""
    comment = b"number %d " % number + extra + random.Random(number).randbytes(noise) + extra
    jpeg = pattern_jpegs(1)[0]
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def number_in(jpeg: bytes, extra: bytes = NEARLY) -> int:
    """The number of a picture, after looking that it is that picture and nothing else; 0 for a notice."""
    found = _NUMBER.match(jpeg)
    if not found:
        assert b"number" not in jpeg
        return 0
    assert jpeg == numbered(int(found[1]), extra, len(jpeg) - len(numbered(int(found[1]), extra, 0)))
    return int(found[1])


class Numbered(FakeDevice):
    """Sends picture 1, 2, 3…, and each only after the event loop has heard of the one before.

    So no picture is overtaken on its way to the event loop, however busy the box is, and one that a viewer lacks was
    kept from it by the code that serves viewers. `gate` goes further: cleared after each picture when `lockstep` is
    set, and no other is sent until it is set again.
    """

    def __init__(self, fps: float = 100.0, extra: bytes = NEARLY, noise: int = NOISE) -> None:
        super().__init__([], fps)
        self.extra, self.noise = extra, noise
        self.loop: asyncio.AbstractEventLoop | None = None  # of the piapp that is served
        self.lockstep = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Source:
        super().__call__()
        return _NumberedSource(self)


class _NumberedSource(FakeSource):
    def __init__(self, device: Numbered) -> None:
        super().__init__(device)
        self._numbered = device

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        device = self._numbered
        device.open += 1
        try:
            while not stopping.wait(1 / device.fps):
                if device.fault:
                    raise device.fault
                if device.stalled or not device.gate.is_set():
                    continue
                if device.lockstep:
                    device.gate.clear()
                device.sent += 1
                publish(numbered(device.sent, device.extra, device.noise), time.monotonic_ns(), *device.size)
                self._told(stopping)
        finally:
            device.open -= 1

    def _told(self, stopping: threading.Event) -> None:
        heard = threading.Event()
        if self._numbered.loop:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._numbered.loop.call_soon_threadsafe(heard.set)
                while not heard.wait(0.1) and not stopping.is_set():
                    pass
