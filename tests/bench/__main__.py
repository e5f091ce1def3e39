"""scripts/bench: piapp beside the least that any sender must do, in the same run."""

import argparse
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import attacks, floods, links, pictures, report, request_cost, senders, viewers
from .senders import LOOPBACK, BenchError, Place, Running, Sender
from .viewers import Figures, Group

USUAL_PARTS = ("table", "idle", "stalled", "links")
PARTS = (*USUAL_PARTS, "floods", "request-cost")
LINKS = (
    links.Link(2),
    links.Link(2, queue_ms=1000),
    links.Link(8),
    links.Link(8, frame_kb=140),
    links.Link(20),
    links.Link(60, outage_ms=1500),
)
FAST, STALLED = 10, 20
FLOOD_S = 8.0
PAIRS = 15
SOAK_VIEWERS = 100
SOAK_STEPS = 10
IDLE_S = 3.0
BUSY_LOAD = 0.7


@dataclass(frozen=True)
class Bench:
    """What stays the same for all parts of one run."""

    folder: Path  # for all files; gone afterwards
    images: Path
    source: str
    senders: Sequence[Sender]  # piapp first, then piapp's live view
    seconds: float
    rounds: int
    progress: report.Progress

    def running(
        self, sender: Sender, place: Place | None = None, frame_kb: int = 0
    ) -> "contextlib.AbstractContextManager[Running]":
        """`frame_kb`: with pictures drawn as large as this."""
        images, source = self.images, self.source
        if frame_kb:
            images, source = self.folder / f"{frame_kb} kB", "images"
            if not images.exists():
                images.mkdir()
                pictures.draw(images, frame_kb)
        return sender.running(self.folder, images, source, place or Place())

    def table(self, counts: Sequence[int]) -> None:
        """The senders take turns, all numbers of viewers in each turn."""
        seen: dict[int, dict[str, list[Figures]]] = {n: {s.name: [] for s in self.senders} for n in counts}
        for turn in range(self.rounds):
            for sender in self.senders:
                with self.running(sender) as running:
                    for count in counts:
                        self.progress(f"round {turn + 1} of {self.rounds}: {sender.name}, {count} viewers")
                        figures = viewers.watch(sender, running, self.folder, [Group(count)], self.seconds)
                        seen[count][sender.name] += figures
        results = {n: {name: viewers.median(all_) for name, all_ in by.items()} for n, by in seen.items()}
        self.progress("")
        stream, pages = ({n: by[s.name] for n, by in seen.items()} for s in self.senders[:2])
        parts = (report.loopback(results), report.pages(stream, pages), report.memory(results))
        print(*filter(None, parts), sep="\n\n", flush=True)

    def idle(self) -> None:
        """After a viewer has come and gone."""
        self.progress("nobody watching")
        sender = self.senders[0]
        with self.running(sender) as running:
            viewers.watch(sender, running, self.folder, [Group(1)], 0.5)
            time.sleep(2)  # piapp closes its source 0.5 s after the last viewer has gone
            cpu_s = running.cpu_s()
            time.sleep(IDLE_S)
            share = (running.cpu_s() - cpu_s) / IDLE_S
            self.progress("")
            print(f"Nobody watching: {sender.name} takes {share:.2%} of a core, {running.rss_mb():.1f} MB", flush=True)

    def links(self, wanted: Sequence[links.Link], seconds: float) -> None:
        results = []
        for link in wanted:
            self.progress(f"{link}: measuring the link")
            with links.laid(link) as line:
                groups = [Group(FAST, line.sender), Group(1, line.viewer, links.SENDER_ADDRESS)]
                by_sender: dict[str, tuple[Figures, Figures]] = {}
                for sender in self.senders:
                    self.progress(f"{link}: {sender.name}")
                    with self.running(sender, line.sender, link.frame_kb) as running:
                        fast, slow = viewers.watch(sender, running, self.folder, groups, seconds, warm_up_s=2)
                    by_sender[sender.name] = slow, fast
                results.append((link, line, by_sender))
        self.progress("")
        print(f"\n{report.LINKS_LEGEND} {FAST} fast viewers beside it.\n\n{report.links(results)}", flush=True)

    def stalled(self) -> None:
        results = {}
        for sender in self.senders:
            self.progress(f"{STALLED} stalled viewers: {sender.name}")
            with self.running(sender) as running:
                (without,) = viewers.watch(sender, running, self.folder, [Group(FAST)], self.seconds)
                with viewers.stalled(STALLED, LOOPBACK, running.port, sender):
                    (beside,) = viewers.watch(sender, running, self.folder, [Group(FAST)], self.seconds)
                    results[sender.name] = without, beside, viewers.held_mb(running.port)
        self.progress("")
        title = f"{FAST} viewers, without and with {STALLED} others that never read. held: by the kernel, for them."
        print(f"\n{title}\n\n{report.stalled(results)}", flush=True)

    def soak(self, minutes: float) -> None:
        """How piapp's memory grows while the same viewers watch."""
        sender = self.senders[0]
        with self.running(sender) as running:
            rss_mb = []

            def wait(seconds: float) -> None:
                for step in range(1, SOAK_STEPS + 1):
                    self.progress(f"soak: step {step} of {SOAK_STEPS}")
                    time.sleep(seconds / SOAK_STEPS)
                    rss_mb.append(running.rss_mb())
                    self.progress("")
                    print(f"{minutes * step / SOAK_STEPS:6.1f} min  RSS {rss_mb[-1]:.2f} MB", flush=True)

            (seen,) = viewers.watch(sender, running, self.folder, [Group(SOAK_VIEWERS)], minutes * 60, wait=wait)
        half = SOAK_STEPS // 2
        print(
            f"\n{SOAK_VIEWERS} viewers: {seen.fps:.2f} fps, age p99 {seen.age_p99_ms:.2f} ms, "
            f"{seen.missed:.0f} missed.\n"
            f"Memory grew by {rss_mb[-1] - rss_mb[half - 1]:.2f} MB in the second half."
        )


