"""One picture on its way from the camera to the viewers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """An immutable JPEG with what is known of it; shared by all threads and viewers, never copied.

    captured_ns is CLOCK_MONOTONIC (time.monotonic_ns) at the exposure where the device tells it, else
    at the arrival in this process.
    """

    jpeg: bytes
    number: int  # 1, 2, 3… within one camera, never used again, whatever is restarted
    captured_ns: int
    width: int
    height: int
    notice: str = ""  # what it says, when it is no picture but words that piapp drew itself
