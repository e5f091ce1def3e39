"""A camera on the Raspberry Pi's ribbon cable, through Picamera2.

Who does what, in which thread:

- run()'s own opens, configures, obeys and closes. It is never in picamera2's way while frames flow.
- picamera2's event loop takes each finished request from libcamera and hands it to Catcher, then to the encoder. It
  holds picamera2's lock meanwhile, and an exception ends it for good.
- the encoder's thread hands each JPEG to HubOutput, which publishes it. An exception ends that thread, too.

Whether frames still come is judged by whoever runs this source: a loose ribbon raises no exception anywhere. Then, as
at every end, run() closes the camera without a job for picamera2's event loop, which may have died or be waiting for a
frame that never comes. When that hangs as well, only a new process helps; and when it hangs within libcamera, whose
binding keeps Python's global lock in configure, start, stop and release, all of this process does, so that it takes a
watchdog from outside.
"""

import contextlib
import io
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError, Unsupported
from piapp.rate_limit import Rate, RateLimit
from piapp.sources import pi_device, pi_encoder, pi_found, text
from piapp.sources.control import Value
from piapp.sources.finish import Finish
from piapp.sources.pi_catcher import Catcher
from piapp.sources.pi_controls import PiControls
from piapp.sources.pi_output import hub_output
from piapp.sources.source import Publish, Source, Still

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05  # whether to stop, and what was asked for
# Buffers of each stream: the camera fills one, one waits, one is encoded. The Pi has little memory of that kind, so
# the second number is for when the first is too many.
BUFFERS = (4, 2)


@dataclass(frozen=True)
class Limits:
    """How often things may happen, however many requests come."""

    restarts: Rate = Rate(4, 8.0)  # restarting the camera to turn the picture, or the hardware encoder
    lines: Rate = Rate(3, 60.0)  # logging full pictures that fail


