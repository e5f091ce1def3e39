"""The addresses of pictures: streams and snapshots."""

import asyncio
import contextlib
import re
from typing import Any

from tornado import httputil, routing

from piapp.camera import Camera
from piapp.errors import NoFreshFrame, Unsupported
from piapp.web import http1, multipart
from piapp.web.guard import Handler
from piapp.web.headers import HEADERS
from piapp.web.stream import Viewer


class StreamHandler(Handler):
    """Checks the request, then hands the connection over to a Viewer."""

    def get(self, name: str | None = None, number: str | None = None) -> None:
        camera = self.camera(name, number)
        form = multipart.negotiate(
            self.request.headers.get("Accept", ""), self.get_query_argument("advance_headers", None)
        )
        fps = self._fps()
        head = _head({"Content-Type": multipart.content_type()})
        if self.request.method == "GET" and not self.site.places.make_room(self.share):
            self.refuse(503, self.site.places.full_sentence(), Retry_After="5")
        sock = self.take_socket()
        if sock is None:
            return
        if self.request.method == "HEAD":
            with sock, contextlib.suppress(OSError):
                sock.send(head)
            return
        broadcast = self.site.broadcasts[camera.name]
        viewer = Viewer(sock, self.address, self.agent, self.site.places.connections, broadcast, form, fps)
        viewer.write(head + multipart.opening(form))
        if not viewer.closed:
            broadcast.add(viewer)

    head = get

    def _fps(self) -> float | None:
        text = self.get_query_argument("fps", "")
        if not text:
            return None
        try:
            fps = float(text)
        except ValueError:
            fps = 0
        if not 0.01 <= fps <= 1000:
            self.refuse(400, f'fps = "{text}" is not a number of frames per second, from 0.01 to 1000.')
        return fps


class SnapshotHandler(Handler):
    """One picture, taken after the request came; with ?full=1 at the sensor's full resolution."""

    _waiting: asyncio.Task[tuple[bytes, int]] | None = None  # for the picture

    async def get(self, name: str | None = None, number: str | None = None) -> None:
        self._waiting = asyncio.create_task(self._take(self.camera(name, number)))
        await asyncio.wait([self._waiting])
        if self._waiting.cancelled():
            return
        try:
            jpeg, captured_ns = self._waiting.result()
        except NoFreshFrame as error:
            self.refuse(503, str(error), Retry_After="5")
        except Unsupported as error:
            self.refuse(409, str(error))
        self.set_header("Content-Type", "image/jpeg")
        self.set_header("X-Timestamp", multipart.timestamp(captured_ns))
        self.write(jpeg)

    async def _take(self, camera: Camera) -> tuple[bytes, int]:
        """The JPEG, and when it was exposed."""
        if self.get_query_argument("full", "") in ("1", "true"):
            still = await camera.still(self)
            return still.jpeg, still.captured_ns
        frame = await camera.fresh_frame(self)
        return frame.jpeg, frame.captured_ns

    def on_connection_close(self) -> None:
        """The client has gone, or piapp ends: nobody waits any more."""
        super().on_connection_close()
        if self._waiting:
            self._waiting.cancel()

    def compute_etag(self) -> None:
        """None: no two snapshots are the same, so hashing them is for nothing."""

    head = get

    def describe(self) -> dict[str, Any]:
        """As a watcher of its camera, while it waits for the picture."""
        return {"kind": "snapshot", "address": self.address, "agent": self.agent}


class Action(routing.Matcher):
    """mjpg-streamer's addresses: /?action=stream, /?action=snapshot_1, /webcam/?action=…"""

    def __init__(self, action: str) -> None:
        self._pattern = re.compile(rf"{action}(?:_(\d{{1,4}}))?")

    def match(self, request: httputil.HTTPServerRequest) -> dict[str, Any] | None:
        if request.path not in ("/", "/webcam", "/webcam/"):
            return None
        action = request.query_arguments.get("action", [b""])[-1].decode("latin-1")
        found = self._pattern.fullmatch(action)
        return {"path_kwargs": {"number": found[1] and found[1].encode()}} if found else None


def _head(headers: dict[str, str]) -> bytes:
    """A stream's response head. X-Accel-Buffering: nginx, as a proxy, then passes each frame on at once."""
    more = {"Connection": "close", "X-Accel-Buffering": "no", "Vary": "Accept", "Pragma": "no-cache"}
    return http1.response_head(200, {**HEADERS, **headers, **more}.items())
