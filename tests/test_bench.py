"""The bench runs and brings figures. What they are is not for a test to judge."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_wrong_use_is_said_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.bench", "--beside", "no-command"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'bench: --beside "no-command" is not NAME=COMMAND' in done.stderr
