"""sources/pi_zoom.py and pi_controls.py: focus and zoom of a Pi camera, and controls that wait for others."""

from collections.abc import Mapping
from typing import Any

import pytest
from pi_cameras import IMX219, IMX708, LENS, Frames, Info, PiCamera, Set

from piapp.config import CameraConfig
from piapp.sources.control import Value
from piapp.sources.pi_controls import PiControls
from piapp.sources.source import Publish, Source

# --- focus ---


def test_focus_is_continuous_from_the_beginning() -> None:
    camera = Set()
    assert camera.camera.given == [{"AfMode": 2}]
    assert camera["focus_mode"].value == camera["focus_mode"].default == "continuous"
    assert not Set(IMX219).camera.given


def test_focus_without_a_continuous_one() -> None:
    camera = Set({**IMX708, "AfMode": (0, 1, 0)})
    assert camera["focus_mode"].choices == ("manual", "auto")
    assert camera.camera.given == [{"AfMode": 0, "LensPosition": 1.0}]
    only_lens = Set({"LensPosition": LENS["LensPosition"]})
    assert only_lens(lens_position=2.5) == {"LensPosition": 2.5}


def test_focus_by_hand_begins_where_the_lens_is() -> None:
    camera = Set()
    assert not camera.active("lens_position", "autofocus")
    assert camera(focus_mode="manual") == {"AfMode": 0, "LensPosition": 3.21}
    assert camera(lens_position=7.0)["LensPosition"] == 7.0
    assert camera.active("focus_range", "focus_speed", "focus_area", "autofocus") == []
    assert camera(focus_mode="auto") == {"AfMode": 1}
    assert camera(autofocus=True) == {"AfTrigger": 0}
    assert camera["autofocus"].value is None
    assert camera(focus_range="macro", focus_speed="fast") == {"AfRange": 1, "AfSpeed": 1}
    assert not camera.active("lens_position")


def test_a_spot_to_focus_on() -> None:
    camera = Set()  # 4608 by 2592, a sixth of which is 768 by 432
    assert not camera.active("focus_x", "focus_y")
    assert camera(focus_area="spot") == {"AfMetering": 1, "AfWindows": [(1920, 1080, 768, 432)]}
    assert camera(focus_x=100, focus_y=0)["AfWindows"] == [(3840, 0, 768, 432)]
    assert camera(focus_x=25, focus_y=25)["AfWindows"] == [(768, 432, 768, 432)]
    assert camera(focus_area="automatic") == {"AfMetering": 0}


def test_focus_goes_with_the_zoom() -> None:
    camera = Set()
    given = camera(zoom=2.0)
    # the middle third of the height and half of the width, which is what libcamera takes of the whole sensor
    assert given == {"ScalerCrop": (1152, 648, 2304, 1296), "AfMetering": 1, "AfWindows": [(1728, 1080, 1152, 432)]}
    assert camera(zoom_x=0)["AfWindows"] == [(576, 1080, 1152, 432)]
    assert camera(focus_area="spot")["AfWindows"] == [(960, 1188, 384, 216)]
    assert camera(zoom=1.0) == {
        **{"ScalerCrop": (0, 0, 4608, 2592), "AfMetering": 1},
        **{"AfWindows": [(1920, 1080, 768, 432)]},
    }
    assert camera(focus_area="automatic") == {"AfMetering": 0}


# --- zoom ---


def test_zoom_keeps_the_shape_and_stays_in_the_picture() -> None:
    camera = Set(IMX219)
    assert not camera.active("zoom_x", "zoom_y")
    assert camera(zoom=4.0) == {"ScalerCrop": (1230, 1002, 820, 461)}  # 310 of 2464 rows are not in the picture
    assert camera(zoom_x=0, zoom_y=100) == {"ScalerCrop": (0, 1693, 820, 461)}
    assert camera(zoom_x=100, zoom_y=0) == {"ScalerCrop": (2460, 310, 820, 461)}
    assert camera(zoom=1.0) == {"ScalerCrop": IMX219["ScalerCrop"][2]}


@pytest.mark.parametrize(
    ("info", "most"),
    [
        (((0, 0, 128, 128), (0, 0, 1280, 800), (0, 40, 1280, 720)), 5.6),
        (((0, 0, 1280, 720), (0, 0, 1280, 800), (0, 40, 1280, 720)), None),
        (((0, 0, 0, 0), (0, 0, 1280, 800), (0, 40, 1280, 720)), 8.0),
        ((None, (0, 0, 1280, 800), (0, 40, 1280, 720)), 8.0),
    ],
)
def test_the_most_zoom(info: Any, most: float | None) -> None:
    zoom = Set({"ScalerCrop": info}).by_name.get("zoom")
    assert (zoom and zoom.high) == most


