"""What part of its sensor a Pi camera shows: the sums behind zoom and focus window. Nothing here changes a camera.

Rectangles are in pixels of the whole sensor, whatever mode it is in, as in libcamera's ScalerCrop and AfWindows. The
sensor mirrors before these pixels are counted, so that left here is left in the picture.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

MOST = 8.0  # times; beyond that there are only blurs
SPOT = 1 / 6  # of the picture's width and height: what a focus window covers; libcamera measures 16 by 12 places
MIDDLE = 1 / 2, 1 / 3  # what libcamera focuses on by itself, but always of the whole sensor


class Rectangle(NamedTuple):
    """In libcamera's order. Picamera2 wants plain tuples: it asks for the exact type."""

    x: int
    y: int
    width: int
    height: int

    def part(self, width: float, height: float, across: float, down: float) -> "Rectangle":
        """A rectangle of this size in this one; with 0 % at the left or upper edge, with 100 % at the other."""
        width, height = round(width), round(height)
        x = self.x + round((self.width - width) * across / 100)
        return Rectangle(x, self.y + round((self.height - height) * down / 100), width, height)

    def around(self, across: float, down: float, shares: tuple[float, float]) -> "Rectangle":
        """A rectangle that has this point of this one in its middle, or is at the edge."""
        width, height = round(self.width * shares[0]), round(self.height * shares[1])
        x = min(max(round(self.width * across / 100 - width / 2), 0), self.width - width)
        y = min(max(round(self.height * down / 100 - height / 2), 0), self.height - height)
        return Rectangle(self.x + x, self.y + y, width, height)

    def like(self, size: tuple[int, int]) -> "Rectangle":
        """The largest one of this shape in the middle of this one."""
        scale = min(self.width / size[0], self.height / size[1])
        return self.part(size[0] * scale, size[1] * scale, 50, 50)

    def covers(self, other: "Rectangle") -> bool:
        across = self.x <= other.x and other.x + other.width <= self.x + self.width
        return across and self.y <= other.y and other.y + other.height <= self.y + self.height


class Zoom:
    """What a configured camera shows when it is not zoomed, and what of that is left when it is."""

    def __init__(self, camera: Any) -> None:
        known: Mapping[str, Any] = camera.camera_controls
        streams: Mapping[str, Any] = camera.camera_configuration()
        lowest, highest, default = map(_rectangle, known.get("ScalerCrop", (None, None, None)))
        sensor = highest or _rectangle(camera.camera_properties.get("ScalerCropMaximum"))
        self.most = 1.0  # times
        self._whole: list[Rectangle] = []  # of each stream that is cropped by itself; viewers see the last one
        self._each = "ScalerCrops" in known
        if sensor is None:
            return
        main = default if default and sensor.covers(default) else sensor.like(streams["main"]["size"])
        self._whole = [main]
        if lores := streams.get("lores") if self._each else None:
            # The Pi 5 crops each stream by itself, and picamera2 says how in configure(); lowest and highest are what
            # libcamera would do with main and lores
            lores_alone = _rectangle(known["ScalerCrops"][1]) if lores.get("preserve_ar") else None
            self._whole.append(lores_alone or main)
        if "ScalerCrop" in known:
            lowest = lowest or Rectangle(0, 0, 1, 1)
            least = min(min(whole.width / lowest.width, whole.height / lowest.height) for whole in self._whole)
            self.most = max(1.0, min(MOST, least))

    @property
    def is_known(self) -> bool:
        """Whether anything can be said of what the picture shows."""
        return bool(self._whole)

    def crop(self, times: float, across: float, down: float) -> dict[str, Any]:
        """As Picamera2.set_controls takes it. 50 % across and down is the middle."""
        crops = [tuple(crop) for crop in self._crops(times, across, down)]
        # of these two ScalerCrops wins, and picamera2 sets it in configure()
        return {"ScalerCrops": crops} if self._each else {"ScalerCrop": crops[0]}

    def window(self, times: float, across: float, down: float, point: tuple[float, float] | None) -> tuple[int, ...]:
        """Where to focus: around a point, in % of the zoomed picture; without one, in its middle."""
        seen = self._crops(times, across, down)[-1]
        return tuple(seen.around(*point, (SPOT, SPOT)) if point else seen.around(50, 50, MIDDLE))

    def _crops(self, times: float, across: float, down: float) -> list[Rectangle]:
        return [whole.part(whole.width / times, whole.height / times, across, down) for whole in self._whole]


def _rectangle(value: Any) -> Rectangle | None:
    """What picamera2 gives for a rectangle of libcamera's; none of an empty one."""
    if not isinstance(value, tuple | list) or len(value) != 4:
        return None
    rectangle = Rectangle(*map(int, value))
    return rectangle if rectangle.width > 0 and rectangle.height > 0 else None