class PiCamera(Source):
    """`device` is the camera's number as Picamera2 counts, or its id; empty for the first."""

    kind = "picamera2"

    def __init__(self, config: CameraConfig, limits: Limits = Limits()) -> None:
        super().__init__(config)
        if config.rotation not in (0, 180):
            raise SourceError(
                f"A Pi camera cannot turn its picture by {config.rotation} degrees", "set rotation to 0 or 180"
            )
        self._finish = Finish(config)
        self._of_camera: PiControls | None = None  # while it is open
        self._catcher = Catcher()
        self._encoder: Any = None  # picamera2's, while it runs
        self._by_hardware = False  # who makes the JPEGs
        self._quality = config.quality  # in which they are made
        self._refused = ""  # why the hardware encoder did not start
        self._no_still = "The camera is not open."  # why there is no full picture; empty when there is one
        self._stills: SimpleQueue[tuple[Future[Still], int]] = SimpleQueue()  # asked for, and when
        self._restarts, self._lines = RateLimit(limits.restarts), RateLimit(limits.lines)

    def load(self) -> None:
        pi_found.picamera2()

    def check(self) -> None:
        pi_found.check_tuning()
        self.device = pi_found.choose(self.config.device).id
        pi_encoder.choose(self.config.encoder, self.config.resolution)

    def run(self, publish: Publish, stopping: threading.Event) -> None:
        self.check()
        try:
            while not stopping.is_set():  # anew when the picture is to be mirrored, which is part of the configuration
                with pi_device.opened(self.device) as camera:
                    self._stream(camera, publish, stopping)
        finally:
            self._no_still = "The camera is closed."
            self._refuse_stills()

    def still(self) -> Future[Still]:
        if self._no_still:
            raise Unsupported(self._no_still)
        future: Future[Still] = Future()
        self._stills.put((future, time.monotonic_ns()))
        return future

    def _stream(self, camera: Any, publish: Publish, stopping: threading.Event) -> None:
        """Until asked to stop, or to turn the picture."""
        self._turn_as_asked()
        turns = self._finish.turns
        stream = self._configure(camera)
        camera.post_callback = self._catcher
        self._of_camera = PiControls(camera, self.config.framerate)
        self._ask_again()
        self._declare()
        if self._of_camera.can_begin(self.asked()):
            self._obey()  # before it starts: the first picture shall be right
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_encoder, camera)
            self._begin_encoder(camera, stream, publish)
            camera.start()
            while not self._is_to_turn(turns) and not stopping.wait(LOOK_EVERY_S):
                self._obey()
                self._requantise(camera, stream, publish)
                self._take_stills()

    def _is_to_turn(self, turns: tuple[bool, bool, int]) -> bool:
        """Whether to restart the camera now, which takes some tenths of a second, to turn the picture as asked."""
        return self._finish.turns != turns and self._restarts.allows()

    # --- the configuration ---

    def _configure(self, camera: Any) -> "Stream":
        """The stream that is to be encoded."""
        pixels = "YUV420" if pi_encoder.takes_planes() else "RGB888"
        main = {"size": tuple(self.config.resolution), "format": pixels}
        self._lay_out(camera, main=main)
        name, got = "main", Size(*camera.camera_configuration()["main"]["size"])
        sensor, whole = _sensor_size(camera), Size(*camera.sensor_resolution)
        full = _widest(got, whole)
        if sensor != whole:
            used = sensor or "not all"
            self._no_still = f"For {got} the sensor delivers {used} of {whole}: a full picture would stop the stream."
        elif got == full:
            self._no_still = ""
        elif pixels != "YUV420":
            self._no_still = "A full picture needs a newer picamera2 and simplejpeg."
        else:
            name, got = self._lay_out_full(camera, {**main, "size": tuple(got)}, full)
        self._say_what_came(camera, got)
        return Stream(name, got)

    def _lay_out_full(self, camera: Any, stream: dict[str, Any], full: Size) -> tuple[str, Size]:
        """The sensor delivers all of its pixels anyway: have them in a stream of their own, if there is the memory."""
        try:
            self._lay_out(camera, main={**stream, "size": tuple(full)}, lores=stream, encode="lores")
            self._no_still = ""
            return "lores", Size(*camera.camera_configuration()["lores"]["size"])
        except (OSError, RuntimeError) as error:
            self._no_still = f"There is no room for full pictures beside the stream ({text.plain(error)})."
            self._lay_out(camera, main=stream)
            return "main", Size(*camera.camera_configuration()["main"]["size"])

    def _lay_out(self, camera: Any, **streams: Any) -> None:
        from libcamera import ColorSpace, Transform

        hflip, vflip = self._mirrored()
        for buffers in BUFFERS:
            try:
                camera.configure(
                    camera.create_video_configuration(
                        **streams,
                        raw=None,  # saves a raw buffer's worth of the Pi's contiguous memory
                        buffer_count=buffers,
                        colour_space=ColorSpace.Sycc(),  # JPEG's; by itself it would be that of television
                        transform=Transform(hflip=hflip, vflip=vflip),
                        controls={"FrameRate": self.config.framerate},
                    )
                )
                return
            except (OSError, RuntimeError) as error:
                if not pi_device.out_of_memory(error) or buffers == BUFFERS[-1]:
                    raise

    def _say_what_came(self, camera: Any, size: Size) -> None:
        """What the camera agreed to may differ from what it was asked for; it never says so itself."""
        asked, sensor = f"{self.config.resolution} at {self.config.framerate} fps", _sensor_size(camera)
        shortest_us = camera.camera_controls["FrameDurationLimits"][0]
        fps = min(self.config.framerate, round(1e6 / shortest_us)) if shortest_us else self.config.framerate
        self.negotiated = f"{size} at {fps} fps{f', sensor {sensor}' if sensor else ''}"
        if (size, fps) != (self.config.resolution, self.config.framerate):
            self.negotiated += f", asked for {asked}"
            log.warning("%s: the camera delivers %s", self.config.name, self.negotiated)
        transform = camera.camera_configuration()["transform"]
        self.remark = ""
        if (bool(transform.hflip), bool(transform.vflip)) != self._mirrored():
            self.remark = "This camera does not mirror or turn its picture."
            log.warning("%s: %s", self.config.name, self.remark)

    def _mirrored(self) -> tuple[bool, bool]:
        """Left to right, top to bottom; both together are half a turn, and that is all that the camera can do."""
        hflip, vflip, rotation = self._finish.turns
        return hflip != (rotation == 180), vflip != (rotation == 180)

    # --- the encoder ---

    def _begin_encoder(self, camera: Any, stream: "Stream", publish: Publish) -> None:
        """By hardware if that is wanted and starts. A failed encoder cannot be started again: each try has its own."""
        quality, choice = self._finish.quality, pi_encoder.choose(self.config.encoder, stream.size)
        if choice.hardware and not self._refused:
            try:
                self._start(camera, pi_encoder.hardware(quality, stream.size), stream, publish)
            except (OSError, RuntimeError) as error:
                if self.config.encoder == "hardware":
                    what = f"Hardware encoder does not start ({error})"
                    raise SourceError(what, 'set encoder = "auto" in config.toml') from error
                self._refused = f"the hardware does not start, {text.plain(error)}"
                log.warning("%s: simplejpeg on the processor makes the JPEGs: %s", self.config.name, self._refused)
        self._quality, self._by_hardware = quality, choice.hardware and not self._refused
        if not self._by_hardware:
            choice = pi_encoder.Choice(False, self._refused or choice.why)
            self._start(camera, pi_encoder.software(quality), stream, publish)
        self.encoder = str(choice)

    def _start(self, camera: Any, encoder: Any, stream: "Stream", publish: Publish) -> None:
        try:
            camera.start_encoder(encoder, hub_output(encoder, publish, stream.size, self._bad_frame), name=stream.name)
        except BaseException:
            with contextlib.suppress(Exception):  # it may have come to any point
                encoder.stop()  # else its thread goes on for ever
            raise
        self._encoder = encoder

    def _end_encoder(self, camera: Any) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder:
            camera.stop_encoder(encoder)
            pi_encoder.release(encoder)

    def _bad_frame(self, why: str) -> None:
        """Called in the encoder's thread."""
        self.bad_frames += 1
        if self.bad_frames == 1:
            log.warning("%s: %s", self.config.name, why)

    def _requantise(self, camera: Any, stream: "Stream", publish: Publish) -> None:
        """Make the JPEGs in the quality of now. The hardware is told at its start only, which costs a frame or two."""
        if self._finish.quality == self._quality:
            return
        if not self._by_hardware:
            self._encoder.q = self._quality = self._finish.quality
        elif self._restarts.allows():
            self._end_encoder(camera)
            self._begin_encoder(camera, stream, publish)

    # --- controls ---

    def _turn_as_asked(self) -> None:
        """What was asked for before there are controls, as far as it belongs to the configuration: hflip and vflip."""
        self._finish.set({name: value for name, value in self.asked().items() if isinstance(value, bool)})

    def _ask_again(self) -> None:
        """What was chosen before the picture was turned; what was asked for since then goes before it."""
        chosen = {c.name: c.value for c in self.controls if c.active and c.value != c.default}
        with self._asking:
            self._asked = {**chosen, **self._asked}

    def _set(self, values: Mapping[str, Value]) -> None:
        self._finish.set(values)
        of_camera = {name: value for name, value in values.items() if name not in Finish.NAMES}
        if of_camera and self._of_camera:
            self._of_camera.set(of_camera, self._latest)
        self._declare()

    def _latest(self) -> Mapping[str, Any]:
        """The metadata of the newest frame; empty if there is none."""
        if self._encoder is None:  # not started
            return {}
        with self._catcher.one(0) as caught:
            return caught.metadata if caught else {}

    def _declare(self) -> None:
        of_camera = self._of_camera.controls() if self._of_camera else ()
        self.controls = (*self._finish.controls(), *of_camera)

    # --- full pictures ---

    def _who_waits(self) -> list[tuple[Future[Still], int]]:
        """Who has asked until now, and when, but for those who have given up. Each is told of once."""
        asked = []
        with contextlib.suppress(Empty):
            while True:
                asked.append(self._stills.get_nowait())
        return [(future, asked_ns) for future, asked_ns in asked if future.set_running_or_notify_cancel()]

    def _take_stills(self) -> None:
        """One for all who wait."""
        waiting = self._who_waits()
        if not waiting:
            return
        try:
            still = self._take_still(max(asked_ns for _, asked_ns in waiting))
        except BaseException as error:  # a driver's binding may raise anything: those who wait are told first
            for future, _ in waiting:
                future.set_exception(SourceError("Full picture failed", text.plain(error)))
            if not isinstance(error, Exception):
                raise
            if self._lines.allows():
                log.warning("%s: no full picture: %s", self.config.name, text.plain(error))
        else:
            for future, _ in waiting:
                future.set_result(still)

    def _take_still(self, after_ns: int) -> Still:
        with self._catcher.one(after_ns) as caught:
            if caught is None:
                raise SourceError("Camera sends no frame", "try again")
            size = Size(*caught.request.config["main"]["size"])
            file = io.BytesIO()
            caught.request.picam2.options["quality"] = self._finish.quality
            caught.request.save("main", file, format="jpeg")
            return Still(file.getvalue(), caught.metadata["SensorTimestamp"], *size)

    def _refuse_stills(self) -> None:
        for future, _ in self._who_waits():
            future.set_exception(SourceError("Camera is closed", "try again"))


class Stream(NamedTuple):
    """What is encoded of the camera's streams."""

    name: str  # picamera2's: main or lores
    size: Size


def _sensor_size(camera: Any) -> Size | None:
    """What the sensor delivers in the mode that was chosen; None where libcamera does not tell."""
    sensor = camera.camera_configuration().get("sensor")
    return Size(*sensor["output_size"]) if sensor else None


def _widest(size: Size, whole: Size) -> Size:
    """All pixels that a picture of this shape can have of the sensor's. (On a Pi 4 all streams have one shape.)"""
    scale = min(whole.width / size.width, whole.height / size.height)
    return Size(int(size.width * scale) // 2 * 2, int(size.height * scale) // 2 * 2)
