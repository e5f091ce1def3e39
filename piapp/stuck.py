"""When only a fresh process can still help a camera, and asking for one.

What opening the device again does not get out of lies in what this process holds: a thread that hangs in the kernel, a
library below the source that has lost its way, memory that is never given back. All of that ends with the process. But
so do the pictures of all other cameras, so that whoever is asked may refuse, and is asked again later.
"""

import logging
from collections.abc import Callable

from piapp.errors import DeviceStuck, SourceError

log = logging.getLogger(__name__)

FAILURES = 5  # in a row, until a fresh process is asked for
HUNG_LIMIT_S = 15.0  # the same for a thread that does not end, since it was asked to


class Stuck:
    """What speaks for a fresh process, of one camera. Belongs to the event loop."""

    def __init__(self, name: str, fresh_process: Callable[[], bool]) -> None:
        """`fresh_process` ends piapp to be started again, and returns at once; False: not now."""
        self._name = name
        self._fresh_process = fresh_process
        self.reason = ""  # why a fresh process is due after the last run, if it is
        self._failures = 0  # of the device, in a row
        self._said: bool | None = None  # the last answer that was logged

    def ended(self, error: SourceError | None, worked: bool) -> None:
        """A run has, with this error. `worked`: before that the device did what it should.

        Only DeviceStuck counts: a camera that is unplugged, or in use, is so for a fresh process too.
        """
        self.reason = ""
        if worked:
            self._failures, self._said = 0, None
        if isinstance(error, DeviceStuck):
            self._failures += 1
            if self._failures >= FAILURES:
                self.reason = f"{error.what}, {self._failures} times in a row"

    def ask(self, reason: str) -> bool:
        """Whether piapp is about to end. Says so in the log, once for each answer."""
        granted = self._fresh_process()
        if granted is not self._said:
            self._said = granted
            if granted:
                log.error("%s: %s: piapp ends, since only a fresh process may help", self._name, reason)
            else:
                log.warning("%s: %s: only a fresh process may help, but another camera is watched", self._name, reason)
        return granted
