"""By which addresses this computer can be reached."""

import fcntl
import ipaddress
import socket
import struct

_SIOCGIFADDR = 0x8915


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


def urls(host: str, port: int) -> list[str]:
    """Where to point a browser at: this computer's name and addresses, or the one host that was asked for."""
    if host in ("", "0.0.0.0", "::"):
        hosts = [socket.gethostname(), *addresses()]
    else:
        hosts = [f"[{host}]" if ":" in host else host]
    return [f"http://{name}:{port}/" for name in hosts]
