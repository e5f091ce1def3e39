"""The command line."""

import argparse
import asyncio
import logging
import platform
import signal
import sys
from pathlib import Path

from piapp import __version__, app, check, config
from piapp.errors import PiappError


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 1 after an error that was told in one line."""
    options = parser().parse_args(arguments)
    if options.command == "version":
        print(f"piapp {__version__} (Python {platform.python_version()})")
        return 0
    logging.basicConfig(
        level=options.log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        overrides = {key: getattr(options, key) for key in ("host", "port", "source", "device")}
        settings = config.override(config.load(options.config), overrides)
        if options.command == "check":
            return check.run(settings)
        asyncio.run(_run(settings))
    except PiappError as error:
        print(f"piapp: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(settings: config.Config) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await app.run(settings, stopping)


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    options = argparse.ArgumentParser(
        prog="piapp", description="A camera on the network: browse to it and watch.", allow_abbrev=False
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