def main() -> int:
    options = _parser().parse_args()
    senders.end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="piapp-bench-") as folder:
            _run(options, Path(folder))
    except BenchError as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: stopped", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace, folder: Path) -> None:
    if options.soak or set(options.parts) & set(USUAL_PARTS):
        _measure(options, folder)
    elif (load := os.getloadavg()[0]) > BUSY_LOAD:
        print(f"Other programs keep this computer busy (load {load:.1f}).\n")
    if options.soak:
        return
    if "floods" in options.parts:
        _flood(options, folder)
    if "request-cost" in options.parts:
        if not options.before:
            raise BenchError("request-cost compares with another checkout: name its folder with --before")
        trees = options.before.resolve(), options.tree.resolve()
        pairs, share = options.rounds or PAIRS, (options.seconds or request_cost.FRAMES_S) / request_cost.FRAMES_S
        request_cost.run(trees, folder, _images(options, folder), pairs, share, report.Progress())


def _flood(options: argparse.Namespace, folder: Path) -> None:
    flood = senders.compiled("flood.c", folder)
    if not flood:
        print("\nNo floods: they need a C compiler.")
        return
    wanted = [a for a in attacks.ATTACKS if any(word in a.name for word in options.attacks)]
    if not wanted:
        raise BenchError(f"no such attack; there are: {'; '.join(a.name for a in attacks.ATTACKS)}")
    seconds = options.seconds or FLOOD_S
    floods.Floods(options.tree.resolve(), folder, flood, seconds, options.cpu, report.Progress()).run(wanted)


def _images(options: argparse.Namespace, folder: Path) -> Path:
    images: Path = options.images or folder / "images"
    if not options.images and not images.exists():
        images.mkdir()
        pictures.draw(images)
    return images


