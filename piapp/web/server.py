"""The routes: which handler serves which URL."""

import logging
from typing import Any

from tornado import routing, web

from piapp.web.api import CameraHandler, CamerasHandler, SystemHandler
from piapp.web.guard import PAGE, Handler, NotFound, Site, Static
from piapp.web.health import HealthHandler, MetricsHandler
from piapp.web.live import LiveHandler
from piapp.web.pictures import Action, SnapshotHandler, StreamHandler

log = logging.getLogger(__name__)

NAME = r"(?P<name>[^/]+)"
NUMBER = r"(?:_(?P<number>\d{1,4}))?"


ROUTES: tuple[tuple[str | routing.Matcher, type[Handler]], ...] = (
    (Action("stream"), StreamHandler),
    (Action("snapshot"), SnapshotHandler),
    (rf"/cameras/{NAME}/stream", StreamHandler),
    (rf"/cameras/{NAME}/snapshot\.jpg", SnapshotHandler),
    (r"/api/cameras", CamerasHandler),
    (rf"/api/cameras/{NAME}", CameraHandler),
    (r"/api/system", SystemHandler),
    (r"/api/live", LiveHandler),
    (r"/health", HealthHandler),
    (r"/metrics", MetricsHandler),
    (rf"/stream{NUMBER}(?:\.mjpg)?", StreamHandler),
    (rf"/video_feed{NUMBER}", StreamHandler),
    (rf"/snapshot{NUMBER}(?:\.jpg)?", SnapshotHandler),
)


def application(site: Site) -> web.Application:
    """All routes and the page's files. Requests are logged at debug level only."""
    with_site: dict[str, Any] = {"site": site}
    page = {**with_site, "path": str(PAGE)}
    return web.Application(
        [
            *(routing.Rule(_matcher(where), handler, with_site) for where, handler in ROUTES),
            (r"/()", Static, {**page, "default_filename": "index.html"}),
            (r"/((?:js/)?[\w-]+\.(?:js|css|svg))", Static, page),
        ],
        default_handler_class=NotFound,
        default_handler_args=with_site,
        log_function=_log_request,
    )


def _matcher(where: str | routing.Matcher) -> routing.Matcher:
    return routing.PathMatches(where) if isinstance(where, str) else where


def _log_request(handler: web.RequestHandler) -> None:
    request = handler.request
    log.debug("%s %s %s from %s", handler.get_status(), request.method, request.uri, request.remote_ip)
