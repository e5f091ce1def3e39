"""piapp with one numbered camera, and what those say who watch it."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from fakes import Running, serving
from numbered import NEARLY, Numbered, number_in
from wire import Stream, ask

from piapp.config import CameraConfig, Size
from piapp.web import listen
from piapp.web.limits import LIMITS, Limits


@contextlib.contextmanager
def streaming(device: Numbered, limits: Limits = LIMITS, **settings: object) -> Iterator[Running]:
    """Nobody is dropped for being slow, unless `settings` say so: a box that runs tests may be busy."""
    settings = {"viewer_timeout_s": 60.0, **settings}
    config = CameraConfig(resolution=Size(*device.size), framerate=round(device.fps), idle_stop_s=0)
    with serving(lambda _: device, (config,), limits, **settings) as running:
        device.loop = running.loop
        yield running


@contextlib.contextmanager
def several(devices: dict[str, Numbered], limits: Limits = LIMITS, **settings: object) -> Iterator[Running]:
    """piapp with these cameras."""
    configs = tuple(CameraConfig(name=name, framerate=100, idle_stop_s=0) for name in devices)
    settings = {"viewer_timeout_s": 60.0, **settings}
    with serving(lambda config: devices[config.name], configs, limits, **settings) as running:
        for device in devices.values():
            device.loop = running.loop
        yield running


def heard(running: Running) -> None:
    """What was sent before is read by now."""
    for _ in range(2):
        ask(running.port, "/health")


def viewers(running: Running) -> list[dict[str, object]]:
    found = ask(running.port, "/api/cameras/camera").json()["viewers"]
    assert isinstance(found, list)
    return found


def numbers(open_stream: Stream, count: int, extra: bytes = NEARLY) -> list[int]:
    return [number_in(part.jpeg, extra) for part in open_stream.take(count)]


def rising(values: list[int]) -> bool:
    return all(a < b for a, b in zip(values, values[1:], strict=False))


def for_connections(monkeypatch: pytest.MonkeyPatch, level: int, option: int, value: int) -> None:
    """Set a socket option on the server's end of every connection, which inherits it from the listening socket."""
    bind = listen.bind

    def bind_and_set(host: str, port: int) -> list[socket.socket]:
        sockets = bind(host, port)
        for sock in sockets:
            sock.setsockopt(level, option, value)
        return sockets

    monkeypatch.setattr(listen, "bind", bind_and_set)
