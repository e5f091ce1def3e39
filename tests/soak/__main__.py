"""scripts/soak: the real program for an hour, among viewers, pages, changes and faults; what grows?

It goes in rounds. In each, visitors do what they like for a while, the owner changes settings and pulls out a camera,
and then everybody leaves. What piapp holds in that calm is compared between the first and the last rounds: how many
there happen to be at any other moment says little.
"""

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from program import ROOT, Program

from .owner import Owner
from .samples import MOST_GROWTH_MB, Probe, Sample, verdict
from .visitors import Steady, Visitor

VISITORS = 16
SAMPLES = 12  # of a round
CALM = 2  # of these, without visitors
SAMPLE_S = 10.0
LEAVE_S = 90.0  # more than any visitor takes for its last step
SHOWN = 10  # of what went wrong


class Soak:
    """One run."""

    def __init__(self, program: Program, owner: Owner, probe: Probe, sample_s: float) -> None:
        self.samples: list[Sample] = []
        self.wrong: list[str] = []
        self.did: Counter[str] = Counter()
        self._program, self._owner, self._probe, self._sample_s = program, owner, probe, sample_s
        self._shown_s = 0.0
        self._gap_s = 0.0

    def round(self, number: int) -> None:
        over, port = threading.Event(), self._program.port
        steady = Steady(port, over)
        visitors = [Visitor(port, number * VISITORS + i, over) for i in range(VISITORS)]
        ways = [steady.run, *(visitor.run for visitor in visitors), lambda: self._owner.run(self._program, over)]
        threads = [threading.Thread(target=way, daemon=True) for way in ways]
        for thread in threads:
            thread.start()
            steady.there.wait(LEAVE_S)  # while there is a place
        for _ in range(SAMPLES - CALM):
            self._wait()
            self._take(calm=False)
        over.set()
        end = time.monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        if hang := sum(thread.is_alive() for thread in threads):
            self.wrong.append(f"{hang} visitors hang")
        for _ in range(CALM):
            self._wait()
        self._gap_s = steady.longest_gap_s
        self.did["steady pictures"] += steady.pictures
        self.did += sum((visitor.did for visitor in visitors), Counter[str]())
        self.wrong += [*steady.wrong, *(each for visitor in visitors for each in visitor.wrong)]
        self._take(calm=True)

    def _wait(self) -> None:
        time.sleep(self._sample_s)

    def _take(self, calm: bool) -> None:
        sample = self._probe.sample(calm)
        self.samples.append(sample)
        if calm or sample.at_s - self._shown_s >= 6 * self._sample_s - 1:
            self._shown_s = sample.at_s
            gap = f"  longest wait for a picture {self._gap_s:.2f} s" if calm else ""
            print(f"{sample}{gap}", flush=True)


def run(minutes: float, folder: Path) -> list[str]:
    """What is wrong, in a sentence each."""
    sample_s = min(SAMPLE_S, minutes)
    owner, counts = Owner(folder), folder / "counts.json"
    before = [sys.executable, "-m", "soak.inside", str(counts)]
    with Program(folder, before=before, variables={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}) as program:
        soak = Soak(program, owner, Probe(program, counts), sample_s)
        began, number = time.monotonic(), 0
        try:
            while time.monotonic() - began < minutes * 60:
                soak.round(number)
                number += 1
        except (OSError, TimeoutError) as error:
            soak.wrong.append(f"piapp cannot be looked at any more: {error!r}")
        print(f"\nVisitors: {dict(soak.did)}\nOwner: {dict(owner.did)}")
        found = [*verdict(soak.samples), *soak.wrong]
        if (code := program.stop(signal.SIGTERM)) != 0:
            found.append(f"piapp ended with {code}.")
        log = program.errors()
    if "Traceback" in log or "ERROR asyncio" in log or "ResourceWarning" in log:
        found.append("There is a traceback in the log.")
    if found:
        print(f"The end of the log:\n{log[-8000:]}")
    return found


def main() -> int:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="piapp-soak-") as folder:
        found = run(options.minutes, Path(folder))
    for sentence in found[:SHOWN]:
        print(f"✗ {sentence}")
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more")
    print("Nothing has grown." if not found else "There is something wrong.")
    return int(bool(found))


def _minutes(text: str) -> float:
    if (minutes := float(text)) < 1:
        raise argparse.ArgumentTypeError("at least one minute")
    return minutes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Runs piapp with three cameras while viewers and pages come, watch, stall, crawl, reset and go, "
        "cameras are switched, changed and pulled out, settings are reloaded and strangers attack. Prints what it "
        f"holds, a line a minute; ends with 1 if its memory grows by more than {MOST_GROWTH_MB:g} MB, or its files, "
        "threads or tasks by any, or if something goes wrong. All of it stays on this computer.",
    )
    parser.add_argument(
        "--minutes", type=_minutes, default=60.0, metavar="N", help="how long, from 4 for a verdict (60)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
