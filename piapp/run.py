"""One opening of a device, in a thread of its own: the border between device threads and the event loop."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

from piapp.errors import SourceError
from piapp.hub import Hub
from piapp.sources.control import Control, Value
from piapp.sources.source import Source, Still

log = logging.getLogger(__name__)


class Run:
    """Begins with its making; ends when the source returns or fails. The attributes may be read from anywhere.

    `nudge` is set in the event loop when the source is made, at the first frame, when the source has changed its
    controls, and at the end. Once stop() was called nothing is published any more, so that a thread that hangs in its
    driver cannot come back with an old picture.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[], Source],
        hub: Hub,
        nudge: asyncio.Event,
        changes: Mapping[str, Value | None],
    ) -> None:
        """`changes` are for the source's controls, before its first frame."""
        self.stopping = threading.Event()
        self.last_ns = time.monotonic_ns()  # when the newest frame came; before the first one, when the source was made
        self.frames = 0
        self.bytes = 0
        self.source: Source | None = None  # None until the thread has made and loaded it
        self.error: SourceError | None = None
        self.ended = asyncio.Event()
        self._open_source, self._hub, self._nudge = open_source, hub, nudge
        self._lock = threading.Lock()  # guards the order of publishing and stopping, and who has the changes
        self._changes = dict(changes)  # until there is a source to hand them to
        self._told: tuple[Control, ...] = ()  # the source's controls at the newest frame
        self._loop = asyncio.get_running_loop()
        self._started_ns = self.last_ns
        self._stop_asked = 0.0  # time.monotonic() of the last stop()
        threading.Thread(target=self._main, name=f"camera {name}", daemon=True).start()

    @property
    def lasted_s(self) -> float:
        """From the making of the source to the newest frame."""
        return (self.last_ns - self._started_ns) / 1e9

    @property
    def overdue_s(self) -> float:
        """Since stop() was called, when the source has not ended yet."""
        return time.monotonic() - self._stop_asked if self.stopping.is_set() and not self.ended.is_set() else 0.0

    def stop(self) -> None:
        """Ask the source to end, without waiting. When this returns, its last picture is published."""
        with self._lock:
            self._stop_asked = time.monotonic()
            self.stopping.set()

    def adjust(self, changes: Mapping[str, Value | None]) -> None:
        """For the source's controls: as Source.adjust, and there need not be a source yet."""
        with self._lock:
            self._changes.update(changes)
            if self.source:
                self.source.adjust(changes)

    def controls(self) -> tuple[tuple[Control, ...], dict[str, Value | None]]:
        """What the source has declared, and which changes it has still to make."""
        with self._lock:
            source = self.source
        if source is None:
            return (), dict(self._changes)
        asked = source.asked()  # first: a change that is made now shall not be missing in both
        return source.controls, asked

    async def still(self) -> Still:
        """As Source.still, of a run that has frames. Waits no longer than the source runs, which may be for ever.

        Raises Unsupported, or SourceError.
        """
        if self.source is None or self.stopping.is_set():
            raise SourceError("Camera closed", "try again")
        taken = asyncio.wrap_future(self.source.still())
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait((taken, ended), return_when=asyncio.FIRST_COMPLETED)
            if not taken.done():
                raise self.error or SourceError("Camera closed", "try again")
            return taken.result()
        finally:
            taken.cancel()  # the source need not take it any more
            ended.cancel()

    def publish(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        """Called by the source, in whatever thread it has."""
        with self._lock:
            if self.stopping.is_set():
                return
            self.last_ns = time.monotonic_ns()
            self.frames += 1
            self.bytes += len(jpeg)
            self._hub.publish(jpeg, captured_ns, width, height)
            controls = self.source.controls if self.source else ()
            news = self.frames == 1 or controls is not self._told
            self._told = controls
        if news:
            self._in_loop(self._nudge.set)

    def _main(self) -> None:
        try:
            source = self._open_source()
            source.load()
            with self._lock:
                source.adjust(self._changes)
                self._started_ns = self.last_ns = time.monotonic_ns()
                self.source = source  # after them, since others read both without the lock
            self._in_loop(self._nudge.set)
            source.run(self.publish, self.stopping)
        except SourceError as error:
            self.error = error
        except Exception:
            log.exception("%s: unexpected error", threading.current_thread().name)
            self.error = SourceError("Camera failed in a way nobody expected", "the log has the details")
        self._in_loop(self.ended.set)
        self._in_loop(self._nudge.set)

    def _in_loop(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
            self._loop.call_soon_threadsafe(call)
