"""What the camera is configured to, and what is said where it does something else."""

from typing import Any

import pytest
from fake_picamera2 import MONO, PI, SECOND, Module, World, look
from fakes import until

from piapp.config import Size
from piapp.errors import SourceError

from .case import camera, of_all_versions, of_both_encoders, running, source_of


@of_all_versions
def test_what_the_camera_is_told(world: World) -> None:
    with running(source_of(framerate=25)):
        found = camera(world).camera_configuration()
        assert camera(world).device.applied["FrameDurationLimits"] == (40000, 40000)
    planes = world.at_least("0.3.26")  # JpegEncoder has taken YUV420 since then
    assert (found["main"]["size"], found["main"]["format"]) == ((320, 240), "YUV420" if planes else "RGB888")
    assert found["raw"] is None  # each buffer would be as large as the sensor
    assert found["buffer_count"] == 4
    assert found["controls"]["FrameRate"] == 25


@of_all_versions
def test_how_it_is_opened_and_closed(world: World) -> None:
    with running(source_of()):
        pass
    steps = [step for step, name in world.steps if name == PI.id and step != "queue"]
    assert steps == ["open", "configure", "allocate", "start", "stop", "release"]


@of_all_versions
def test_colours_are_those_of_jpeg(world: World) -> None:
    """By itself picamera2 chooses those of television for video, with less contrast."""
    with running(source_of()):
        assert camera(world).camera_configuration()["colour_space"].name == "sYCC"


@pytest.mark.parametrize(
    ("settings", "corner"),
    [
        ({}, "top left"),
        ({"hflip": True}, "top right"),
        ({"vflip": True}, "bottom left"),
        ({"hflip": True, "vflip": True}, "bottom right"),
        ({"rotation": 180}, "bottom right"),
        ({"rotation": 180, "hflip": True}, "bottom left"),
        ({"rotation": 180, "vflip": True}, "top right"),
        ({"rotation": 180, "hflip": True, "vflip": True}, "top left"),
    ],
)
@of_both_encoders
def test_flips_and_a_half_turn_are_the_camera_s_work(settings: dict[str, Any], corner: str, world: World) -> None:
    source = source_of(**settings)
    with running(source) as run:
        assert look(run.taken[0][0]).corner == corner
        assert not source.remark


@pytest.mark.parametrize("rotation", [90, 270])
def test_a_quarter_turn_is_refused_with_words(rotation: int) -> None:
    with pytest.raises(SourceError, match=f"by {rotation} degrees: set rotation to 0 or 180"):
        source_of(rotation=rotation)


@of_all_versions
def test_a_camera_that_does_not_mirror(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """libcamera adjusts the transform away without a word."""
    world.cameras = [Module("fixed", "/base/fixed", MONO.modes, mirrors=False)]
    source = source_of(hflip=True)
    with running(source) as run:
        run.pictures(3)
        assert source.remark == "This camera does not mirror or turn its picture."
        assert look(run.taken[-1][0]).corner == "top left"
        run.adjust(hflip=False)
        until(lambda: not source.remark)  # nothing is wrong any more
    assert run.error is None
    assert "does not mirror" in caplog.text


@of_all_versions
def test_the_size_is_what_the_camera_made_of_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.adjusted = (304, 232)
    source = source_of()
    with running(source) as run:
        assert run.pictures()[-1][2:] == (304, 232)
        assert Size(*look(run.taken[-1][0])[:2]) == Size(304, 232)
        assert source.negotiated.startswith("304x232 at 30 fps")
        assert source.negotiated.endswith("asked for 320x240 at 30 fps")
    assert "asked for 320x240" in caplog.text


def test_what_came_is_said_with_the_sensor_s_mode(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source = source_of()
    with running(source):
        assert source.negotiated == "320x240 at 30 fps, sensor 1536x864"
    assert not caplog.records


@pytest.mark.parametrize("version", ["0.3.12"])
def test_a_version_that_does_not_tell_the_sensor_s_mode(world: World) -> None:
    source = source_of()
    with running(source) as run:
        assert source.negotiated == "320x240 at 30 fps"
        run.pictures()


@of_all_versions
def test_a_frame_rate_that_the_sensor_does_not_reach(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cameras = [SECOND]
    source = source_of(resolution=Size(2592, 1944), framerate=30, encoder="software")
    with running(source):
        assert source.negotiated.startswith("2592x1944 at 16 fps")
        assert source.negotiated.endswith("asked for 2592x1944 at 30 fps")
    assert "asked for 2592x1944 at 30 fps" in caplog.text


def test_a_frame_rate_that_libcamera_rounds(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source = source_of(framerate=56, resolution=Size(2304, 1296))
    with running(source):
        assert source.negotiated == "2304x1296 at 56 fps, sensor 2304x1296"
    assert not caplog.records
