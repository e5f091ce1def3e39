"""The bench runs and brings figures. What they are is not for a test to judge."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench import request_cost

ROOT = Path(__file__).parents[1]
VIEWERS = 2


@pytest.mark.parametrize("compiler", [True, False], ids=["with a compiler", "without a compiler"])
def test_table(compiler: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiler:
        monkeypatch.setenv("PIAPP_BENCH_PYTHON", "1")
    options = ["--quick", "--parts", "table", "--viewers", str(VIEWERS), "--seconds", "0.5"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *options], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(rf"^ +{VIEWERS}  (piapp, pages|piapp|floor) ?(\(\w+\))? +([\d. ]+)", done.stdout, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["piapp", "piapp, pages", "floor"], done.stdout
    assert re.search(rf"over the WebSocket ÷ /stream, by viewers: {VIEWERS}: [\d.]+$", done.stdout, re.MULTILINE)
    for _, _, cells in rows:
        fps, cpu_us, age_p50_ms, age_p99_ms, rss_mb, _, *ratios = map(float, cells.split())
        assert 1 < fps < 40
        assert 0 < cpu_us < 1e5
        assert 0 < age_p50_ms <= age_p99_ms
        assert rss_mb > 0
        assert all(ratio > 0 for ratio in ratios)


def _bench(*options: object) -> str:
    command = [sys.executable, "-m", "tests.bench", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_floods() -> None:
    said = _bench("--parts", "floods", "--attacks", "nothing,keep-alive,acks", "--seconds", 1)
    rows = re.findall(
        r"^ *(nothing, to compare with|404s on keep-alive|acks of unknown pictures) +([\d. ]+)%", said, re.M
    )
    assert [name for name, _ in rows] == ["nothing, to compare with", "acks of unknown pictures", "404s on keep-alive"]
    for name, cells in rows:
        sent, _, fps, gap_ms, _ = map(float, cells.split())
        assert (sent > 0) is (name != "nothing, to compare with")
        assert 1 < fps < 40
        assert 25 < gap_ms < 1200


def test_request_cost() -> None:
    said = _bench("--parts", "request-cost", "--before", ROOT, "--rounds", 1, "--seconds", 0.3)
    rows = re.findall(r"^(.+?)  +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) to ([\d.]+)$", said, re.M)
    assert len(rows) == len(request_cost.REQUESTS) + len(request_cost.VIEWERS), said
    for _, *cells in rows:
        before_us, after_us, ratio, low, high = map(float, cells)
        assert 1 < before_us < 1e5 and 1 < after_us < 1e5
        assert low <= ratio <= high


def test_an_interval_holds_the_median_with_95_percent() -> None:
    assert request_cost.interval(range(15)) == (3, 7, 11)
    assert request_cost.interval(range(6)) == (0, 2.5, 5)
    assert request_cost.interval([3, 1, 2]) == (1, 2, 3)


def test_wrong_use_is_said_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.bench", "--beside", "no-command"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'bench: --beside "no-command" is not NAME=COMMAND' in done.stderr
