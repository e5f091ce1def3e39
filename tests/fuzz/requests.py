"""HTTP requests to all of piapp's addresses, right ones and others."""

from random import Random

from . import bodies
from .case import Case, mutated, split

CAMERAS = (b"camera", b"K%C3%BCche%202")
_NAMES = (
    *CAMERAS,
    b"nobody",
    b"K\xc3\xbcche",
    b"%00",
    b"%",
    b"%ff",
    b"..",
    b"%2e%2e",
    b"%2f",
    b"a" * 300,
    b"%22",
)
_PATHS = (
    *(
        b"/",
        b"/health",
        b"/metrics",
        b"/api/cameras",
        b"/api/system",
        b"/api/live",
        b"/stream",
        b"/stream.mjpg",
        b"/nothing",
    ),
    *(
        b"/snapshot",
        b"/snapshot.jpg",
        b"/snapshot_1",
        b"/stream_1.mjpg",
        b"/video_feed",
        b"/video_feed_9999",
        b"/webcam/",
    ),
    *(
        b"/style.css",
        b"/icon.svg",
        b"/js/main.js",
        b"/js/../../../config.toml",
        b"/js/%2e%2e/%2e%2e/piapp",
        b"/index.html",
    ),
    *(
        b"*",
        b"//evil.example/",
        b"http://127.0.0.1/health",
        b"127.0.0.1:80",
        b"/\xff",
        b"/%",
        b"/%zz",
        b"/a;b",
        b"/?",
        b"/#x",
    ),
)
_OF_CAMERAS = (b"/api/cameras/%s", b"/cameras/%s/stream", b"/cameras/%s/snapshot.jpg")
_QUERIES = (
    *(
        b"fps=1",
        b"fps=x",
        b"fps=nan",
        b"fps=1e999",
        b"fps=",
        b"full=1",
        b"action=stream",
        b"action=snapshot",
        b"action=\xff",
    ),
    *(
        b"action=snapshot_9",
        b"advance_headers=1",
        b"client=a",
        b"client=%ff",
        b"client=",
        b"&&;=",
        b"a=%",
        b"fps=%F0%9F%98%80",
    ),
    *(b"x=" + b"y" * 1900, b"action=stream&action=snapshot", b"fps[]=1", b"full=%00", b"1608856928650"),
)
_METHODS = (
    (b"GET",) * 28
    + (b"HEAD",) * 5
    + (b"PATCH",) * 8
    + (
        *(
            b"POST",
            b"PUT",
            b"DELETE",
            b"OPTIONS",
            b"CONNECT",
            b"TRACE",
            b"get",
            b"_execute",
            b"prepare",
            b"X" * 300,
            b"G(T",
        ),
    )
)
_HEADERS: dict[bytes, tuple[bytes, ...]] = {
    b"Content-Length": (
        b"0",
        b"1",
        b"5",
        b"16384",
        b"16385",
        b"99999999999999",
        b"-1",
        b"+2",
        b"0x5",
        b"5, 5",
        b"",
        b"\xb2",
    ),
    b"Transfer-Encoding": (b"chunked", b"identity", b"gzip, chunked", b"", b"\x0bchunked"),
    b"Host": (
        b"evil.example",
        b"",
        b"[::1]:80",
        b"[",
        b"]:",
        b"127.0.0.1:x",
        b"a b",
        b"a,b",
        b"\xff",
        b"a" * 300,
        b"localhost.",
    ),
    b"Origin": (b"http://127.0.0.1", b"null", b"http://evil.example", b"", b"\xff"),
    b"Range": (
        b"bytes=0-1",
        b"bytes=-5",
        b"bytes=5-1",
        b"bytes=0-99999999999",
        b"bytes=a-b",
        b"bytes=0-0,2-3",
        b"x",
        b"bytes=-0",
    ),
    b"If-None-Match": (b"*", b'"a"', b'W/"a"', b'"', b"a" * 3000, b"\xff", b'"a", "b",,'),
    b"If-Modified-Since": (b"Thu, 01 Jan 1970 00:00:00 GMT", b"x", b"Thu, 99 Jan 99999 99:99:99 GMT", b"0", b"-1"),
    b"Cookie": (b"a=b", b"a=b; c", b'a="', b"=", b"\xff", b"$Version=1; a=\\x", b"a=b;" * 200),
    b"Expect": (b"100-continue", b"100-Continue", b"x", b""),
    b"Connection": (b"close", b"keep-alive", b"Upgrade", b"close, keep-alive", b",", b"Content-Length"),
    b"Upgrade": (b"websocket", b"h2c", b"WEBSOCKET", b""),
    b"Sec-WebSocket-Key": (b"dGhlIHNhbXBsZSBub25jZQ==", b"x", b"", b"\xff"),
    b"Sec-WebSocket-Version": (b"13", b"8", b"", b"13, 8"),
    b"Content-Type": (
        b"application/json",
        b"Application/JSON; charset=x",
        b"text/plain",
        b"multipart/form-data; boundary=",
        b";",
    ),
    b"Content-Encoding": (b"gzip", b"identity"),
    b"Accept": (b"image/*", b"*/*", b"text/html", b"\xff", b""),
    b"Accept-Encoding": (b"gzip", b"br;q=0"),
    b"User-Agent": (b"x" * 500, b"\xff\xfe", b"", b"a\tb"),
    b"X-Forwarded-For": (b"1.2.3.4", b"\xff"),
    b"X-Http-Method-Override": (b"PATCH",),
    b"Authorization": (b"Basic x", b"Basic =", b"Digest"),
    b"Te": (b"trailers",),
    b"a" * 101: (b"b",),
}
_NAMES_OF_HEADERS = tuple(_HEADERS)
WORDS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b"%",
        b"%00",
        b"%ff",
        b"%c0%af",
        b"/",
        b"..",
        b"?",
    ),
    *(
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"HTTP/0.9",
        b"HTTP/1.",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ),
    *(
        b"Host: a\r\n",
        b"Connection: close\r\n",
        b"GET / HTTP/1.1\r\n",
        b"0\r\n\r\n",
        b"\xff\xfe",
        b"\xc3\xbc",
        b"\x80",
        b"\x7f",
    ),
    *(
        b"\r\n folded",
        b"X" * 17_000,
        b"a: b\r\n" * 101,
        b"a" * 2049,
        b"Expect: 100-continue\r\n",
        b"{}",
        b'{"on": true}',
        b"#",
        b"@",
    ),
)


