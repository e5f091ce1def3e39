"""picamera2/encoders/ and outputs/output.py of 0.3.38; where older versions differ, the World's version decides."""

import errno
import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import TYPE_CHECKING, Any

import simplejpeg

from .world import World

if TYPE_CHECKING:
    from .requests import CompletedRequest

LARGEST = 1920  # pixels a side that the hardware takes (picamera2 issue 473)
POLL_S = 0.01  # 0.4 in v4l2_encoder.py
Quality = Enum("Quality", "VERY_LOW LOW MEDIUM HIGH VERY_HIGH")


class Output:
    """outputs/output.py."""

    def __init__(self, pts: str | None = None) -> None:
        self.recording = False
        self.needs_pacing = False
        self.needs_add_stream = False

    def start(self) -> None:
        self.recording = True

    def stop(self) -> None:
        self.recording = False

    def outputframe(
        self, frame: bytes, keyframe: bool = True, timestamp: int | None = None, packet: Any = None, audio: bool = False
    ) -> None:
        """Called in the encoder's thread."""

    def _add_stream(self, encoder_stream: str, *args: Any, **kwargs: Any) -> None:
        """Called before frames come, from 0.3.23 on."""


class Encoder:
    """encoder.py. The lock is held while a frame is taken and while it is stopped."""

    world: World

    def __init__(self) -> None:
        self.width = self.height = self.stride = 0
        self.format = self.name = ""
        self.output: Any = None
        self.firsttimestamp: int | None = None  # µs, SensorTimestamp of the first frame
        self._running = False
        self._lock = threading.Lock()
        self._output_lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._running

    def encode(self, stream: str, request: "CompletedRequest") -> None:
        """In the camera's event loop, which holds picamera2's lock."""
        with self._lock:
            if not self._running and self.world.at_least("0.3.36"):
                return
            self._encode(stream, request)

    def start(self, quality: Any = None) -> None:
        with self._lock:
            if self._running:
                raise RuntimeError("Encoder already running")
            if self.world.at_least("0.3.18"):
                self.setup(quality)
            self._running = True  # and stays so when _start fails
            self.firsttimestamp = None
            self.output.start()
            self._start()

    def stop(self) -> None:
        with self._lock:
            if not self._running:
                raise RuntimeError("Encoder already stopped")
            self._running = False
            self._stop()
            self.output.stop()

    def outputframe(self, frame: bytes, keyframe: bool = True, timestamp: int | None = None) -> None:
        with self._output_lock:
            if self.world.at_least("0.3.23"):
                self.output.outputframe(frame, keyframe, timestamp, None, False)
            else:
                self.output.outputframe(frame, keyframe, timestamp)

    def setup(self, quality: Any) -> None:
        """_setup()."""

    def _start(self) -> None: ...

    def _stop(self) -> None: ...

    def _encode(self, stream: str, request: "CompletedRequest") -> None: ...

    def _timestamp(self, request: "CompletedRequest") -> int:
        assert request.request
        stamp = int(request.request.metadata["SensorTimestamp"] / 1000)
        if self.firsttimestamp is None:
            self.firsttimestamp = stamp
            return 0
        return stamp - self.firsttimestamp


class MultiEncoder(Encoder):
    """multi_encoder.py: frames are encoded in a pool's threads, and put out in order by one more.

    An exception, of the encoding or of the output, ends that thread; what comes then piles up.
    """

    def __init__(self, num_threads: int = 4) -> None:
        super().__init__()
        self.threads = ThreadPoolExecutor(num_threads, thread_name_prefix="fake encoder pool")
        self.tasks: queue.Queue[Future[tuple[bytes, int]] | None] = queue.Queue()

    def _start(self) -> None:
        self.thread = threading.Thread(target=self._put_out, name="fake encoder output", daemon=True)
        self.thread.start()

    def _stop(self) -> None:
        self.tasks.put(None)
        self.thread.join()

    def _put_out(self) -> None:
        try:
            while task := self.tasks.get():
                jpeg, timestamp = task.result()
                self.outputframe(jpeg, timestamp=timestamp)
        except BaseException as error:
            self.world.raised.append(error)

    def _encode(self, stream: str, request: "CompletedRequest") -> None:
        if self._running:
            request.acquire()
            self.tasks.put(self.threads.submit(self._do, request, stream))

    def _do(self, request: "CompletedRequest", stream: str) -> tuple[bytes, int]:
        timestamp = self._timestamp(request)
        jpeg = self.encode_func(request, stream)
        request.release()
        return jpeg, timestamp

    def encode_func(self, request: "CompletedRequest", name: str) -> bytes:
        raise NotImplementedError


