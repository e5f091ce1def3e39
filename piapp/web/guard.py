"""The base of all handlers: which requests are allowed, and the headers of every response.

The danger is browsers: any web page can send requests into the LAN of its readers. The Origin header reveals such
requests, except after DNS rebinding: see hosts.py.
"""

import hashlib
import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from tornado import web

from piapp.camera import Camera
from piapp.config import ServerConfig
from piapp.web import hosts
from piapp.web.connection import Connection
from piapp.web.headers import HEADERS
from piapp.web.limits import Limits
from piapp.web.news import News
from piapp.web.places import Places
from piapp.web.stream import Broadcast

PAGE = Path(__file__).parent / "page"
AGENT_LIMIT = 200  # characters


@dataclass
class Site:
    """What the handlers work with."""

    config: ServerConfig
    cameras: dict[str, Camera]
    problem: str = ""  # what keeps piapp from working as it was set up, in words for its owner
    system: Callable[[], dict[str, Any]] = dict  # facts about this computer
    limits: Limits = Limits()
    own_names: set[str] = field(default_factory=set)  # this computer's names on the network, once they are known
    unsaved: str = ""  # why changes cannot be saved, in words for piapp's owner
    broadcasts: dict[str, Broadcast] = field(init=False)
    places: Places = field(init=False)
    pages: dict[str, Connection] = field(init=False, default_factory=dict)  # that are open, by their own ids
    news: News = field(init=False)
    page_version: str = field(init=False)  # another one for any other state of the page's files

    def __post_init__(self) -> None:
        self.broadcasts = {
            name: Broadcast(camera, self.config.viewer_timeout_s) for name, camera in self.cameras.items()
        }
        self.places = Places(self.config.max_viewers, self.limits)
        self.news = News(self.cameras.values(), self.words())
        files = (file.read_bytes() for file in sorted(PAGE.rglob("*")) if file.is_file())
        self.page_version = hashlib.sha256(b"".join(files)).hexdigest()[:16]

    def change(self, config: ServerConfig, cameras: dict[str, Camera], problem: str) -> None:
        """Other settings, and other cameras: streams of those that are gone end, pages show those that are there."""
        self.config, self.cameras, self.problem = config, cameras, problem
        self.places.fit(config.max_viewers)
        before = self.broadcasts
        stay = {name: each for name, each in before.items() if cameras.get(name) is each.camera}
        for broadcast in stay.values():
            broadcast.viewer_timeout_s = config.viewer_timeout_s
        self.broadcasts = {
            name: stay.get(name) or Broadcast(camera, config.viewer_timeout_s) for name, camera in cameras.items()
        }
        for broadcast in set(before.values()) - set(stay.values()):
            broadcast.end()
        self.news.change(cameras.values(), self.words())

    def cannot_save(self, unsaved: str) -> None:
        """Why, or empty when changes are saved again."""
        self.unsaved = unsaved
        self.news.change(self.cameras.values(), self.words())

    def words(self) -> str:
        """What the owner should know, for the page; empty: nothing."""
        return " ".join(filter(None, (self.problem, self.unsaved)))

    def answers_to(self, host: str) -> bool:
        """Whether piapp accepts this name in the Host header."""
        return hosts.allowed(host, {*self.own_names, *self.config.allowed_hosts})


