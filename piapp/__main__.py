"""The command line."""

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
from pathlib import Path
from typing import NoReturn

try:
    from piapp import __version__, app, check, state
    from piapp.errors import PiappError
    from piapp.last_good import Settings
    from piapp.system import journal
except ModuleNotFoundError as missing:
    if missing.name not in ("numpy", "simplejpeg", "tornado"):
        raise
    sys.exit(f"piapp: the Python package {missing.name} is not installed: sudo apt install python3-{missing.name}")

log = logging.getLogger(__name__)

RESTART = os.EX_TEMPFAIL  # 75, the exit code that asks whoever has started piapp to start it again
RESTARTS_ITSELF = "PIAPP_RESTARTS_ITSELF"  # set in the environment where nobody would


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 1 after an error that was told in one line. Does not return when threads are left behind."""
    options = parser().parse_args(arguments)
    if options.command == "version":
        print(f"piapp {__version__} (Python {platform.python_version()})")
        return 0
    journal.start(options.log_level.upper())
    try:
        over = {key: getattr(options, key) for key in ("host", "port", "source", "device")}
        state_path = state.default_path()
        settings = Settings(options.config, over, state_path)
        if options.command == "check":
            return check.run(settings.check())
        end = asyncio.run(_run(settings, state_path))
    except PiappError as error:
        print(f"piapp: {error}", file=sys.stderr)
        return 1
    if end.restart:
        _restart()
    if not end.clean:
        _leave(0)
    return 0


def _restart() -> NoReturn:
    """Begin anew in a fresh process: another one, or under the same number, so that signals still find it."""
    if not os.environ.get(RESTARTS_ITSELF):
        log.warning("exit code %d: start it again", RESTART)
        _leave(RESTART)
    log.warning("starting again")
    try:
        logging.shutdown()
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # OpenCV's devices, say, would stay open in the new one
        os.execv(sys.executable, sys.orig_argv)
    finally:
        os._exit(RESTART)


def _leave(code: int) -> NoReturn:
    """End without what Python does at its end: waiting for threads, and closing cameras (picamera2 has it so), which
    hangs when they do."""
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


async def _run(settings: Settings, state_path: Path | None) -> app.End:
    stopping, told = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        told.set()
        stopping.set()

    def keep() -> None:
        loop.run_in_executor(None, settings.keep)  # the end waits for it

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    reload = app.Reload(asyncio.Event(), settings.again)
    if not os.isatty(0):  # else this signal says that the terminal is gone, and piapp goes with it
        loop.add_signal_handler(signal.SIGHUP, reload.asked.set)
    end = await app.run(settings.start(), stopping, state_path=state_path, started=keep, reload=reload)
    return end._replace(restart=end.restart and not told.is_set())


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    options = argparse.ArgumentParser(
        prog="piapp",
        description="A camera on the network: browse to it and watch.",
        epilog=f"Exit codes: 0, or 1 after an error; {RESTART} when a camera hangs and only a fresh process may help: "
        "start it again.",
        allow_abbrev=False,
    )
    options.add_argument(
        "command",
        nargs="?",
        choices=("run", "check", "version"),
        default="run",
        help="run: serve (the default). check: say what would run and what is wrong. version: print it.",
    )
    options.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (else ./config.toml, /etc/piapp/config.toml)"
    )
    options.add_argument("--host", help="address to listen on")
    options.add_argument("--port", type=int, help="port to listen on")
    options.add_argument("--source", help="auto, picamera2, usb, images or pattern: for the first camera")
    options.add_argument("--device", help="which one, or the folder of images: for the first camera")
    options.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return options


if __name__ == "__main__":
    sys.exit(main())
