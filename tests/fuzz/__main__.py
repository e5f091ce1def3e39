"""scripts/fuzz: what piapp makes of input that is nearly right, or not at all."""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from . import files, frames, requests, talks, target, texts
from .case import Case, Finding, minimised
from .lines import Crew, Line

KINDS = ("http", "websocket", "settings", "patch")
BATCH = 10_000  # cases; after each, nothing may be left
MOST_GROWTH_MB = 16.0  # of memory
PROGRESS_S = 5.0
SHOWN = 20_000  # bytes
ALONE_S = 0.1  # after a case, for what it brings about


class Progress:
    """A line now and then."""

    def __init__(self, kind: str, cases: int) -> None:
        self._kind, self._cases = kind, cases
        self._began = self._shown = time.monotonic()

    def __call__(self, done: int, more: str = "", *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._shown >= PROGRESS_S:
            self._shown = now
            rate = done / max(1e-6, now - self._began)
            print(f"{self._kind}: {done} of {self._cases} cases, {rate:.0f}/s {more}", file=sys.stderr, flush=True)


class Growth:
    """Of this process, once it has been busy for a tenth of the cases: until then it fills what it keeps for good."""

    def __init__(self, cases: int) -> None:
        self._warm = cases / 10
        self._before_mb = self._now_mb = 0.0

    def look(self, done: int) -> None:
        """Raises Finding."""
        self._now_mb = target.memory_mb()
        if done <= self._warm or not self._before_mb:
            self._before_mb = self._now_mb
        if self._now_mb > self._before_mb + MOST_GROWTH_MB:
            raise Finding(f"memory has grown from {self._before_mb:.1f} to {self._now_mb:.1f} MB")

    def __str__(self) -> str:
        return f"{self._before_mb:.1f} MB → {self._now_mb:.1f} MB" if self._before_mb else ""


def batches(seeds: Iterable[int]) -> Iterator[list[int]]:
    batch = list[int]()
    for seed in seeds:
        batch.append(seed)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def read_settings(seeds: range, folder: Path) -> None:
    """Raises Finding."""
    progress, growth = Progress("settings", len(seeds)), Growth(len(seeds))
    with files.reading(folder) as reader:
        done = 0
        for batch in batches(seeds):
            for seed in batch:
                try:
                    reader.read(texts.case(seed))
                except Finding as finding:
                    show("settings", finding, finding.suspects[0])
                    show_shortest(asyncio.run(shortest(reader, finding)))
                    raise
                done += 1
                progress(done, f"slowest {reader.slowest_s:.2f} s, {growth}")
            growth.look(done)
        progress(done, f"slowest {reader.slowest_s:.2f} s, {growth}", last=True)


async def shortest(reader: files.Reader, finding: Finding) -> tuple[bytes, ...]:
    """The files that still show it."""
    pieces = list(finding.suspects[0].pieces)

    for i, piece in enumerate(pieces):

        async def fails(data: bytes, i: int = i) -> bool:
            try:
                reader.read(Case(0, (*pieces[:i], data, *pieces[i + 1 :])))
            except Finding as found:
                return found.is_like(finding)
            return False

        pieces[i] = texts.NONE if await fails(texts.NONE) else await minimised(piece, fails)
    return tuple(pieces)


async def talk(kind: str, seeds: range, folder: Path) -> None:
    """Over real sockets, to a real piapp. Raises Finding."""
    make_case: Callable[[int], Case]
    make_line: Callable[[Crew], Line]
    make_case, make_line = {
        "http": (requests.case, talks.Requests),
        "patch": (requests.change, talks.Changes),
        "websocket": (frames.case, talks.Live),
    }[kind]
    progress, growth = Progress(kind, len(seeds)), Growth(len(seeds))

    def cases(batch: list[int]) -> Iterator[Case]:
        for seed in batch:
            case = make_case(seed)
            if kind == "websocket":
                talks.read(case)
            yield case
            progress(crew.done, str(growth))

    async with AsyncExitStack() as stack:
        piapp = await stack.enter_async_context(target.serving(folder))
        crew = Crew(piapp, make_line)
        try:
            for batch in batches(seeds):
                await crew.run(cases(batch))
                await piapp.check()
                growth.look(crew.done)
        except Finding as finding:
            await search(kind, finding, piapp, make_line)
            raise
    progress(crew.done, str(growth), last=True)


async def search(kind: str, finding: Finding, piapp: target.Target, make_line: Callable[[Crew], Line]) -> None:
    """Which of the suspects it is, if one alone does it."""

    async def alone(pieces: tuple[bytes, ...]) -> bool:
        piapp.log.problems.clear()
        try:
            await Crew(piapp, make_line, lines=1).run([Case(0, pieces)])
            await asyncio.sleep(ALONE_S)
            if problem := piapp.problem():
                raise Finding(problem)
        except Finding as found:
            return found.is_like(finding)
        return False

    for case in finding.suspects:
        if await alone(case.pieces):
            show(kind, finding, case)
            in_one = await alone((case.data,))
            show_shortest((await minimised(case.data, lambda data: alone((data,))),) if in_one else case.pieces)
            return
    print(f"✗ {finding.what}\nNo single case does it. The {len(finding.suspects)} that may have a part in it:")
    for case in finding.suspects[:50]:
        print(f"  --seed {case.seed}: {str(case.pieces)[:500]}")


def show(kind: str, finding: Finding, case: Case) -> None:
    print(f"✗ {finding.what[:SHOWN]}\nRepeat it with: scripts/fuzz --kind {kind} --seed {case.seed} --cases 1")
    print(f"The case:\n{case.pieces!r}"[:SHOWN], flush=True)


def show_shortest(pieces: tuple[bytes, ...]) -> None:
    print(f"The shortest that does the same:\n{pieces!r}"[:SHOWN], flush=True)


def fuzz(kind: str, seeds: range) -> bool:
    """Whether all is well."""
    with tempfile.TemporaryDirectory(
        prefix="piapp-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as folder:
        try:
            if kind == "settings":
                read_settings(seeds, Path(folder))
            else:
                asyncio.run(talk(kind, seeds, Path(folder)))
        except Finding as finding:
            if not finding.suspects:
                print(f"✗ {kind}: {finding.what}")
            return False
    return True


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.lastResort = None  # what is logged is looked at, not shown
    logging.getLogger().addHandler(logging.NullHandler())
    seeds = range(options.seed, options.seed + options.cases)
    kinds = (options.kind,) if options.kind else KINDS
    return int(not all([fuzz(kind, seeds) for kind in kinds]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Feeds piapp, which runs in the same process, broken HTTP requests, WebSocket frames, settings and "
        "changes to a camera. Ends with 1 at the first answer, log line, wait or growth that should not be, and says "
        "how to repeat it. All of it stays on this computer.",
    )
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    parser.add_argument("--cases", type=int, default=20_000, metavar="N", help="of each kind (20000)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the first case; it is one more for each (0)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
