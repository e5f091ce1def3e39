"""One camera: its source, its hub, and the decision when the source runs.

    idle ──(somebody watches)──▶ starting ──(first frame)──▶ running ──(nobody watches)──▶ idle
                                    ▲                           │
                                    └────(back-off)── failed ◀──┘  also from starting

and `off` from everywhere while the switch is off. One task (`_supervise`) walks these states and is the only one to
start or stop a thread; a second one (`_tell`) publishes a notice a second for as long as there is no picture. Device
threads only ever touch their Run and the Hub. All else here belongs to the event loop.

Whether the device works is judged by the age of its newest frame, never by what its driver says: a loose ribbon cable
raises no exception anywhere. What is left when opening it again does not help: see stuck.py.
"""

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from piapp import chosen, notice, snapshots, stuck, tasks
from piapp.chosen import Chosen, Kept
from piapp.config import CameraConfig, Size
from piapp.counts import Counts
from piapp.errors import DeviceAway, DeviceStuck, SourceError
from piapp.faults import Faults
from piapp.frame import Frame
from piapp.hub import Hub, Watcher
from piapp.rate_limit import Rate, RateLimit
from piapp.run import UNEXPECTED, Run
from piapp.sources.control import Control, Value
from piapp.sources.source import Source, Still
from piapp.stuck import Stuck

log = logging.getLogger(__name__)

LOAD_LIMIT_S, FIRST_FRAME_LIMIT_S = 60.0, 20.0  # OpenCV from a small board's cold card; then a Pi camera's opening
FROZEN_S, FROZEN_FRAMES = 3.0, 5  # a fault: no frame for so long, whichever is longer
BACKOFF_S = (0.5, 30.0)  # first and longest pause before the next try; it doubles in between
AWAY_S = 2.0  # the longest for a device that is away: who has plugged it in looks at the page
STEADY_S = 10.0  # after running so long the next fault begins with the first pause again
STOP_LIMIT_S = 5.0
NOTICE_EVERY_S = 1.0
SNAPSHOT_LIMIT_S, STILL_LIMIT_S = 5.0, 10.0  # the latter encodes some MB beside the stream


@dataclass(frozen=True)
class Limits:
    """How often things may happen, however many requests come."""

    openings: Rate = Rate(5, 5.0)  # opening the device, for example while somebody toggles the switch
    switch_lines: Rate = Rate(4, 10.0)  # logging "switched on" and "switched off"
    notices: notice.Limits = notice.Limits()


class State(enum.StrEnum):
    OFF = "off"
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


