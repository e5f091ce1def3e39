"""The camera's controls, from being asked for to the picture. What each means: tests/test_pi_controls.py."""

from typing import Any

import pytest
from fake_picamera2 import MONO, PI, SECOND, VERSIONS, Module, World, look
from fakes import until

from piapp.config import Size
from piapp.rate_limit import Rate
from piapp.sources import pi_encoder
from piapp.sources.control import Control, Kind, Value
from piapp.sources.pi_camera import Limits, PiCamera

from .case import camera, of_all_versions, of_both_encoders, running, settings, source_of, wait_for_frames


def values_of(control: Control) -> list[Value]:
    """Some that it takes, its default last."""
    values: list[Value] = []
    if control.kind is Kind.RANGE:
        values = [control.low, control.high]
    elif control.kind is Kind.CHOICE:
        values = [*control.choices]
    else:
        values = [True] if control.kind is Kind.ACTION else [False, True]
    return [*(control.check(value) for value in values), *([] if control.default is None else [control.default])]


@of_all_versions
@of_both_encoders
def test_a_change_is_seen_in_the_picture(world: World) -> None:
    with running(source_of()) as run:
        for value in (0.5, -0.5, 0.0):
            run.adjust(brightness=value)
            assert run.controls()["brightness"].value == value
            run.shows(brightness=value)


@of_both_encoders
def test_what_was_asked_for_before_it_ran_holds_from_the_first_picture_on(world: World) -> None:
    source = source_of()
    source.adjust({"brightness": 0.5, "hflip": True})
    with running(source) as run:
        first = look(run.taken[0][0])
    assert first.brightness == pytest.approx(0.5, abs=0.1)
    assert first.corner == "top right"
    assert len(world.opened) == 1
    assert [step for step, _ in world.steps].count("configure") == 1


@of_all_versions
@of_both_encoders
def test_mirroring_reopens_the_camera_and_keeps_the_rest(world: World) -> None:
    """It is part of the configuration."""
    with running(source_of(quality=90)) as run:
        large = len(run.taken[0][0])
        run.adjust(brightness=0.5, quality=20)
        run.shows(brightness=0.5)
        run.adjust(hflip=True)
        run.shows(corner="top right", brightness=0.5)
        run.adjust(vflip=True)
        run.shows(corner="bottom right", brightness=0.5)
        assert len(run.taken[-1][0]) * 1.5 < large
        found = run.controls()
        assert [found[name].value for name in ("hflip", "vflip", "brightness", "quality")] == [True, True, 0.5, 20]
        run.adjust(hflip=False, vflip=False, brightness=0.0)
        run.shows(corner="top left", brightness=0.0)
    assert run.error is None
    assert len(world.opened) == 4
    assert len({picture[1] for picture in run.taken}) == len(run.taken)


def test_what_was_set_back_before_mirroring_stays_so(world: World) -> None:
    with running(source_of()) as run:
        run.adjust(brightness=0.5)
        run.source.adjust({"brightness": None, "hflip": True})
        run.shows(corner="top right", brightness=0.0)
        assert run.controls()["brightness"].value == 0.0


def test_exposure_by_hand_stays_when_the_picture_is_mirrored(world: World) -> None:
    """Its value waits until the switch has made it active."""
    with running(source_of()) as run:
        run.adjust(auto_exposure=False)
        run.adjust(exposure_time=5000, analogue_gain=4.0)
        run.adjust(hflip=True)
        run.shows(corner="top right")
        until(lambda: camera(world).device.applied.get("ExposureTime") == 5000)
        assert camera(world).device.applied["AnalogueGain"] == 4.0
        found = run.controls()
        assert (found["auto_exposure"].value, found["exposure_time"].value) == (False, 5000)


@of_all_versions
def test_by_hand_begins_where_the_automatic_was(world: World) -> None:
    """The camera's own metadata: 12 ms and a gain of 1.5, 2.1 and 1.4 for red and blue, 2.5 dioptres."""
    with running(source_of()) as run:
        run.adjust(auto_exposure=False, white_balance="manual", focus_mode="manual")
        device = camera(world).device
        wanted = {"ExposureTime": 12000, "AnalogueGain": 1.5, "ColourGains": (2.1, 1.4), "LensPosition": 2.5}
        until(lambda: all(name in device.applied for name in wanted))
        assert {name: device.applied[name] for name in wanted} == {
            name: pytest.approx(value) for name, value in wanted.items()
        }


def test_by_hand_from_the_start_begins_where_the_automatic_was(world: World) -> None:
    """A choice that was kept since piapp ran before: it waits for the first frame, rather than take some default."""
    source = source_of()
    source.adjust({"auto_exposure": False, "white_balance": "manual"})
    with running(source) as run:
        device = camera(world).device
        until(lambda: {"ExposureTime", "ColourGains"} <= device.applied.keys())
        assert device.applied["ExposureTime"] == 12000
        assert device.applied["ColourGains"] == pytest.approx((2.1, 1.4))
        assert run.controls()["exposure_time"].value == 12000


