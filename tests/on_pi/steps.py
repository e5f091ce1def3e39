"""What is tried, in this order. Each step prints lines; what it raises is its failure, and Trouble is one in words."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import numpy as np

from piapp.camera import Camera
from piapp.config import Size
from piapp.errors import NoFreshFrame, SourceError, Unsupported
from piapp.sources import pi_encoder
from piapp.sources.control import Control, Kind
from piapp.sources.opener import Opener

from . import computer, figures, program
from .camera import SMALL, Running, Trouble, settings

WARM_UP, MEASURED_S = 90, 8.0  # frames until automatics and caches have settled; then it counts
OPENINGS = 20
SIZES = (Size(1280, 720), Size(1920, 1080))


class Step(NamedTuple):
    """`usual_s`: so long it may well take; after `limit_s` it is stopped."""

    name: str
    title: str
    usual_s: int
    limit_s: float
    run: Callable[[], None]


def steps() -> list[Step]:
    measurements = [
        Step(
            f"{encoder}-{size}",
            f"{size} at 30 fps, encoder {encoder}",
            15,
            90,
            functools.partial(stream, encoder, size),
        )
        for size in SIZES
        for encoder in ("hardware", "software")
    ]
    return [
        Step("computer", "the computer and its cameras", 5, 60, describe),
        *measurements,
        Step("controls", "controls take effect", 40, 240, controls),
        Step("mirror", "mirroring takes effect", 10, 90, mirror),
        Step("openings", f"{OPENINGS} times start and stop", 50, 300, openings),
        Step("pictures", "snapshot and full picture", 10, 90, pictures),
        Step("program", "piapp as a program, with a viewer", 20, 120, program.serve),
    ]


def describe() -> None:
    for line in computer.describe():
        print(line)


# --- streams ---


def stream(encoder: str, size: Size) -> None:
    config = settings(size, encoder=encoder)
    try:
        pi_encoder.choose(encoder, size)
    except SourceError as error:
        print(f"left out: {error.what}")
        return
    with Running(config) as camera:
        print(f"{camera.source.negotiated}; {camera.source.encoder}")
        camera.wait(WARM_UP)
        before, used = computer.state(), computer.Figures()
        frames = camera.wait(1)
        end = time.monotonic() + MEASURED_S
        while time.monotonic() < end:
            frames += camera.wait(5)
        print(f"process: {used}")
        for line in figures.describe(frames):
            print(line)
        print(f"before: {before}; after: {computer.state()}")
        print(f"bad frames: {camera.source.bad_frames}{'; ' if camera.source.remark else ''}{camera.source.remark}")


def openings() -> None:
    config = settings()
    _open_once(config)  # what stays for good comes with the first one
    before = computer.left()
    times = [_open_once(config) for _ in range(OPENINGS)]
    after = computer.left()
    for name, values in zip(("start to first frame", "stop"), zip(*times, strict=True), strict=True):
        print(f"{name}: median {figures.share(values, 0.5):.2f} s, most {max(values):.2f} s")
    for name, was, is_now in zip(("threads", "files", "MB resident"), before, after, strict=True):
        print(f"{name}: {was:.0f} before, {is_now:.0f} after")
    if after.threads > before.threads or after.files > before.files:
        raise Trouble("threads or files are left behind")


def _open_once(config: Any) -> tuple[float, float]:
    """How long it took to the first frame, and to stop."""
    began = time.monotonic()
    with Running(config) as camera:
        came = time.monotonic()
        camera.wait(5)
        stopping = time.monotonic()
    return came - began, time.monotonic() - stopping


# --- controls ---


def controls() -> None:
    with Running(settings()) as camera:
        camera.wait(WARM_UP)
        known = camera.controls()
        print(f"there are {len(known)}: {', '.join(map(_in_short, known.values()))}")
        for name, attempt in _ATTEMPTS.items():
            if name not in known:
                print(f"{name}: this camera has none")
                continue
            with _going_on(name):
                print(f"{name}: {attempt(camera, known[name])}")
            camera.change({name: None})


def _in_short(control: Control) -> str:
    if control.kind is Kind.RANGE:
        allowed = f" {control.low:g}..{control.high:g}"
    else:
        allowed = f" {'|'.join(control.choices)}" if control.choices else ""
    return f"{control.name}{allowed}{'' if control.active else ' (inactive)'}"


@contextlib.contextmanager
def _going_on(name: str) -> Iterator[None]:
    """One control that fails does not end the step."""
    try:
        yield
    except Trouble as trouble:
        print(f"{name}: DOES NOT WORK ({trouble})")


def _try_brightness(camera: Running, control: Control) -> str:
    means = []
    for value in (control.low / 2, control.default, control.high / 2):
        camera.change({control.name: value})
        means.append(float(camera.picture().mean()))
    words = ", ".join(f"{mean:.0f}" for mean in means)
    return f"{_verdict(means[0] < means[1] < means[2])} (mean of the picture at low, default, high: {words} of 255)"


def _try_zoom(camera: Running, control: Control) -> str:
    before, times = camera.picture(), min(2.0, control.high)
    camera.change({control.name: times})
    return f"{times:g} times: {figures.nearer(camera.picture(), figures.middle(before, times), before)}"


def _try_quality(camera: Running, control: Control) -> str:
    sizes = []
    for value in (30, 90):
        camera.change({control.name: value})
        sizes.append(figures.share([frame.size for frame in camera.wait(10)], 0.5) / 1000)
    return f"{_verdict(sizes[0] < sizes[1])} ({sizes[0]:.0f} kB at 30, {sizes[1]:.0f} kB at 90)"


def _try_exposure(camera: Running, control: Control) -> str:
    """Manual begins where automatic was; a tenth of the time is darker."""
    automatic = float(camera.picture().mean())
    camera.change({control.name: False})
    manual, exposure = float(camera.picture().mean()), camera.controls()["exposure_time"]
    camera.change({exposure.name: max(exposure.low, float(exposure.value or 0) / 10)})
    dark = float(camera.picture().mean())
    works = dark < manual and abs(manual - automatic) < max(10.0, automatic / 4)
    return f"{_verdict(works)} (mean at auto {automatic:.0f}, manual {manual:.0f}, a tenth of the time {dark:.0f})"


def _try_focus(camera: Running, control: Control) -> str:
    """Sharpness of the picture at both ends of the lens, and after the camera has focused by itself."""
    found = {}
    if "manual" in control.choices and "lens_position" in camera.controls():
        camera.change({control.name: "manual"})
        lens = camera.controls()["lens_position"]
        for word, value in (("far", lens.low), ("near", lens.high)):
            camera.change({lens.name: value})
            found[word] = figures.sharpness(camera.picture())
    if "auto" in control.choices:
        camera.change({control.name: "auto"})
        camera.change({"autofocus": True})
        camera.wait(60)  # it looks for its way
        found["auto"] = figures.sharpness(camera.picture())
    works = len(found) < 3 or found["auto"] >= 0.9 * max(found.values())
    return f"{_verdict(works)} (sharpness {', '.join(f'{word} {value:.0f}' for word, value in found.items())})"


_ATTEMPTS: dict[str, Callable[[Running, Control], str]] = {
    "brightness": _try_brightness,
    "quality": _try_quality,
    "auto_exposure": _try_exposure,
    "zoom": _try_zoom,
    "focus_mode": _try_focus,
}


def _verdict(works: bool) -> str:
    return "works" if works else "DOES NOT WORK"


def mirror() -> None:
    with Running(settings()) as camera:
        camera.wait(WARM_UP)
        before = camera.picture()
        for name, mirrored in (("hflip", before[:, ::-1]), ("vflip", before[::-1])):
            camera.change({name: True})
            words = figures.nearer(camera.picture(), np.ascontiguousarray(mirrored), before)
            print(f"{name}: {camera.source.remark or words}")
            camera.change({name: None})


# --- single pictures ---


class Watcher:
    """Who wants them."""

    def describe(self) -> dict[str, Any]:
        return {"kind": "tests/on_pi"}


def pictures() -> None:
    asyncio.run(_pictures())


async def _pictures() -> None:
    for size in (*SIZES, SMALL):
        config = settings(size)
        camera = Camera(config, Opener(config))
        camera.start()
        try:
            print(f"at {size}:")
            await _timed("a snapshot that wakes the camera", functools.partial(camera.fresh_frame, Watcher(), 30))
            await _timed("a snapshot while it runs", functools.partial(camera.fresh_frame, Watcher()))
            await _timed("a full picture", functools.partial(camera.still, Watcher()))
        finally:
            await camera.stop()


async def _timed(name: str, take: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    began = time.monotonic()
    try:
        picture = await take()
    except (NoFreshFrame, Unsupported) as error:
        print(f"    {name}: none. {error}")
        return
    took = time.monotonic() - began
    size = Size(picture.width, picture.height)
    shape = figures.grey(picture.jpeg).shape
    if shape != (size.height, size.width):
        raise Trouble(f"{name} says {size} and is {Size(*shape[::-1])}")
    print(f"    {name}: {size}, {len(picture.jpeg) / 1000:.0f} kB, after {took:.2f} s")
