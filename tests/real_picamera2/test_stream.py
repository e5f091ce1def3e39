"""One PiCamera and what it publishes."""

import itertools

import pytest

from piapp.config import CameraConfig, Size
from piapp.errors import SourceError
from piapp.sources import pi_found

from .conftest import Report
from .filming import HD, LIMIT_S, SMALL, Filming, fps, pixels, place


@pytest.mark.parametrize("config", [HD, SMALL], ids=["720p", "480p"])
def test_frames_come_whole_at_their_rate_with_the_time_of_the_exposure(config: CameraConfig, report: Report) -> None:
    with Filming(config) as filming:
        filming.more(10)
        frames = filming.more(90)
    report(f"{config.resolution}: {fps(frames):.2f} fps")
    assert 20 < fps(frames) < 31
    assert {(frame.width, frame.height) for frame in frames} == {tuple(config.resolution)}
    for before, frame in itertools.pairwise(frames):
        assert before.captured_ns < frame.captured_ns < frame.published_ns
        assert frame.delay_s < 5  # the clocks are the same
    moves = [place(pixels(frame.jpeg)) for frame in frames]
    steps = {(after - before) % config.resolution.width for before, after in itertools.pairwise(moves)}
    assert steps == {1}, "each picture is the one after the last"


def test_what_it_says_of_itself() -> None:
    with Filming() as filming:
        filming.more(1)
        assert filming.source.device == "Virtual0"
        assert filming.source.encoder == "simplejpeg on the processor: this computer has no hardware for it"
        assert filming.source.negotiated.startswith("1280x720 at 30 fps")
        assert (filming.source.remark, filming.source.bad_frames) == ("", 0)


def test_cameras_are_counted_as_picamera2_does_and_not_as_libcamera() -> None:
    assert [(found.number, found.id) for found in pi_found.find_cameras()] == [(0, "Virtual1"), (1, "Virtual0")]
    with Filming(CameraConfig(device="1", resolution=Size(1280, 720))) as filming:
        assert place(pixels(filming.more(1)[0].jpeg)) >= 0
        assert filming.source.device == "Virtual0"


def test_a_camera_that_is_in_use_says_so() -> None:
    with Filming() as filming:
        filming.more(1)
        with pytest.raises(SourceError, match="in use"), Filming() as second:
            second.more(1)
        filming.more(5)


def test_an_error_behind_the_encoder_does_not_end_it() -> None:
    with Filming(failures=5) as filming:
        filming.more(30)


def test_the_quality_changes_while_it_runs() -> None:
    with Filming() as filming:
        before = len(filming.more(1)[0].jpeg)
        filming.source.adjust({"quality": 10})
        smaller = next(frame for frame in iter(lambda: filming.more(1)[0], None) if len(frame.jpeg) < before * 0.8)
        place(pixels(smaller.jpeg))


def test_only_controls_that_the_camera_has_are_declared_and_set() -> None:
    """The virtual pipeline has FrameDurationLimits, and FaceDetectMode, which has one value only."""
    with Filming() as filming:
        source = filming.source
        filming.more(1)
        assert {control.name for control in source.controls} == {"quality", "hflip", "vflip", "frame_rate"}
        source.adjust({"brightness": 0.5, "exposure_time": 100, "no_such": True, "frame_rate": 10})
        filming.more(10)
        assert source.asked() == {}
        assert 7 < fps(filming.more(10)) < 11


def test_a_full_picture_while_the_stream_goes_on() -> None:
    with Filming(CameraConfig(device="Virtual0", resolution=Size(640, 360))) as filming:
        before = filming.more(5)[-1]
        still = filming.source.still().result(LIMIT_S)
        frames = filming.more(5)
    assert (still.width, still.height) == (1280, 720)
    assert still.captured_ns > before.captured_ns
    rgb = pixels(still.jpeg)
    assert rgb.shape == (720, 1280, 3)
    place(rgb)
    assert {pixels(frame.jpeg).shape for frame in frames} == {(360, 640, 3)}
    for frame in frames:
        place(pixels(frame.jpeg))
