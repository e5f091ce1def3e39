"""`piapp check`: which settings are read, what is found, what would run, what is wrong and how to mend it.

Opens no camera, and holds the port only for a moment.
"""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from pathlib import Path

from piapp.config import SEARCHED, CameraConfig, Config
from piapp.errors import ListenError, SourceError
from piapp.sources import pi_camera, v4l2
from piapp.sources.opener import Opener
from piapp.web import server

# what is imported → the distribution that brings it
_PACKAGES = {
    "tornado": "tornado",
    "numpy": "numpy",
    "simplejpeg": "simplejpeg",
    "cv2": "opencv",
    "picamera2": "picamera2",
}
_MODEL = Path("/proc/device-tree/model")


def run(config: Config) -> int:
    """Print the report; the exit code: 1 when something that the settings ask for cannot work."""
    print(f"settings  {config.path or 'the defaults, since there is no ' + ' and no '.join(map(str, SEARCHED))}")
    print(f"computer  {_model()}; Python {platform.python_version()}")
    print(f"packages  {', '.join(f'{name} {_version(module)}' for module, name in _PACKAGES.items())}")
    print(f"encoders  simplejpeg{', the Pi hardware encoder' if Path('/dev/video11').exists() else ''}")
    for found in _cameras_found() or ["none"]:
        print(f"found     {found}")
    wrong = []
    for camera in config.cameras:
        would_run, problem = _try(camera)
        print(f"would run {camera.name}: {would_run}")
        wrong += [problem] if problem else []
    wrong += _port_problems(config)
    for problem in wrong:
        print(f"wrong     {problem}")
    print("" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def _model() -> str:
    return _MODEL.read_text().strip("\0\n") if _MODEL.exists() else platform.machine()


def _version(module: str) -> str:
    """Without importing it, which takes seconds for some."""
    if importlib.util.find_spec(module) is None:
        return "(not installed)"
    for distribution in importlib.metadata.packages_distributions().get(module, []):
        return importlib.metadata.version(distribution)
    return "(installed)"


def _cameras_found() -> list[str]:
    pi = [f"Pi camera {camera.number}: {camera.model}, {camera.id}" for camera in pi_camera.find_cameras()]
    return pi + [line for camera in v4l2.find_cameras() for line in _describe(camera)]


def _describe(camera: v4l2.FoundCamera) -> Iterator[str]:
    yield f"USB camera {camera.name}: {camera.path}"
    for form in v4l2.formats(camera.path):
        yield f"    {form.fourcc} {', '.join(map(str, form.sizes))}"


def _try(camera: CameraConfig) -> tuple[str, str]:
    """What would run, in words, and what stands in its way."""
    try:
        source = Opener(camera)()
    except SourceError as error:
        return f"{camera.source} {camera.device}".strip(), f"{camera.name}: {error}"
    asked = f"{camera.resolution} at {camera.framerate} fps"
    would_run = " ".join(filter(None, (source.kind, source.device, asked)))
    try:
        source.check()
    except SourceError as error:
        return would_run, f"{camera.name}: {error}"
    return would_run, ""


def _port_problems(config: Config) -> list[str]:
    try:
        for sock in server.bind(config.server.host, config.server.port):
            sock.close()
    except ListenError as error:
        return [str(error)]
    return []
