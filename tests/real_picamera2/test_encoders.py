"""Why piapp has picamera2's JpegEncoder make its JPEGs, and not LibavMjpegEncoder, which picamera2 takes on a Pi 5."""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from picamera2.encoders import LibavMjpegEncoder

from piapp.sources import pi_encoder

from .conftest import Report
from .filming import HD, LIMIT_S, Filming, Frame, fps, pixels, place

PHASE_S = 2.0
HOGS = 4 * (os.cpu_count() or 1)


@contextlib.contextmanager
def busy_machine() -> Iterator[None]:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(HOGS)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def during(filming: Filming) -> list[Frame]:
    """The frames of one phase."""
    have = len(filming.frames)
    time.sleep(PHASE_S)
    return filming.frames[have:]


def late(frames: list[Frame]) -> int:
    """How many newer pictures the camera had taken when one was published, mostly."""
    return statistics.median_low([int(frame.delay_s * HD.framerate) for frame in frames])


def measured(name: str, report: Report) -> dict[str, int]:
    """How late the frames are, before, under and after load on all processors."""
    found = {}
    with Filming() as filming:
        filming.more(10)
        for phase, load in ("before", contextlib.nullcontext()), ("under", busy_machine()), ("after", None):
            with load or contextlib.nullcontext():
                frames = during(filming)
            found[phase] = late(frames)
            delays_ms = sorted(frame.delay_s * 1000 for frame in frames)
            report(
                f"{name:>6} {phase:>6} load: {fps(frames):5.2f} fps, {delays_ms[len(frames) // 2]:6.1f} ms late,"
                f" at most {delays_ms[-1]:6.1f} ms, {found[phase]} frames"
            )
        place(pixels(filming.more(1)[0].jpeg))
    return found


def test_a_frame_waits_for_the_next_with_libav_only(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    ours = measured("jpeg", report)
    monkeypatch.setattr(pi_encoder, "software", lambda quality: LibavMjpegEncoder(qp=3))
    theirs = measured("libav", report)
    assert ours["before"] < theirs["before"]
    assert ours["after"] < theirs["after"]


PI_5 = """
from real_picamera2 import shim
shim.install(pisp=True)
from picamera2 import encoders
assert encoders.MJPEGEncoder is encoders.LibavMjpegEncoder
def forbidden(*_): raise AssertionError("ffmpeg's encoder")
encoders.LibavMjpegEncoder.__init__ = forbidden
from real_picamera2.filming import Filming, pixels, place
with Filming() as filming:
    place(pixels(filming.more(5)[-1].jpeg))
    print(filming.source.encoder)
"""


def test_on_a_pi_5_as_well() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PI_5],
        env={**os.environ, "PYTHONPATH": "/piapp:/piapp/tests"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "simplejpeg on the processor: this computer has no hardware for it\n"
