"""Who may ask, and what every answer carries, whatever it is."""

import json
import re
import socket
from collections.abc import Iterator

import pytest
from fakes import Running, serving, until
from numbered import Numbered
from wire import Answer, ask, connect, read_all, read_head, request

from piapp.config import CameraConfig
from piapp.web import server

JSON = {"Content-Type": "application/json"}
# method, address, status, further headers, body
REQUESTS: list[tuple[str, str, int, dict[str, str], bytes]] = [
    *(("GET", path, 200, dict[str, str](), b"") for path in ("/", "/style.css", "/icon.svg", "/js/main.js")),
    *(("GET", path, 200, {}, b"") for path in ("/api/cameras", "/api/cameras/camera", "/health", "/metrics")),
    ("GET", "/api/system", 200, {}, b""),
    ("GET", "/api/live", 426, {}, b""),  # asked for as what it is, it answers 101: see test_live.py
    ("GET", "/api/live", 403, {"Origin": "http://evil.example"}, b""),
    ("GET", "/api/live", 421, {"Host": "evil.example"}, b""),
    *(("GET", path, 200, {}, b"") for path in ("/stream", "/stream.mjpg", "/video_feed", "/cameras/camera/stream")),
    *(("GET", path, 200, {}, b"") for path in ("/snapshot", "/snapshot.jpg", "/cameras/camera/snapshot.jpg")),
    *(("GET", path, 200, {}, b"") for path in ("/?action=stream", "/?action=snapshot", "/webcam/?action=stream")),
    *(("HEAD", path, 200, {}, b"") for path in ("/", "/stream", "/snapshot", "/api/cameras", "/style.css")),
    ("PATCH", "/api/cameras/camera", 200, JSON, b'{"on": true}'),
    ("PATCH", "/api/cameras/camera", 400, JSON, b"{"),
    ("PATCH", "/api/cameras/camera", 415, {}, b"{}"),
    ("PATCH", "/api/cameras/camera", 403, {**JSON, "Origin": "http://evil.example"}, b"{}"),
    ("PATCH", "/api/cameras/nobody", 404, JSON, b"{}"),
    ("GET", "/stream?fps=x", 400, {}, b""),
    ("GET", "/stream?fps=%FF", 400, {}, b""),
    ("GET", "/cameras/%FF/stream", 400, {}, b""),
    ("GET", "/stream_7", 404, {}, b""),
    ("GET", "/nothing", 404, {}, b""),
    ("GET", "/nothing.css", 404, {}, b""),
    ("GET", "/js/nothing.js", 404, {}, b""),
    ("GET", "/js/..%2f..%2fguard.py", 404, {}, b""),
    ("HEAD", "/nothing", 404, {}, b""),
    ("POST", "/nothing", 415, {}, b"x"),
    ("POST", "/", 405, JSON, b"{}"),
    ("PUT", "/api/cameras", 405, JSON, b"{}"),
    ("DELETE", "/snapshot", 405, JSON, b"{}"),
    ("BREW", "/stream", 405, JSON, b"{}"),
    ("GET", "/style.css", 206, {"Range": "bytes=0-9"}, b""),
    ("GET", "/style.css", 416, {"Range": "bytes=9999999-"}, b""),
    *(("GET", path, 421, {"Host": "evil.example"}, b"") for path in ("/", "/stream", "/snapshot", "/style.css", "/x")),
    *(("GET", path, 421, {"Host": "evil.example"}, b"") for path in ("/api/cameras", "/metrics", "/health")),
    ("PATCH", "/api/cameras/camera", 421, {**JSON, "Host": "evil.example"}, b'{"on": false}'),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    device = Numbered()
    cameras = (CameraConfig(idle_stop_s=0), CameraConfig(name="Second"))
    with serving(lambda _: device, cameras, allowed_hosts=("cam.example.org", "piapp")) as made:
        device.loop = made.loop
        yield made


def head(running: Running, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    """The answer without its body, which for a stream has no end."""
    with connect(running.port) as sock:
        sock.sendall(request(method, path, {"Connection": "close", **headers}, body))
        return read_head(sock)


def directives(policy: str) -> dict[str, set[str]]:
    parts = [part.split() for part in policy.split(";")]
    return {name: set(values) for name, *values in parts}


# --- what every answer carries ---


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"), REQUESTS, ids=[f"{r[0]} {r[1]} {r[2]}" for r in REQUESTS]
)
def test_every_answer_carries_what_browsers_need(
    running: Running, method: str, path: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    answer = head(running, method, path, headers, body)
    assert answer.status == status
    told = answer.headers
    assert told["cross-origin-resource-policy"] == "same-origin"
    assert told["x-content-type-options"] == "nosniff"
    assert told["referrer-policy"] == "no-referrer"
    assert told["server"] == "piapp"
    assert "access-control-allow-origin" not in told and "set-cookie" not in told
    assert told["cache-control"] in ("no-store", "no-cache")
    policy = directives(told["content-security-policy"])
    assert policy["default-src"] == {"'none'"} and policy["frame-ancestors"] == {"'self'"}
    assert policy["base-uri"] == policy["form-action"] == {"'none'"}
    for name, values in policy.items():
        assert values <= {"'none'", "'self'", "blob:"}, name  # no 'unsafe-inline', no 'unsafe-eval', nobody else's
    assert "blob:" not in policy["script-src"]
    if status >= 400:
        assert told["content-type"] == "application/json" or status == 416
        assert method == "HEAD" or status == 416 or ask(running.port, path, method, headers, body).sentence()


def test_every_route_is_among_them() -> None:
    for where, handler in server.ROUTES:
        if isinstance(where, str):
            assert [r for r in REQUESTS if re.fullmatch(where, r[1]) and r[2] in (200, 426)], f"{where} of {handler}"


def test_the_pages_own_files_may_be_kept_but_are_asked_for(running: Running) -> None:
    first = ask(running.port, "/style.css")
    again = ask(running.port, "/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304 and again.headers["x-content-type-options"] == "nosniff"
    assert again.headers["cache-control"] == "no-cache"


# --- Host ---


OWN = socket.gethostname().lower().partition(".")[0]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:8080", "192.168.1.20", "192.168.1.20:80", "10.0.0.1:65535", "8.8.8.8"),
        *("[::1]", "[::1]:8080", "[fe80::1]", "[fd00::1:2]:80", "[2001:DB8::1]", "[::ffff:10.0.0.1]:8080"),
        *("localhost", "localhost:8080", "LocalHost", "localhost.", "localhost.:8080"),
        *(f"{OWN}.local", f"{OWN}.local:8080", f"{OWN.upper()}.Local.", f"{OWN}-2.local.:80"),
        *("raspberrypi", "mjpgstreamer1:80", "mjpg_streamer", "local", "2130706433"),  # nobody can register those
        *("pi.lan", "a.pi.home.arpa", "pi.internal:8080", "pi.localdomain", "pi.localhost", "raspberrypi.fritz.box"),
        *("cam.example.org", "cam.example.org:443", "CAM.example.ORG.", "piapp", "piapp:8080"),
        *(OWN, OWN.upper(), f"{OWN}:8080", f"{OWN}.", socket.gethostname()),
    ],
)
def test_names_that_are_answered_to(running: Running, host: str) -> None:
    assert ask(running.port, "/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8080",
            "EVIL.example.",
            "example.org",
            "x.cam.example.org",
            "cam.example.org.evil",
        ),
        *("127.0.0.1.nip.io", "127.0.0.1.evil.example:8080", "7f000001.c0a80001.rbndr.us", "1.2.3.4.5", "192.168.1"),
        *("evil.local", "a.b.local", f"x{OWN}.local", f"{OWN}-x.local", f"a.{OWN}.local", f"{OWN}-1234.local"),
        *("localhost.evil.example", "piapp.local.evil.example", "notfritz.box", "fritz.box.evil.example", "xlan.org"),
        *("piapp.evil.example", "::1", "127.0.0.1:80:80", f"{OWN}.evil.example", ".lan", "a..b", "lan..", "0x7f.1"),
        *("127.0.0.1, evil.example", "evil.example, 127.0.0.1", "[::1].evil.example", "127.0.0.1@evil.example"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/stream", "/snapshot", "/api/cameras"])
def test_other_names_are_not(running: Running, path: str, host: str) -> None:
    answer = bare(running, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 "))  # Tornado itself refuses what is no name at all
    if answer.startswith(b"HTTP/1.1 421 "):
        name = re.sub(r":\d*$", "", host).lower().removesuffix(".")
        assert name in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert b"allowed_hosts in config.toml" in answer


@pytest.mark.parametrize(
    "hosts", [["evil.example", "127.0.0.1"], ["127.0.0.1", "evil.example"], [""], ["evil.example\r\n :80"]]
)
def test_hosts_that_no_browser_sends(running: Running, hosts: list[str]) -> None:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    answer = bare(running, f"GET /api/cameras HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")
    assert b" 200 " not in answer.split(b"\r\n")[0] or hosts == [""]


def test_an_address_in_the_request_line_does_not_count(running: Running) -> None:
    answer = bare(
        running, "GET http://127.0.0.1/api/cameras HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert b" 200 " not in answer.split(b"\r\n")[0]


def bare(running: Running, text: str) -> bytes:
    with connect(running.port) as sock:
        sock.sendall(text.encode())
        return read_all(sock)


# --- changes ---


def change(running: Running, headers: dict[str, str], body: bytes = b'{"on": true}') -> Answer:
    return ask(running.port, "/api/cameras/camera", "PATCH", headers, body)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("piapp.lan:8080", "http://piapp.lan:8080"),
        ("PIAPP.lan:8080", "http://piapp.lan:8080"),
        ("cam.example.org", "https://cam.example.org"),
        ("cam.example.org", None),
    ],
)
def test_changes_from_its_own_page_and_from_programs(running: Running, host: str, origin: str | None) -> None:
    headers = {**JSON, "Host": host} | ({"Origin": origin} if origin else {})
    assert change(running, headers).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "https://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:8081"),
        *("http://127.0.0.1:80800", "http://127.0.0.1:8080.evil.example", "http://x@127.0.0.1:8080", "127.0.0.1:8080"),
        *("http://localhost:8080", "ftp://127.0.0.1:8080", "file://", "http://127.0.0.1:8080/", "//127.0.0.1:8080"),
    ],
)
def test_changes_from_other_pages_are_refused(running: Running, origin: str) -> None:
    answer = change(running, {**JSON, "Host": "127.0.0.1:8080", "Origin": origin}, b'{"on": false}')
    assert answer.status == 403 and answer.sentence()
    assert ask(running.port, "/api/cameras/camera").json()["on"] is True


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
            "application/jsonx",
        ),
        *("text/plain; application/json", "text/plain, application/json", "application", "*/*"),
    ],
)
def test_what_a_form_can_send_is_refused(running: Running, kind: str) -> None:
    answer = change(running, {"Content-Type": kind}, b'{"on": false}')
    assert answer.status == 415 and "application/json" in answer.sentence() or kind.startswith("multipart")
    assert answer.status in (400, 415)  # Tornado itself refuses a multipart body that is none
    assert ask(running.port, "/api/cameras/camera").json()["on"] is True


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON ;charset=utf-8"]
)
def test_json_is_taken(running: Running, kind: str) -> None:
    assert change(running, {"Content-Type": kind}).status == 200


