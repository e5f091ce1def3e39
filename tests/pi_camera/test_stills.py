"""Full pictures, beside the stream."""

import io
import threading
import time
from concurrent.futures import Future

import pytest
import simplejpeg
from fake_picamera2 import SMALL, World, look
from PIL import Image

from piapp.config import Size
from piapp.errors import SourceError, Unsupported
from piapp.rate_limit import Rate
from piapp.sources.pi_camera import Limits, PiCamera
from piapp.sources.source import Still

from .case import (
    LIMIT_S,
    Running,
    camera,
    matches,
    of_all_versions,
    of_both_encoders,
    running,
    settings,
    source_of,
    wait_for_frames,
)

WHOLE = Size(*SMALL.whole)  # 800x600
BESIDE = Size(640, 480)  # a stream for which the sensor delivers all of its pixels anyway


def taken(run: Running) -> Still:
    return run.source.still().result(LIMIT_S)


def shape(still: Still) -> tuple[int, int]:
    height, width = simplejpeg.decode_jpeg_header(still.jpeg)[:2]
    return width, height


@pytest.mark.parametrize("version", ["0.3.36", "0.3.38"])
@of_both_encoders
def test_a_full_picture_while_the_stream_goes_on(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE, hflip=True)) as run:
        still = taken(run)
        after = run.pictures(5)
        device = camera(world).device
        assert shape(still) == (still.width, still.height) == WHOLE
        assert matches((still.jpeg, still.captured_ns // 1000 * 1000, *WHOLE), device)
        assert look(still.jpeg).corner == "top right"
        # and the stream is as large as ever
        assert {picture[2:] for picture in after} == {BESIDE}
        assert all(Size(*look(picture[0])[:2]) == BESIDE for picture in after)
        assert all(matches(picture, device) for picture in after)
        assert len(world.opened) == 1 and [step for step, _ in world.steps].count("start") == 1
    assert run.error is None


def test_a_full_picture_is_taken_after_it_was_asked_for(world: World) -> None:
    """Also when frames take their time from the exposure to us."""
    world.cameras = [SMALL]
    world.clock_ns = -50_000_000
    with running(source_of(resolution=BESIDE)) as run:
        for _ in range(3):
            asked_ns = time.monotonic_ns()
            assert taken(run).captured_ns >= asked_ns


def test_its_quality_is_that_of_the_stream(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE, quality=90)) as run:
        large = len(taken(run).jpeg)
        run.adjust(quality=20)
        assert len(taken(run).jpeg) * 1.5 < large


def test_several_who_ask_at_once_get_one(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)) as run:
        futures = [run.source.still() for _ in range(4)]
        futures[1].cancel()
        found = [future.result(LIMIT_S) for future in futures if not future.cancelled()]
        assert len(found) >= 3
        assert camera(world).device.starved < 20
        run.pictures(3)


def test_its_memory_goes_back_to_the_camera(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)) as run:
        for _ in range(12):  # more than there are buffers
            taken(run)
        run.pictures(5)


@of_all_versions
def test_where_the_stream_is_the_whole_picture_already(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=WHOLE)) as run:
        assert camera(world).camera_configuration()["lores"] is None
        if not world.at_least("0.3.18"):  # it does not tell what the sensor delivers
            with pytest.raises(Unsupported):
                run.source.still()
            return
        still = taken(run)
        assert shape(still) == WHOLE
        assert Image.open(io.BytesIO(still.jpeg)).size == WHOLE
        run.pictures(3)


@pytest.mark.parametrize("version", ["0.3.18", "0.3.22"])
def test_old_versions_have_none_beside_the_stream(world: World) -> None:
    """They save no YUV420, which the second stream of a Pi 4 must be."""
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)) as run:
        with pytest.raises(Unsupported, match="newer picamera2"):
            run.source.still()
        run.pictures(3)


