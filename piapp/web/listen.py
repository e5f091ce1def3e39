"""The listening sockets, and the door: which connections are let in, and how long they may stay without watching."""

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

AT_ONCE = 16  # connections are accepted before the others have their turn
SWEEP_S = 1.0
FULL_S = 0.05  # until the door looks again whether there is room
NO_FILES_S = 1.0  # until it tries again to have another file
NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door:
    """Accepts connections, as many as there are places for. Belongs to the event loop.

    A connection that comes to watch leaves the door's care. From one address come only so many of the others; when all
    of their places are taken, whoever has not asked for anything for longest has to go, and as long as there is nobody
    like that newcomers wait in the kernel's queue.
    """

    def __init__(
        self, sockets: list[socket.socket], application: routing.Router, limits: Limits, places: Callable[[], int]
    ) -> None:
        """`sockets` listen, and belong to the door. `places`: how many connections it may hold that do not watch."""
        self.limits = limits
        self.requests = Shares(limits.requests_of_one, limits.requests)
        self.clients: set[Client] = set()
        self._sockets = sockets
        self._application = application
        self._places = places
        self._shares: Counter[str] = Counter()  # connections of each share
        self._connects = Shares(limits.connects_of_one, limits.connects)
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        self._resuming: asyncio.TimerHandle | None = None  # it is shut until then
        self._deaf_since: float | None = None  # when a connection could not be accepted for want of a file

    def open(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        self._listen()

    def shut(self) -> None:
        """For good; connections that are inside stay."""
        self._ignore()
        for each in self._sockets:
            each.close()
        self._sockets = []
        for handle in (self._sweeping, self._resuming):
            if handle:
                handle.cancel()

    def clear(self) -> None:
        """Have everybody go who does not watch."""
        for client in tuple(self.clients):
            client.close(abort=True)

    @property
    def is_deaf(self) -> bool:
        """Nobody could be let in for long, since there were no files left: something in this process leaks them."""
        return self._deaf_since is not None and self._loop.time() - self._deaf_since > self.limits.deaf_s

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
            # Out of files, try even if nobody is waiting: accept() fails in that case, too.
            if self._deaf_since is not None and self._resuming is None:
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
                self._deaf_since = None
                return
            except OSError as error:
                if error.errno not in NO_FILES:
                    continue  # that connection has ended already, in one of many ways: see accept(2)
                self._out_of_files(error)
                return
            self._deaf_since = None
            share = share_of(address[0])
            *own, of_all = self._connects.budgets(share)
            if self._shares[share] >= self.limits.waiting_of_one or not all(budget.allows() for budget in own):
                sock.close()
                continue
            self._let_in(sock, address[0], share)
            if wait_s := of_all.spend():
                self._pause(wait_s)
                return

    def _let_in(self, sock: socket.socket, address: str, share: str) -> None:
        sock.setblocking(False)
        if share:
            self._shares[share] += 1
        self.clients.add(Client(sock, address, share, self))

    def _make_room(self) -> bool:
        """Evict the connection that has been idle, or too slow to take its response, for longest. False: none is."""
        evictable = [(at, client) for client in self.clients if (at := client.evictable_at) is not None]
        at, longest = min(evictable, key=lambda each: each[0], default=(0.0, None))
        if longest is None or at > self._loop.time():
            return False
        longest.close(abort=True)
        return True

    def _out_of_files(self, error: OSError) -> None:
        if self._deaf_since is None:
            self._deaf_since = self._loop.time()
            log.error("no more connections can be accepted: %s", error.strerror)
        self._pause(NO_FILES_S)

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        now = self._loop.time()
        self.requests.sweep()
        self._connects.sweep()
        for client in tuple(self.clients):
            client.sweep(now)


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
