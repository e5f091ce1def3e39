"""How piapp writes its log: one line for each event, whatever a stranger puts into it and however often.

A name, an address or a header may hold what moves a terminal's cursor, or looks like another line of the log: such
characters are escaped. And what happens again and again is told a few times, then counted.
"""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable

from piapp.rate_limit import Rate, RateLimit

LINES = Rate(5, 50.0)  # of one kind; the next one then says how many were left out
KINDS = 1000  # are remembered

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def start(level: str) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Repetition())
    logging.basicConfig(level=level, handlers=[handler])


class OneLine(logging.Formatter):
    """Escapes what is not printable. Only a traceback has lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        first, *traceback = [text] if not (record.exc_info or record.stack_info) else text.split("\n")
        return "\n".join((escaped(first), *map(escaped, traceback)))


class Repetition(logging.Filter):
    """Lets a few lines of each kind through, then one now and then; of what is only for debugging, all.

    Lines are of one kind if they come from the same place: the message is the same before its values are filled in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()  # logging calls filters without one
        self._kinds: dict[tuple[str, str], tuple[RateLimit, int]] = {}  # and how many of it were left out

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.INFO:
            return True
        with self._lock:
            return self._passes(record)

    def _passes(self, record: logging.LogRecord) -> bool:
        kind = record.name, str(record.msg)
        limit, omitted = self._kinds.pop(kind) if kind in self._kinds else (RateLimit(LINES, self._clock), 0)
        passes = limit.allows()
        if passes and omitted:
            record.msg, record.args = f"{record.getMessage()} (and {omitted} more like it)", None
        self._kinds[kind] = limit, 0 if passes else omitted + 1
        if len(self._kinds) > KINDS:
            del self._kinds[next(iter(self._kinds))]  # that was not heard of for longest
        return passes


def escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
