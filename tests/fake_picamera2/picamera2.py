"""The class Picamera2: picamera2/picamera2.py of 0.3.38.

Where older versions differ so that piapp notices, the World's version decides.
"""

import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from .encoders import Encoder, Output
from .events import Allocator, Manager, NullPreview
from .libcamera import ColorSpace, Device, Request, Stream, Transform
from .modules import Module
from .requests import CompletedRequest, Controls, Job
from .scene import FORMATS
from .world import TUNING, World


class Picamera2:
    """The instance of a World is that of the subclass that installed() makes for it."""

    world: World
    _cm: Manager

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        """Sorted with the USB cameras at the end; Num is libcamera's number. Up to 0.3.12 neither."""
        found = [module.info() for module in cls.world.found()]
        if not cls.world.at_least("0.3.18"):
            return found
        numbered = [{**info, "Num": number} for number, info in enumerate(found)]
        return sorted(numbered, key=lambda camera: ("/usb" not in camera["Id"], camera["Id"]), reverse=True)

    def __init__(self, camera_num: int = 0, verbose_console: int | None = None, tuning: str | None = None) -> None:
        world = self.world
        world.opened.append(self)
        self.is_open = False
        self._preview: NullPreview | None = None
        if tuning is None:
            os.environ.pop(TUNING, None)
        else:
            os.environ[TUNING] = tuning
        self.notifyme_r, self.notifyme_w = os.pipe2(os.O_NONBLOCK)
        self.notifymeread = os.fdopen(self.notifyme_r, "rb")
        if world.at_least("0.3.18"):
            infos = self.global_camera_info()
            if world.at_least("0.3.38") and camera_num >= len(infos):
                raise RuntimeError(f"No camera number {camera_num} found - use rpicam-hello to check connected cameras")
            camera_num = infos[camera_num]["Num"]
        registers_first = not world.at_least("0.3.38")
        if registers_first:  # and stays so when the camera cannot be opened
            self._cm.add(camera_num, self)
        self.camera_idx = camera_num
        if world.at_least("0.3.18"):
            self.request_lock = threading.Lock()
        self._requestslock = threading.Lock()
        self._requests: list[CompletedRequest] = []
        self._reset_flags()
        try:
            self._open_camera()
        except Exception as error:
            message = "Camera __init__ sequence did not complete."
            if world.at_least("0.3.36"):
                raise RuntimeError(message) from error
            raise RuntimeError(message)  # noqa: B904 (so it is there)
        if not registers_first:
            self._cm.add(camera_num, self)
        self.allocator = Allocator()

    def _reset_flags(self) -> None:
        empty: Any = {} if self.world.at_least("0.3.36") else None
        self.camera: Device | None = None
        self.camera_ctrl_info: dict[str, Any] = {}
        self.camera_properties_: dict[str, Any] = {}
        self.camera_config: dict[str, Any] = empty
        self.stream_map: dict[str, Any] = empty
        self.streams: dict[str, Stream] = {}
        self.started = False
        self.stop_count = self.configure_count = 0
        self.options: dict[str, Any] = {}
        self.pre_callback: Callable[[CompletedRequest], None] | None = None
        self.post_callback: Callable[[CompletedRequest], None] | None = None
        self.completed_requests: list[CompletedRequest] = []
        self.lock = threading.Lock()  # protects the two lists, and is held while an encoder takes a frame
        self._job_list: list[Job] = []
        self._encoders: set[Encoder] = set()
        self._event_loop_running = False
        self.controls = Controls(self)
        self.controls_set: list[tuple[str, Any]] = []  # here only: all that was set, in this order

    def _open_camera(self) -> None:
        found = self.world.found()
        if not found:
            raise RuntimeError("Camera(s) not found (Do not forget to disable legacy camera with raspi-config).")
        module = found[self.camera_idx]
        self.camera = self.world.devices.setdefault(module.id, Device(self.world, module))
        self._read_controls()
        self.sensor_resolution = module.whole
        self.camera.acquire(self)
        self.is_open = True

    def _read_controls(self) -> None:
        assert self.camera
        ranges = self.camera.module.controls(self.camera.mode)
        names = ("min", "max", "default")
        self.camera_ctrl_info = {
            name: (name, SimpleNamespace(**dict(zip(names, found, strict=True)))) for name, found in ranges.items()
        }
        self.camera_properties_ = self.camera.module.properties()

    @property
    def module(self) -> Module:
        """Here only."""
        return self.world.found()[self.camera_idx]

    @property
    def device(self) -> Device:
        """Here only: libcamera's camera, also after close()."""
        return self.world.devices[self.module.id]

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        return {name: (info.min, info.max, info.default) for name, (_, info) in self.camera_ctrl_info.items()}

    @property
    def camera_properties(self) -> dict[str, Any]:
        return {} if self.camera is None else self.camera_properties_

    # --- configuration ---

    def create_video_configuration(
        self,
        main: dict[str, Any] | None = None,
        lores: dict[str, Any] | None = None,
        raw: dict[str, Any] | None = {},  # noqa: B006 (so it is there: with a raw stream unless None)
        transform: Transform | None = None,
        colour_space: ColorSpace | None = None,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
        display: str | None = "main",
        encode: str = "main",
        queue: bool = True,
        **more: Any,
    ) -> dict[str, Any]:
        if more.keys() - ({"sensor"} if self.world.at_least("0.3.18") else set()):
            raise TypeError(f"create_video_configuration() got an unexpected keyword argument {next(iter(more))!r}")
        if self.camera is None:
            raise RuntimeError("Camera not opened")
        first = self._stream_config({"format": "XBGR8888", "size": (1280, 720)}, main or {})
        if colour_space is None:
            small = first["size"][0] < 1280 or first["size"][1] < 720
            colour_space = ColorSpace.Smpte170m() if small else ColorSpace.Rec709()
        config = {
            "transform": transform or Transform(),
            "colour_space": colour_space,
            "buffer_count": buffer_count,
            "queue": queue,
            "main": first,
            "lores": lores and self._stream_config({"format": "YUV420", "size": first["size"]}, lores),
            "raw": None if raw is None else {"format": "SRGGB10_CSI2P", "size": first["size"], **raw},
            "controls": {"NoiseReductionMode": 1, "FrameDurationLimits": (33333, 33333), **(controls or {})},
            "display": display,
            "encode": encode,
            **more,
        }
        if config.get(encode) is None:
            raise RuntimeError(f"Encode stream {encode} was not defined")
        return config

    def _stream_config(self, config: dict[str, Any], updates: dict[str, Any]) -> dict[str, Any]:
        valid = ("format", "size", *(("stride", "preserve_ar") if self.world.at_least("0.3.36") else ()))
        for key in updates:
            if key not in valid:
                raise ValueError(f"Bad key {key!r}: valid stream configuration keys are {valid}")
        config = {**config, **updates}
        width, height = config["size"]
        return {**config, "size": (width - width % 2, height - height % 2)}

    def configure(self, camera_config: dict[str, Any]) -> None:
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        config = camera_config.copy()
        self.camera_config = {} if self.world.at_least("0.3.36") else cast("dict[str, Any]", None)
        self._check(config)
        assert self.camera
        if not self.camera.module.mirrors:
            config["transform"] = Transform()
        config["transform"].transpose = False
        if self.world.adjusted:
            config["main"]["size"] = self.world.adjusted
        sensor, raw = config.get("sensor") or {}, config["raw"] or {}
        mode = self.module.mode(sensor.get("output_size") or raw.get("size") or config["main"]["size"])
        if self.world.at_least("0.3.18"):
            config["sensor"] = {"bit_depth": self.camera.module.bits, "output_size": mode}
        self.camera.configure(mode, config["transform"], config["colour_space"])
        self._read_controls()
        self.streams = {}
        for name in ("main", "lores", "raw"):
            if (stream := config.get(name)) is not None:
                found = self.streams[name] = Stream(stream["format"], stream["size"], config["buffer_count"])
                stream["stride"], stream["framesize"] = found.stride, found.frame_size
        self.stream_map = dict.fromkeys(("main", "lores", "raw")) | self.streams
        self.encode_stream_name = config["encode"]
        self._max_queue_len = 1 if config["queue"] and config["buffer_count"] > 1 else 0
        self.camera.allocate(self.streams.values())
        self.camera_config = config
        self.controls = Controls(self, config["controls"])
        self.configure_count += 1

    def _check(self, config: dict[str, Any]) -> None:
        if not isinstance(config["colour_space"], ColorSpace):
            raise RuntimeError("Colour space has incorrect type")
        if not isinstance(config["transform"], Transform):
            raise RuntimeError("Transform has incorrect type")
        for name in ("main", "lores"):
            if (stream := config[name]) is not None:
                if stream["format"] not in FORMATS:
                    raise RuntimeError(f"Bad format {stream['format']} in stream {name}")
                if type(stream["size"]) is not tuple or any(side % 2 for side in stream["size"]):
                    raise RuntimeError("width and height should be even")
        if lores := config["lores"]:
            if lores["size"][0] > config["main"]["size"][0] or lores["size"][1] > config["main"]["size"][1]:
                raise RuntimeError("lores stream dimensions may not exceed main stream")
            if lores["format"] != "YUV420" and (self.world.platform == "VC4" or not self.world.at_least("0.3.18")):
                raise RuntimeError("lores stream must be YUV")

    def camera_configuration(self) -> dict[str, Any]:
        return self.camera_config

    # --- running ---

    def start_preview(self) -> None:
        if self._event_loop_running:
            raise RuntimeError("An event loop is already running")
        self._event_loop_running = True
        self._preview = NullPreview(self)

    def detach_preview(self) -> None:
        self._preview = None
        self._event_loop_running = False

    def start(self) -> None:
        if not self.camera_config:
            raise RuntimeError("Camera has not been configured")
        if not self._event_loop_running:
            self.start_preview()
        if self.started:
            return
        assert self.camera
        controls = self.controls.get_libcamera_controls()
        self.controls = Controls(self)
        self.camera.start(controls)
        for _ in range(self.camera_config["buffer_count"]):
            self.camera.queue_request(Request(self.camera_idx, self.streams))
        self.started = True

    def stop(self) -> None:
        """By a job, which the event loop must come to."""
        if not self.started:
            return
        if self._preview is not None and self._event_loop_running:
            self.dispatch_functions([self.stop_], wait=True, immediate=True)
        else:
            self.stop_()

    def stop_(self) -> tuple[bool, None]:
        if self.started:
            assert self.camera
            self.stop_count += 1
            self.camera.stop()
            self._cm.handle_request(self.camera_idx)
            self.started = False
            with self._requestslock:
                unseen, self._requests = self._requests, []
            for request in (*unseen, *self.completed_requests):
                request.release()
            self.completed_requests = []
        return True, None

    def close(self) -> None:
        if self._preview:
            self._preview.stop()
        if not self.is_open:
            return
        self.stop()
        assert self.camera
        self.camera.release()
        self._cm.cleanup(self.camera_idx)
        self.is_open = False
        self.camera = None
        self.camera_ctrl_info, self.camera_config, self.stream_map = {}, {}, {}
        self.notifymeread.close()
        os.close(self.notifyme_w)

    def set_controls(self, controls: dict[str, Any]) -> None:
        """To be in force some frames later. Unknown names are a RuntimeError."""
        self.controls.set_controls(controls)
        self.controls_set += controls.items()

    def process_requests(self) -> None:
        """In the event loop, when frames have come or a job is to be done at once."""
        with self._requestslock:
            requests, self._requests = self._requests, []
        with self.lock:
            for request in requests:
                request.acquire()
                if self.pre_callback:
                    self.pre_callback(request)
            self.completed_requests += requests
            finished = []
            while self._job_list and self._job_list[0].execute():
                finished.append(self._job_list.pop(0))
            for request in requests:
                if self.post_callback:
                    self.post_callback(request)
                for encoder in self._encoders:
                    if encoder.name in self.stream_map:
                        encoder.encode(encoder.name, request)
                request.release()
            while len(self.completed_requests) > self._max_queue_len:
                self.completed_requests.pop(0).release()
        for job in finished:
            job.signal()

    def _run_process_requests(self) -> None:
        os.write(self.notifyme_w, b"\x00")

    # --- jobs ---

    def dispatch_functions(
        self, functions: list[Callable[[], tuple[bool, Any]]], wait: Any, immediate: bool = False
    ) -> Any:
        with self.lock:
            only_job = not self._job_list
            job = Job(functions)
            self._job_list.append(job)
            if only_job and (self.completed_requests or immediate):
                self._run_process_requests()
        return job.get_result(None if wait is True else wait) if wait else job

    def capture_metadata(self, wait: Any = True) -> Any:
        def capture() -> tuple[bool, Any]:
            if not self.completed_requests:
                return False, None
            request = self.completed_requests.pop(0)
            result = request.get_metadata()
            request.release()
            return True, result

        return self.dispatch_functions([capture], wait)

    def flush(self) -> None:
        """cancel_all_and_flush() of 0.3.22 and later, where installed() gives it this name."""
        with self.lock:
            for job in self._job_list:
                job.cancel()
            self._job_list = []

    # --- encoders ---

    def start_encoder(
        self,
        encoder: Encoder,
        output: Output,
        pts: str | None = None,
        quality: Any = None,
        name: str | None = None,
    ) -> None:
        encoder.output = output
        streams = self.camera_configuration()
        name = name or self.encode_stream_name
        if streams.get(name) is None:
            raise RuntimeError(f"Encode stream {name} was not defined")
        encoder.name = name
        encoder.width, encoder.height = streams[name]["size"]
        encoder.format, encoder.stride = streams[name]["format"], streams[name]["stride"]
        if self.camera_ctrl_info["FrameDurationLimits"][1].min is None:
            raise TypeError("FrameDurationLimits has no minimum")
        self.world.encoders.append(encoder)
        if self.world.at_least("0.3.18"):
            encoder.start(quality=quality)
        else:
            encoder.setup(quality)
            encoder.start()
        with self.lock:
            self._encoders.add(encoder)

    def stop_encoder(self, encoders: Encoder | None = None) -> None:
        stopped = list(self._encoders) if encoders is None else [encoders]
        for encoder in stopped:
            encoder.stop()
        with self.lock:
            for encoder in stopped:
                self._encoders.remove(encoder)
