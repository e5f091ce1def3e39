"""Tasks that run for as long as their owner does, and how they wait."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


def start(walk: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task that only ends when it is cancelled; should it end by an error, the log has it."""
    task = asyncio.create_task(walk, name=name)
    task.add_done_callback(_log_crash)
    return task


async def event(event: asyncio.Event, limit_s: float | None) -> None:
    """Wait for the event, or the limit; leave it cleared."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    event.clear()


def _log_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("%s ended: this is a bug in piapp", task.get_name(), exc_info=error)