class Camera:
    """Made in the event loop; start() before use, stop() at the end."""

    def __init__(
        self,
        config: CameraConfig,
        open_source: Callable[[], Source],
        kept: object = None,
        fresh_process: Callable[[], bool] = lambda: False,
        limits: Limits = Limits(),
    ) -> None:
        """`open_source` makes a new Source for each opening; it is called in the source's thread.

        `kept` is what kept() gave when piapp ran before, as far as it came through; `fresh_process` is Stuck's.
        """
        before = chosen.kept(kept)
        self.config = config
        self.name = config.name
        self.hub = Hub()
        self.on = before["on"]  # the user's switch; no viewer overrides it
        self.state = State.IDLE if self.on else State.OFF
        self._switched = False  # in this run of piapp: else nobody knows since when it is off
        self._logged_on = self.on  # the switch as last logged
        self.counts = Counts()
        self.faults = Faults(config.name)
        self.watchers: set[Watcher] = set()
        # Called in the event loop when anything has changed that a page shows, other than the rates and the watchers:
        # state and its message, switch, controls. They must not block or raise, and may come and go at any time.
        self.listeners: set[Callable[[], None]] = set()
        self._chosen = Chosen(config.name, before["controls"])
        self._stuck = Stuck(config.name, fresh_process)
        self._open_source = open_source
        self._since = time.monotonic()  # when `state` began
        self._size = config.resolution  # of the newest picture; notices are drawn as large
        self.run: Run | None = None
        self._idle: asyncio.TimerHandle | None = None  # runs from the last watcher's leaving to the device's closing
        self._nudge = asyncio.Event()  # for _supervise: something has changed
        self._changed = asyncio.Event()  # for _tell: the state has changed
        self.walks: list[asyncio.Task[None]] = []  # from start() to stop(); one that is done has crashed
        self._openings, self._switch_lines = RateLimit(limits.openings), RateLimit(limits.switch_lines)
        self._notices = notice.Notices(config.name, limits.notices)
        self._frozen_s = max(FROZEN_S, FROZEN_FRAMES / config.framerate)

    def start(self) -> None:
        self.walks = [tasks.start(walk(), f"{self.name} {walk.__name__}") for walk in (self._supervise, self._tell)]

    async def stop(self, limit_s: float = STOP_LIMIT_S) -> bool:
        """Close the device. False when its thread has not ended within the limit, and is left behind."""
        for task in self.walks:
            task.cancel()
        await asyncio.gather(*self.walks, return_exceptions=True)
        if self._idle:
            self._idle.cancel()
        return self.run is None or await self._end(self.run, limit_s)

    # --- who watches ---

    def watch(self, watcher: Watcher) -> None:
        """From now on frames are wanted. Pairs with unwatch()."""
        self.watchers.add(watcher)
        if self._idle:
            self._idle.cancel()
            self._idle = None
        self._nudge.set()
        self._changed.set()

    def unwatch(self, watcher: Watcher) -> None:
        """Calling it twice does no harm."""
        if watcher in self.watchers:
            self.watchers.remove(watcher)
            if not self.watchers:
                if self.state is not State.RUNNING:
                    self.hub.forget()  # the next watcher would begin with an old notice
                self._idle = asyncio.get_running_loop().call_later(self.config.idle_stop_s, self._stop_idle)

    @contextlib.contextmanager
    def watching(self, watcher: Watcher) -> Iterator[None]:
        self.watch(watcher)
        try:
            yield
        finally:
            self.unwatch(watcher)

    async def fresh_frame(self, watcher: Watcher, limit_s: float = SNAPSHOT_LIMIT_S) -> Frame:
        """A picture that was taken after this call. Wakes the camera. Raises NoFreshFrame, which says why."""
        return await snapshots.fresh_frame(self, watcher, limit_s)

    async def still(self, watcher: Watcher, limit_s: float = STILL_LIMIT_S) -> Still:
        """The same at the sensor's full resolution. Raises Unsupported too, where there is no such picture."""
        return await snapshots.still(self, watcher, limit_s)

    # --- what a user may change ---

    def switch(self, on: bool) -> None:
        """For everybody, at once. Off closes the device."""
        if on != self.on:
            self.on, self._switched = on, True
            self._log_switch()
            self._nudge.set()
            self._tell_listeners()

    def set_controls(self, changes: Mapping[str, Value | None]) -> None:
        """For everybody, at once and at each later opening; None: the default again.

        All of them, or none. Raises Unsupported; its sentence names the control and what is allowed.
        """
        self._chosen.change(changes, self.run)
        self._tell_listeners()

    def kept(self) -> Kept:
        """What users have chosen, for the next start of piapp."""
        return {"on": self.on, "controls": self._chosen.values}

    # --- what can be known ---

    @property
    def controls(self) -> tuple[Control, ...]:
        """What can be changed, with the values of now; while the camera sleeps, as of its last run. None before one."""
        return self._chosen.controls

    def summary(self) -> dict[str, Any]:
        """What changes often, for the page."""
        newest, source = self._now()
        return {
            "name": self.name,
            "on": self.on,
            "state": self.state,
            "since_s": round(time.monotonic() - self._since, 1),
            "message": self.reason() or (source.remark if newest and source else ""),
            "width": newest.width if newest else None,
            "height": newest.height if newest else None,
            "fps": round(self.counts.fps, 2),
            "kbit_per_s": round(self.counts.bytes_per_s * 8 / 1000),
            "viewer_count": len(self.watchers),
        }

    def describe(self) -> dict[str, Any]:
        """The camera as the API shows it: the summary and all else."""
        newest, source = self._now()
        return {
            **self.summary(),
            "source": source.kind if source else self.config.source,
            "device": source.device if source else self.config.device,
            "encoder": source.encoder if source else "",
            "negotiated": source.negotiated if source else "",
            "age_ms": round((time.monotonic_ns() - newest.captured_ns) / 1e6, 1) if newest else None,
            "frames": self.counts.frames,
            "bad_frames": self.counts.bad_frames,
            "faults": self.faults.count,
            "fault": str(self.faults.current) if self.faults.current else None,
            "recent_faults": self.faults.recent(),
            "controls": [control.describe() for control in self.controls],
            "viewers": [watcher.describe() for watcher in self.watchers],
        }

    def _now(self) -> tuple[Frame | None, Source | None]:
        """The newest picture and what it comes from; a frame of another state is none."""
        newest = self.hub.newest if self.state is State.RUNNING else None
        return newest, self.run.source if self.run else None

    def reason(self) -> str:
        """Why there is no picture; empty when there is one, or nobody asked for any."""
        here = notice.span(time.monotonic() - self._since)
        if self.state is State.OFF:
            return f"Camera switched off{f' {here} ago' if self._switched else ''}: switch it on at piapp's page"
        if self.state is State.FAILED or (self.state is State.STARTING and self.faults.current):
            return str(self.faults.current)
        return f"Camera is starting, for {here} now" if self.state is State.STARTING else ""

    # --- the walk through the states ---

    def _wanted(self) -> bool:
        return self.on and (bool(self.watchers) or self._idle is not None)

    def _stop_idle(self) -> None:
        self._idle = None
        self._nudge.set()

    def _enter_unwanted(self) -> None:
        self.faults.leave()
        self._enter(State.IDLE if self.on else State.OFF)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state, self._since = state, time.monotonic()
            if state is not State.RUNNING:
                if self.hub.newest:
                    self._size = Size(self.hub.newest.width, self.hub.newest.height)
                self.hub.forget()
            self._changed.set()
            self._tell_listeners()

    def _tell_listeners(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    async def _supervise(self) -> None:
        pause = BACKOFF_S[0]
        while True:
            while not self._wanted():
                self._enter_unwanted()
                await tasks.event(self._nudge, None)
            self._enter(State.STARTING)
            if self._openings.allows():
                error = await self._open()
                pause = await self._close(self.run, error, pause)
            else:
                await self._while_wanted(self._openings.wait_s)

    async def _open(self) -> SourceError | None:
        """Run the source while it is wanted; return its error, if any. A bug in here counts as an error, too."""
        try:
            run = self.run = Run(self.name, self._open_source, self.hub, self._nudge, self._chosen.values)
            self.counts.begin(run)
            return await self._watch(run)
        except Exception:  # for example when the system cannot start another thread
            log.exception("%s: unexpected error", self.name)
            return DeviceStuck(*UNEXPECTED)

    async def _close(self, run: Run | None, error: SourceError | None, pause: float) -> float:
        """End the run, then wait up to `pause` seconds before the next one. Returns the pause after that one."""
        if run:
            run.stop()  # before the hub forgets its newest frame: none may come after
        frames, steady = (run.frames, run.lasted_s > STEADY_S) if run else (0, False)
        pause = BACKOFF_S[0] if steady else pause
        self._stuck.ended(error, worked=steady or (error is None and frames > 0))
        unasked = self._wanted()  # it has failed, or returned by itself
        if error is not None:
            self._fail(error, was_running=frames > 0)
        elif unasked:
            self._enter(State.STARTING)
        else:
            self._enter_unwanted()
        if run and not await self._end(run):
            await self._while_hung(run)
        if unasked:
            longest = AWAY_S if isinstance(error, DeviceAway) else BACKOFF_S[1]
            if self._stuck.reason and self.on and self.watchers:
                self._stuck.ask(self._stuck.reason)
                pause = longest
            await self._while_wanted(min(pause, longest))
            pause = min(pause * 2, longest)
        if run:
            self._learn(run)
        self.run = None
        self.counts.begin(None)
        return pause

    async def _watch(self, run: Run) -> SourceError | None:
        """Until the run ends by itself, freezes, or is not wanted any more; the error if there was one."""
        while self._wanted():
            self._learn(run)
            if run.frames and self.state is State.STARTING:
                self.faults.end()
                self._enter(State.RUNNING)
                if run.source:
                    log.info("%s: running: %s", self.name, run.source.negotiated)
            if run.ended.is_set():
                return run.error
            limit_s = self._frozen_s if run.frames else FIRST_FRAME_LIMIT_S if run.source else LOAD_LIMIT_S
            left_s = limit_s - (time.monotonic_ns() - run.last_ns) / 1e9
            if left_s <= 0:
                what = "Camera stopped sending pictures" if run.frames else "Camera does not send any picture"
                return DeviceStuck(what, "check the cable; piapp keeps trying")
            await tasks.event(self._nudge, left_s)
        return None

    def _learn(self, run: Run) -> None:
        if self._chosen.learn(run):
            self._tell_listeners()

    def _fail(self, error: SourceError, was_running: bool) -> None:
        self.faults.add(error, was_running)
        self._enter(State.FAILED)

    async def _end(self, run: Run, limit_s: float = STOP_LIMIT_S) -> bool:
        """Ask the run to stop and wait for it; False after the limit: its thread may hang in the driver."""
        run.stop()
        try:
            async with asyncio.timeout(limit_s):
                await run.ended.wait()
        except TimeoutError:
            log.warning("%s: the device does not let go after %g s", self.name, limit_s)
        return run.ended.is_set()

    async def _while_hung(self, run: Run) -> None:
        """Until the thread ends after all: opening the device a second time would find it busy, or hang as well."""
        hint = "unplug it, or restart the computer"
        cause = self.faults.current.hint if self.faults.current else hint
        while not run.ended.is_set():
            left_s = stuck.HUNG_LIMIT_S - run.overdue_s
            if not self._wanted():
                self._enter_unwanted()
            else:
                if self.state is not State.FAILED:
                    self._fail(SourceError("Camera hung", hint), was_running=False)
                if left_s <= 0 and self.watchers and not self._stuck.ask("Camera hung"):
                    hint = "piapp starts anew when no other camera is watched"
                self.faults.advise(hint)
            await tasks.event(self._nudge, left_s if left_s > 0 else BACKOFF_S[1])
        self.faults.advise(cause)

    async def _while_wanted(self, limit_s: float) -> None:
        """Wait, but not for a camera that nobody wants any more."""
        until = time.monotonic() + limit_s
        while self._wanted() and (left_s := until - time.monotonic()) > 0:
            await tasks.event(self._nudge, left_s)

    # --- the notices ---

    async def _tell(self) -> None:
        """Once a second, and when the state changes: measure, and publish a notice where a picture is missing."""
        while True:
            await tasks.event(self._changed, NOTICE_EVERY_S)
            self.counts.measure()
            self._log_switch()
            if self.run:
                self._learn(self.run)
            state, words = self.state, self.reason()
            young = self.state is State.STARTING and time.monotonic() - self._since < NOTICE_EVERY_S
            if not words or not self.watchers or (young and not self.faults.current):
                continue
            drawn = await self._notices.draw(words, self._size)
            come = self.run is not None and self.run.frames > 0 and not self.run.stopping.is_set()
            # all of it may have changed while this was drawn; a first picture in that time comes first
            if drawn and self.state is state and self.watchers and not come:
                self.hub.publish(drawn.jpeg, time.monotonic_ns(), *drawn.size, words)

    def _log_switch(self) -> None:
        """Log the switch if it has changed. Under quick toggling, log only where it ends up."""
        if self.on is not self._logged_on and self._switch_lines.allows():
            self._logged_on = self.on
            log.info("%s: switched %s", self.name, "on" if self.on else "off")