def test_nothing_is_changed_by_looking(running: Running) -> None:
    for path in ("/api/cameras/camera?on=false", "/?on=false", "/stream_7?on=false", '/api/cameras?{"on":false}'):
        ask(running.port, path, body=b'{"on": false}')
    assert ask(running.port, "/api/cameras/camera").json()["on"] is True


def test_a_preflight_allows_nothing(running: Running) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PATCH"}
    answer = ask(running.port, "/api/cameras/camera", "OPTIONS", asked)
    assert answer.status >= 400 and not [name for name in answer.headers if name.startswith("access-control")]


# --- what comes back ---


SCRIPT, SPLIT = "%3Cscript%3Ealert(1)%3C/script%3E", "x%0d%0aSet-Cookie:%20a=b"


@pytest.mark.parametrize("evil", [SCRIPT, SPLIT, "%22%7D%3Cimg%20src=x%3E", "%E2%80%A8%00%1b"])
@pytest.mark.parametrize(
    "path",
    [
        *(
            "/{}",
            "/api/cameras/{}",
            "/cameras/{}/stream",
            "/cameras/{}/snapshot.jpg",
            "/stream?fps={}",
            "/stream?fps=9{}",
        ),
        *("/?action=snapshot_9&x={}", "/stream_9?{}", "/js/{}.js", "/webcam/?action={}"),
    ],
)
def test_what_comes_back_is_data(running: Running, path: str, evil: str) -> None:
    answer = head(running, "GET", path.format(evil), {})
    if answer.status == 200:  # a parameter that nobody reads
        assert "stream" in path
        return
    assert answer.status in (400, 404)
    assert (
        answer.headers["content-type"] == "application/json" and answer.headers["x-content-type-options"] == "nosniff"
    )
    assert "set-cookie" not in answer.headers
    assert ask(running.port, path.format(evil)).json()["error"]


def test_what_comes_back_of_a_body_is_data(running: Running) -> None:
    answer = change(running, JSON, json.dumps({"<script>": 1}).encode())
    assert answer.status == 400 and "<script>" in answer.sentence()


def test_viewers_names_are_data(running: Running) -> None:
    agent = "<script>\u00e4\"'\\"
    with connect(running.port) as sock:
        sock.sendall(request("GET", "/stream", {"User-Agent": agent}))
        read_head(sock)
        viewers = ask(running.port, "/api/cameras/camera").json()["viewers"]
        assert any("<script>" in viewer["agent"] for viewer in viewers)
    until(lambda: not ask(running.port, "/api/cameras/camera").json()["viewers"])
