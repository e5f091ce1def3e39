"""The last steps to a picture where piapp makes it itself: mirroring, turning, and the JPEG's quality."""

from collections.abc import Mapping

from piapp.config import CameraConfig
from piapp.sources import encoder
from piapp.sources.control import Control, Kind, Value
from piapp.sources.encoder import Pixels


class Finish:
    """As the settings have it, until controls say otherwise. Belongs to the source's thread."""

    NAMES = frozenset({"quality", "hflip", "vflip"})

    def __init__(self, config: CameraConfig) -> None:
        self.quality = config.quality
        self.hflip = config.hflip
        self.vflip = config.vflip
        self._config = config

    def controls(self, encoding: bool = True) -> tuple[Control, ...]:
        """As they are now. Without encoding, since a camera's own JPEGs are passed on, the quality has no effect."""
        config = self._config
        return (
            Control("quality", "JPEG quality", Kind.RANGE, config.quality, self.quality, 1, 100, active=encoding),
            Control("hflip", "Mirror left-right", Kind.SWITCH, config.hflip, self.hflip),
            Control("vflip", "Mirror top-bottom", Kind.SWITCH, config.vflip, self.vflip),
        )

    def set(self, values: Mapping[str, Value]) -> None:
        """What of these values is meant for here; they were checked."""
        self.quality = int(values.get("quality", self.quality))
        self.hflip = bool(values.get("hflip", self.hflip))
        self.vflip = bool(values.get("vflip", self.vflip))

    @property
    def turns(self) -> tuple[bool, bool, int]:
        return self.hflip, self.vflip, self._config.rotation

    def turn(self, pixels: Pixels) -> Pixels:
        """A plane or a picture; the result is contiguous in any case."""
        return encoder.turn(pixels, *self.turns)
