"""piapp with a camera that hangs when it is to stop, in a process that would hang at its end, too.

The latter as picamera2 has it: it closes its cameras at exit, and its encoder's thread pool is joined then.
"""

import atexit
import functools
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from fakes import FakeDevice, pattern_jpegs

from piapp import app, stuck
from piapp.__main__ import main
from piapp.camera import Camera

if __name__ == "__main__":
    never = threading.Event()
    device = FakeDevice(pattern_jpegs(3))
    device.hangs.clear()
    app.run = functools.partial(app.run, opener=lambda _: device)
    app.STOP_LIMIT_S = 0.1
    Camera._end.__defaults__ = (0.1,)
    stuck.HUNG_LIMIT_S = 0.2
    atexit.register(never.wait)
    ThreadPoolExecutor(1).submit(never.wait)
    os.set_inheritable(os.open(__file__, os.O_RDONLY), True)  # as drivers' libraries leave devices open
    sys.exit(main())
