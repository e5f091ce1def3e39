"""system/board.py: what sysfs tells of the computer, on files as Pis and PCs have them."""

from pathlib import Path

import pytest

from piapp import __version__
from piapp.system.board import Board


def zone(thermal: Path, number: int, kind: str, temperature: str) -> Path:
    folder = thermal / f"thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "type").write_text(f"{kind}\n")
    (folder / "temp").write_text(temperature)
    return folder / "temp"


def test_a_computer_that_tells_nothing(tmp_path: Path) -> None:
    told = Board(tmp_path / "thermal", tmp_path / "platform").describe()
    assert (told["temperature_c"], told["throttled"]) == (None, None)
    assert told["version"] == __version__ and told["hostname"] and told["uptime_s"] == 0


def test_this_computer() -> None:
    told = Board().describe()
    assert told["temperature_c"] is None or -40 < told["temperature_c"] < 130
    assert told["throttled"] is None or isinstance(told["throttled"], list)


def test_the_temperature_is_the_cpu_s_where_there_are_several(tmp_path: Path) -> None:
    zone(tmp_path, 0, "acpitz", "27800\n")
    temperature = zone(tmp_path, 1, "cpu-thermal", "51540\n")
    board = Board(tmp_path, tmp_path)
    assert board.describe()["temperature_c"] == 51.5
    temperature.write_text("-1250\n")
    assert board.describe()["temperature_c"] == -1.2


def test_the_first_temperature_that_can_be_read_otherwise(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-broken", "")
    temperature = zone(tmp_path, 1, "acpitz", "27800\n")
    board = Board(tmp_path, tmp_path)
    assert board.describe()["temperature_c"] == 27.8
    for broken in ("", "warm\n", "\xff"):
        temperature.write_text(broken, encoding="latin-1")
        assert board.describe()["temperature_c"] is None
    temperature.unlink()
    assert board.describe()["temperature_c"] is None


@pytest.mark.parametrize("where", ["soc/soc:firmware", "soc@107c000000/firmware", "firmware", "a/b/firmware"])
@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("0\n", []),
        ("1\n", ["under-voltage now"]),
        ("50005\n", ["under-voltage now", "throttled now"]),
        ("50000\n", ["under-voltage since boot", "throttled since boot"]),
        (
            "d000a",
            [
                "CPU clock capped now",
                "soft temperature limit now",
                *(f"{what} since boot" for what in ("under-voltage", "throttled")),
            ],
        ),
        (
            "0xe0000",
            [f"{what} since boot" for what in ("CPU clock capped", "throttled", "soft temperature limit")],
        ),
        ("20", []),
        ("", None),
        ("unknown", None),
    ],
)
def test_what_has_held_a_pi_back(where: str, bits: str, words: list[str] | None, tmp_path: Path) -> None:
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where / "get_throttled").write_text(bits)
    assert Board(tmp_path, tmp_path).describe()["throttled"] == words
