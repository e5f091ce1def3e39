"""How the cameras do, for whoever watches over piapp: in words, and whether it is worth going on."""

import time
from collections.abc import Iterable

from piapp.camera import Camera, State

OLD_S = 60.0


def status(cameras: Iterable[Camera]) -> str:
    """In one line, as in "2 cameras: door running 30 fps, 3 viewers; garden off"."""
    found = [_words(camera) for camera in cameras]
    return f"{len(found)} camera{'' if len(found) == 1 else 's'}: {'; '.join(found)}" if found else "no camera"


def alive(cameras: Iterable[Camera]) -> bool:
    """Whether each camera is looked after: also one that fails, is off or hangs, as long as piapp says so.

    False is a bug in piapp: who should look after it has crashed, or takes no notice that its pictures are old.
    """
    return not any(_crashed(camera) or _lies(camera) for camera in cameras)


def _words(camera: Camera) -> str:
    now = camera.summary()
    if camera.state is not State.RUNNING:
        return f"{camera.name} {now['message'] or camera.state}"
    viewers = now["viewer_count"]
    return f"{camera.name} running {now['fps']:.0f} fps, {viewers} viewer{'' if viewers == 1 else 's'}"


def _crashed(camera: Camera) -> bool:
    return any(walk.done() for walk in camera.walks)


def _lies(camera: Camera) -> bool:
    newest = camera.hub.newest
    return (
        camera.state is State.RUNNING
        and newest is not None
        and time.monotonic_ns() - newest.captured_ns > OLD_S * 1_000_000_000
    )