def target(random: Random) -> bytes:
    pick = random.choice
    path = (
        pick(_PATHS)
        if random.random() < 0.6
        else pick(_OF_CAMERAS) % pick(_NAMES if random.random() < 0.5 else CAMERAS)
    )
    if random.random() < 0.3:
        path += b"?" + b"&".join(pick(_QUERIES) for _ in range(random.randint(1, 2)))
    if random.random() < 0.05:
        place = random.randrange(len(path) + 1)
        path = path[:place] + b"".join(b"%%%02x" % byte for byte in path[place : place + 3]) + path[place + 3 :]
    return path


def request(random: Random) -> bytes:
    """Such as programs send, with headers that do not always fit it."""
    method, body = random.choice(_METHODS), b""
    headers = [(b"Host", b"127.0.0.1" if random.random() < 0.9 else random.choice(_HEADERS[b"Host"]))]
    if method in (b"PATCH", b"POST", b"PUT") or random.random() < 0.03:
        body = bodies.changes(random)
        headers += [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
    path = random.choice(_OF_CAMERAS[:1]) % random.choice(CAMERAS) if body and random.random() < 0.8 else target(random)
    if path.startswith(b"/api/live") and random.random() < 0.5:
        names = (b"Upgrade", b"Sec-WebSocket-Version", b"Sec-WebSocket-Key")
        headers += [(name, _HEADERS[name][0]) for name in names]
    if path.endswith((b".js", b".css", b".svg", b"/")) and random.random() < 0.3:
        name = random.choice((b"Range", b"If-None-Match", b"If-Modified-Since"))
        headers.append((name, random.choice(_HEADERS[name])))
    for _ in range(int(random.expovariate(0.8))):
        name = random.choice(_NAMES_OF_HEADERS)
        headers.append((name, random.choice(_HEADERS[name])))
    if random.random() < 0.2:
        random.shuffle(headers)
    version = b"1.1" if random.random() < 0.95 else random.choice((b"1.0", b"2.0", b"1.2", b"0.9", b"1.10"))
    lines = [b"%s %s HTTP/%s" % (method, path, version), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def case(seed: int) -> Case:
    """One request or a few in a row, of which many are mutated, in one piece or several."""
    random = Random(seed)
    count = 1 if random.random() < 0.7 else random.randint(2, 4)
    data = b"".join(request(random) for _ in range(count))
    if random.random() < 0.45:
        data = mutated(data, random, WORDS, random.choice((1, 1, 1, 2, 3, 6)))
    return Case(seed, split(data, random) if random.random() < 0.15 else (data,))


def change(seed: int) -> Case:
    """A PATCH that is a well-formed request, whatever its body is."""
    random = Random(seed)
    body = bodies.changes(random)
    line, host = b"PATCH /api/cameras/%s HTTP/1.1" % random.choice(CAMERAS), b"Host: 127.0.0.1"
    fields = b"Content-Type: application/json", b"Content-Length: %d" % len(body)
    data = b"\r\n".join((line, host, *fields)) + b"\r\n\r\n" + body
    return Case(seed, split(data, random) if random.random() < 0.1 else (data,))