@pytest.mark.parametrize("default", [None, (0, 0, 0, 0), (0, 0, 4000, 3000), [1, 2]])
def test_the_whole_picture_where_libcamera_does_not_say(default: Any) -> None:
    camera = Set({"ScalerCrop": ((0, 0, 64, 64), (8, 8, 3200, 2400), default)})
    camera(zoom=2.0)
    assert camera(zoom=1.0) == {"ScalerCrop": (8, 308, 3200, 1800)}


def test_no_zoom_where_nothing_is_known_of_the_sensor() -> None:
    known = {name: info for name, info in IMX708.items() if name != "ScalerCrop"}
    assert not {"zoom", "focus_area"} & Set(known).by_name.keys()
    camera = PiCamera(known)
    camera.camera_properties["ScalerCropMaximum"] = (16, 24, 4608, 2592)
    PiControls(camera, 30).set({"focus_area": "spot"}, dict)
    assert camera.now["AfWindows"] == [(1936, 1104, 768, 432)]


@pytest.mark.parametrize(
    ("lores", "crops"),
    [
        (None, [(1230, 1002, 820, 461)]),
        ({"size": (640, 360)}, [(1230, 1002, 820, 461)] * 2),
        ({"size": (640, 480), "preserve_ar": True}, [(1230, 1002, 820, 461), (1230, 924, 820, 616)]),
    ],
)
def test_zoom_on_a_pi_5_is_that_of_each_stream(lores: Any, crops: list[tuple[int, ...]]) -> None:
    """picamera2's configure() asks for ScalerCrops, and of both that wins."""
    known = {**IMX219, "ScalerCrops": (IMX219["ScalerCrop"][2], (0, 0, 3280, 2464), None)}
    assert Set(known, lores=lores)(zoom=4.0) == {"ScalerCrops": crops}


def test_a_spot_is_in_the_picture_that_viewers_see() -> None:
    """On a Pi 5 the second stream, beside full pictures, may have another shape."""
    known = {**IMX708, "ScalerCrops": (IMX708["ScalerCrop"][2], (576, 0, 3456, 2592), None)}
    camera = Set(known, lores={"size": (640, 480), "preserve_ar": True})
    camera(focus_area="spot")
    assert camera(focus_x=0)["AfWindows"] == [(576, 1080, 576, 432)]


# --- together with a Source ---


class Asked(Source):
    """Obeys as a real one does."""

    def __init__(self, known: Info) -> None:
        super().__init__(CameraConfig())
        self.of_camera = PiControls(PiCamera(known), 30)
        self.controls = self.of_camera.controls()

    def check(self) -> None: ...

    def run(self, publish: Publish, stopping: Any) -> None: ...

    def _set(self, values: Mapping[str, Value]) -> None:
        self.of_camera.set(values, Frames())
        self.controls = self.of_camera.controls()

    def obeyed(self) -> dict[str, Value | None]:
        before: dict[str, Value | None] = {}
        while (asked := self.asked()) != before:
            before = asked
            self._obey()
        return {control.name: control.value for control in self.controls}


def test_what_waits_for_another_control_is_done_in_the_end() -> None:
    source = Asked(IMX708)
    asked: dict[str, Value | None] = {"zoom_x": 10, "zoom": 2.0, "focus_y": 80, "focus_area": "spot", "red_gain": 3.0}
    asked |= {"exposure_time": 5000, "auto_exposure": False, "white_balance": "manual", "focus_mode": "auto"}
    source.adjust({**asked, "lens_position": 4.0})
    found = source.obeyed()
    assert found == {**found, **asked}
    assert (found["analogue_gain"], found["blue_gain"], found["lens_position"]) == (2.5, 1.68, 1.0)
    assert source.asked() == {"lens_position": 4.0}  # for when focus is manual
    source.adjust({"focus_mode": "manual", "zoom": None})
    assert source.obeyed()["lens_position"] == 4.0
    assert (source.obeyed()["zoom"], source.obeyed()["zoom_x"]) == (1.0, 10)


def test_a_long_exposure_is_possible_with_the_frame_rate_that_comes_with_it() -> None:
    source = Asked(IMX708)
    source.adjust({"auto_exposure": False, "frame_rate": 5, "exposure_time": 150_000})
    found = source.obeyed()
    assert (found["frame_rate"], found["exposure_time"]) == (5, 150_000)
    assert not source.asked()
