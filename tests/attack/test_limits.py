"""More connections than the process may have open files: it says so once, waits, and goes on."""

import contextlib
import itertools
from collections.abc import Callable

import pytest
from fakes import until
from wire import Refused, Stream, ask, connect, request

from .target import CURRENT, Target, oldest

CALM = 0.2  # of a processor, with a viewer; one that tries again and again takes 0.3


def limited(files: int) -> tuple[str, ...]:
    return "sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"


@pytest.mark.parametrize(("files", "old"), [(64, True), (256, False)])
def test_a_viewer_notices_nothing_and_a_newcomer_gets_in(fresh: Callable[..., Target], files: int, old: bool) -> None:
    target = fresh(oldest() if old else CURRENT, before=limited(files))
    target.new_log()
    with Stream(target.port) as viewer:
        viewer.take(2)
        with contextlib.ExitStack() as stack:
            for number in range(files + 100):
                sock = stack.enter_context(connect(target.port))
                if number % 2:
                    sock.sendall(request("GET", "/stream?fps=1", {}))
            busy = target.busy(1.5)
            times = [float(picture.timestamp) for picture in viewer.take(30)]
            assert all(0 < later - earlier < 1.0 for earlier, later in itertools.pairwise(times))
            assert busy < CALM
            assert target.held().descriptors <= files
        until(lambda: gets_in(target))
        viewer.take(2)
    said = target.new_log()
    complaints = [line for line in said.splitlines() if not line.startswith("INFO")]
    assert len(complaints) <= 1 and "Traceback" not in said, said
    assert ask(target.port, "/health").status == 200


def gets_in(target: Target) -> bool:
    try:
        with Stream(target.port) as viewer:
            return len(viewer.take(2)) == 2
    except (Refused, ConnectionError, EOFError):
        return False
