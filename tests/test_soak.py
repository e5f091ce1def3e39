"""The long run, made short, and its verdict. scripts/soak runs it for an hour."""

import dataclasses
from pathlib import Path

import pytest
from soak import __main__ as soak
from soak.samples import Sample, verdict

SAMPLES = [Sample(60.0 * i, i % 2 == 1, 50.0 + i % 2, 8 + 9 * (i % 2 == 0), 2, 9, 0.0, 5 * i) for i in range(60)]


def test_one_round(tmp_path: Path) -> None:
    assert soak.run(0.02, tmp_path) == ["There were too few calm moments: take more minutes."]


def test_what_is_busy_does_not_matter() -> None:
    assert verdict(SAMPLES) == []


@pytest.mark.parametrize(
    ("field", "a_minute", "says"),
    [
        ("rss_mb", 0.2, "Memory has grown by"),
        ("descriptors", 0.05, "descriptors and are"),
        ("threads", 0.05, "threads and are"),
        ("tasks", 0.05, "tasks and are"),
        ("log_lines", 120, "lines a minute"),
    ],
)
def test_what_grows_is_found(field: str, a_minute: float, says: str) -> None:
    grown = [
        dataclasses.replace(each, **{field: getattr(each, field) + type(getattr(each, field))(a_minute * i)})
        for i, each in enumerate(SAMPLES)
    ]
    [sentence] = verdict(grown)
    assert says in sentence
