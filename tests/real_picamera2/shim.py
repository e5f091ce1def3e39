"""Lets the real picamera2 run on libcamera's "virtual" pipeline, which paints pictures in software, on any computer.

install() is called before anybody imports picamera2. What it changes, and why:

1. pykms and pidng, which picamera2 imports for screens and for raw files, are empty stand-ins.
2. Buffers come from memfd_create() instead of /dev/dma_heap, which plain kernels do not have, and need no
   DMA_BUF_IOCTL_SYNC.
3. Each buffer is told to libcamera as the two planes that NV12 has: on picamera2's single one its pipeline aborts.
4. There is one sensor mode, the camera's largest size: the pipeline refuses the raw role that tells them. A
   configuration says that this mode is in use, as a Pi's does.
5. The pipeline only has NV12 in the range of video. Who asks for YUV420, as one does on a Pi, gets it: requests are
   converted in place as they complete. Who asks for JPEG's colour space, Sycc, gets its full range.
6. The pipeline answers each request at once. A Sensor hands them on at the frame rate that was asked for; it can be
   paused, as if the ribbon cable were loose. libcamera's SensorTimestamp, CLOCK_MONOTONIC when the pipeline begins to
   paint, is then the moment of the exposure without further ado.
7. With `pisp` picamera2 believes that it is on a Pi 5.
"""

import os
import sys
import threading
import time
from collections import deque
from types import ModuleType, SimpleNamespace
from typing import Any

# From the range of video to the full one.
LUMA = bytes(min(255, max(0, round((y - 16) * 255 / 219))) for y in range(256))
CHROMA = bytes(min(255, max(0, round((c - 128) * 255 / 224 + 128))) for c in range(256))

_sensors: dict[str, "Sensor"] = {}


class Sensor:
    """The clock of one camera: a thread from the camera's start to its stop."""

    def __init__(self, queue_request: Any) -> None:
        """`queue_request` is libcamera's own."""
        self.paused = False  # no exposures, and no error; may be changed at any time from any thread
        self.period_s = 1 / 30
        self._queue_request = queue_request
        self._waiting: deque[tuple[Any, Any]] = deque()  # camera and request, for the next exposures
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="sensor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """When this returns, requests that still wait are forgotten, as a camera that stops cancels them."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        self._waiting.clear()

    def wait(self, camera: Any, request: Any) -> None:
        self._waiting.append((camera, request))

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            if self._waiting and not self.paused:
                self._queue_request(*self._waiting.popleft())
            due = max(due + self.period_s, time.monotonic())


def sensor(camera_id: str) -> Sensor:
    return _sensors[camera_id]


def install(*, pisp: bool = False) -> None:
    """Once in a process, before picamera2 is imported."""
    assert "picamera2" not in sys.modules
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR,DmaBufAllocator:FATAL")
    formats = "RGB888 BGR888 XRGB8888 XBGR8888 ABGR8888 YUV420 YVU420 NV12"
    _stand_in("pykms", PixelFormat=SimpleNamespace(**{name: name for name in formats.split()}))
    _stand_in("pidng")
    _stand_in("pidng.camdefs", Picamera2Camera=object)
    _stand_in("pidng.core", PICAM2DNG=object)
    if pisp:
        platform = SimpleNamespace(VC4=0, PISP=1)
        _stand_in("picamera2.platform", Platform=platform, get_platform=lambda: platform.PISP)
    _change_libcamera()
    _change_allocator()
    _change_picamera2()


def _stand_in(name: str, **attributes: object) -> None:
    module = ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module


def _change_libcamera() -> None:
    """6: cameras have sensors."""
    from libcamera import Camera, CameraManager

    start, stop, queue_request = Camera.start, Camera.stop, Camera.queue_request
    for camera in CameraManager.singleton().cameras:
        _sensors[camera.id] = Sensor(queue_request)

    def start_sensor(camera: Any, controls: Any) -> None:
        start(camera, controls)
        sensor(camera.id).start()

    def stop_sensor(camera: Any) -> None:
        sensor(camera.id).stop()
        stop(camera)

    Camera.start, Camera.stop = start_sensor, stop_sensor
    Camera.queue_request = lambda camera, request: sensor(camera.id).wait(camera, request)


