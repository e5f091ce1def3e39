"""The threads that hand frames on: CameraManager of picamera2/picamera2.py, and previews/null_preview.py."""

import selectors
import threading
from collections import deque
from typing import TYPE_CHECKING

from .libcamera import Request
from .requests import CompletedRequest
from .world import World

if TYPE_CHECKING:
    from .picamera2 import Picamera2


class Manager:
    """CameraManager: one thread for the process hands all cameras' finished requests to their Picamera2.

    Whatever it raises ends the thread, and with it every camera of the process.
    """

    def __init__(self, world: World) -> None:
        self.running = False
        self.cameras: dict[int, Picamera2] = {}
        self.thread: threading.Thread | None = None
        self._world = world
        self._lock = threading.Lock()
        self._ready: deque[Request] = deque()
        self._event = threading.Event()

    def add(self, index: int, camera: "Picamera2") -> None:
        with self._lock:
            self.cameras[index] = camera
            if not self.running:
                self.running = True
                self.thread = threading.Thread(target=self._listen, name="fake camera manager", daemon=True)
                self.thread.start()

    def cleanup(self, index: int) -> None:
        with self._lock:
            del self.cameras[index]
            last = not self.cameras
            if last:
                self.running = False
        if last and self.thread:
            self._event.set()
            self.thread.join()

    def completed(self, request: Request) -> None:
        """libcamera's: called in the threads of its cameras."""
        self._ready.append(request)
        self._event.set()

    def handle_request(self, flush: int | None = None) -> None:
        with self._lock:
            cameras = []
            while self._ready:
                request = self._ready.popleft()
                if request.complete and request.cookie != flush:
                    camera = self.cameras[request.cookie]
                    cameras.append(camera)
                    with camera._requestslock:
                        camera._requests.append(CompletedRequest(request, camera))
            for camera in dict.fromkeys(cameras):
                camera._run_process_requests()

    def _listen(self) -> None:
        try:
            while self.running:
                if self._event.wait(0.2):
                    self._event.clear()
                    self.handle_request()
        except BaseException as error:
            self._world.raised.append(error)


class NullPreview:
    """picamera2's event loop. Whatever it raises ends it; picamera2 goes on as if it ran."""

    def __init__(self, camera: "Picamera2") -> None:
        self._camera = camera
        self._abort = threading.Event()
        self.thread = threading.Thread(target=self._run, name="fake event loop", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self._abort.set()
        self._camera._run_process_requests()  # here only: the real loop looks five times a second
        self.thread.join()
        self._camera.detach_preview()

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._camera.notifyme_r, selectors.EVENT_READ)
        try:
            while not self._abort.is_set():
                for _ in selector.select(0.2):
                    self._camera.notifymeread.read()
                    self._camera.process_requests()
        except BaseException as error:
            self._camera.world.raised.append(error)
        finally:
            selector.close()


class Allocator:
    """Gives buffers and takes them back."""

    def __init__(self) -> None:
        self.held: set[int] = set()

    def acquire(self, request: Request) -> None:
        self.held.add(id(request))
