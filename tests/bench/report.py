"""The tables, as plain text."""

import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from .links import DELAY_MS, Line, Link
from .viewers import Figures

Row = Sequence[str]


def table(head: Row, rows: Sequence[Row]) -> str:
    """Columns set right, except the words in front."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    words = [not any(c.isdigit() for row in rows for c in row[i][:1]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) if word else cell.rjust(w) for cell, w, word in zip(row, widths, words, strict=True))
        for row in (head, *rows)
    )


def loopback(results: Mapping[int, Mapping[str, Figures]]) -> str:
    """By number of viewers, then by sender; the first sender is compared with each of the others."""
    head = ("viewers", "sender", "fps", "CPU µs/frame", "age p50 ms", "p99", "RSS MB", "missed", *_RATIOS)
    rows = []
    for count, senders in results.items():
        first = next(iter(senders.values()))
        for name, f in senders.items():
            own = (f"{f.fps:.2f}", f"{f.cpu_us:.1f}", f"{f.age_p50_ms:.2f}", f"{f.age_p99_ms:.2f}", f"{f.rss_mb:.1f}")
            rows.append((str(count), name, *own, f"{f.missed:.0f}", *_ratios(first, f)))
    return table(head, rows)


_RATIOS = ("piapp ÷ it: CPU", "age p50", "p99")


def _ratios(first: Figures, other: Figures) -> tuple[str, ...]:
    if first is other:
        return ("",) * len(_RATIOS)
    return tuple(
        f"{mine / its:.2f}" if its else "-"
        for mine, its in (
            (first.cpu_us, other.cpu_us),
            (first.age_p50_ms, other.age_p50_ms),
            (first.age_p99_ms, other.age_p99_ms),
        )
    )


def pages(stream: Mapping[int, Sequence[Figures]], pages: Mapping[int, Sequence[Figures]]) -> str:
    """What a picture on a page costs beside one on a stream, in the same round each: by number of viewers."""
    each = []
    for count, rounds in stream.items():
        ratios = sorted(page.cpu_us / plain.cpu_us for plain, page in zip(rounds, pages[count], strict=True))
        spread = f" ({ratios[0]:.2f} to {ratios[-1]:.2f})" if len(ratios) > 1 else ""
        each.append(f"{count}: {np.median(ratios):.2f}{spread}")
    return "Server CPU per frame over the WebSocket ÷ /stream, by viewers: " + ", ".join(each)


def memory(results: Mapping[int, Mapping[str, Figures]]) -> str:
    """What each further viewer takes, between the two largest numbers of viewers."""
    if len(results) < 2:
        return ""
    (few, before), (many, after) = list(results.items())[-2:]
    each = (f"{name} {(after[name].rss_mb - f.rss_mb) * 1024 / (many - few):.1f} kB" for name, f in before.items())
    return f"Memory for each further viewer ({few} to {many}): " + ", ".join(each)


def links(results: Sequence[tuple[Link, Line, Mapping[str, tuple[Figures, Figures]]]]) -> str:
    """Each Mapping is sender → (slow viewer, fast viewers)."""
    head = (
        "link",
        "sender",
        "age p50 ms",
        "p95",
        "p99",
        "floor",
        "p50 ÷ floor",
        "÷ frame",
        "fps",
        "carries",
        "share %",
    )
    rows = []
    for link, line, senders in results:
        for name, (slow, fast) in senders.items():
            floor_ms, carries = line.floor_ms(slow.bytes), line.carries_fps(slow.bytes)
            rows.append(
                (
                    str(link),
                    name,
                    f"{slow.age_p50_ms:.0f}",
                    f"{slow.age_p95_ms:.0f}",
                    f"{slow.age_p99_ms:.0f}",
                    f"{floor_ms:.0f}",
                    f"{slow.age_p50_ms / floor_ms:.2f}",
                    f"{slow.age_p50_ms / line.frame_ms(slow.bytes):.2f}",
                    f"{slow.fps:.2f}",
                    f"{carries:.2f}",
                    f"{100 * slow.fps / carries:.0f}",
                    f"{fast.age_p99_ms:.2f}",
                    f"{fast.missed:.0f}",
                )
            )
    return table((*head, "fast viewers' p99", "missed"), rows)


def stalled(results: Mapping[str, tuple[Figures, Figures, float]]) -> str:
    """sender → what the fast viewers saw without and with stalled ones beside them, and what the kernel held then."""
    head = ("sender", "age p99 ms without", "with", "missed without", "with", "CPU µs/frame without", "with", "held MB")
    rows = []
    for name, (*pair, held_mb) in results.items():
        cells = [[f"{f.age_p99_ms:.2f}", f"{f.missed:.0f}", f"{f.cpu_us:.1f}"] for f in pair]
        rows.append((name, *(cell for both in zip(*cells, strict=True) for cell in both), f"{held_mb:.1f}"))
    return table(head, rows)


LINKS_LEGEND = (
    f"One viewer on a link of {DELAY_MS} ms delay, TCP cubic. floor: what a picture's bytes take at the link's "
    "measured rate,\nand the delay; frame: without the delay. carries: what the link could carry; share: what was used."
)


class Progress:
    """One line on stderr that changes; lines below each other where that is no terminal."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self._tty:
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            print(f"\r\033[K{text[:width]}", end="", file=sys.stderr, flush=True)
        elif text:
            print(text, file=sys.stderr, flush=True)
