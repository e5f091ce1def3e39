"""Which names piapp accepts in the Host header: the only defence against DNS rebinding.

After a browser has loaded a page from evil.example, that name's owner can point it at an address in the reader's LAN.
The browser then takes piapp for evil.example: Origin and Host agree. But Host contains a name registered in public DNS.
So piapp accepts only IP addresses, names that cannot be registered in public DNS, this computer's own names, and those
in the settings.

In .local, anyone on the network can claim a free name over mDNS, even evil.local. So only this computer's own counts.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path

# Reserved (RFC 6761, RFC 8375, ICANN's .internal), or too widely used to be delegated (RFC 6762, appendix G). The
# router manufacturer AVM owns fritz.box and registers no names in it.
_UNREGISTRABLE = re.compile(
    r"(?:[^.]+\.)*(?:localhost|localdomain|lan|home|home\.arpa|internal|intranet|private|corp|test|fritz\.box)"
)
_ONE_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
RESOLV_CONF = Path("/etc/resolv.conf")


def name_of(host: str) -> str:
    """The name in a Host header: without the port, in lower case."""
    return re.sub(r":\d*$", "", host).lower().removesuffix(".")


def allowed(name: str, more: Iterable[str] = ()) -> bool:
    """Whether piapp accepts this name. `more`: other names of this computer, and those in the settings."""
    if name in more or _ONE_LABEL.fullmatch(name) or _UNREGISTRABLE.fullmatch(name) or _is_address(name):
        return True
    own = socket.gethostname().lower()
    short = own.partition(".")[0]
    # avahi appends a number if another computer has the name already
    if name == own or re.fullmatch(rf"{re.escape(short)}(?:-\d{{1,3}})?\.local", name):
        return True
    return name in (f"{short}.{domain}" for domain in _search_domains())


def _is_address(name: str) -> bool:
    try:
        if name.startswith("[") and name.endswith("]"):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _search_domains() -> list[str]:
    """The network's DNS search domains, in which this computer's name may be registered."""
    try:
        lines = RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.lower().split() for line in lines]
    return [word.strip(".") for line in words if line and line[0] in ("search", "domain") for word in line[1:]]
