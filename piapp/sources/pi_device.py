"""Opening a Pi camera, and closing it again whatever has become of it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from piapp.errors import DeviceStuck, SourceError
from piapp.sources import pi_found

PROC = Path("/proc")

# Both guarded by pi_found.one_at_a_time
_open_ids: set[str] = set()  # the cameras that this process has
_lost_ids: set[str] = set()  # and those that it has still, since their closing failed


@contextlib.contextmanager
def opened(device: str) -> Iterator[Any]:
    """A Picamera2 that nobody else has, closed afterwards. Raises SourceError, also for what the body raises."""
    with pi_found.one_at_a_time():
        chosen = pi_found.choose(device)
        if chosen.id in _lost_ids:
            raise DeviceStuck("Pi camera could not be closed", "start piapp again")
        # up to 0.3.36 picamera2 would find out too late, and the first one's frames would stop for good
        if chosen.id in _open_ids:
            raise SourceError("Pi camera is in use", "another camera in config.toml has it: set another device")
        camera = _open(chosen.number)
        _open_ids.add(chosen.id)
    try:
        try:
            yield camera
        finally:
            with pi_found.one_at_a_time():
                _lost_ids.add(chosen.id)
                _close(camera)
                _lost_ids.discard(chosen.id)
                _open_ids.discard(chosen.id)
    except (OSError, RuntimeError) as error:
        raise _failed(error) from error


def out_of_memory(error: Exception) -> bool:
    """libcamera's own errors come as RuntimeError, with the kernel's words."""
    return getattr(error, "errno", None) == errno.ENOMEM or os.strerror(errno.ENOMEM) in str(error)


def _open(number: int) -> Any:
    picamera2 = pi_found.picamera2()
    camera = picamera2.__new__(picamera2)
    try:
        camera.__init__(number, tuning=os.environ.get(pi_found.TUNING))  # None would remove it from the environment
    except (IndexError, RuntimeError, OSError) as error:  # no camera is an IndexError up to 0.3.36
        _drop_pipe(camera)
        raise _not_opened(error) from error
    return camera


def _close(camera: Any) -> None:
    """Without a job for the event loop, which may have died or be waiting for a frame that never comes."""
    try:
        if hasattr(camera, "cancel_all_and_flush"):  # not before 0.3.19
            camera.cancel_all_and_flush()
    finally:
        camera.close()


def _drop_pipe(camera: Any) -> None:
    """picamera2 leaves a pipe open when it fails: with a try every half minute, a night uses up all descriptors."""
    with contextlib.suppress(AttributeError, OSError):
        camera.notifymeread.close()
        os.close(camera.notifyme_w)


def _not_opened(error: Exception) -> SourceError:
    causes = " ".join(str(cause) for cause in (error, error.__cause__, error.__context__))
    if "busy" in causes.lower():
        return _in_use()
    if isinstance(error, IndexError) or "found" in causes:
        return SourceError("Pi camera not found", "look at the ribbon cable, then restart the Pi")
    return _failed(error)


def _failed(error: Exception) -> SourceError:
    """What picamera2 and libcamera raise once the camera was found, in words."""
    if out_of_memory(error):
        return DeviceStuck("Not enough memory for the Pi camera", "set a lower resolution, or restart the Pi")
    return DeviceStuck(f"Pi camera failed ({error})", "look at the ribbon cable, then restart the Pi")


def _in_use() -> SourceError:
    """Names the programs that have a media device open, as far as this user may see."""
    users: set[str] = set()
    for process in PROC.glob("[0-9]*"):
        if process.name == str(os.getpid()):  # for another camera
            continue
        with contextlib.suppress(OSError):
            if any(os.readlink(file).startswith("/dev/media") for file in (process / "fd").iterdir()):
                users.add((process / "comm").read_text().strip())
    who = ", ".join(sorted(users)) or "another program"
    return SourceError("Pi camera is in use", f"{who} uses it: close that")
