"""What can be known of the computer that piapp runs on: how warm it is, whether a Pi has been held back by its supply.

All of it is read from sysfs, without a program or a library of the Pi's. What a computer does not have is None.
"""

import socket
import time
from pathlib import Path
from typing import Any

from piapp import __version__

THERMAL, PLATFORM = Path("/sys/class/thermal"), Path("/sys/devices/platform")

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled: bit → what it means; the same 16 bits
# higher: it has been so since boot
_THROTTLED = {0: "under-voltage", 1: "CPU clock capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_BOOT = 16


class Board:
    """Looks for the files once; reading them is quick enough for the event loop."""

    def __init__(self, thermal: Path = THERMAL, platform: Path = PLATFORM) -> None:
        self._started = time.monotonic()
        zones = sorted(thermal.glob("thermal_zone*"))
        of_cpu = [zone for zone in zones if "cpu" in (_read(zone / "type") or "").lower()]
        self._temperature = next((zone / "temp" for zone in of_cpu + zones if _number(zone / "temp") is not None), None)
        # its place depends on the model: soc/soc:firmware/ on a Pi 4
        found = (path for depth in ("*", "*/*", "*/*/*") for path in sorted(platform.glob(f"{depth}/get_throttled")))
        self._throttled = next(found, None)

    def describe(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "version": __version__,
            "hostname": socket.gethostname(),
            "uptime_s": round(time.monotonic() - self._started),
            "temperature_c": self._temperature_c(),
            "throttled": self._held_back(),
        }

    def _temperature_c(self) -> float | None:
        thousandths = _number(self._temperature) if self._temperature else None
        return None if thousandths is None else round(thousandths / 1000, 1)

    def _held_back(self) -> list[str] | None:
        """In words, what is so now first; empty when all is well. None: nobody knows."""
        bits = _number(self._throttled, 16) if self._throttled else None
        if bits is None:
            return None
        now = [what for bit, what in _THROTTLED.items() if bits >> bit & 1]
        before = [what for bit, what in _THROTTLED.items() if bits >> bit + _SINCE_BOOT & 1 and what not in now]
        return [f"{what} now" for what in now] + [f"{what} since boot" for what in before]


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):  # gone, or a sensor that cannot be asked now
        return None


def _number(path: Path, base: int = 10) -> int | None:
    try:
        return int(_read(path) or "", base)
    except ValueError:
        return None
