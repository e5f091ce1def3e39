"""Single frames of a Pi camera, with their metadata and all of their pixels, beside the stream."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from piapp.rate_limit import Rate, RateLimit

log = logging.getLogger(__name__)

LIMIT_S = 2.0  # for a frame to come


class Caught(NamedTuple):
    """A frame in the camera's memory, with what is known of it."""

    request: Any  # picamera2's CompletedRequest
    metadata: Mapping[str, Any]


class Catcher:
    """Picamera2's post_callback: has single frames handed from its event loop to the source's thread.

    Not through its jobs: one that waits for a frame that never comes blocks all that come later, the closing too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards `_after_ns` and who releases
        self._after_ns: int | None = None  # wanted: a frame exposed no earlier. None: nobody wants any
        self._caught: SimpleQueue[Caught] = SimpleQueue()
        self._lines = RateLimit(Rate(3, 60.0))  # of log lines: every frame may fail

    def __call__(self, request: Any) -> None:
        """In picamera2's event loop, for every frame: must be quick and never raise."""
        if self._after_ns is None:
            return
        try:
            with self._lock:
                metadata = request.get_metadata()
                if self._after_ns is not None and metadata["SensorTimestamp"] >= self._after_ns:
                    self._after_ns = None
                    request.acquire()
                    self._caught.put(Caught(request, metadata))
        except BaseException:
            if self._lines.allows():
                log.exception("a frame could not be looked at")

    @contextlib.contextmanager
    def one(self, after_ns: int, limit_s: float = LIMIT_S) -> Iterator[Caught | None]:
        """The next frame that was exposed after this time; its memory is the camera's again afterwards.

        None if there is none within the limit.
        """
        with self._lock:
            self._after_ns = after_ns
        caught = None
        try:
            with contextlib.suppress(Empty):
                caught = self._caught.get(timeout=limit_s)
            if caught is None:
                with self._lock, contextlib.suppress(Empty):  # it may have come in this very moment
                    self._after_ns = None
                    caught = self._caught.get_nowait()
            yield caught
        finally:
            if caught:
                caught.request.release()
