"""Runs UsbCamera and tells what it does, one JSON object a line; a process of its own, as LD_PRELOAD wants it.

    drive.py '{"device": "/tmp/x/video0", "hflip": true, …}'

Standard input takes one word a line: "start" opens the camera (a new source, as piapp does it), "stop", "second" tries
to open it a second time, "adjust {"brightness": 9}" changes controls (when it is stopped: of the next opening),
"declared" asks for all of them. End of file stops and ends. Standard output tells "frame", "failed", "stopped" and the
answers.
"""

import base64
import json
import logging
import sys
import threading
import time
from typing import Any

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources.usb_camera import UsbCamera


class Drive:
    """One source after the other, each in a thread."""

    def __init__(self, config: CameraConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._prepare()

    def _prepare(self) -> None:
        self.source = UsbCamera(self._config)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        if self._thread.ident:
            self._prepare()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()
            self._prepare()

    def second(self) -> None:
        try:
            UsbCamera(self._config).run(self._publish, threading.Event())
        except SourceError as error:
            self.tell("second", what=error.what, hint=error.hint)

    def adjust(self, changes: dict[str, Any]) -> None:
        self.source.adjust(changes)

    def declared(self) -> None:
        self.tell("declared", controls=[control.describe() for control in self.source.controls])

    def tell(self, event: str, **more: Any) -> None:
        with self._lock:
            print(json.dumps({"event": event, "at": time.monotonic(), **more}), flush=True)

    def _run(self) -> None:
        source = self.source
        try:
            source.run(self._publish, self._stopping)
            self.tell("stopped")
        except SourceError as error:
            self.tell("failed", what=error.what, hint=error.hint)

    def _publish(self, jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        self.tell(
            "frame",
            jpeg=base64.b64encode(jpeg).decode(),
            size=[width, height],
            age_ms=(time.monotonic_ns() - captured_ns) / 1e6,
            bad_frames=self.source.bad_frames,
            negotiated=self.source.negotiated,
            encoder=self.source.encoder,
            controls={control.name: control.value for control in self.source.controls},
            inactive=[control.name for control in self.source.controls if not control.active],
        )


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = json.loads(sys.argv[1])
    if "resolution" in settings:
        settings["resolution"] = Size(*settings["resolution"])
    drive = Drive(CameraConfig(**settings))
    for line in sys.stdin:
        word, _, changes = line.strip().partition(" ")
        getattr(drive, word)(*([json.loads(changes)] if changes else []))
    drive.stop()


if __name__ == "__main__":
    main()
