"""The command line."""

import argparse
import asyncio
import logging
import platform
import signal
import sys
from pathlib import Path

try:
    from piapp import __version__, app, check, config, state
    from piapp.errors import ConfigError, PiappError
except ModuleNotFoundError as missing:
    if missing.name not in ("numpy", "simplejpeg", "tornado"):
        raise
    sys.exit(f"piapp: the Python package {missing.name} is not installed: sudo apt install python3-{missing.name}")

log = logging.getLogger(__name__)


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
        if options.command == "check":
            return check.run(config.override(config.load(options.config), overrides))
        asyncio.run(_run(config.override(_load(options.config), overrides)))
    except PiappError as error:
        print(f"piapp: {error}", file=sys.stderr)
        return 1
    return 0


def _load(path: Path | None) -> config.Config:
    """The settings, or with a file that cannot be used what lets the page say so. Raises ConfigError without a file."""
    try:
        return config.load(path)
    except ConfigError as error:
        found = config.find(path)
        if found is None or not found.is_file():
            raise
        log.error("%s", error)
        return config.rescue(found, error)


async def _run(settings: config.Config) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await app.run(settings, stopping, state_path=state.default_path())


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
