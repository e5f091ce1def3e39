"""`piapp check`: which settings are read, what is found, what would run, what is wrong and how to mend it.

Opens no camera, and holds the port only for a moment: it can be called while piapp runs.
"""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from piapp.config import CameraConfig, Config, ServerConfig
from piapp.errors import ListenError, SourceError
from piapp.settings import SEARCHED
from piapp.sources import pi_encoder, pi_found, v4l2
from piapp.sources.opener import NoCamera, Opener
from piapp.sources.pi_camera import PiCamera
from piapp.sources.source import Source
from piapp.system import config_txt, mdns, network
from piapp.web import listen

MODEL, MEMORY, DEV = Path("/proc/device-tree/model"), Path("/proc/meminfo"), Path("/dev")

# what is imported → the distribution that brings it
_PACKAGES = {
    "tornado": "tornado",
    "numpy": "numpy",
    "simplejpeg": "simplejpeg",
    "cv2": "opencv",
    "picamera2": "picamera2",
}


def run(config: Config) -> int:
    """Print the report; the exit code: 1 when something that the settings ask for cannot work."""
    pi_found.use_tuning(config.cameras)
    for file in config.files or [f"the defaults, since there is no {' and no '.join(map(str, SEARCHED))}"]:
        print(f"settings  {file}{', which is laid over it' if file in config.files[1:] else ''}")
    print(f"computer  {model()}; Python {platform.python_version()}")
    print(f"packages  {packages()}")
    print(f"memory    {memory()}")
    for found in [*pi_cameras(), *_usb_cameras()] or ["none"]:
        print(f"found     {found}")
    wrong, sources = [], []
    for camera in config.cameras:
        source, would_run, problem = _try(camera)
        print(f"would run {camera.name}: {would_run}")
        for line in _of_pi_camera(camera) if isinstance(source, PiCamera) else ():
            print(f"          {line}")
        sources.append(source)
        wrong += [problem] if problem else []
    print(f"name      {_name(config.server)}")
    wrong += _port_problems(config)
    for problem in wrong:
        print(f"wrong     {problem}")
    for hint in _hints(config.cameras, sources):
        print(f"hint      {hint}")
    print("" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def model() -> str:
    """A Pi's name, else the kind of processor."""
    return MODEL.read_text(errors="replace").strip("\0\n") if MODEL.exists() else platform.machine()


def packages() -> str:
    """What piapp uses of others, with versions."""
    return ", ".join(f"{name} {_version(module)}" for module, name in _PACKAGES.items())


def memory() -> str:
    """The computer's, and the part in one piece that a Pi has for cameras (CMA)."""
    found = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)

    def mb(name: str) -> int:
        return int(found[name].split()[0]) // 1024

    said = f"{mb('MemTotal')} MB, {mb('MemAvailable')} MB free"
    if "CmaTotal" in found and mb("CmaTotal"):
        said += f"; for cameras (CMA) {mb('CmaTotal')} MB, {mb('CmaFree')} MB free"
    return said


def pi_cameras() -> Iterator[str]:
    """Each with its modes."""
    for camera in pi_found.find_cameras():
        yield f"Pi camera {camera.number}: {camera.model}, {camera.id}"
        modes = pi_found.modes(camera)
        for bits, sizes in modes:
            yield f"    {bits} bit {', '.join(map(str, sizes))}"
        if not modes:
            yield "    modes unknown"


def _version(module: str) -> str:
    """Without importing it, which takes seconds for some."""
    if importlib.util.find_spec(module) is None:
        return "(not installed)"
    for distribution in importlib.metadata.packages_distributions().get(module, []):
        return importlib.metadata.version(distribution)
    return "(installed)"


def _usb_cameras() -> Iterator[str]:
    for camera in v4l2.find_cameras():
        yield f"USB camera {camera.name}: {camera.path}"
        for form in v4l2.formats(camera.path):
            yield f"    {form.fourcc} {', '.join(map(str, form.sizes))}"