def test_by_hand_without_any_frame_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_frames(0.05, monkeypatch)
    with running(source_of()) as run:
        world.stalled.add(PI.id)
        run.adjust(auto_exposure=False)
        world.stalled.clear()
        run.pictures(5)
        assert run.controls()["auto_exposure"].value is False


def test_before_the_start_nobody_waits_for_a_frame(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """None comes before it."""
    wait_for_frames(1000.0, monkeypatch)
    source = source_of()
    source.adjust({"auto_exposure": False, "exposure_time": 5000, "analogue_gain": 2.0})
    with running(source) as run:
        run.adjust(hflip=True)
        run.shows(corner="top right")
        assert run.controls()["exposure_time"].value == 5000


OLD = Module(
    "imx219", "/base/soc/i2c0mux/i2c@1/imx219@10", SECOND.modes, lacks=("HdrMode", "AeFlickerMode", "AeEnable")
)


@pytest.mark.parametrize(
    ("module", "version", "platform"),
    [(PI, version, "VC4") for version in VERSIONS] + [(module, "0.3.38", "PISP") for module in (PI, SECOND, MONO, OLD)],
)
def test_every_control_with_every_value_leaves_all_threads_alive(module: Module, world: World) -> None:
    """picamera2 hands values to libcamera in its event loop's or its encoder's thread, and that ends of a wrong one."""
    world.cameras = [module]
    with running(source_of()) as run:
        for name in run.controls():
            if name in ("hflip", "vflip"):
                continue
            _enable(run, name)
            for value in values_of(run.controls()[name]):
                run.adjust(**{name: value})
            run.adjust(**{name: None})
        opened = camera(world)
        until(lambda: not opened.controls.get_libcamera_controls())  # all is handed over
        run.pictures(3)
        assert {name for name, _ in opened.controls_set} <= opened.camera_controls.keys()
        assert run.error is None and not world.raised


@of_all_versions
def test_controls_are_those_of_the_configured_camera(world: World) -> None:
    """Before that libcamera has other ranges."""
    with running(source_of()) as run:
        zoom, exposure = run.controls()["zoom"], run.controls()["exposure_time"]
    assert zoom.high > 1
    assert 33000 <= exposure.high <= 33334  # no longer than a frame lasts


def test_unknown_names_are_left_out(world: World) -> None:
    with running(source_of()) as run:
        run.adjust(nonsense=1, saturation="much", brightness=17.0, hdr=True)
        run.pictures(3)
        assert run.controls()["brightness"].value == 0.0


def _enable(run: Any, name: str) -> None:
    """Some have no effect, and so are not set, before another says so."""
    needs: dict[str, dict[str, Value]] = {
        "exposure_time": {"auto_exposure": False},
        "analogue_gain": {"auto_exposure": False},
        "exposure_compensation": {"auto_exposure": True},
        "red_gain": {"white_balance": "manual"},
        "blue_gain": {"white_balance": "manual"},
        "lens_position": {"focus_mode": "manual"},
        "autofocus": {"focus_mode": "auto"},
        "focus_range": {"focus_mode": "auto"},
        "focus_speed": {"focus_mode": "auto"},
        "focus_area": {"focus_mode": "auto"},
        "focus_x": {"focus_area": "spot"},
        "focus_y": {"focus_area": "spot"},
        "zoom_x": {"zoom": 2.0},
        "zoom_y": {"zoom": 2.0},
    }
    run.adjust(**{other: value for other, value in needs.get(name, {}).items() if other in run.controls()})
    assert run.controls()[name].active


def test_who_plays_with_a_switch_does_not_have_the_camera_opened_each_time(world: World) -> None:
    with running(PiCamera(settings(), Limits(restarts=Rate(2, 1000.0)))) as run:
        for turn in range(20):
            run.adjust(hflip=turn % 2 == 0)
            run.pictures()
        until(lambda: run.controls()["hflip"].value is False)
        assert [step for step, _ in world.steps].count("open") <= 3
    assert run.error is None


@pytest.mark.parametrize("platform", ["VC4"])
def test_who_plays_with_the_quality_does_not_have_the_hardware_started_each_time(world: World) -> None:
    with running(PiCamera(settings(quality=90), Limits(restarts=Rate(2, 1000.0)))) as run:
        for quality in range(10, 30):
            run.adjust(quality=quality)
        run.pictures(3)
        assert len(world.encoders) == 3
    assert run.error is None


@pytest.mark.parametrize("platform", ["VC4"])
def test_and_later_it_has_the_quality_that_it_has_come_to(world: World) -> None:
    with running(PiCamera(settings(quality=90), Limits(restarts=Rate(1, 0.2)))) as run:
        run.adjust(quality=10)
        run.adjust(quality=29)
        wanted = pi_encoder.bitrate(29, Size(320, 240))
        until(lambda: world.encoders[-1].bitrate == wanted)
    assert run.error is None
