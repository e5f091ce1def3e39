"""What holds for all tests of a camera: short pauses, and no thread stays behind."""

from collections.abc import Iterator

import pytest

from piapp import camera as module

from .case import LIMIT_S, NEVER_S, device_threads


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.01, 0.04))
    monkeypatch.setattr(module, "NOTICE_EVERY_S", 0.05)


@pytest.fixture
def no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (NEVER_S, NEVER_S))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in device_threads():
        thread.join(LIMIT_S)
        assert not thread.is_alive(), thread.name
