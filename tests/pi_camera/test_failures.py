"""Every way in which a Pi camera is known to fail: what is said, and that it is closed and can be had again."""

import errno

import pytest
from fake_picamera2 import PI, SECOND, World, threads
from fakes import until

from piapp.errors import DeviceStuck
from piapp.sources import pi_camera, pi_found

from .case import Running, camera, failure, of_all_versions, of_both_encoders, running, source_of

NO_MEMORY = OSError(errno.ENOMEM, "Cannot allocate memory")
STEPS = ["configure", "allocate", "start"]


def works_again(world: World) -> None:
    world.fails.clear()
    with running(source_of()) as run:
        run.pictures(3)
    assert run.error is None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "error",
    [RuntimeError("Failed to start camera: Invalid argument"), OSError(errno.EIO, "Input/output error")],
)
@of_all_versions
def test_a_camera_that_fails_once_it_is_open(step: str, error: Exception, world: World) -> None:
    world.fails[step] = error
    found = failure(source_of())
    assert isinstance(found, DeviceStuck)
    assert (found.what, found.hint) == (f"Pi camera failed ({error})", "look at the ribbon cable, then restart the Pi")
    assert not world.open and ("release", PI.id) in world.steps
    until(lambda: not threads())
    works_again(world)


@pytest.mark.parametrize("step", ["configure", "allocate", "start"])
@of_all_versions
def test_memory_that_is_used_up(step: str, world: World) -> None:
    world.fails[step] = NO_MEMORY
    found = failure(source_of())
    assert isinstance(found, DeviceStuck)
    assert found.what == "Not enough memory for the Pi camera"
    assert "lower resolution" in found.hint
    works_again(world)


@of_all_versions
def test_memory_for_half_as_many_buffers_will_do(world: World) -> None:
    with running(source_of()) as run:
        run.pictures()
        used = camera(world).device.used
    world.memory = used * 3 // 4
    with running(source_of()) as run:
        run.pictures(5)
        assert camera(world).camera_configuration()["buffer_count"] == 2
    assert run.error is None


@of_all_versions
def test_memory_for_no_buffers_at_all(world: World) -> None:
    world.memory = 1000
    found = failure(source_of())
    assert found.what == "Not enough memory for the Pi camera"


@of_all_versions
def test_an_unexpected_error_closes_the_camera_too(world: World) -> None:
    for step in STEPS:
        world.fails[step] = KeyError("NV12")
        with running(source_of()) as run:
            run.join()
        assert isinstance(run.error, KeyError)
        assert not world.open
        world.fails.clear()
    works_again(world)


@of_all_versions
@of_both_encoders
def test_a_loose_ribbon_raises_nothing_and_the_camera_can_be_closed(world: World) -> None:
    """Frames just stop. Whoever runs the source sees it by their age."""
    with running(source_of()) as run:
        world.stalled.add(PI.id)
        exposed = len(camera(world).device.exposures)
        until(lambda: len(run.taken) >= exposed - 1)  # one may be on its way
        assert run.runs and run.error is None
    assert run.error is None
    world.stalled.clear()
    works_again(world)


@of_all_versions
@of_both_encoders
def test_a_loose_ribbon_from_the_beginning(world: World) -> None:
    world.stalled.add(PI.id)
    source = source_of()
    run = Running(source)
    until(lambda: ("start", PI.id) in world.steps)
    run.stopping.set()
    run.join()
    assert run.error is None and not run.taken
    world.stalled.clear()
    works_again(world)


@of_all_versions
def test_a_job_that_waits_for_a_frame_does_not_hold_up_the_end(world: World) -> None:
    """stop() of picamera2 is a job too, and would wait behind it for ever (picamera2 issues 1264, 1065)."""
    with running(source_of()) as run:
        world.stalled.add(PI.id)
        opened = camera(world)
        jobs = [opened.capture_metadata(wait=False) for _ in range(3)]  # one may get the newest frame, which is kept
        until(lambda: jobs[1] in opened._job_list or jobs[2] in opened._job_list)
    assert run.error is None
    world.stalled.clear()


@of_all_versions
@of_both_encoders
def test_an_event_loop_that_has_died_does_not_hold_up_the_end(world: World) -> None:
    """picamera2 goes on as if it ran: no frames come, and its stop() would hang."""
    with running(source_of()) as run:
        camera(world).pre_callback = _raise
        until(lambda: world.raised)
        assert "fake event loop" not in threads()
    assert run.error is None
    world.raised.clear()
    works_again(world)


@of_all_versions
@of_both_encoders
def test_an_encoder_s_thread_that_has_died_does_not_hold_up_the_end(world: World) -> None:
    """Of an error that is none of piapp's."""
    with running(source_of()) as run:
        world.encoders[0].output = object()
        until(lambda: world.raised)
        assert run.runs
        world.encoders[0].output = _Output()
    assert run.error is None
    world.raised.clear()
    works_again(world)


@pytest.mark.parametrize("step", ["configure", "stop", "release"])
@of_both_encoders
def test_a_call_that_hangs_ends_with_it(step: str, world: World) -> None:
    """Nothing can be done from here; another camera goes on meanwhile."""
    world.cameras = [PI, SECOND]
    with running(source_of(device=SECOND.id)) as other, world.hang(step, PI) as hanging:
        run = Running(source_of(device=PI.id))
        until(lambda: run.taken or ("configure", PI.id) in world.steps)
        run.stopping.set()
        until(lambda: (step, PI.id) in world.steps)
        other.pictures(5)
        assert run.runs
        hanging.set()
        run.join()
    assert run.error is None and other.error is None


def test_a_camera_that_hangs_at_its_end_does_not_keep_others_from_opening(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pi_found, "TURN_LIMIT_S", 0.05)
    world.cameras = [PI, SECOND]
    with world.hang("stop", PI) as hanging:
        with running(source_of(device=PI.id)) as run:
            run.stopping.set()
            until(lambda: ("stop", PI.id) in world.steps)
            with running(source_of(device=SECOND.id)) as other:
                other.pictures(3)
            assert other.error is None
            assert run.runs
            hanging.set()
    assert run.error is None


@pytest.mark.parametrize("step", ["stop", "release"])
@of_all_versions
def test_a_camera_that_cannot_be_closed_is_not_opened_again(step: str, world: World) -> None:
    """libcamera would say that it is in use, and people would look for a program that has it."""
    world.cameras = [PI, SECOND]
    world.fails[step] = RuntimeError("Failed to release camera: Input/output error")
    with running(source_of(device=PI.id)) as run:
        run.stopping.set()
        run.join()
    assert isinstance(run.error, DeviceStuck) and "Input/output error" in run.error.what
    world.fails.clear()
    found = failure(source_of(device=PI.id))
    assert isinstance(found, DeviceStuck)
    assert (found.what, found.hint) == ("Pi camera could not be closed", "start piapp again")
    with running(source_of(device=SECOND.id)) as other:
        other.pictures(3)
    assert other.error is None
    world.opened[0].close()


@of_all_versions
def test_frames_go_on_when_the_encoder_is_slow(world: World) -> None:
    """All buffers are held: frames are lost, and nothing piles up."""
    with running(source_of(encoder="hardware")) as run:
        device = camera(world).device
        encoder = world.encoders[0]
        with encoder._output_lock:  # as if the hardware took its time
            starved = device.starved
            until(lambda: device.starved > starved + 5)
        run.pictures(5)
        assert encoder.buf_frame.qsize() <= max(pi_camera.BUFFERS)
    assert run.error is None


def _raise(*_: object) -> None:
    raise ZeroDivisionError


class _Output:
    def stop(self) -> None: ...