def test_a_stream_for_which_the_sensor_leaves_pixels_out(world: World) -> None:
    """A full picture would need another mode, and so stop the stream."""
    with running(source_of()) as run:
        with pytest.raises(Unsupported, match="For 320x240 the sensor delivers 1536x864 of 4608x2592"):
            run.source.still()
        run.pictures(3)


def test_no_memory_for_full_pictures_beside_the_stream(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)):
        beside = camera(world).device.used
    world.memory = beside // 2
    with running(source_of(resolution=BESIDE)) as run:
        run.pictures(3)
        if camera(world).camera_configuration()["lores"]:  # half as many buffers were enough
            assert shape(taken(run)) == WHOLE
    world.memory = beside // 3
    with running(source_of(resolution=BESIDE)) as run:
        run.pictures(3)
        with pytest.raises(Unsupported, match="no room for full pictures"):
            run.source.still()
    assert run.error is None


def test_before_and_after_the_run_there_is_none(world: World) -> None:
    world.cameras = [SMALL]
    source = source_of(resolution=BESIDE)
    with pytest.raises(Unsupported, match="not open"):
        source.still()
    with running(source):
        pass
    with pytest.raises(Unsupported, match="closed"):
        source.still()


def test_who_waits_when_the_camera_is_closed_is_told(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)) as run:
        world.stalled.add(SMALL.id)
        waiting: list[Future[Still]] = [run.source.still()]
        run.stopping.set()
        try:
            waiting.append(run.source.still())
        except Unsupported:
            pass
        run.join()
    for future in waiting:
        with pytest.raises(SourceError):
            future.result(LIMIT_S)


def test_a_stalled_camera_gives_none_and_the_source_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_frames(0.05, monkeypatch)
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)) as run:
        world.stalled.add(SMALL.id)
        with pytest.raises(SourceError, match="no frame"):
            taken(run)
        world.stalled.clear()
        run.pictures(5)
        asked_ns = time.monotonic_ns()
        assert taken(run).captured_ns >= asked_ns  # none that came too late for who had asked before
        run.pictures(3)


def test_what_fails_in_saving_reaches_who_asked_and_nobody_else(world: World) -> None:
    world.cameras = [SMALL]
    with running(source_of(resolution=BESIDE)) as run:
        quality = camera(world).options

        class Broken(dict[str, int]):
            def get(self, *_: object) -> int:
                raise MemoryError("no room for the picture")

        camera(world).options = Broken()
        with pytest.raises(SourceError, match="no room for the picture"):
            taken(run)
        camera(world).options = quality
        assert shape(taken(run)) == WHOLE
        run.pictures(3)


def test_a_binding_that_wants_to_end_the_program_ends_the_run(world: World) -> None:
    world.cameras = [SMALL]

    class Leaving(dict[str, int]):
        def get(self, *_: object) -> int:
            raise SystemExit(1)

    source, waiting = source_of(resolution=BESIDE), list[Future[Still]]()

    def publish(jpeg: bytes, captured_ns: int, width: int, height: int) -> None:
        if not waiting:
            camera(world).options = Leaving()
            waiting.append(source.still())

    with pytest.raises(SystemExit):
        source.run(publish, threading.Event())
    with pytest.raises(SourceError, match="Full picture failed"):
        waiting[0].result(LIMIT_S)
    assert not world.open


def test_full_pictures_that_fail_again_and_again_do_not_fill_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.cameras = [SMALL]

    class Broken(dict[str, int]):
        def get(self, *_: object) -> int:
            raise MemoryError("no room for the picture " * 1000)

    with running(PiCamera(settings(resolution=BESIDE), Limits(lines=Rate(2, 1000.0)))) as run:
        camera(world).options = Broken()
        for _ in range(5):
            with pytest.raises(SourceError, match="no room for the picture") as raised:
                taken(run)
            assert len(str(raised.value)) < 300
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and max(map(len, lines)) < 300
