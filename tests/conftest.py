"""What all tests share."""

import os
import shutil

import pytest


def needs(*programs: str) -> None:
    """Call it in a test or a fixture, or put @pytest.mark.needs("ffmpeg") on a test: without these programs it is
    skipped; with CI=true, where scripts/test has installed all of them, it fails instead.

    A snap counts as missing: it sees neither /tmp nor a profile in it.
    """
    missing = [name for name in programs if (shutil.which(name) or "/snap/").startswith("/snap/")]
    if not missing:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}")
    pytest.skip(f"not installed: {', '.join(missing)} (scripts/test says how)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): skipped where one of these is not installed, see conftest.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        needs(*mark.args)
