"""Who may ask for what: names by which piapp is not called, and pages of others in the browser of whoever may ask."""

import itertools
import socket

import pytest

from .raw import get, lines, switch, talk, talk_all
from .target import Target

OWN = socket.gethostname().lower().partition(".")[0]
PATHS = ("/", "/health", "/api/cameras", "/api/cameras/camera", "/stream", "/snapshot.jpg", "/style.css", "/nothing")
UPGRADE = {
    **{"Connection": "Upgrade, close", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OURS = (
    *("127.0.0.1", "192.168.1.20", "10.0.0.1", "203.0.113.7"),
    *("[::1]", "[fe80::1]", "[2001:DB8::1]", "[::ffff:10.0.0.1]"),
    *("localhost", "LocalHost", "raspberrypi", "mjpgstreamer1", "front-door", "x.localhost", "x.localdomain"),
    *("x.lan", "X.LAN", "a.b.lan", "x.home", "x.home.arpa", "x.internal", "x.fritz.box"),
    *(OWN, OWN.upper(), f"{OWN}.local", f"{OWN}.Local", f"{OWN}-2.local", f"{OWN}-17.local"),
)
FOREIGN = (
    # names that somebody can register, or claim in .local
    *("evil.example", "EVIL.example", "evil.local", "a.evil.local", f"x{OWN}.local", f"{OWN}x.local", f"{OWN}-x.local"),
    *(f"{OWN}-.local", f"{OWN}--2.local", f"{OWN}-2-3.local", f"{OWN}-2.evil.local", f"a.{OWN}.local", f"{OWN}.evil"),
    *(f"{OWN}.evil.example", f"{OWN}.local.evil.example", "piapp.local.evil.example", "rbndr.us", "7f000001.rbndr.us"),
    # that look like addresses, or like names that are ours
    *("127.0.0.1.evil.com", "127.0.0.1.nip.io", "1.2.3.4.5", "127.0.0.1.local", "127.1", "127.0.1", "0x7f.0.0.1"),
    *("0177.0.0.1", "256.0.0.1", "127.0.0.01", "127.0.0.-1", "1270.0.1", "127.0.0.1x", "127.0.0.1-2.local"),
    *("localhost.evil.com", "localhost.evil.local", "evil.localhost.com", "xlocalhost.evil", "lan.evil.com"),
    "x.lan.evil.com",
    *("x.xlan.com", "x.home.arpa.com", "home.arpa.evil", "x.arpa", "fritz.box.evil.com", "x.xfritz.box", "evil.box"),
    "x.internal.io",
    # brackets
    *("[::1].evil", "[::1]evil", "[::1", "::1]", "::1", "[]", "[127.0.0.1]", "[::1]]", "[[::1]]", "[::g]"),
    "[evil.example]",
    *("[::1%25eth0].evil.example", "[::1][::1]", "[::1]@evil.example", "[1:2:3:4:5:6:7:8:9]"),
    # dots
    *("evil.example.", "evil.local.", ".", "..", ".evil", ".lan.evil", "evil..", "evil..example", "localhost..evil"),
    *(f"{OWN}..local.evil", "127.0.0.1..evil", "127..0.0.1", "evil.example..lan.com"),
    # ports
    *("evil.example:80", "evil.local:8080", "evil.example:", "evil.example:443:80", "127.0.0.1:80:evil.example"),
    *("127.0.0.1:80@evil.example", "127.0.0.1:80.evil.example", "127.0.0.1:evil", "127.0.0.1:-1", "127.0.0.1:+80"),
    *("127.0.0.1:0x50", "127.0.0.1: 80", "127.0.0.1:80 evil", "127.0.0.1::80", "[::1]::80", "[::1]:evil"),
    "localhost:evil.example",
    # user, path, query
    *("user@evil.example", "127.0.0.1@evil.example", "evil.example@127.0.0.1", "localhost@evil.example"),
    "user:x@127.0.0.1",
    *("evil.example/127.0.0.1", "127.0.0.1/evil", "evil.example?localhost", "evil.example#localhost"),
    "localhost#.evil",
    *("http://127.0.0.1", "http://evil.example", "127.0.0.1\\.evil.example", "evil.example\\127.0.0.1"),
    "%6cocalhost.evil",
    # several
    *("127.0.0.1, evil.example", "evil.example, 127.0.0.1", "evil.example 127.0.0.1", "evil.example;localhost"),
    "a.b,localhost",
    *("evil.example\tlocalhost", "localhost,evil.example", "127.0.0.1 evil.example"),
    # characters
    *("ev\xeel.example", "\xe9vil.local", "l\xf6calhost.example", "xn--vil-bma.example", "127.0.0.1\xa0.evil"),
    "\xad127.0.0.1.evil",
    *("127\xe3\x80\x820\xe3\x80\x820\xe3\x80\x821", "\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1", "\xd9\xa1.2.3.4"),
    *("\xef\xbd\x8c\xef\xbd\x8fcalhost.evil", "evil.ex\xc4\xb1mple", "127.0.0.1\0", "localhost\0.evil.example"),
    "evil.example\0localhost",
    *("local\x0bhost", "localhost\x0b", "\x1b[31mevil.example", "*.local", "*", "*.lan.evil", "<script>.evil"),
    *("'.evil", "a_b.evil"),
    # length
    *("a" * 64, "a" * 300, "a." * 500 + "evil", "1" * 5000, "a" * 8000 + ".evil", "1." * 2000 + "1"),
    "[" * 1000 + "::1",
)
PORTS_OUT_OF_RANGE = ("127.0.0.1:65536", "127.0.0.1:99999", "localhost:999999999999", "[::1]:70000")
METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER_METHODS = ("TRACE", "CONNECT", "BREW", "PROPFIND", "get", "patch", "PATCHX")


def origins(own: str, port: int) -> tuple[str, ...]:
    """Those of others, though they look like `own` with this port."""
    return (
        *("http://evil.example", "https://evil.example", f"http://evil.example:{port}", "null", "", "file://", "*"),
        *(f"http://{own}", f"http://{own}:{port + 1}", f"http://{own}:{port}0", f"http://{own}:{port}.evil.example"),
        *(f"http://{own}:{port}@evil.example", f"http://evil.example@{own}:{port}", f"http://{own}:{port}/"),
        f"{own}:{port}",
        *(f"//{own}:{port}", f"ftp://{own}:{port}", f"chrome-extension://{own}:{port}"),
        f"http://{own}.evil.example:{port}",
        *(f"http://localhost:{port}", f"http://[::1]:{port}", f"http://{own}:{port} http://evil.example"),
        f"http:// {own}:{port}",
        *(f"http://{own}:{port},http://evil.example", f"http://evil.example, http://{own}:{port}"),
        f"x http://{own}:{port}",
    )


def test_its_own_names_are_answered_to(target: Target) -> None:
    hosts = [f"{host}{port}" for host in OURS for port in ("", f":{target.port}")]
    talks = zip(hosts, talk_all(target.port, (get(headers={"Host": host}) for host in hosts)), strict=True)
    wrong = [f"{host}: {talk}" for host, talk in talks if talk.statuses != [200]]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", PATHS)
def test_other_names_are_not(target: Target, path: str) -> None:
    # all of them for one address, and for each address some of them
    hosts = FOREIGN if path == "/api/cameras" else FOREIGN[PATHS.index(path) :: len(PATHS)]
    requests = (get(path, {"Host": host}) for host in hosts)
    talks = zip(hosts, talk_all(target.port, requests), strict=True)
    wrong = [f"{host!r}: {talk}" for host, talk in talks if not talk.answered(400, 421)]
    assert not wrong, "\n".join(wrong)


def test_a_port_that_there_is_not_brings_nothing_down(target: Target) -> None:
    for host in PORTS_OUT_OF_RANGE:
        assert talk(target.port, get(headers={"Host": host})).statuses[0] in (200, 400, 421)


@pytest.mark.parametrize("host", ["evil.example", "evil.local"])
def test_what_a_name_of_others_asks_for_is_not_done(target: Target, host: str) -> None:
    own_page = f"Origin: http://{host}"  # as after DNS rebinding: the page's own name points here
    request = switch(False, own_page, "Connection: close").replace(b"127.0.0.1", host.encode())
    assert talk(target.port, request).statuses == [421]
    assert target.camera()["on"]
    assert talk(target.port, get("/api/live", {**UPGRADE, "Host": host, "Origin": own_page[8:]})).statuses == [421]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1"])
def test_an_address_in_the_request_line_is_no_way_round(target: Target, host: str) -> None:
    for target_form in (f"http://{host}/api/cameras", f"//{host}/api/cameras", f"{host}:80", "*", "http://127.0.0.1/"):
        talks = talk(target.port, lines(f"GET {target_form} HTTP/1.1", "Host: evil.example", "Connection: close"))
        assert talks.answered(400, 421), talks


# --- pages of others ---


def test_its_own_page_and_programs_may_change_things(target: Target) -> None:
    """So that the refusals below are for the Origin."""
    for origin in ((), (f"Origin: http://127.0.0.1:{target.port}",), (f"Origin: https://127.0.0.1:{target.port}",)):
        request = switch(True, *origin, "Connection: close")
        assert talk(target.port, with_port(target, request)).statuses == [200]


def test_pages_of_others_change_nothing(target: Target) -> None:
    """By any method that may change something, from any Origin."""
    requests = {
        (method, origin): change(target, method, origin)
        for method, origin in itertools.product(METHODS, origins("127.0.0.1", target.port))
    }
    talks = dict(zip(requests, talk_all(target.port, requests.values()), strict=True))
    wrong = [f"{each}: {talk}" for each, talk in talks.items() if talk.statuses != [403]]
    assert not wrong, "\n".join(wrong)
    assert target.camera()["on"]


@pytest.mark.parametrize("method", OTHER_METHODS)
def test_other_methods_do_nothing_for_them(target: Target, method: str) -> None:
    said = talk(target.port, change(target, method, "http://evil.example"))
    assert said.answered(400, 403, 405, 413, 415, 501), said
    assert target.camera()["on"]


def test_two_origins_are_none(target: Target) -> None:
    own = f"Origin: http://127.0.0.1:{target.port}"
    for origins in ((own, "Origin: http://evil.example"), ("Origin: http://evil.example", own)):
        said = talk(target.port, with_port(target, switch(False, *origins, "Connection: close")))
        assert said.answered(400, 403), said
    assert target.camera()["on"]


def test_pages_of_others_get_no_live_view(target: Target) -> None:
    own = f"127.0.0.1:{target.port}"
    foreign = origins("127.0.0.1", target.port)
    requests = (get("/api/live", {**UPGRADE, "Host": own, "Origin": origin}) for origin in foreign)
    talks = zip(foreign, talk_all(target.port, requests), strict=True)
    wrong = [f"{origin!r}: {talk}" for origin, talk in talks if talk.statuses != [403]]
    assert not wrong, "\n".join(wrong)


def test_a_form_changes_nothing(target: Target) -> None:
    """Browsers send these from any page without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        request = switch(False, "Connection: close").replace(b"application/json", kind.encode())
        said = talk(target.port, request)
        assert said.answered(400, 415), said
    assert target.camera()["on"]


def test_nothing_is_allowed_to_others(target: Target) -> None:
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PATCH"}
    for method, path in itertools.product(("OPTIONS", "GET"), ("/api/cameras/camera", "/", "/api/live")):
        for answer in talk(target.port, get(path, asks, method=method)).answers:
            assert not [name for name in answer.headers if name.startswith("access-control")]


def change(target: Target, method: str, origin: str) -> bytes:
    """With the body that a PATCH has; other methods take none."""
    if method == "PATCH":
        return with_port(target, switch(False, f"Origin: {origin}", "Connection: close"))
    headers = {"Origin": origin, "Content-Type": "application/json", "Host": f"127.0.0.1:{target.port}"}
    return get("/api/cameras/camera", headers, method=method)


def with_port(target: Target, request: bytes) -> bytes:
    return request.replace(b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1:%d\r\n" % target.port)


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()
