"""`python -m on_pi`, as ./run starts it; with --step NAME, one of its steps."""

import contextlib
import faulthandler
import logging
import os
import subprocess
import sys
from pathlib import Path

from piapp.errors import SourceError
from piapp.sources import pi_found

from . import report
from .camera import Running, Trouble, settings
from .computer import piapps
from .steps import steps

READY_S = 60.0


def main() -> int:
    """The exit code: 1 when a step has failed or none could be tried."""
    if problem := _not_ready():
        print(f"tests/on_pi: {problem}", file=sys.stderr)
        return 1
    found = report.Report(Path.cwd())
    todo = steps()
    minutes = sum(step.usual_s for step in todo) / 60
    print(
        f"This takes about {minutes:.0f} minutes. Point the camera at something with light and detail, and let it be."
    )
    try:
        failed = report.run(todo, found)
        found.write()
        found.write(
            f"{len(todo) - len(failed)} of {len(todo)} steps done{'; failed: ' if failed else ''}{', '.join(failed)}"
        )
    except KeyboardInterrupt:
        found.write("stopped by Ctrl-C")
        return 130
    finally:
        found.close()
        print(f"\nThe report is in {found.path}: please send it in. It names nobody, but look through it first.")
    return 1 if failed else 0


def _not_ready() -> str:
    """Why nothing can be tried. In a process of its own, which holds nothing of the camera when it has ended."""
    problem = ""
    with contextlib.suppress(subprocess.TimeoutExpired):  # then the steps tell where it hangs
        done = subprocess.run([*report.COMMAND, "--ready"], stdout=subprocess.PIPE, text=True, timeout=READY_S)
        problem = done.stdout.strip()
    return obstacle(problem, piapps())


def obstacle(problem: str, running: list[str]) -> str:
    """What to say of a camera's problem when these piapps run: they have the camera, or will take it."""
    if running and (not problem or "in use" in problem):
        return f"end first {', and '.join(running)}"
    return problem


def ready() -> None:
    """Print why nothing can be tried; other failures are for the steps to tell."""
    try:
        pi_found.choose("")
        with Running(settings()):
            pass
    except SourceError as error:
        print(f'{error}. This needs a Pi camera; "scripts/run check" may say more')
    except Trouble as trouble:
        if isinstance(trouble.__cause__, SourceError) and "in use" in trouble.__cause__.what:
            print(trouble)


def step(name: str) -> int:
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        next(step for step in steps() if step.name == name).run()
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["--step"]:
        return step(arguments[1])
    if arguments == ["--ready"]:
        ready()
        return 0
    return main()


if __name__ == "__main__":
    code = _dispatch(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that hangs in a driver must not keep it
