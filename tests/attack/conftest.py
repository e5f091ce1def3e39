"""What the attacks share: one piapp for each Tornado. All modules attack the same ones, and leave them as they were."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .target import CURRENT, NAMES, Target, missing

Targets = Callable[[str], Target]


def need(tornado: str) -> None:
    """Skip the test where scripts/get-tornados could not get this one, or fail it where it should have."""
    if not missing(tornado):
        return
    bookworm = "VERSION_CODENAME=bookworm\n" in Path("/etc/os-release").read_text()
    expected = os.environ.get("CI") == "true" and (tornado != "debian" or bookworm)
    (pytest.fail if expected else pytest.skip)(f"there is no Tornado {tornado}: scripts/get-tornados")


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    """The piapp of each Tornado; they are started together, and again when an attack has ended one."""
    with ExitStack() as stack:

        def start(tornado: str) -> Target:
            target = Target(tmp_path_factory.mktemp(tornado), tornado)
            stack.push(target)
            return target

        made = {name: start(name) for name in NAMES if not missing(name)}

        def get(tornado: str) -> Target:
            need(tornado)
            if not made[tornado].running:
                made[tornado] = start(tornado)
            return made[tornado].__enter__()  # waits until it serves

        yield get


@pytest.fixture(scope="module", params=NAMES)
def target(request: pytest.FixtureRequest, targets: Targets) -> Target:
    """The piapp to attack. A module's last test is that it is as well as before, by check()."""
    target = targets(request.param)
    target.calm()
    return target


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Target]]:
    """Starts a piapp for this test alone: with the name of a Tornado, and arguments as Target has them."""
    with ExitStack() as stack:

        def start(tornado: str = CURRENT, *arguments: object, **more: object) -> Target:
            need(tornado)
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            return stack.enter_context(Target(folder, tornado, *arguments, **more))  # type: ignore[arg-type]

        yield start
