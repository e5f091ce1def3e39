"""Where piapp listens: also on an address that its computer does not have yet."""

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from fakes import free_port, until
from program import LIMIT_S, Program, call

from piapp.errors import ListenError
from piapp.web import listen

MISSING = ("192.0.2.1", "2001:db8::1")  # for documentation: nobody has them
NOBODY = "No network interface has the address {}. piapp cannot be reached until one has."


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    sockets = listen.bind(host, port)
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("host", MISSING)
def test_an_address_that_is_missing(host: str, caplog: pytest.LogCaptureFixture) -> None:
    """piapp waits for it, and says so once; whoever asks what is wrong is told, too."""
    port = free_port()
    with bound(host, port) as sockets:
        assert [sock.getsockname()[:2] for sock in sockets] == [(host, port)]
        assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
            (logging.WARNING, NOBODY.format(host))
        ]
        with pytest.raises(ListenError, match="^Another program uses port "):
            listen.bind(host, port)
    with pytest.raises(ListenError) as missing:
        listen.bind(host, port, ahead=False)
    assert str(missing.value) == NOBODY.format(host)


def test_one_of_several_is_missing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As localhost is on many computers without IPv6."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, free_port())) for address in ("127.0.0.1", MISSING[0])
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*found, found[0]])
    with bound("localhost", 8080) as sockets:
        assert [sock.getsockname() for sock in sockets] == [address for *_, address in found]
    assert caplog.messages == []


def test_a_kernel_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    class OnlyIPv4(socket.socket):
        def __init__(self, family: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family)

    monkeypatch.setattr(socket, "socket", OnlyIPv4)
    with bound("", port) as sockets:
        assert [sock.family for sock in sockets] == [socket.AF_INET]


def test_addresses_that_are_here(caplog: pytest.LogCaptureFixture) -> None:
    for host in ("", "127.0.0.1", "localhost"):
        with bound(host, free_port()) as sockets:
            assert sockets and not any(sock.getblocking() for sock in sockets)
    assert caplog.messages == []


@pytest.mark.parametrize("host", ["300.1.1.1", "no such host", "1:2"])
def test_what_is_no_address(host: str) -> None:
    with pytest.raises(ListenError, match=f"^Cannot listen on {host}, port 8080: "):
        listen.bind(host, 8080)


def test_a_kernel_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "FREEBIND", {socket.AF_INET: (socket.IPPROTO_IP, 9999)})
    with pytest.raises(ListenError, match=os.strerror(errno.ENOPROTOOPT)):
        listen.bind("192.0.2.1", 8080)


def test_check_finds_it_wrong(tmp_path: Path) -> None:
    port = free_port()
    with listen.bind("192.0.2.1", port)[0]:  # by a piapp that runs
        done = call(tmp_path, "check", "--source", "pattern", "--host", "192.0.2.1", "--port", port)
    assert done.returncode == 1 and f"\nwrong     {NOBODY.format('192.0.2.1')}\n" in done.stdout


@pytest.mark.needs("ip")
@pytest.mark.parametrize("host", MISSING)
def test_it_is_there_when_the_address_comes(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a network of its own, which gives the address only after piapp has begun."""
    if os.geteuid() != 0:
        pytest.skip("only root can make networks")
    plain = program.command
    own = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    monkeypatch.setattr(program, "command", lambda *more: [*own, *plain(*more)])
    with Program(tmp_path, "--source", "pattern", "--host", host) as running:
        inside = ["nsenter", f"--target={running.pid}", "--net"]
        url = f"http://[{host}]:{running.port}/health" if ":" in host else f"http://{host}:{running.port}/health"
        ask = [sys.executable, "-c", f"import urllib.request as r; r.build_opener(r.ProxyHandler({{}})).open('{url}')"]
        assert NOBODY.format(host) in running.errors()
        assert subprocess.run([*inside, *ask], capture_output=True, timeout=LIMIT_S).returncode != 0
        nodad = ["nodad"] if ":" in host else []
        subprocess.run([*inside, "ip", "address", "add", host, "dev", "lo", *nodad], check=True)
        until(lambda: subprocess.run([*inside, *ask], capture_output=True, timeout=LIMIT_S).returncode == 0)
        assert running.stop(signal.SIGTERM) == 0
