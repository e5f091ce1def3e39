"""What Raspberry Pi Imager must be told about an image to offer its settings (Wi-Fi, user, ssh) for it.

For an image that it does not know Imager offers none, since there are several ways to hand them over (init_format). Its
manifests have the form of its own list of systems: doc/schema-notes.md and doc/json-schema in
https://github.com/raspberrypi/rpi-imager.
"""

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from .system import System

SUFFIX = ".rpi-imager-manifest"  # Imager opens these by a double click
ICON = "icons/use_custom.png"  # one of Imager's own
IMAGER_ARCHITECTURES = {"arm64": "armv8", "armhf": "armhf"}
BOARDS = {  # as on Imager's first page, by the tags that it knows them by
    "arm64": {
        "pi5-64bit": ("Raspberry Pi 5", "Raspberry Pi 5, 500 and Compute Module 5"),
        "pi4-64bit": ("Raspberry Pi 4", "Raspberry Pi 4 Model B, 400 and Compute Module 4"),
        "pi3-64bit": ("Raspberry Pi 3, Zero 2 W", "Raspberry Pi 3 Model A+, B, B+, Zero 2 W and Compute Module 3"),
    },
    "armhf": {
        "pi5-32bit": ("Raspberry Pi 5", "Raspberry Pi 5, 500 and Compute Module 5"),
        "pi4-32bit": ("Raspberry Pi 4", "Raspberry Pi 4 Model B, 400 and Compute Module 4"),
        "pi3-32bit": ("Raspberry Pi 3, Zero 2 W", "Raspberry Pi 3 Model A+, B, B+, Zero 2 W and Compute Module 3"),
        "pi2-32bit": ("Raspberry Pi 2", "Raspberry Pi 2 Model B"),
        "pi1-32bit": ("Raspberry Pi Zero, 1", "Raspberry Pi Zero, Zero W, 1 and Compute Module 1"),
    },
}


def init_format(system: System, boot_files: set[str]) -> str:
    """How Imager's settings get into the system: as the stock image takes them, which is still to be seen on it."""
    if system.has("rpi-preseed"):
        return "rpi-preseed"
    if system.has("cloud-init") and "user-data" in boot_files:  # Raspberry Pi OS since the end of 2025, Ubuntu
        return "cloudinit-rpi" if system.is_raspberry_pi_os else "cloudinit"
    return "systemd" if system.is_raspberry_pi_os else "none"


def describe(system: System, boot_files: set[str], version: str) -> dict[str, Any]:
    """All that can be said before the image is finished."""
    boards = BOARDS.get(system.architecture, {})
    return {
        "imager": {
            "devices": [
                {"name": name, "description": description, "tags": [tag], "matching_type": "exclusive"}
                for tag, (name, description) in boards.items()
            ]
        },
        "os_list": [
            {
                "name": f"piapp {version}",
                "description": f"A camera on the network, on {system.name}",
                "icon": ICON,
                "release_date": datetime.date.today().isoformat(),
                "init_format": init_format(system, boot_files),
                "architecture": IMAGER_ARCHITECTURES.get(system.architecture, system.architecture),
                "devices": list(boards),
            }
        ],
    }


def write(manifest: dict[str, Any], image: Path, name: Path) -> Path:
    """For a finished image, which will have that name. Returns where the manifest is."""
    with image.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    size = image.stat().st_size
    manifest["os_list"][0] |= {
        "url": name.resolve().as_uri(),
        "extract_size": size,
        "extract_sha256": checksum,
        "image_download_size": size,
    }
    path = name.with_suffix(SUFFIX)
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path
