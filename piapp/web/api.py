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

    def get(self, name: str) -> None:
        self.answer(self.camera(name).describe())

    head = get

    def patch(self, name: str) -> None:
        """All of the changes, or none when one of them is wrong."""
        camera = self.camera(name)
        changes = self._changes()
        if "quality" in changes:
            try:
                camera.set_quality(changes["quality"])
            except Unsupported as error:
                self.refuse(400, f"quality: {error}")
        if "on" in changes:
            camera.switch(changes["on"])
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
            elif key == "quality" and (type(value) is not int or not 1 <= value <= 100):
                self.refuse(400, "quality is a whole number from 1 to 100.")
            elif key == "controls":
                self._check_controls(value)
            elif key not in ("on", "quality"):
                self.refuse(400, f'"{key}" cannot be changed. What can: on, quality, controls.')
        return changes

    def _check_controls(self, value: object) -> None:
        if not isinstance(value, dict):
            self.refuse(400, 'controls is an object, as in {"controls": {"brightness": 0.5}}.')
        for control in value:
            self.refuse(400, f'This camera has no control "{control}".')
