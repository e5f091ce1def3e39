"""Log output that clients can neither forge nor flood.

Names, addresses and headers can contain line breaks and terminal escape sequences; such characters are escaped. Lines
of one kind are rate-limited, and the next one logged says how many were left out.
"""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable

from piapp.rate_limit import Rate, RateLimit

LINES = Rate(5, 50.0)  # of one kind
KINDS = 1000  # remembered; beyond that, the least recent one is forgotten

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def start(level: str) -> None:
    """Log to stderr at this level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Repetition())
    logging.basicConfig(level=level, handlers=[handler])


class OneLine(logging.Formatter):
    """Escapes control characters. Only tracebacks span several lines."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        first, *traceback = [text] if not (record.exc_info or record.stack_info) else text.split("\n")
        return "\n".join((escaped(first), *map(escaped, traceback)))


class Repetition(logging.Filter):
    """Rate-limits lines of each kind, except for debug messages, which always pass.

    Lines are of one kind if they have the same logger and the same message before its arguments are filled in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()  # logging does not hold one while it calls a filter
        self._kinds: dict[tuple[str, str], tuple[RateLimit, int]] = {}  # with the number of lines left out

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
            del self._kinds[next(iter(self._kinds))]  # the least recent one
        return passes


def escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
