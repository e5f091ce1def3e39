"""Headers and addresses of which a handler makes nothing: an error that says so, in JSON, and never a 500."""

import itertools
import json
import random

import pytest

from .raw import Talk, get, lines, switch, talk, talk_all
from .target import Target

FILES = ("/", "/style.css", "/js/main.js", "/icon.svg")
DATES = (
    *("", " ", "x", "0", "-1", "Sat, 01 Jan 0000 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00", "2000-01-01"),
    "99999999999999999999",
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "Sat, 32 Foo 2000 25:61:61 GMT"),
    "Mon, 1 Jan 1 0:0:0 -9999",
    *("Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1969 00:00:00 +9999", "Sat, 01 Jan 2000 00:00:00 \xe9"),
    *("a, b c d e f", "," * 100),
    *("Sat, 01 Jan 2000 00:00:00 GMT" * 20, "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT"),
    *("1" * 5000, "\t\xa0"),
)
RANGES = (
    *("", "x", "bytes", "bytes=", "bytes=-", "bytes=--1", "bytes=0", "bytes=a-b", "bytes=1-0", "bytes=-0"),
    *("bytes=0--1", "bytes= 0-1"),
    *("bytes=0-1,2-3", "bytes=0-,0-,0-", "bytes=0-1;2", "bytes=\xb2-", "bytes=+1-+2", "bytes=1_0-2_0"),
    *("bytes=0x1-0x2", "lines=0-1"),
    *(
        "bytes=99999999999999999999999-",
        "bytes=0-99999999999999999999999",
        "bytes=-99999999999999999999999",
        "bytes=0-" + "9" * 5000,
    ),
    *(
        "bytes=" + "1" * 5000 + "-",
        "bytes=" + "0-0," * 1000,
        "BYTES=0-1",
        "bytes=1.5-2",
        "bytes=0-1\xe9",
        "bytes = 0-1",
    ),
)
TAGS = (
    *(
        "",
        '"',
        '""',
        "*",
        "x",
        'W/"',
        'W/""',
        "W/",
        '"\xe9"',
        '"a", "b',
        '"a" "b"',
        ",",
        '"' * 1000,
        '"a",' * 1000,
        'w/"a"',
        '"\t"',
    ),
    *("**", '*, "a"', "'a'", '"a\\"b"', '"' + "a" * 8000 + '"'),
)
HEADERS = {
    "If-Modified-Since": DATES,
    "If-None-Match": TAGS,
    "Range": RANGES,
    "If-Range": TAGS[:6] + DATES[:6],
    "Accept": TAGS,
}
PATHS = (
    "/",
    "/{}",
    "/js/{}",
    "/js/{}.js",
    "/{}.css",
    "/api/cameras/{}",
    "/cameras/{}/stream",
    "/cameras/{}/snapshot.jpg",
)
QUERIES = (
    *("/stream?fps={}", "/stream?advance_headers={}", "/?action=stream_{}", "/?action={}", "/webcam/?action={}"),
    "/?{}",
    *("/snapshot.jpg?full={}", "/api/live?client={}", "/stream?{}", "/api/cameras?{}={}", "/health?{}"),
)
PIECES = (
    *("%", "%%", "%0", "%zz", "%00", "%0a", "%0d%0aX:%20y", "%ff", "%fe%ff", "%c0%ae", "%c3%28", "%ed%a0%80"),
    *("%f0%9f%98%80", "%u0041"),
    *("%2e%2e/", "..", "../", "..%2f", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..\\..\\", "/", "//", "///etc/passwd", "."),
    *("...", "~", "%2f"),
    *("\xff", "\xc3\x28", "\xe9", "\xed\xa0\x80", "+", "&", ";", "=", "&&==", "#", "?", "??", "'", '"', "`", "{"),
    *("}", "|", "^", "\\", "*"),
    *("<script>", "%3Cscript%3E", "nan", "inf", "-inf", "1e999", "-1", "0", "1e-999", "9" * 400, "\xb2", "%d9%a1"),
    *("1_0", "_", "stream"),
    *("%25", "%2525", "%252e%252e%252f", "a" * 1000, "%41" * 500, "%ff" * 500, "&a" * 400, "%00" * 100),
    *("stream_99999", "snapshot_-1"),
)
SCRIPTS = (
    "<script>alert(1)</script>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    '"><img src=x onerror=alert(1)>',
    "%22%3E%3Csvg/onload=x%3E",
)
REFLECTED = (
    *("/{}", "/api/cameras/{}", "/cameras/{}/stream", "/cameras/{}/snapshot.jpg", "/stream?fps={}", "/js/{}.js"),
    *("/{}.css", "/nothing?{}"),
    *("/?action=snapshot_9&x={}", "/stream_9?{}", "/webcam/{}", "/{}?{}"),
)


def without_a_failure(target: Target, requests: list[bytes]) -> list[Talk]:
    """The answers, none of which is a failure of piapp's."""
    talks = talk_all(target.port, requests)
    wrong = [
        f"{request[:200]!r}: {talk}"
        for request, talk in zip(requests, talks, strict=True)
        if len(talk.statuses) != 1 or (talk.statuses[0] >= 500 and talk.statuses[0] not in (501, 503, 505))
    ]
    assert not wrong, "\n".join(wrong)
    return talks


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_may_be_any(target: Target, name: str) -> None:
    values = list(HEADERS[name])
    requests = [get(path, {name: value}) for path, value in zip(itertools.cycle(FILES), values, strict=False)]
    requests += [get("/style.css", {name: value}) for value in values]
    requests += [
        get(path, {name: value})
        for path, value in zip(itertools.cycle(("/health", "/nothing")), values[::3], strict=False)
    ]
    without_a_failure(target, requests)


def test_two_headers_together_may_be_any(target: Target) -> None:
    pick = random.Random(11)
    pairs = [{name: pick.choice(values) for name, values in HEADERS.items()} for _ in range(60)]
    without_a_failure(target, [get(pick.choice(FILES), each) for each in pairs])


def test_a_path_may_be_any(target: Target) -> None:
    pick = random.Random(12)
    paths = [path.replace("{}", piece) for path in PATHS for piece in pick.sample(PIECES, 14) if piece != "stream"]
    without_a_failure(target, [get(path) for path in paths])


def test_a_query_may_be_any(target: Target) -> None:
    """A stream that comes of it is one, and goes on: it is asked for with HEAD."""
    pick = random.Random(13)
    for path in QUERIES:
        requests = [get(path.replace("{}", piece)) for piece in pick.sample(PIECES, 12)]
        if "stream" in path or "action" in path:
            requests = [request.replace(b"GET", b"HEAD", 1) for request in requests]
            for said in talk_all(target.port, requests):
                assert said.end == "closed" and said.data.split(b" ", 2)[1] in (b"200", b"400", b"404"), said
        else:
            without_a_failure(target, requests)


def test_files_that_are_not_the_pages_own_are_not_given(target: Target) -> None:
    ways = (
        *("/js/../../guard.py", "/js/..%2f..%2fguard.py", "/../server.py", "/..%2fserver.py", "/%2e%2e/server.py"),
        "//etc/passwd",
        *("/js/%2e%2e/%2e%2e/%2e%2e/config.py", "/js/....//....//config.py", "/etc/passwd", "/js//etc/passwd"),
        "/js/..\\guard.py",
        *("/index.html", "/js/", "/js", "/.git/config", "/style.css/", "/style.css%00.js", "/js/main.js%00"),
        "/style.css/../guard.py",
        *("/state.json", "/config.toml", "/../../../../../../etc/passwd"),
        "/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
    )
    for path, said in zip(ways, without_a_failure(target, [get(path) for path in ways]), strict=True):
        assert said.statuses[0] in (400, 403, 404), (path, said)
        assert b"root:" not in said.data and b"import " not in said.data


def test_what_is_reflected_is_data(target: Target) -> None:
    requests = [get(path.replace("{}", script).replace(" ", "%20")) for path in REFLECTED for script in SCRIPTS]
    for request, said in zip(requests, without_a_failure(target, requests), strict=True):
        headers = said.answers[0].headers
        assert said.statuses[0] in (400, 404), (request, said)
        assert headers["content-type"] == "application/json" and headers["x-content-type-options"] == "nosniff"
        assert (
            "script-src 'self'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert set(said.answers[0].json()) == {"error"}


@pytest.mark.parametrize("line", ["X-Name : <script>", "Host: <script>", "X: \x1b<script>", "Content-Length: <script>"])
def test_a_refusal_of_framing_is_data_too(target: Target, line: str) -> None:
    said = talk(target.port, lines("GET /<script> HTTP/1.1", line, "Connection: close"))
    assert said.answered(400, 421), said
    headers = said.answers[0].headers
    assert headers["content-type"] == "application/json" and headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert set(said.answers[0].json()) == {"error"}


def test_changes_may_be_any_json(target: Target) -> None:
    changes = (
        *(
            b"",
            b"{}",
            b"[]",
            b"null",
            b"1",
            b'"on"',
            b"{",
            b"\xff",
            b"\0",
            b"[" * 8000,
            b'{"a":' * 3000,
            b'{"on": NaN}',
            b'{"on": 1e999}',
        ),
        *(
            b'{"on": null}',
            b'{"on": 0}',
            b'{"on": "false"}',
            b'{"on": [false]}',
            b'{"off": true}',
            b'{"on": true, "x": 1}',
            b'{"<script>": 1}',
        ),
        *(
            b'{"controls": null}',
            b'{"controls": []}',
            b'{"controls": {"quality": []}}',
            b'{"controls": {"quality": {}}}',
            b'{"controls": 1}',
        ),
        *(b'{"controls": {"quality": NaN}}', b'{"controls": {"quality": 1e999}}', b'{"controls": {"quality": -1e999}}'),
        *(
            b'{"controls": {"quality": %s}}' % (b"9" * 5000),
            b'{"controls": {"quality": "\\ud800"}}',
            b'{"\\ud800": 1}',
            b'{"on\\u0000": true}',
        ),
        *(
            b'{"controls": {"quality": %s}}' % (b"9" * 400),
            b'{"controls": {"nothing": 1}}',
            b'{"controls": {"\\ud800": 1}}',
        ),
    )
    head = (
        "PATCH /api/cameras/camera HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Connection: close",
    )
    requests = [lines(*head, f"Content-Length: {len(body)}", body=body) for body in changes]
    for body, said in zip(changes, without_a_failure(target, requests), strict=True):
        assert said.statuses[0] == 400 and said.answers[0].json()["error"], (body, said)
    assert target.camera()["on"] and json.dumps(target.camera())
    assert talk(target.port, switch(True, "Connection: close")).statuses == [200]


def test_nothing_is_left_of_it(target: Target) -> None:
    target.check()
