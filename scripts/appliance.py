"""What scripts/install.sh asks Python for.

    appliance.py port SETTINGS NUMBER           write the port into a settings file
    appliance.py new TEMPLATE SETTINGS [OLD]    the settings that this version brings and the file lacks
    appliance.py where SETTINGS                 the port, one URL for this computer itself, and those for people
    appliance.py mistake SETTINGS               the first one in them, and with what piapp runs until it is mended
    appliance.py wait URL SECONDS               until there is a picture: 0. Only a page: 1, nothing: 2, and why

`where` and `mistake` use the piapp on PYTHONPATH, the others none: they must work whatever piapp is there.
"""

import contextlib
import errno
import http.client
import json
import logging
import os
import re
import socket
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ANSWER_LIMIT_S = 20.0  # more than piapp itself takes to say why there is no picture
AGAIN_S = 0.2


def set_port(path: Path, port: int) -> None:
    """In its line, else in a new one; nothing else in the file is touched. Raises ValueError."""
    lines = path.read_bytes().decode("utf-8-sig").splitlines(keepends=True)
    section, server = "", None
    for i, line in enumerate(lines):
        if heading := re.match(r"\s*\[+\s*([\w-]+)", line):
            section = heading[1]
            server = i if section == "server" else server
        elif section == "server" and re.match(r"\s*port\s*=", line):
            lines[i] = re.sub(r"=\s*[^\s#]+", f"= {port}", line, count=1)
            break
    else:
        if server is None:
            lines.insert(0, f"[server]\nport = {port}\n\n")
        else:
            lines.insert(server + 1, f"port = {port}\n")
    text = "".join(lines)
    if tomllib.loads(text)["server"]["port"] != port:  # as with server = { … }
        raise ValueError("[server] is written in an unusual way")
    path.write_text(text, encoding="utf-8", newline="")


def new_settings(template: Path, path: Path, old: Path | None) -> list[str]:
    """Those of the template that neither the file nor the template of the version before has."""
    try:
        known = {**_names(path), **(_names(old) if old else {})}
    except ValueError:  # a mistake, or one of the many ways to save a file that only piapp understands
        return []
    return [name for name in _names(template) if name not in known]


def _names(path: Path) -> dict[str, None]:
    """`[camera] quality` and so on, in the file's order."""
    names: dict[str, None] = {}
    for section, content in tomllib.loads(path.read_bytes().decode("utf-8-sig")).items():
        for table in content if isinstance(content, list) else [content]:
            names |= {f"[{section}] {key}": None for key in table} if isinstance(table, dict) else {}
    return names


def where(path: Path) -> list[str]:
    """Also with a mistake in the settings: then piapp runs with the last good ones, and so does this."""
    from piapp import last_good
    from piapp.errors import ConfigError
    from piapp.system import network

    logging.disable()  # mistake() tells of it
    try:
        server = last_good.Settings(path, {}, last_good.APPLIANCE).start().server
    except ConfigError as error:
        sys.exit(f"piapp: {error}")
    return [str(server.port), network.url(server.host, server.port), *network.urls(server.host, server.port)]


def mistake(path: Path) -> str:
    """Empty: there is none."""
    from piapp import last_good, settings
    from piapp.errors import ConfigError

    try:
        last_good.Settings(path, {}, last_good.APPLIANCE).check()
    except ConfigError as error:
        return settings.sentence(error)
    return ""


def wait(url: str, limit_s: float) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + limit_s
    while True:
        result = _try(opener, url)
        if result[0] == 0 or time.monotonic() > until:
            return result
        time.sleep(AGAIN_S)


def _missing(url: str) -> bool:
    """Is it of an address that this computer does not have, perhaps not yet? Then nobody is to be asked there."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            sock.bind((host, 0))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False


def _try(opener: Any, url: str) -> tuple[int, str]:
    if _missing(url):
        return 1, "no network interface has the address that host in the settings names"
    try:
        with opener.open(f"{url}/snapshot.jpg", timeout=ANSWER_LIMIT_S) as answer:
            return (0, "") if answer.read(2) == b"\xff\xd8" else (2, "what answers there is not piapp")
    except urllib.error.HTTPError as error:
        said = error.read(10000).decode(errors="replace")
        with contextlib.suppress(ValueError, LookupError, TypeError):
            said = json.loads(said)["error"]
        return (1, said) if error.code == 503 else (2, f"{error.code} {said}")
    except (OSError, http.client.HTTPException) as error:
        return 2, str(error)


def main(command: str, *arguments: str) -> int:
    match command, *arguments:
        case "port", path, number:
            set_port(Path(path), int(number))
        case "new", template, path, *old:
            print(*new_settings(Path(template), Path(path), Path(*old) if old else None), sep="\n")
        case "where", path:
            print(*where(Path(path)), sep="\n")
        case "mistake", path:
            print(mistake(Path(path)))
        case "wait", url, limit_s:
            code, said = wait(url, float(limit_s))
            print(said)
            return code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, ValueError) as problem:
        sys.exit(f"piapp: {problem}")
    except KeyboardInterrupt:
        os._exit(130)
