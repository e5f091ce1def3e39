"""Snapshots of one camera, each taken after the request."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Protocol

from piapp.errors import NoFreshFrame, SourceError
from piapp.frame import Frame
from piapp.hub import Hub, Watcher
from piapp.run import Run
from piapp.sources.source import Still


class Camera(Protocol):
    """The parts of camera.Camera used here."""

    name: str
    on: bool
    hub: Hub
    run: Run | None  # the opening of its device, while there is one

    def watching(self, watcher: Watcher) -> AbstractContextManager[None]:
        """Keeps the camera running inside the `with` block."""

    def reason(self) -> str:
        """Why there is no picture; empty if unknown."""


async def fresh_frame(camera: Camera, watcher: Watcher, limit_s: float) -> Frame:
    """A picture that was taken after this call. Raises NoFreshFrame."""
    asked_ns = time.monotonic_ns()
    async with _asking(camera, watcher, limit_s, "picture"):
        return await _picture(camera, asked_ns)


async def still(camera: Camera, watcher: Watcher, limit_s: float) -> Still:
    """The same at the sensor's full resolution. Raises Unsupported too."""
    async with _asking(camera, watcher, limit_s, "full picture"):
        await _picture(camera, 0)
        try:
            if camera.run is None:  # it has just ended
                raise SourceError("Camera closed", "try again")
            return await camera.run.still()
        except SourceError as error:
            raise NoFreshFrame(f"No full picture from {camera.name}. {camera.reason() or error}") from None


@contextlib.asynccontextmanager
async def _asking(camera: Camera, watcher: Watcher, limit_s: float, what: str) -> AsyncIterator[None]:
    if not camera.on:
        raise NoFreshFrame(f"The camera {camera.name} is switched off.")
    with camera.watching(watcher):
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            reason = camera.reason() or f"The camera gives no {what}s."
            raise NoFreshFrame(f"No {what} from {camera.name} within {limit_s:g} s. {reason}") from None


async def _picture(camera: Camera, since_ns: int) -> Frame:
    """The next picture exposed at or after `since_ns`. Raises NoFreshFrame if the camera is switched off meanwhile."""

    def ends(frame: Frame) -> bool:  # called for each frame, which is cheaper than waking the task
        return not camera.on or (frame.captured_ns >= since_ns and not frame.notice)

    frame = await camera.hub.newer_than(0, ends)
    if not camera.on:
        raise NoFreshFrame(f"The camera {camera.name} was switched off.")
    return frame
