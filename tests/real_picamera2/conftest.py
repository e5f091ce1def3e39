"""What these tests share. They run in the Debian of scripts/test-picamera2 only: no other has such cameras."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from . import shim

HERE = Path("/usr/share/libcamera/pipeline/virtual/virtual.yaml").exists()
collect_ignore_glob = [] if HERE else ["test_*.py"]
_lines: list[str] = []

Report = Callable[[str], None]


def pytest_configure(config: pytest.Config) -> None:
    if HERE:
        config.addinivalue_line("filterwarnings", "ignore:setDaemon:DeprecationWarning")  # picamera2's NullPreview
        if "picamera2" not in sys.modules:
            shim.install()


@pytest.fixture
def report() -> Report:
    """Takes lines that stand at the end of a run: what was measured."""
    return _lines.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _lines:
        terminalreporter.write_line(line)