class JpegEncoder(MultiEncoder):
    """jpeg_encoder.py, from 0.3.26 on."""

    FORMAT_TABLE = {"XBGR8888": "RGBX", "XRGB8888": "BGRX", "BGR888": "RGB", "RGB888": "BGR"}

    def __init__(self, num_threads: int = 4, q: int | None = None) -> None:
        super().__init__(num_threads)
        self.q = q

    def setup(self, quality: Any) -> None:
        if quality is not None or self.q is None:
            self.q = {1: 25, 2: 35, 3: 50, 4: 65, 5: 80}[(quality or Quality.MEDIUM).value]

    def encode_func(self, request: "CompletedRequest", name: str) -> bytes:
        if request.config[name]["format"] == "YUV420":
            return bytes(simplejpeg.encode_jpeg_yuv_planes(*request.planes(name), self.q))
        colours = self.FORMAT_TABLE[request.config[name]["format"]]
        return bytes(simplejpeg.encode_jpeg(request.mapped(name), self.q, colours, "420"))


class OldJpegEncoder(JpegEncoder):
    """Up to 0.3.25: a KeyError for YUV420."""

    def encode_func(self, request: "CompletedRequest", name: str) -> bytes:
        colours = self.FORMAT_TABLE[request.config[name]["format"]]
        return bytes(simplejpeg.encode_jpeg(request.make_array(name), self.q, colours, "420"))


class MJPEGEncoder(Encoder):
    """mjpeg_encoder.py and v4l2_encoder.py: the hardware of a Pi up to 4, with a thread that asks it for results."""

    def __init__(self, bitrate: int | None = None) -> None:
        if not hardware_is_available(self.world):
            raise RuntimeError("Hardware MJPEG not available on this platform")
        super().__init__()
        self.bitrate = bitrate
        self.framerate: float | None = None
        self.opened = False  # /dev/video11
        self.buf_frame: queue.Queue[tuple[CompletedRequest, int]] = queue.Queue()

    def setup(self, quality: Any) -> None:
        if quality is not None or self.bitrate is None:
            mbit = {1: 16, 2: 20, 3: 30, 4: 40, 5: 50}[(quality or Quality.MEDIUM).value]
            self.bitrate = round(mbit * 1e6 * self.width * self.height / (1920 * 1080))

    def _start(self) -> None:
        if self.world.at_least("0.3.23"):
            self.output._add_stream("video", "mjpeg", rate=30, width=self.width, height=self.height)
        if not self.world.video11:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/dev/video11")
        self.opened = True
        self.thread = threading.Thread(target=self._poll, name="fake hardware encoder", daemon=True)
        self.thread.start()
        if self.format not in ("YUV420", "RGB888", "BGR888", "XBGR8888", "XRGB8888"):
            raise RuntimeError("Unrecognised format", self.format, "for V4L2")
        self.world.step("streamon")
        if max(self.width, self.height) > LARGEST:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def _stop(self) -> None:
        self.thread.join()  # AttributeError if the device could not be opened
        self.world.step("streamoff")
        self.opened = False

    def _encode(self, stream: str, request: "CompletedRequest") -> None:
        if not self.opened:
            return
        request.acquire()
        self.buf_frame.put((request, self._timestamp(request)))

    def _jpeg(self, request: "CompletedRequest") -> bytes:
        """The hardware's work: a quality that spends the bitrate, roughly, and no more than fits into its buffer."""
        assert self.bitrate
        mbit = self.bitrate / 1e6 * 1920 * 1080 / (self.width * self.height)
        return request.jpeg(self.name, round(min(100.0, max(1.0, mbit * 1.6))))[: self.world.buffer]

    def _poll(self) -> None:
        try:
            while self._running or self.buf_frame.qsize():
                try:
                    request, timestamp = self.buf_frame.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                jpeg = self._jpeg(request)
                if self.world.at_least("0.3.36"):
                    request.release()
                self.outputframe(jpeg, True, timestamp)
                if not self.world.at_least("0.3.36"):
                    request.release()
        except BaseException as error:
            self.world.raised.append(error)


class LibavMjpegEncoder(Encoder):
    """libav_mjpeg_encoder.py: ffmpeg, in the event loop's thread and one frame late."""

    def __init__(self, qp: int | None = None) -> None:
        super().__init__()
        self._late: tuple[bytes, int] | None = None

    def _encode(self, stream: str, request: "CompletedRequest") -> None:
        late, self._late = self._late, (request.jpeg(stream, 80), self._timestamp(request))
        if late:
            self.outputframe(late[0], True, late[1])


def hardware_is_available(world: World) -> bool:
    """_hw_encoder_available: up to 0.3.12 nobody looks, then picamera2 asks the device, later only the platform."""
    if not world.at_least("0.3.18"):
        return True
    if not world.at_least("0.3.36"):
        return world.video11 == "bcm2835-codec-encode"
    return world.platform == "VC4"
