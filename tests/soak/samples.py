"""What the process holds at a moment, and the verdict on how that has grown."""

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from program import Program

MOST_GROWTH_MB = 5.0
MOST_LINES = 100  # of the log, a minute
ANSWERS_S = 30.0  # a box that is busy
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """At a moment. `calm`: everybody has left, and what is kept for a while is gone."""

    at_s: float
    calm: bool
    rss_mb: float
    descriptors: int
    threads: int  # without those of the event loop's pool, which come when they are first needed and stay
    tasks: int
    cpu_s: float  # user and system time so far
    log_lines: int  # so far

    def __str__(self) -> str:
        return (
            f"{self.at_s / 60:6.1f} min {'calm' if self.calm else 'busy'}  {self.rss_mb:7.2f} MB  "
            f"{self.descriptors:4} files  {self.threads:3} threads  {self.tasks:4} tasks  "
            f"{self.cpu_s:7.1f} s CPU  {self.log_lines:6} log lines"
        )


class Probe:
    """Looks at a Program that was started by soak.inside."""

    def __init__(self, program: Program, counts: Path) -> None:
        """`counts`: the file that soak.inside was told to write."""
        self._program = program
        self._counts = counts
        self._asked = 0
        self._began = time.monotonic()

    def sample(self, calm: bool) -> Sample:
        folder = Path(f"/proc/{self._program.pid}")
        counts = self._ask()
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        return Sample(
            time.monotonic() - self._began,
            calm,
            int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
            len(os.listdir(folder / "fd")),
            len(os.listdir(folder / "task")) - counts["pool"],
            counts["tasks"],
            (int(fields[11]) + int(fields[12])) / _TICKS,
            self._program.errors().count("\n"),
        )

    def _ask(self) -> dict[str, int]:
        self._asked += 1
        self._program.tell(signal.SIGUSR1)
        end = time.monotonic() + ANSWERS_S
        while time.monotonic() < end:
            if self._counts.exists():
                counts: dict[str, int] = json.loads(self._counts.read_text())
                if counts["asked"] >= self._asked:
                    return counts
            time.sleep(0.02)
        raise TimeoutError(f"piapp's main thread has not run for {ANSWERS_S:g} s")


def verdict(samples: Sequence[Sample]) -> list[str]:
    """What has grown between the first and the last tenth of the calm moments, in a sentence each."""
    calm = [sample for sample in samples if sample.calm]
    calm = calm[max(1, len(calm) // 10) :]  # the first ones are for warming up
    count = min(max(3, len(calm) // 10), len(calm) // 2)
    if not count:
        return ["There were too few calm moments: take more minutes."]
    first, last = calm[:count], calm[-count:]

    def medians(value: Callable[[Sample], float]) -> tuple[float, float]:
        return statistics.median(map(value, first)), statistics.median(map(value, last))

    found = []
    before, after = medians(lambda sample: sample.rss_mb)
    print(f"Calm, first to last: {before:.2f} MB to {after:.2f} MB, where {MOST_GROWTH_MB:g} MB more are allowed")
    if after - before > MOST_GROWTH_MB:
        found.append(f"Memory has grown by {after - before:.2f} MB.")
    for name in ("descriptors", "threads", "tasks"):
        before, after = medians(lambda sample, name=name: getattr(sample, name))  # type: ignore[misc]
        print(f"Calm, first to last: {before:g} {name} to {after:g}, which may not be more")
        if after > before:
            found.append(f"There were {before:g} {name} and are {after:g}.")
    lines = (calm[-1].log_lines - calm[0].log_lines) / max(1.0, (calm[-1].at_s - calm[0].at_s) / 60)
    print(f"The log has {lines:.1f} lines a minute, of {MOST_LINES} that are allowed")
    if lines > MOST_LINES:
        found.append(f"The log has {lines:.0f} lines a minute.")
    return found
