"""Listening sockets, and the Door, which accepts connections within the limits and evicts idle ones."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tornado import httputil, routing

from piapp.errors import ListenError
from piapp.web.client import Client
from piapp.web.limits import Limits, Shares, share_of

log = logging.getLogger(__name__)

BACKLOG = 512
# To listen on an address that is not there yet. Python has no names for them: <linux/in.h>, <linux/in6.h>.
FREEBIND = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}

AT_ONCE = 8  # connections accepted in one turn of the event loop
SWEEP_S = 1.0
FULL_S = 0.05  # pause while all connections are in use
NO_FILES_S = 1.0  # pause after running out of file descriptors
NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door:
    """Accepts connections within the limits. Belongs to the event loop.

    A connection that becomes a stream or a page no longer counts here (places.py). The number of the others is limited,
    in all and per address. At the limit, a new connection evicts the one that has been idle for longest. While none is
    idle, new connections wait in the kernel's queue, and each response closes its connection.
    """

    def __init__(
        self, sockets: list[socket.socket], application: routing.Router, limits: Limits, places: Callable[[], int]
    ) -> None:
        """Takes ownership of the listening `sockets`. `places` returns how many connections may be open here."""
        self.limits = limits
        self.requests = Shares(limits.requests_of_one, limits.requests)
        self.clients: set[Client] = set()
        self._sockets = sockets
        self._application = application
        self._places = places
        self._shares: Counter[str] = Counter()  # open connections of each share
        self._connects = Shares(limits.connects_of_one, limits.connects)
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        self._resuming: asyncio.TimerHandle | None = None  # set while nothing is accepted
        self._no_files_since: float | None = None  # loop time since which accept() has lacked file descriptors

    def open(self) -> None:
        self._listen()

    def shut(self) -> None:
        """Stop listening for good. Open connections stay open."""
        self._ignore()
        for each in self._sockets:
            each.close()
        self._sockets = []
        for handle in (self._sweeping, self._resuming):
            if handle:
                handle.cancel()

    def close_clients(self) -> None:
        """Close all connections except streams and pages."""
        for client in tuple(self.clients):
            client.close(abort=True)

    @property
    def is_out_of_files(self) -> bool:
        """No file descriptor has been free for new connections for a long time: this process leaks them."""
        return self._no_files_since is not None and self._loop.time() - self._no_files_since > self.limits.no_files_s

    # --- for clients ---

    @property
    def is_full(self) -> bool:
        return len(self.clients) >= self._places()

    def handler_for(self, request: httputil.HTTPServerRequest) -> httputil.HTTPMessageDelegate:
        delegate = self._application.find_handler(request)
        assert delegate
        return delegate

    def gone(self, client: Client) -> None:
        self.clients.discard(client)
        if client.share:
            self._shares[client.share] -= 1
            if not self._shares[client.share]:
                del self._shares[client.share]

    def has_unsent(self, client: Client) -> None:
        """Close the slowest readers, other than this one, while unsent responses take too much memory."""
        unsent = sum(each.unsent for each in self.clients)
        while unsent > self.limits.unsent:
            readers = [(each.evictable_at or 0.0, each) for each in self.clients if each.unsent and each is not client]
            if not readers:
                return
            _, slowest = min(readers, key=lambda each: each[0])
            unsent -= slowest.unsent
            slowest.close(abort=True)

    # --- accepting ---

    def _listen(self) -> None:
        self._resuming = None
        for each in self._sockets:
            self._loop.add_reader(each, self._accept, each)
        for each in self._sockets:
            # Without file descriptors, accept() fails even if nobody is waiting. So call it even then.
            if self._no_files_since is not None and self._resuming is None:
                self._accept(each)

    def _ignore(self) -> None:
        for each in self._sockets:
            self._loop.remove_reader(each)

    def _pause(self, pause_s: float) -> None:
        self._ignore()
        self._resuming = self._loop.call_later(pause_s, self._listen)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            if self.is_full and not self._make_room():
                self._pause(FULL_S)
                return
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                self._no_files_since = None
                return
            except OSError as error:
                if error.errno not in NO_FILES:
                    continue  # the connection has failed already: see accept(2)
                self._out_of_files(error)
                return
            self._no_files_since = None
            share = share_of(address[0], sock.getsockname()[0])
            *own, of_all = self._connects.budgets(share)
            if self._shares[share] >= self.limits.waiting_of_one or not all(budget.allows() for budget in own):
                sock.close()
                continue
            self._add(sock, address[0], share)
            if wait_s := of_all.reserve():
                self._pause(wait_s)
                return

    def _add(self, sock: socket.socket, address: str, share: str) -> None:
        sock.setblocking(False)
        if share:
            self._shares[share] += 1
        self.clients.add(Client(sock, address, share, self))
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    def _make_room(self) -> bool:
        """Evict the connection that has been idle, or too slow to take its response, for longest. False: none is."""
        evictable = [(at, client) for client in self.clients if (at := client.evictable_at) is not None]
        at, longest = min(evictable, key=lambda each: each[0], default=(0.0, None))
        if longest is None or at > self._loop.time():
            return False
        longest.close(abort=True)
        return True

    def _out_of_files(self, error: OSError) -> None:
        if self._no_files_since is None:
            self._no_files_since = self._loop.time()
            log.error("cannot accept connections: %s", error.strerror)
        self._pause(NO_FILES_S)

    def _sweep(self) -> None:
        """Enforce the timeouts. Runs only while there are clients: viewers alone do not wake the event loop for it."""
        now = self._loop.time()
        self.requests.sweep()
        self._connects.sweep()
        for client in tuple(self.clients):
            client.sweep(now)
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep) if self.clients else None


def bind(host: str, port: int, *, ahead: bool = True) -> list[socket.socket]:
    """Listening sockets: IPv4 and IPv6 where there is no host. Raises ListenError.

    At boot, the network may not have assigned the address yet. With `ahead`, bind to it anyway and log a warning, since
    it may also be a typo. Without, only check that the address is available, and do not listen.
    """
    with _as_listen_error(host, port), contextlib.ExitStack() as failed:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets, here = list[socket.socket](), False
        for family, _, _, _, address in dict.fromkeys(found):
            if sock := _socket(family):
                sockets.append(failed.enter_context(sock))
                here = _bind(sock, address, ahead) or here
                if ahead:
                    sock.listen(BACKLOG)
        if not here:
            sentence = f"No network interface has the address {host}. piapp cannot be reached until one has."
            if not ahead:
                raise ListenError(sentence)
            log.warning("%s", sentence)
        failed.pop_all()
        return sockets


def _socket(family: int) -> socket.socket | None:
    """None if the kernel has no IPv6."""
    try:
        sock = socket.socket(family)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 gets a separate socket
    return sock


def _bind(sock: socket.socket, address: Any, ahead: bool) -> bool:
    """False if no interface has the address; with `ahead`, it is bound nevertheless."""
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
def _as_listen_error(host: str, port: int) -> Iterator[None]:
    """Turn OSError into ListenError."""
    try:
        yield
    except PermissionError as error:
        raise ListenError(f"Port {port} requires root. Use a port from 1024 up, for example --port 8080.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = f"Another program uses port {port}, perhaps another piapp. Choose a different --port."
        else:
            sentence = f"Cannot listen on {host or 'any address'}, port {port}: {error.strerror}."
        raise ListenError(sentence) from error
