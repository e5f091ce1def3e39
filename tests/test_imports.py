"""The arrows between the parts of piapp (who may import whom), read from the source, and the files' lengths."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 400

# Each part, and the parts that it may import beside itself, config, errors and the version. A part is a folder of
# piapp/ or one of its files; a file of a folder that has arrows of its own is a part too.
#
#   __main__ → app → web → consumers → camera → run → {hub, sources} → frame
#              app → system            camera → notice → the drawing half of sources
ARROWS: dict[str, set[str]] = {
    "config": {"rules", "toml"},
    "rules": set(),
    "toml": set(),
    "errors": set(),
    "frame": set(),
    "hub": {"frame"},
    "sources": {"frame"},
    "notice": {"sources"},
    "run": {"hub", "sources"},  # the thread's half of a camera
    "counts": {"run"},
    "faults": {"notice"},
    "chosen": {"run", "sources"},
    "snapshots": {"frame", "hub", "run", "sources"},
    "stuck": set(),
    "tasks": set(),
    "rate_limit": set(),
    "camera": {"chosen", "counts", "faults", "frame", "hub", "notice", "run", "snapshots", "sources", "stuck", "tasks"},
    "state": {"camera", "chosen", "system", "tasks"},  # what users chose, kept on disk
    "report": {"camera"},
    "settings": {"system", "toml"},
    "last_good": {"settings", "system"},
    "consumers": {"camera", "frame"},
    "web": {"camera", "consumers", "frame"},
    "system": {"tasks"},
    # opens sources and the port to say what works
    "check": {"camera", "frame", "hub", "settings", "sources", "system", "web"},
    # builds everything
    "app": {"camera", "consumers", "frame", "hub", "report", "sources", "state", "system", "tasks", "web"},
    "__main__": {"app", "check", "last_good", "state", "system"},
    "__init__": set(),
}
ANYONE = {"config", "errors", "rate_limit", "__init__"}


def imported(source: str, module: str) -> set[str]:
    """The modules of piapp that the source of `module` imports, anywhere in it, as piapp.x.y.

    A name imported from a package may be a module or a value in it; what is no module stays as it is written.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # from . import x, from ..camera import Camera
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "piapp"}


def part(name: str) -> str:
    """The part that a dotted name belongs to: piapp.web.stream.Viewer → web, piapp.__version__ → __init__."""
    first = name.split(".")[1] if "." in name else "__init__"
    return "__init__" if first == "__version__" else first


def broken_arrows(modules: dict[str, str]) -> list[str]:
    """What is wrong with the imports of these modules (dotted name → source), one sentence each."""
    wrong = []
    for module, source in modules.items():
        here = part(module)
        if here not in ARROWS:
            wrong.append(f"{module}: ARROWS says nothing of the part {here}")
            continue
        for name in sorted(imported(source, module)):
            there = part(name)
            if there != here and there not in ARROWS[here] | ANYONE:
                wrong.append(f"{module} imports {name}: {here} must not know {there}")
    return wrong


def sources_of_piapp() -> dict[str, str]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in ROOT.glob("piapp/**/*.py")
    }


def test_the_arrows_hold() -> None:
    modules = sources_of_piapp()
    assert "piapp.config" in modules
    assert broken_arrows(modules) == []


def test_the_arrows_have_no_cycle() -> None:
    done: set[str] = set()
    while ready := {name for name in ARROWS if name not in done and ARROWS[name] <= done}:
        done |= ready
    assert done == set(ARROWS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("piapp.sources.pattern", "from piapp.hub import Hub"),
        ("piapp.hub", "import piapp.sources.jpeg"),
        ("piapp.hub", "import asyncio, piapp.sources"),
        ("piapp.web.stream", "from piapp.sources.source import Source"),
        ("piapp.web.stream", "from piapp import sources"),
        ("piapp.web.stream", "from ..sources import jpeg"),
        ("piapp.web.stream", "from .. import app"),
        ("piapp.web.stream", "def late():\n    from piapp.app import run"),
        ("piapp.web.stream", "if TYPE_CHECKING:\n    import piapp.system.network"),
        ("piapp.camera", "from piapp.web import server"),
        ("piapp.consumers.motion", "from piapp.sources import jpeg"),
        ("piapp.config", "from piapp.frame import Frame"),
        ("piapp.check", "from piapp import app"),
        ("piapp.helpers", "import math"),
    ],
)
def test_a_broken_arrow_is_found(module: str, source: str) -> None:
    assert len(broken_arrows({module: source})) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("piapp.web.stream", "import json\nfrom tornado import web\nfrom piapp.camera import Camera, State"),
        ("piapp.web.stream", "from piapp.web import link\nfrom . import multipart\nfrom .link import Link"),
        ("piapp.hub", "from piapp import __version__, errors\nfrom .frame import Frame\nfrom .config import Config"),
        ("piapp.__main__", "from piapp import __version__, app, check, config"),
    ],
)
def test_an_arrow_that_holds_is_let_be(module: str, source: str) -> None:
    assert broken_arrows({module: source}) == []


def test_no_file_is_too_long() -> None:
    files = [*ROOT.glob("piapp/**/*"), *ROOT.glob("scripts/*")]
    lengths = {
        str(path.relative_to(ROOT)): path.read_bytes().count(b"\n")
        for path in files
        if path.is_file() and path.suffix in (".py", ".js", ".css", ".html", ".sh", "")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
