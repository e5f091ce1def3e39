"""Finished frames and the jobs that wait for them: picamera2/request.py, job.py and controls.py of 0.3.38."""

import io
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from piapp.sources.encoder import encode_planes

from .libcamera import Request
from .scene import Pixels

if TYPE_CHECKING:
    from .picamera2 import Picamera2

SIMPLEJPEG = {"XBGR8888": "RGBX", "XRGB8888": "BGRX", "BGR888": "RGB", "RGB888": "BGR"}


class Controls:
    """What is to be set with the next request that goes to the camera."""

    def __init__(self, camera: "Picamera2", controls: Mapping[str, Any] | None = None) -> None:
        self._camera = camera
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}
        self.set_controls(controls or {})

    def set_controls(self, controls: Mapping[str, Any]) -> None:
        with self._lock:
            for name, value in controls.items():
                if name == "FrameRate":
                    fastest, slowest = (value, value) if not isinstance(value, list | tuple) else value[::-1]
                    name, value = "FrameDurationLimits", (int(1000000 / fastest), int(1000000 / slowest))
                if name not in self._camera.camera_ctrl_info:
                    raise RuntimeError(f"Control {name} is not advertised by libcamera")
                self._values[name] = value

    def get_libcamera_controls(self) -> dict[str, Any]:
        with self._lock:
            return dict(self._values)


class CompletedRequest:
    """A frame, for as long as somebody has acquired it; then its buffers go back to the camera.

    Whoever releases it last queues it again with the controls that were set meanwhile: a value that libcamera does not
    take raises in that thread, which need not be the one that has set it.
    """

    def __init__(self, request: Request, camera: "Picamera2") -> None:
        self.request: Request | None = request
        self.ref_count = 1
        self.picam2 = camera
        self.lock = camera.request_lock if camera.world.at_least("0.3.18") else threading.Lock()
        self.stop_count, self.configure_count = camera.stop_count, camera.configure_count
        self.config: dict[str, Any] = camera.camera_config.copy()  # None.copy() up to 0.3.22 before configure()
        self.stream_map: dict[str, Any] = camera.stream_map.copy()
        with self.lock:
            camera.allocator.acquire(request)

    def acquire(self) -> None:
        with self.lock:
            if self.ref_count == 0:
                raise RuntimeError("CompletedRequest: acquiring lock with ref_count 0")
            self.ref_count += 1

    def release(self) -> None:
        camera = self.picam2
        with self.lock:
            self.ref_count -= 1
            if self.ref_count < 0:
                raise RuntimeError("CompletedRequest: lock now has negative ref_count")
            if self.ref_count:
                return
            if camera.camera and self.stop_count == camera.stop_count and camera.started:
                assert self.request
                self.request.reuse()
                types = camera.camera.types()
                for name, value in camera.controls.get_libcamera_controls().items():
                    self.request.set_control(name, value, types)
                camera.controls = Controls(camera)
                camera.camera.queue_request(self.request)
            self.request, self.config, self.stream_map = None, {}, {}

    def get_metadata(self) -> dict[str, Any]:
        assert self.request
        return dict(self.request.metadata)

    def make_buffer(self, name: str) -> Pixels:
        if self.stream_map.get(name) is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        assert self.request
        return self.request.pixels(name).copy()

    def make_array(self, name: str) -> Pixels:
        return np.ascontiguousarray(self.mapped(name).copy())

    def mapped(self, name: str) -> Pixels:
        """MappedArray's array: the memory itself, with the padding at the end of each line of YUV420."""
        if self.config.get(name) is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        assert self.request
        (width, height), line = self.config[name]["size"], self.config[name]["stride"]
        memory = self.request.pixels(name)
        if self.config[name]["format"] == "YUV420":
            return memory.reshape(height * 3 // 2, line)
        depth = 3 if "888" == self.config[name]["format"][-3:] else 4
        return memory.reshape(height, line)[:, : width * depth].reshape(height, width, depth)

    def planes(self, name: str) -> tuple[Pixels, Pixels, Pixels]:
        """Of YUV420, without the padding: as JpegEncoder.encode_func cuts them out of the memory."""
        memory = self.mapped(name)
        width, height = self.config[name]["size"]
        rest = memory.reshape(memory.shape[0] * 2, memory.strides[0] // 2)
        u = rest[2 * height : 2 * height + height // 2, : width // 2]
        v = rest[2 * height + height // 2 :, : width // 2]
        return memory[:height, :width], u, v

    def jpeg(self, name: str, quality: int) -> bytes:
        pixel_format = self.config[name]["format"]
        if pixel_format == "YUV420":
            return encode_planes(*self.planes(name), quality)
        return bytes(simplejpeg.encode_jpeg(self.mapped(name), quality, SIMPLEJPEG[pixel_format], "420"))

    def save(self, name: str, file_output: Any, format: str | None = None) -> None:
        if self.config.get(name) is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        if format not in ("jpg", "jpeg") or not isinstance(file_output, io.BytesIO):
            raise RuntimeError("this stand-in saves JPEG to memory only")
        if self.config[name]["format"] == "YUV420" and not self.picam2.world.at_least("0.3.26"):
            raise RuntimeError("Stream format YUV420 not supported for PIL images")
        file_output.write(self.jpeg(name, self.picam2.options.get("quality", 90)))


class Job:
    """Functions that the event loop is to do, each until it says that it is done."""

    def __init__(self, functions: list[Callable[[], tuple[bool, Any]]]) -> None:
        self._functions = functions
        self._future: Future[Any] = Future()
        self._result: Any = None

    def execute(self) -> bool:
        try:
            while self._functions:
                done, result = self._functions[0]()
                if not done:
                    break
                self._functions.pop(0)
            if not self._functions:
                self._result = result
        except Exception as error:
            self._future.set_exception(error)
            self._functions = []
        return not self._functions

    def signal(self) -> None:
        if not self._future.done():
            self._future.set_result(self._result)

    def cancel(self) -> None:
        self._future.set_exception(CancelledError())

    def get_result(self, timeout: float | None = None) -> Any:
        return self._future.result(timeout)
