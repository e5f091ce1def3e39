"""One opening of a device, in a thread of its own: the border between device threads and the event loop."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from piapp.errors import PiappError, SourceError
from piapp.hub import Hub
from piapp.sources import text
from piapp.sources.control import Control, Value
from piapp.sources.source import Source, Still

log = logging.getLogger(__name__)

UNEXPECTED = "Camera failed in a way nobody expected", "the log has the details"


class Run:
    """Begins with its making; ends when the source returns or fails. The attributes may be read from anywhere.

    `nudge` is set in the event loop when the source is made, at the first frame, when the source has changed its
    controls, and at the end. Once stop() was called nothing is published any more, so that a thread that hangs in its
    driver cannot come back with an old picture.

    Whatever the source raises, the run ends and `error` describes it in a few words.
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
        self._stills: Stills | None = None  # once somebody has asked for one
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
        """Like Source.still, for a run that has frames; shared as Stills describes. Waits until the run ends, which may
        be for ever.

        Raises Unsupported, or SourceError.
        """
        if self.source is None or self.stopping.is_set() or self.ended.is_set():
            raise self.error or _closed()
        if self._stills is None:
            self._stills = Stills(self.source.still)
        return await self._stills.next()

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
        """Catches BaseException: a SystemExit raised by a driver's binding would end the thread silently."""
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
            self.error = _short(error)
        except BaseException:
            self.error = SourceError(*UNEXPECTED)
            log.exception("%s: unexpected error", threading.current_thread().name)
        finally:
            self._in_loop(self._end)

    def _end(self) -> None:
        self.ended.set()
        self._nudge.set()
        if self._stills:
            self._stills.fail(self.error or _closed())

    def _in_loop(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
            self._loop.call_soon_threadsafe(call)


class Stills:
    """Full pictures of one source, shared between requests: at most one is being taken and one more is due.

    Requests that arrive while a picture is being taken share the next one, which is taken after all of them were made.
    A picture that nobody waits for any more is cancelled. Belongs to the event loop.
    """

    def __init__(self, take: Callable[[], Future[Still]]) -> None:
        """`take` is Source.still."""
        self._take = take
        self._taken: Future[Still] | None = None  # the one that is being taken
        self._sharing: set[asyncio.Future[Still]] = set()  # the requests that get it
        self._waiting: set[asyncio.Future[Still]] = set()  # the requests that get the next one
        self._complained = False  # an unexpected error has been logged; once is enough
        self._loop = asyncio.get_running_loop()

    async def next(self) -> Still:
        """A picture taken after this call. Raises what the source raises; unexpected errors become a SourceError."""
        mine: asyncio.Future[Still] = self._loop.create_future()
        self._waiting.add(mine)
        self._begin()
        try:
            return await mine
        finally:
            self._waiting.discard(mine)
            self._sharing.discard(mine)
            if self._taken and not self._sharing:
                self._taken.cancel()

    def fail(self, error: SourceError) -> None:
        """End all requests with this error: the source has ended."""
        for each in (*self._sharing, *self._waiting):
            if not each.done():
                each.set_exception(error)

    def _begin(self) -> None:
        if self._taken or not self._waiting:
            return
        self._sharing, self._waiting = self._waiting, set()
        try:
            self._taken = self._take()
        except Exception as error:
            self._hand_out(error)
        else:
            self._taken.add_done_callback(self._done)

    def _done(self, taken: Future[Still]) -> None:
        """Called in the source's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
            self._loop.call_soon_threadsafe(self._finish, taken)

    def _finish(self, taken: Future[Still]) -> None:
        self._taken = None
        if taken.cancelled():
            self._hand_out(_closed())  # cancelled by the source, or because nobody was waiting
        else:
            self._hand_out(taken.exception() or taken.result())
        self._begin()

    def _hand_out(self, found: Still | BaseException) -> None:
        """Answer the requests that share this picture."""
        if isinstance(found, BaseException) and not isinstance(found, PiappError):
            if not self._complained:
                log.error("a full picture failed unexpectedly", exc_info=found)
            self._complained, found = True, SourceError(*UNEXPECTED)
        sharing, self._sharing = self._sharing, set()
        for each in sharing:
            if each.done():
                continue
            if isinstance(found, BaseException):
                each.set_exception(_short(found) if isinstance(found, SourceError) else found)
            else:
                each.set_result(found)


def _short(error: SourceError) -> SourceError:
    """The same error with texts short enough for a notice, whatever a driver has put into them."""
    return type(error)(text.plain(error.what), text.plain(error.hint))


def _closed() -> SourceError:
    return SourceError("Camera closed", "try again")
