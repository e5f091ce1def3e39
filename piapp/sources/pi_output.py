"""What a Pi camera's encoder hands its JPEGs to. Imports picamera2 only when it is asked for one."""

import logging
import time
from collections.abc import Callable
from typing import Any

from piapp.config import Size
from piapp.rate_limit import Rate, RateLimit
from piapp.sources import text
from piapp.sources.source import Publish, plausible

log = logging.getLogger(__name__)

OLDEST_S = 10.0  # a frame may be as old, with one exposure a second
TAIL = 4096  # bytes; how much padding there may be behind a picture


def hub_output(encoder: Any, publish: Publish, size: Size, bad: Callable[[str], None]) -> Any:
    """The receiver for one run of this encoder; `bad` is told, in the encoder's thread, why a frame was left out.

    A class made here, since its base class is only there when picamera2 is.
    """
    from picamera2.outputs import Output

    lines = RateLimit(Rate(3, 60.0))  # of log lines: every frame may fail

    class HubOutput(Output):  # type: ignore[misc]
        """outputframe runs in the encoder's thread, which an exception would kill for good: it must not raise."""

        def outputframe(self, frame: bytes, keyframe: bool = True, timestamp: int | None = None, *_: object) -> None:
            """`frame` is a JPEG, a copy that nobody else keeps; up to 0.3.22 no more arguments follow, later two.

            Frame and exposure are matched by the encoder itself: its `timestamp` is the request's SensorTimestamp,
            in µs, less that of the first frame it got, which it keeps as `firsttimestamp`. It travels with the frame
            through the hardware's buffers, so that frames which an encoder drops or delays do not matter.
            """
            try:
                now_ns = time.monotonic_ns()
                if not _is_whole(frame):
                    bad("the hardware encoder has cut off a picture, which is too large for it: lower the quality")
                    return
                first = encoder.firsttimestamp
                captured_ns = now_ns if first is None or timestamp is None else (first + timestamp) * 1000
                publish(bytes(frame), plausible(captured_ns, now_ns, OLDEST_S), *size)
            except BaseException as error:
                if lines.allows():
                    log.exception("a frame could not be published")
                bad(f"a frame could not be published ({text.plain(error)})")

    return HubOutput()


def _is_whole(frame: bytes) -> bool:
    """The hardware's buffers have an end: the rest of a larger picture is cut off, or comes as the next one."""
    return bytes(frame[:2]) == b"\xff\xd8" and b"\xff\xd9" in bytes(frame[-TAIL:])
