"""What the tests in browsers share: the browsers, one of each for all of them, and what they look at."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from bench.links import missing
from conftest import needs
from fake_camera import FakeCamera

from piapp.config import Size

from .drive import NAMES, PROGRAMS, Browser, Page
from .line import Line, laid
from .pictures import frames
from .serving import Piapp

USB_SIZE, USB_GREY = Size(320, 240), 100

Serve = Callable[..., Piapp]


@pytest.fixture(scope="session")
def _line() -> Iterator[Line | None]:
    with ExitStack() as stack:
        yield None if missing() else stack.enter_context(laid())


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.needs(*PROGRAMS[name])) for name in NAMES],
)
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _line: Line | None
) -> Iterator[Browser]:
    with closing(Browser(request.param, tmp_path_factory.mktemp(request.param))) as browser:
        yield browser


@pytest.fixture
def line(_line: Line | None) -> Iterator[Line]:
    """Fast; the next test finds it so again."""
    if _line is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"missing: {missing()}")
    yield _line
    _line.carry()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page() as page:
        yield page


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a Piapp, with its arguments but for the folder."""
    with ExitStack() as stack:

        def start(settings: str, **options: object) -> Piapp:
            piapp = Piapp(tmp_path, settings, **options)  # type: ignore[arg-type]
            stack.callback(piapp.kill)
            return piapp

        yield start


@pytest.fixture
def usb(tmp_path: Path) -> Iterator[FakeCamera]:
    """One that gives raw pictures, so that its brightness can be seen in them."""
    needs("cc")
    pytest.importorskip("cv2")
    folder = tmp_path / "usb"
    folder.mkdir()
    with FakeCamera(folder, {"YUYV": frames(USB_SIZE, USB_GREY)}, USB_SIZE, fps=15) as camera:
        yield camera


def usb_camera(usb: FakeCamera) -> str:
    """Settings with that camera; piapp needs usb.env as well."""
    return f'[[camera]]\nsource = "usb"\ndevice = "{usb.device}"\nresolution = "{USB_SIZE}"\nframerate = 15\n'


def cameras(number: int = 1, framerate: int = 15, size: str = "320x240", **more: Mapping[str, object]) -> str:
    """Settings with so many test pictures: "camera", "camera2", …"""
    lines = [f'source = "pattern"\nresolution = "{size}"\nframerate = {framerate}']
    lines += [f"{key} = {value}" for key, value in more.items()]
    return "\n".join("[[camera]]\n" + "\n".join(lines) + "\n" for _ in range(number))
