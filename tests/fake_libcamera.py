"""A stand-in for what piapp asks of libcamera itself: which modes a sensor has."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

Formats = Mapping[str, list[tuple[int, int]]]  # as libcamera calls them → their sizes

IMX708: Formats = {"SBGGR10_CSI2P": [(1536, 864), (2304, 1296), (4608, 2592)]}
IMX219: Formats = {
    "SRGGB8": [(640, 480), (1640, 1232), (1920, 1080), (3280, 2464)],
    "SRGGB10_CSI2P": [(640, 480), (1640, 1232), (1920, 1080), (3280, 2464)],
}


@dataclass
class Camera:
    """Not opened by anyone here: to acquire or to configure it would fail."""

    id: str
    formats: Formats | None  # None: without raw pictures

    def generate_configuration(self, roles: list[str]) -> Any:
        if self.formats is None:
            return None  # as the virtual pipeline does
        assert roles == ["raw"]
        formats = SimpleNamespace(
            pixel_formats=list(self.formats),
            sizes=lambda pixels: [
                SimpleNamespace(width=width, height=height) for width, height in self.formats[pixels]
            ],
        )
        return SimpleNamespace(size=1, at=lambda _: SimpleNamespace(formats=formats))


def modules(*cameras: tuple[dict[str, Any], Formats | None]) -> dict[str, ModuleType]:
    """picamera2 and libcamera with these cameras: what global_camera_info() tells of each, and its modes."""
    known = [Camera(info["Id"], formats) for info, formats in cameras]
    libcamera = ModuleType("libcamera")
    manager = SimpleNamespace(cameras=known)
    vars(libcamera).update(
        CameraManager=SimpleNamespace(singleton=lambda: manager), StreamRole=SimpleNamespace(Raw="raw")
    )
    picamera2 = ModuleType("picamera2")
    infos = [dict(info) for info, _ in cameras]
    vars(picamera2).update(Picamera2=SimpleNamespace(global_camera_info=lambda: infos))
    for module in (libcamera, picamera2):
        module.__spec__ = ModuleSpec(module.__name__, None)  # for find_spec()
    return {"libcamera": libcamera, "picamera2": picamera2}