class Refusal(web.HTTPError):
    """An answer other than 200, with the sentence that says why."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str]) -> None:
        super().__init__(status)
        self.sentence = sentence
        self.headers = headers


@web.stream_request_body  # so that prepare() decides before the body is read, and Tornado parses no forms
class Handler(web.RequestHandler):
    """The base of every handler. Errors are answered in JSON: {"error": "a sentence"}."""

    body_limit: ClassVar[int] = 0  # bytes that a request which changes something may send
    site: Site

    def initialize(self, site: Site) -> None:
        self.site = site

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        host = hosts.name_of(self.request.host)
        if not self.site.answers_to(host):
            self.refuse(421, f'The name "{host}" is not allowed. Add it to allowed_hosts in config.toml.')
        changes = self.request.method not in ("GET", "HEAD")
        if changes:
            self._check_change()
        if not self._has(str(self.request.method).lower()):
            raise web.HTTPError(405)
        limit = self.body_limit if changes else 0
        if int(self.request.headers.get("Content-Length", 0)) > limit:
            self.refuse(413, f"Send at most {limit >> 10} kB." if limit else "Send no body to this address.")

    def data_received(self, chunk: bytes) -> None:
        self.request.body += chunk

    @property
    def agent(self) -> str:
        """The User-Agent header, shortened."""
        return self.request.headers.get("User-Agent", "")[:AGENT_LIMIT]

    @property
    def share(self) -> str:
        """The client's address as limits count it."""
        share: str = self.request.connection.share  # type: ignore[union-attr]  # a Client
        return share

    @property
    def address(self) -> str:
        return self.request.remote_ip or ""

    def check_origin(self) -> None:
        """Refuse a browser that shows a page of somebody else's."""
        origin = self.request.headers.get("Origin")
        if origin is not None and origin.lower() not in (
            f"{scheme}://{self.request.host.lower()}" for scheme in ("http", "https")
        ):
            self.refuse(403, "Only piapp's own page may do this from a browser.")

    def _check_change(self) -> None:
        self.check_origin()
        if self.request.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            self.refuse(415, "Send application/json.")

    def camera(self, name: str | None, number: str | None = None) -> Camera:
        """By name; or by number, from 0, in addresses for other programs; the first one without either."""
        cameras = self.site.cameras
        if not cameras:
            self.refuse(503, self.site.problem)
        if name is not None:
            if name not in cameras:
                self.refuse(404, f'There is no camera "{name}". There are: {", ".join(cameras)}.')
            return cameras[name]
        if int(number or 0) >= len(cameras):
            self.refuse(404, f"There is no camera number {number}. They count from 0 to {len(cameras) - 1}.")
        return list(cameras.values())[int(number or 0)]

    def refuse(self, status: int, sentence: str, **headers: str) -> NoReturn:
        """End the request with an error that a person can read. Headers are named as in Retry_After="5"."""
        raise Refusal(status, sentence, {name.replace("_", "-"): value for name, value in headers.items()})

    def take_socket(self) -> socket.socket | None:
        """The connection, out of Tornado's hands; None when the client has gone already."""
        taken: socket.socket | None = self.detach()  # type: ignore[assignment]  # see client.py
        return taken

    def answer(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(value))  # in ASCII, which has room for the broken characters that may be in a request

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if status_code == 405:
            known = [name for name in self.SUPPORTED_METHODS if self._has(name.lower())]
            self.set_header("Allow", ", ".join(known))
        sentence = f"{http.client.responses.get(status_code, 'Error')}."
        if isinstance(error, Refusal):
            sentence = error.sentence
            for name, value in error.headers.items():
                self.set_header(name, value)
        self.answer({"error": sentence})

    def _has(self, method: str) -> bool:
        return getattr(type(self), method, None) is not getattr(web.RequestHandler, method, None)

    def log_exception(self, *exc_info: Any) -> None:
        if not isinstance(exc_info[1], web.HTTPError):  # those are answers, not failures
            super().log_exception(*exc_info)


class NotFound(Handler):
    """Whatever has no other handler."""

    def prepare(self) -> None:
        super().prepare()
        self.refuse(404, "There is nothing at this address. The page is at /.")

    def _has(self, method: str) -> bool:
        return True


class Static(Handler, web.StaticFileHandler):
    """The page's own files."""

    def initialize(  # type: ignore[override]
        self, site: Site, path: str, default_filename: str | None = None
    ) -> None:
        Handler.initialize(self, site)
        web.StaticFileHandler.initialize(self, path, default_filename)

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")

    def should_return_304(self) -> bool:
        """By ETag only. Not by date: Tornado 6.2 fails on some that are none."""
        return self.check_etag_header()
