"""Which encoder runs, what becomes of one that does not start, and the quality of its JPEGs."""

import errno
import threading

import pytest
from fake_picamera2 import World, threads
from fakes import until

from piapp.config import Size
from piapp.errors import SourceError

from .case import failure, of_all_versions, of_both_encoders, running, source_of

SOFTWARE = "simplejpeg on the processor"


def kinds(world: World) -> list[str]:
    return [type(encoder).__name__ for encoder in world.encoders]


@of_all_versions
def test_a_pi_4_encodes_by_hardware(world: World) -> None:
    source = source_of()
    with running(source) as run:
        run.pictures(3)
        assert source.encoder == "the Pi's hardware"
    assert kinds(world) == ["MJPEGEncoder"]


@of_all_versions
@pytest.mark.parametrize("platform", ["PISP"])
def test_a_pi_5_never_gets_ffmpeg_s_encoder(world: World) -> None:
    """Which is what its package calls MJPEGEncoder there."""
    source = source_of()
    with running(source) as run:
        run.pictures(3)
        assert source.encoder == f"{SOFTWARE}: this computer has no hardware for it"
    assert kinds(world) in (["JpegEncoder"], ["OldJpegEncoder"])


@of_all_versions
def test_software_where_the_settings_want_it(world: World) -> None:
    source = source_of(encoder="software")
    with running(source) as run:
        run.pictures(3)
        assert source.encoder == f"{SOFTWARE}: set in config.toml"
    assert kinds(world) in (["JpegEncoder"], ["OldJpegEncoder"])


@of_all_versions
def test_a_picture_that_is_too_large_for_the_hardware(world: World) -> None:
    source = source_of(resolution=Size(2304, 1296))
    with running(source) as run:
        assert run.taken[0][2:] == (2304, 1296)
        assert source.encoder == f"{SOFTWARE}: 2304x1296 is more than the hardware takes, 1920 pixels a side"
    assert "MJPEGEncoder" not in kinds(world)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        ProcessLookupError(errno.ESRCH, "No such process"),
        OSError(errno.EBUSY, "Device or resource busy"),
        RuntimeError("Hardware MJPEG not available on this platform"),
    ],
)
@of_all_versions
def test_hardware_that_does_not_start_is_replaced(
    error: Exception, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """picamera2 leaves such an encoder marked as running, and its thread too."""
    world.fails["streamon"] = error
    source = source_of()
    with running(source) as run:
        run.pictures(3)
        assert source.encoder == f"{SOFTWARE}: the hardware does not start, {error}"
        assert "fake hardware encoder" not in threads()
        run.adjust(quality=40)  # makes a new encoder, where the hardware runs
        run.pictures(3)
    assert kinds(world)[0] == "MJPEGEncoder" and len(kinds(world)) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"door: {SOFTWARE} makes the JPEGs: the hardware does not start, {error}"
    ]


@of_all_versions
def test_hardware_that_goes_between_looking_and_starting(world: World) -> None:
    world.fails["streamon"] = FileNotFoundError(errno.ENOENT, "No such file or directory", "/dev/video11")
    source = source_of()
    with running(source) as run:
        run.pictures(3)
        assert source.encoder.startswith(f"{SOFTWARE}: the hardware does not start")


@pytest.mark.parametrize("version", ["0.3.36", "0.3.38"])
def test_hardware_that_picamera2_does_not_believe_in(world: World) -> None:
    """picamera2 takes a Pi for a Pi 5 where it finds a pispbe, and refuses to make the encoder."""
    world.platform = "PISP"
    source = source_of()
    with running(source) as run:
        run.pictures(3)
        assert (
            source.encoder == f"{SOFTWARE}: the hardware does not start, Hardware MJPEG not available on this platform"
        )
    assert "LibavMjpegEncoder" not in kinds(world)


@of_all_versions
def test_hardware_that_is_insisted_on_and_does_not_start(world: World) -> None:
    world.fails["streamon"] = ProcessLookupError(errno.ESRCH, "No such process")
    found = failure(source_of(encoder="hardware"))
    assert found.what == "Hardware encoder does not start ([Errno 3] No such process)"
    assert found.hint == 'set encoder = "auto" in config.toml'
    assert kinds(world) == ["MJPEGEncoder"]


@pytest.mark.parametrize("platform", ["PISP"])
def test_hardware_that_is_insisted_on_and_not_there(world: World) -> None:
    source = source_of(encoder="hardware")
    for attempt in (source.check, lambda: source.run(lambda *_: None, threading.Event())):
        with pytest.raises(SourceError, match="this computer has no hardware for it"):
            attempt()
    assert not world.opened


@of_all_versions
def test_without_any_encoder_the_camera_is_closed_with_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from picamera2.encoders import JpegEncoder

    def refuse(self: object) -> None:
        raise RuntimeError("no threads")

    monkeypatch.setattr(JpegEncoder, "_start", refuse)
    found = failure(source_of(encoder="software"))
    assert "no threads" in found.what
    until(lambda: not threads())


# --- quality ---


@of_all_versions
@of_both_encoders
def test_the_quality_of_the_settings(world: World) -> None:
    sizes = []
    for quality in (20, 50, 90):
        with running(source_of(quality=quality)) as run:
            sizes.append(len(run.pictures()[-1][0]))
    assert sizes[0] * 1.2 < sizes[1] and sizes[1] * 1.2 < sizes[2]


@of_all_versions
@of_both_encoders
def test_the_quality_changes_while_it_runs(world: World, platform: str) -> None:
    """The hardware is told at its start only: it gets a new encoder. The camera is not touched."""
    with running(source_of(quality=90)) as run:
        large = len(run.pictures()[-1][0])
        run.adjust(quality=20)
        until(lambda: len(run.taken[-1][0]) * 1.5 < large)
        run.pictures(5)
        assert run.controls()["quality"].value == 20
        numbers = [picture[1] for picture in run.taken]
        assert numbers == sorted(set(numbers))  # none twice, and in order, though the encoder is another
    assert len(world.encoders) == (2 if platform == "VC4" else 1)
    assert len(world.opened) == 1
    assert [step for step, _ in world.steps].count("configure") == 1


@of_all_versions
@of_both_encoders
def test_the_quality_that_was_asked_for_before_it_ran(world: World) -> None:
    source = source_of(quality=90)
    source.adjust({"quality": 20})
    with running(source) as run:
        small = len(run.taken[0][0])
        run.adjust(quality=90)
        until(lambda: len(run.taken[-1][0]) > small * 1.5)


@pytest.mark.parametrize("quality", [1, 100])
@of_both_encoders
def test_the_ends_of_the_scale(quality: int, world: World) -> None:
    with running(source_of(quality=quality)) as run:
        run.pictures(3)
    assert run.error is None


def test_an_encoder_that_hangs_when_the_quality_changes_is_left_to_whoever_runs_it(world: World) -> None:
    """The hardware's thread waits in the kernel: run() does not end before that does."""
    with running(source_of()) as run, world.hang("streamoff") as hanging:
        run.source.adjust({"quality": 20})
        until(lambda: ("streamoff", "") in world.steps)
        run.stopping.set()
        assert run.runs
        hanging.set()
        run.join()
    assert run.error is None
