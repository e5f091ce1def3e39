"""What has come from one camera, over all openings of its device, and how fast it comes."""

import time

from piapp.run import Run

SHORTEST_S = 0.5  # of a measurement; a shorter one would say little


class Counts:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self.fps = 0.0  # between the last two measurements
        self.bytes_per_s = 0.0
        self._run: Run | None = None
        self._frames_before = self._bad_before = 0  # of the runs that have ended
        self._measured = (time.monotonic(), 0, 0)  # when, frames and bytes of the run by then

    @property
    def frames(self) -> int:
        """Pictures since the program began."""
        return self._frames_before + (self._run.frames if self._run else 0)

    @property
    def bad_frames(self) -> int:
        """Torn or broken pictures that the sources have dropped."""
        source = self._run.source if self._run else None
        return self._bad_before + (source.bad_frames if source else 0)

    def begin(self, run: Run | None) -> None:
        """This run is the one that counts from now on; None: the last one is over."""
        self._frames_before, self._bad_before = self.frames, self.bad_frames
        self._run = run

    def measure(self) -> None:
        """The rates since the last measurement."""
        now, frames, size = time.monotonic(), self.frames, self._run.bytes if self._run else 0
        before, frames_before, size_before = self._measured
        if now - before >= SHORTEST_S:
            self.fps = (frames - frames_before) / (now - before)
            self.bytes_per_s = max(0, size - size_before) / (now - before)
            self._measured = (now, frames, size)