def _measure(options: argparse.Namespace, folder: Path) -> None:
    """piapp beside other senders."""
    images = _images(options, folder)
    floor = senders.floor(folder)
    bench = Bench(
        folder=folder,
        images=images,
        source=options.source,
        senders=[senders.piapp(), senders.live(), floor, *map(senders.beside, options.beside)],
        seconds=options.seconds or (1.5 if options.quick else 4),
        rounds=options.rounds or (1 if options.quick else 3),
        progress=report.Progress(),
    )
    sizes = [file.stat().st_size for file in images.glob("*.jp*g")]
    if not sizes:
        raise BenchError(f"no JPEG files in {images}")
    print(
        f"{len(sizes)} pictures of {sum(sizes) / len(sizes) / 1000:.0f} kB on average at {senders.FPS} fps; piapp: "
        f"{options.source}. {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}.\n{floor.name}: one thread, one shared part a frame, nothing else. "
        f"Medians of {bench.rounds} rounds of {bench.seconds:g} s.\nage: from capture to the last byte at the viewer. "
        "missed: pictures that some viewer got and another did not, all viewers together.\n",
        flush=True,
    )
    if (load := os.getloadavg()[0]) > BUSY_LOAD:
        print(f"Other programs keep this computer busy (load {load:.1f}): ages, p99 above all, say little.\n")
    if options.soak:
        bench.soak(options.soak)
        return
    if "table" in options.parts:
        bench.table(options.viewers or ((1, 10, 100) if options.quick else (1, 10, 30, 100, 300)))
    if "idle" in options.parts:
        bench.idle()
    if "stalled" in options.parts:
        bench.stalled()
    if "links" in options.parts:
        if lacking := links.missing():
            print(f"\nNo slow links: that needs {lacking}.")
        else:
            bench.links(LINKS[2:4] if options.quick else LINKS, 6 if options.quick else 12)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part) for part in text.split(",")}))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _parts(text: str) -> tuple[str, ...]:
    parts = _words(text)
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{unknown.pop()} is none of {', '.join(PARTS)}")
    return parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures what piapp costs, how fresh its pictures are and what slow viewers do to others, beside "
        "the least that any sender must do. About six minutes; slow links need root. On request: what badly behaved "
        "clients do to a good viewer (floods), and what a request costs beside another checkout (request-cost), six "
        "minutes each. All of it stays on this computer.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="a minute: fewer rounds, viewers and links")
    add("--parts", type=_parts, default=USUAL_PARTS, metavar="A,B", help=f"these of {','.join(PARTS)} (the first four)")
    add("--viewers", type=_numbers, metavar="N,N", help="numbers of viewers in the table (1,10,30,100,300)")
    add("--seconds", type=float, metavar="S", help="how long each number of viewers watches (4), each flood lasts (8)")
    add("--rounds", type=int, metavar="N", help="rounds of the table (3), pairs of request-cost (15)")
    add("--tree", type=Path, default=senders.ROOT, metavar="FOLDER", help="the checkout for floods and request-cost")
    add("--before", type=Path, metavar="FOLDER", help="the checkout that request-cost compares with")
    add(
        "--attacks",
        type=_words,
        default=("",),
        metavar="A,B",
        help="floods: only those with one of these in their name",
    )
    add("--cpu", type=float, default=0.0, metavar="SHARE", help="floods: of a core for piapp, as on a slower computer")
    pictures_from = parser.add_mutually_exclusive_group()
    pictures_from.add_argument("--images", type=Path, metavar="FOLDER", help="JPEG files to send (else noise, 100 kB)")
    pictures_from.add_argument(
        "--source", choices=("images", "pattern"), default="images", help="piapp's source; the others send images"
    )
    add(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another sender to measure; {host}, {port}, {images} and {fps} in the command are filled in. It answers "
        "GET /stream with Content-Length and X-Timestamp in each part, and is one process",
    )
    add("--soak", type=float, metavar="MINUTES", help=f"instead: piapp's memory, with {SOAK_VIEWERS} viewers so long")
    return parser


if __name__ == "__main__":
    sys.exit(main())
