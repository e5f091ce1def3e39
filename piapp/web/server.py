"""Routes and listening sockets."""

import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

from tornado import httpserver, routing, web

from piapp.errors import ListenError
from piapp.web.api import CameraHandler, CamerasHandler, SystemHandler
from piapp.web.guard import PAGE, Handler, NotFound, Site, Static
from piapp.web.health import HealthHandler, MetricsHandler
from piapp.web.live import LiveHandler
from piapp.web.pictures import Action, SnapshotHandler, StreamHandler

log = logging.getLogger(__name__)

REQUEST_LIMIT_S = 10.0  # for a request's head and body to arrive: a half-sent one holds no place
BODY_LIMIT = 64 * 1024
BACKLOG = 512
# To listen on an address that is not there yet. Python has no names for them: <linux/in.h>, <linux/in6.h>.
FREEBIND = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}

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


def bind(host: str, port: int, *, ahead: bool = True) -> list[socket.socket]:
    """Listening sockets: IPv4 and IPv6 where there is no host. Raises ListenError.

    An address that this computer does not have may be one that its network has yet to give it, as at boot: `ahead` of
    that they listen already. It may be a slip of the pen as well, so that a line in the log says so. Not `ahead`: only
    find out, and listen nowhere.
    """
    with _in_words(host, port), contextlib.ExitStack() as failed:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets, here = list[socket.socket](), False
        for family, _, _, _, address in dict.fromkeys(found):
            if sock := _socket(family):
                sockets.append(failed.enter_context(sock))
                here = _bind(sock, address, ahead) or here
                if ahead:
                    sock.listen(BACKLOG)
        if not here:
            sentence = f"No network interface of this computer has the address {host}: nobody can watch until one has."
            if not ahead:
                raise ListenError(sentence)
            log.warning("%s", sentence)
        failed.pop_all()
        return sockets


def _socket(family: int) -> socket.socket | None:
    """None where the kernel goes without IPv6."""
    try:
        sock = socket.socket(family)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
    return sock


def _bind(sock: socket.socket, address: Any, ahead: bool) -> bool:
    """False: the address is not there; where `ahead` is wanted, it is bound to it all the same."""
    try:
        sock.bind(address)
        return True
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
    if not ahead:
        return False
    sock.setsockopt(*FREEBIND[sock.family], 1)
    sock.bind(address)
    return False


@contextlib.contextmanager
def _in_words(host: str, port: int) -> Iterator[None]:
    """Makes a ListenError of what the kernel says."""
    try:
        yield
    except PermissionError as error:
        raise ListenError(
            f"Port {port} is not allowed without root: use one from 1024 up, as in --port 8080."
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = (
                f"Port {port} is taken by another program, perhaps by a piapp that runs already: use another --port."
            )
        else:
            sentence = f"Cannot listen on {host or 'any address'}, port {port}: {error.strerror}."
        raise ListenError(sentence) from error


def serve(site: Site, sockets: list[socket.socket]) -> httpserver.HTTPServer:
    """Begin to answer."""
    server = httpserver.HTTPServer(
        application(site),
        idle_connection_timeout=REQUEST_LIMIT_S,
        body_timeout=REQUEST_LIMIT_S,
        max_body_size=BODY_LIMIT,
    )
    server.add_sockets(sockets)
    return server


def _log_request(handler: web.RequestHandler) -> None:
    request = handler.request
    log.debug("%s %s %s from %s", handler.get_status(), request.method, request.uri, request.remote_ip)
