"""What watches over piapp reads: /health and, for Prometheus, /metrics."""

import resource
from collections.abc import Callable, Iterator

from piapp.camera import Camera, State
from piapp.web.guard import Handler

_METRICS: tuple[tuple[str, str, str, Callable[[Camera], float]], ...] = (
    ("camera_up", "gauge", "1 while pictures come.", lambda camera: int(camera.state is State.RUNNING)),
    ("camera_on", "gauge", "The user's switch.", lambda camera: int(camera.on)),
    ("camera_fps", "gauge", "Pictures in the last second.", lambda camera: round(camera.counts.fps, 3)),
    ("camera_bytes_per_second", "gauge", "Of one stream.", lambda camera: round(camera.counts.bytes_per_s)),
    ("camera_frames_total", "counter", "Pictures taken.", lambda camera: camera.counts.frames),
    ("camera_bad_frames_total", "counter", "Broken pictures dropped.", lambda camera: camera.counts.bad_frames),
    ("camera_faults_total", "counter", "Of the device, or of a try to open it.", lambda camera: camera.faults.count),
    ("camera_viewers", "gauge", "Who is watching now.", lambda camera: len(camera.watchers)),
)


class HealthHandler(Handler):
    """200 while the settings are right and every camera that somebody watches delivers; else 503 with what is wrong."""

    def get(self) -> None:
        failed = [c for c in self.site.cameras.values() if c.watchers and c.state is State.FAILED]
        faults = {camera.name: str(camera.faults.current) for camera in failed}
        failing = bool(faults or self.site.problem)
        if failing:
            self.set_status(503)
        self.answer({"status": "failing" if failing else "ok", "faults": faults, "problem": self.site.words()})

    head = get


class MetricsHandler(Handler):
    """Prometheus' text format, version 0.0.4."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.write("".join(f"{line}\n" for line in self._lines()))

    head = get

    def _lines(self) -> Iterator[str]:
        for name, kind, help_text, value in _METRICS:
            yield f"# HELP piapp_{name} {help_text}"
            yield f"# TYPE piapp_{name} {kind}"
            for camera in self.site.cameras.values():
                label = camera.name.replace("\\", "\\\\").replace('"', '\\"')
                yield f'piapp_{name}{{camera="{label}"}} {value(camera)}'
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield "# HELP process_cpu_seconds_total User and system CPU time spent."
        yield "# TYPE process_cpu_seconds_total counter"
        yield f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.3f}"
