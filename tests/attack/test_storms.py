"""What comes all at once: viewers, new settings, another year. Somebody who watches notices nothing of it."""

import contextlib
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import until
from live_wire import Page
from wire import Stream, ask, patch

from .target import CURRENT, Target

VIEWERS = 300
YEAR_S = 365 * 86400


@pytest.fixture
def crowded(fresh: Callable[..., Target]) -> Target:
    return fresh(CURRENT, server=f"max_viewers = {VIEWERS}")


def test_three_hundred_may_watch(crowded: Target) -> None:
    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(Stream(crowded.port)) for _ in range(VIEWERS)]
        for _ in range(3):
            for viewer in viewers:
                viewer.take(1)
        assert len(crowded.camera()["viewers"]) == VIEWERS
    until(lambda: not crowded.camera()["viewers"])
    assert "Traceback" not in crowded.new_log()


def test_new_settings_may_come_at_any_rate(fresh: Callable[..., Target]) -> None:
    target = fresh(CURRENT)
    settings = target.folder / "config.toml"
    text = settings.read_text()
    with Stream(target.port) as viewer, Page(target.port) as page:
        page.watch("camera")
        for number in range(100):
            # a file that is replaced is never half there; every third one has a mistake
            new = settings.with_suffix(".new")
            new.write_text(text.replace("[server]", f"[server]\nmax_viewers = {number % 3 * 50}"))
            new.replace(settings)
            target.tell(signal.SIGHUP)
            viewer.take(1)
        settings.write_text(text.replace("[server]", "[server]\nmax_viewers = 77"))
        target.tell(signal.SIGHUP)
        while page.told("state")["problem"]:
            pass
        viewer.take(2)
    assert ask(target.port, "/health").status == 200
    log = target.new_log()
    assert "Traceback" not in log and len(log.splitlines()) < 30, log


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of clock.c."""
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O", "-Wall", "-Werror", "-o", made, source], check=True)
    return made


@pytest.mark.needs("cc")
def test_the_clock_may_jump_by_a_year(fresh: Callable[..., Target], clock: Path, tmp_path: Path) -> None:
    """As on a Pi, which has no clock of its own, when the network comes."""
    offset = tmp_path / "offset"
    offset.write_bytes(struct.pack("=q", 0))
    preloaded = ("env", f"LD_PRELOAD={clock}", f"CLOCK_OFFSET={offset}")
    target = fresh(CURRENT, before=preloaded)
    with Stream(target.port) as viewer, Page(target.port) as page:
        page.watch("camera")
        for jump_s in (YEAR_S, -YEAR_S, 0):
            with offset.open("r+b") as file:
                file.write(struct.pack("=q", jump_s))
            viewer.take(5)
            assert abs(float(viewer.take(1)[0].timestamp) - time.time() - jump_s) < 3600
            page.draw(3)
            assert 0 <= target.camera()["age_ms"] < 10_000
            assert patch(target.port, {"on": True}).status == 200
    assert "Traceback" not in target.new_log()
