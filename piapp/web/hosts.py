"""The names by which piapp may be called: the only defence against DNS rebinding.

A web page from evil.example can have that very name point at a computer in the LAN of whoever reads it, once it is
loaded. For the browser, piapp then is evil.example itself: Origin and Host agree. But the name is in the Host header,
and it is one that somebody has registered. So piapp answers to addresses, to names that nobody can register in public
DNS, to this computer's own, and to those in the settings; to no other.

Names in .local are registered by whoever is in the network and says so first, evil.local too: only our own count.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path

# Reserved (RFC 6761, RFC 8375, ICANN's .internal), or in such wide use that they will not be given out (RFC 6762,
# appendix G). fritz.box: a maker of routers owns it and registers nothing there.
_UNREGISTRABLE = re.compile(
    r"(?:[^.]+\.)*(?:localhost|localdomain|lan|home|home\.arpa|internal|intranet|private|corp|test|fritz\.box)"
)
_ONE_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
RESOLV_CONF = Path("/etc/resolv.conf")


def name_of(host: str) -> str:
    """A Host header without its port, in lower case."""
    return re.sub(r":\d*$", "", host).lower().removesuffix(".")


def allowed(name: str, more: Iterable[str] = ()) -> bool:
    """Whether piapp may be called so; `more`: names that are known to be this computer's, and those in the settings."""
    if name in more or _ONE_LABEL.fullmatch(name) or _UNREGISTRABLE.fullmatch(name) or _is_address(name):
        return True
    own = socket.gethostname().lower()
    short = own.partition(".")[0]
    # avahi appends a number where another computer was first
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
    """In which this network's own DNS looks for a name without a dot, this computer's too."""
    try:
        lines = RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.lower().split() for line in lines]
    return [word.strip(".") for line in words if line and line[0] in ("search", "domain") for word in line[1:]]
