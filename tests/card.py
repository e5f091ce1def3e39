"""A computer's settings: /etc/piapp/config.toml and a boot partition, in a folder."""

from pathlib import Path


class Card:
    def __init__(self, folder: Path) -> None:
        self.here, self.main = folder / "config.toml", folder / "etc" / "config.toml"
        self.firmware, self.boot = folder / "boot/firmware", folder / "boot"
        self.over = self.firmware / "piapp.toml"
        self.main.parent.mkdir()
        self.firmware.mkdir(parents=True)

    def write(self, main: str = "", over: str | bytes | None = None, name: str = "piapp.toml") -> None:
        """The latter onto the boot partition."""
        self.main.write_text(main)
        if over is not None:
            (self.firmware / name).write_bytes(over if isinstance(over, bytes) else over.encode())