class MemoryHeap:
    """2: in place of picamera2's DmaHeap."""

    def alloc(self, name: str, size: int) -> Any:
        from picamera2.dma_heap import UniqueFD

        fd = os.memfd_create(name)
        os.truncate(fd, size)
        return UniqueFD(fd)

    def close(self) -> None:
        pass


def _change_allocator() -> None:
    """2, 3"""
    from libcamera import FrameBuffer
    from picamera2.allocators import dmaallocator

    def frame_buffer(planes: list[Any]) -> Any:
        (luma,), chroma = planes, FrameBuffer.Plane()
        chroma.fd, chroma.offset, chroma.length = luma.fd, luma.length * 2 // 3, luma.length // 3
        luma.length = chroma.offset  # the same object: DmaAllocator goes by the number of its file descriptor
        return FrameBuffer([luma, chroma])

    frame_buffer.Plane = FrameBuffer.Plane  # type: ignore[attr-defined]
    dmaallocator.DmaHeap = MemoryHeap
    dmaallocator.libcamera = SimpleNamespace(FrameBuffer=frame_buffer)
    dmaallocator.fcntl = SimpleNamespace(ioctl=lambda *_: 0)


def _change_picamera2() -> None:
    """4, 5, and of 6 the frame rate."""
    from libcamera import ColorSpace, StreamRole
    from picamera2 import CompletedRequest, Picamera2
    from picamera2.controls import Controls

    def raw_modes(camera: Any) -> list[dict[str, Any]]:
        largest = camera.camera.generate_configuration([StreamRole.Viewfinder]).at(0).size
        return [{"format": "SRGGB10", "size": (largest.width, largest.height)}]

    update_stream, update_camera = Picamera2._update_stream_config, Picamera2._update_camera_config

    def update_stream_config(camera: Any, stream: dict[str, Any], libcamera_stream: Any) -> None:
        wanted = stream["format"]
        update_stream(camera, stream, libcamera_stream)
        if wanted == "YUV420":
            stream["format"] = wanted

    def update_camera_config(camera: Any, config: dict[str, Any], libcamera_config: Any) -> None:
        wanted = config["colour_space"]
        update_camera(camera, config, libcamera_config)
        config["colour_space"] = wanted
        config["sensor"] = {"bit_depth": 10, "output_size": camera.sensor_resolution}

    make_request = CompletedRequest.__init__

    def completed(request: Any, *arguments: Any) -> None:
        make_request(request, *arguments)
        full = request.config["colour_space"].range == ColorSpace.Range.Full
        for name, stream in request.stream_map.items():
            if stream is not None and request.config[name]["format"] == "YUV420":
                memory = request.picam2.allocator.mapped_buffers[request.request.buffers[stream]]
                _to_yuv420(memory, *request.config[name]["size"], full=full)

    to_libcamera = Controls.get_libcamera_controls

    def get_libcamera_controls(controls: Any) -> Any:
        made = to_libcamera(controls)
        for control, value in made.items():
            if control.name == "FrameDurationLimits":
                sensor(controls._picam2.camera.id).period_s = value[0] / 1e6
        return made

    Picamera2._get_raw_modes = raw_modes
    Picamera2._update_stream_config, Picamera2._update_camera_config = update_stream_config, update_camera_config
    CompletedRequest.__init__ = completed
    Controls.get_libcamera_controls = get_libcamera_controls


def _to_yuv420(memory: Any, width: int, height: int, *, full: bool) -> None:
    """5: NV12 has the two colours in turn behind the luma, YUV420 one behind the other. `full`: in the full range."""
    luma, colours = width * height, width * height // 2
    if full:
        memory[:luma] = memory[:luma].translate(LUMA)
    pairs = memory[luma : luma + colours].translate(CHROMA if full else None)
    memory[luma : luma + colours] = pairs[::2] + pairs[1::2]
