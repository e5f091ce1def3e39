"""State as JSON, and the changes that a user can make."""

import json
from typing import Any

from piapp.errors import Unsupported
from piapp.web.guard import Handler


class CamerasHandler(Handler):
    """All cameras, in the order of the settings."""

    def get(self) -> None:
        self.answer({"cameras": [camera.describe() for camera in self.site.cameras.values()]})

    head = get


class CameraHandler(Handler):
    """One camera."""

    body_limit = 16 * 1024

    def get(self, name: str) -> None:
        self.answer(self.camera(name).describe())

    head = get

    def patch(self, name: str) -> None:
        """All of the changes, or none when one of them is wrong."""
        camera = self.camera(name)
        changes = self._changes()
        try:
            camera.set_controls(changes.get("controls", {}))
        except Unsupported as error:
            self.refuse(400, str(error))
        camera.switch(changes.get("on", camera.on))
        self.answer(camera.describe())

    def _changes(self) -> dict[str, Any]:
        """The request's body, checked."""
        try:
            changes = json.loads(self.request.body)
        except (ValueError, RecursionError):  # the latter: nested thousands deep
            changes = None
        if not isinstance(changes, dict) or not changes:
            self.refuse(400, 'Send a JSON object, as in {"on": false}.')
        for key, value in changes.items():
            if key == "on" and not isinstance(value, bool):
                self.refuse(400, "on is true or false.")
            elif key == "controls" and not (isinstance(value, dict) and all(map(_is_value, value.values()))):
                self.refuse(400, 'controls is an object of values, as in {"controls": {"brightness": 140}}.')
            elif key not in ("on", "controls"):
                self.refuse(400, f'"{key}" cannot be changed. What can: on, controls.')
        return changes


class SystemHandler(Handler):
    """Facts about the computer that piapp runs on."""

    def get(self) -> None:
        self.answer(self.site.system())

    head = get


def _is_value(value: object) -> bool:
    """Of a control; null is its default."""
    return value is None or isinstance(value, bool | int | float | str)
