"""By which addresses and names this computer can be reached."""

import fcntl
import ipaddress
import json
import socket
import struct
import subprocess

_SIOCGIFADDR = 0x8915
_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # hosts that stand for all addresses, and one of them
_ANSWER_LIMIT_S = 3.0  # a busy Pi takes long to start a program


def addresses() -> list[str]:
    """The IPv4 addresses of all interfaces but loopback, in the interfaces' order."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, interface in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
            except OSError:  # no IPv4 on this one
                continue
            address = ipaddress.IPv4Address(answer[20:24])
            if not address.is_loopback:
                found.append(str(address))
    return found


def local_name() -> str:
    """As in raspberrypi.local: by which avahi lets others find this computer. Empty: it does not run.

    It is avahi that is asked, since it makes raspberrypi-2.local of it where another computer was first.
    """
    command = "busctl --system --auto-start=no --json=short call org.freedesktop.Avahi / org.freedesktop.Avahi.Server"
    try:
        done = subprocess.run(
            [*command.split(), "GetHostNameFqdn"], capture_output=True, timeout=_ANSWER_LIMIT_S, check=True
        )
        return str(json.loads(done.stdout)["data"][0])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return ""


def only_here(host: str) -> bool:
    """Is what listens at this host out of the reach of others?"""
    try:
        found = socket.getaddrinfo(host or None, 0, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def urls(host: str, port: int) -> list[str]:
    """Where to point a browser at: this computer's name and addresses, or the one host that was asked for."""
    hosts = [host]
    if host in _ALL:
        hosts = [local_name() or socket.gethostname(), *([] if host == "::" else addresses())]
    return [f"{url(each, port)}/" for each in hosts]


def url(host: str, port: int) -> str:
    """Of what listens at this host and port, for this computer itself."""
    host = _ALL.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