def _try(camera: CameraConfig) -> tuple[Source | None, str, str]:
    """What would run, also in words, and what stands in its way."""
    try:
        source = Opener(camera)()
    except SourceError as error:
        return None, f"{camera.source} {camera.device}".strip(), f"{camera.name}: {error}"
    asked = f"{camera.resolution} at {camera.framerate} fps"
    problem = ""
    try:
        source.check()
    except SourceError as error:
        problem = f"{camera.name}: {error}"
    return source, " ".join(filter(None, (source.kind, source.device, asked))), problem


def _of_pi_camera(camera: CameraConfig) -> Iterator[str]:
    """How it would run."""
    try:
        yield f"encoder: {pi_encoder.choose(camera.encoder, camera.resolution)}"
    except SourceError:
        pass  # it is among what is wrong
    yield f"tuning: {os.environ.get(pi_found.TUNING) or 'what libcamera has for the sensor'}"


def _name(server: ServerConfig) -> str:
    """By which piapp is found in the network; or why it is not, and what to do about it."""
    if network.only_here(server.host):
        return f'none: with host = "{server.host}" piapp is for this computer only'
    name = network.local_name()
    if not name and not mdns.installed():
        return f"none: sudo apt install {mdns.PACKAGE}"
    if not name:
        return "none: avahi does not run: sudo systemctl enable --now avahi-daemon"
    url = f"{network.url(name, server.port)}/"
    if not server.announce:
        return f"{url}, and not announced: announce = false"
    if not mdns.installed():
        return f"{url}, and not announced: sudo apt install {mdns.PACKAGE}"
    return f'{url}, announced as "{mdns.service_name()}"'


def _port_problems(config: Config) -> list[str]:
    try:
        for sock in listen.bind(config.server.host, config.server.port, ahead=False):
            sock.close()
    except ListenError as error:
        return [str(error)]
    return []


# --- when a Pi has no camera that is wanted ---


def _hints(cameras: tuple[CameraConfig, ...], sources: list[Source | None]) -> list[str]:
    """What may be the reason: each in one line, what is there and what to do about it."""
    wanted = [
        camera.source == PiCamera.kind or isinstance(source, PiCamera | NoCamera)
        for camera, source in zip(cameras, sources, strict=True)
    ]
    if not any(wanted) or "Raspberry Pi" not in model():
        return []
    try:
        pi_found.picamera2()
    except SourceError as error:
        return [str(error)]
    if pi_found.find_cameras():
        return _rights()
    return [*_rights(), *config_txt.hints(model(), config_txt.FILES), *_of_cable()]


def _rights() -> list[str]:
    nodes = [*DEV.glob("media[0-9]*"), *DEV.glob("video[0-9]*")]
    closed = sorted(str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK))
    heaps = sorted((DEV / "dma_heap").glob("*"))
    if heaps and not any(os.access(heap, os.R_OK | os.W_OK) for heap in heaps):
        closed += map(str, heaps)
    if not closed:
        return []
    more = f" and {len(closed) - 1} more" if len(closed) > 1 else ""
    return [f"{closed[0]}{more} cannot be opened: sudo usermod -aG video USER, then log in again"]


def _of_cable() -> Iterator[str]:
    name = model()
    if "Pi 400" in name or "Pi 500" in name:
        yield "this Pi has no connector for a ribbon cable: use a USB camera"
        return
    if "Zero" in name:
        side, pins = "down, towards the board", 22
    elif "Compute Module" in name:
        side, pins = "away from the connector's flap", 22
    else:
        side, pins = ("towards the network socket", 22) if "Pi 5" in name else ("towards the HDMI socket", 15)
    yield f"the ribbon cable: switch the Pi off, push both ends in anew; at the Pi its metal contacts look {side}"
    other = "most cameras need a cable from 15 to 22" if pins == 22 else "a narrower one is for a Pi Zero or 5"
    yield f"the ribbon cable: this Pi's connector has {pins} pins; {other}"
    yield "the kernel: sudo dmesg | grep -iE 'imx|ov5647|csi|unicam'; error -5 or -121: nothing answers on the cable"
