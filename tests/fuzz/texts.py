"""Settings as people, editors and failing SD cards may leave them."""

import json
from pathlib import Path
from random import Random

from piapp import config, settings

from . import bodies
from .case import Case, mutated

NONE = b"\xff\xff(no file)"  # in place of a file's content
_SHIPPED = (Path(__file__).parents[2] / "config.toml").read_bytes()
_TABLES = {"server": tuple(config.rules(config.ServerConfig)), "camera": tuple(config.rules(config.CameraConfig))}
_RIGHT = {
    **{
        "host": '"127.0.0.1"',
        "port": "8080",
        "announce": "false",
        "allowed_hosts": '["a.example"]',
        "max_viewers": "7",
    },
    **{"viewer_timeout_s": "2.5", "name": '"door"', "source": '"pattern"', "device": '""', "resolution": '"640x480"'},
    **{"framerate": "15", "quality": "70", "hflip": "true", "vflip": "false", "rotation": "90", "encoder": '"auto"'},
    **{"tuning": '"imx.json"', "idle_stop_s": "0"},
}
_VALUES = (
    *(
        '"x"',
        "''",
        '"""a\nb"""',
        "'''\n'''",
        "1",
        "-1",
        "1.5",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "0x1F",
        "1_000",
        "true",
        "True",
    ),
    *(
        "[]",
        "[1, 2]",
        '["a",]',
        "{}",
        '{a = 1, "b" = 2}',
        "{host = 1}",
        "1979-05-27T07:32:00Z",
        "07:32:00",
        "1979-05-27",
    ),
    *(
        "[[[[]]]]",
        "",
        '"\\u00e9"',
        '"\\ud800"',
        '"\\x"',
        '"unfinished',
        "“curly”",
        "’x’",
        "–1",
        "9" * 5000,
        '"' + "x" * 300 + '"',
    ),
    *(
        '"0x0"',
        '"64x64"',
        '"99999x99999"',
        '"١x٢"',
        '"fe80::1%lo"',
        '"::"',
        '"1.2.3.4.5"',
        '"a..b"',
        "0b1",
        "0o7",
        '"\t"',
        '"\\n"',
    ),
    *("[" * 300, "{a=" * 100, "a.b", "99999999999999999999", "0x" + "f" * 6000, '"ǘ"', '"e' + "\u0301" * 200 + '"'),
)
WORDS = tuple(word.encode() for word in _VALUES) + (
    *(
        b"[server]",
        b"[[camera]]",
        b"[camera]",
        b"[[server]]",
        b"[",
        b"]",
        b"=",
        b"#",
        b'"',
        b"'",
        b'"""',
        b"'''",
        b"\\",
        b".",
    ),
    *(
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xc3\xbc",
        b"\xff",
        b"\xe2\x80\x9c",
        b"\xc2\xa0",
        b"\x1b[31m",
    ),
    *(
        b"name = ",
        b"server.port = 1\n",
        b"camera = []\n",
        b"a." * 30,
        b'\\"' * 50,
        b" " * 60,
        b"\xe2\x80\xa8",
        b"port = 8081\n",
    ),
)


def text(random: Random) -> bytes:
    """A file of settings: some sections, whose values are mostly right."""
    wrong = random.choice((0, 0, 0.05, 0.3))
    lines = []
    for _ in range(random.randint(1, 4)):
        table = random.choice(("server", "camera", "camera"))
        header = "[server]" if table == "server" else "[[camera]]"
        lines.append(
            header
            if random.random() > wrong / 4
            else random.choice(("[camera]", "[[server]]", "[a.b]", "server = 1", "["))
        )
        for key in random.sample(_TABLES[table], random.randint(0, 5)):
            if random.random() < wrong / 4:
                key = random.choice(
                    (key.upper(), key[:-1], f'"{key}"', f"server.{key}", f"{key}.x", "ü", f"{key} {key}")
                )
            value = _RIGHT.get(key, "1") if random.random() >= wrong else random.choice(_VALUES)
            if key == "name" and random.random() < 0.7:
                value = f'"cam {random.randrange(5)}"'
            lines.append(f"{key} = {value}" + (" # comment" if random.random() < 0.1 else ""))
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def _file(random: Random) -> bytes:
    data = _SHIPPED if random.random() < 0.03 else text(random)
    if random.random() < 0.4:
        data = mutated(data, random, WORDS, random.choice((1, 1, 2, 4)))
    kind = random.random()
    if kind < 0.03:
        data = data.decode("utf-8", "replace").encode(
            random.choice(("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "cp1252")), "replace"
        )
    elif kind < 0.06:
        data = data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n")))
    elif kind < 0.1:
        data = data.replace(b'"', random.choice(("“", "”", "'", "‘", '"""')).encode())
    elif kind < 0.105:
        data *= settings.LARGEST // max(1, len(data)) + random.randrange(2)
    elif kind < 0.11:
        word = random.choice(WORDS) or b" "
        data += word * ((settings.LARGEST - len(data)) // len(word))
    return data


def _kept(random: Random) -> bytes:
    """settings.json, as piapp would write it or not quite."""
    camera = {"name": "door", "source": "pattern", "quality": random.choice((70, 0, "70", None))}
    settings = {
        "server": {"port": random.choice((8080, 8081, -1, "8080"))},
        "camera": [camera] * random.choice((1, 1, 1, 0, 2)),
    }
    said = {
        "saved": random.choice(("2026-08-01T10:00:00+02:00", "2026-08-01", "", 1, "9999-12-31T23:59:59-23:59")),
        "main": "MAIN",
        "settings": settings if random.random() < 0.8 else bodies.value(random),
    }
    data = json.dumps(said).encode()
    return mutated(data, random, bodies.WORDS, random.choice((1, 2))) if random.random() < 0.4 else data


def case(seed: int) -> Case:
    """Four files: the main one, the one on the boot partition, the last good settings, and the main one later on."""
    random = Random(seed)
    over = _file(random) if random.random() < 0.3 else NONE
    kept = _kept(random) if random.random() < 0.3 else NONE
    return Case(seed, (_file(random), over, kept, _file(random) if random.random() < 0.3 else NONE))
