"""Runs piapp so that it counts its tasks and threads whenever it gets SIGUSR1: python -m soak.inside FILE python -m …

piapp itself has no such thing. The counts go into FILE, as JSON: {"asked": …, "tasks": …, "pool": …}.
"""

import asyncio
import json
import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    file, asked = Path(sys.argv[1]), 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1
        names = [thread.name for thread in threading.enumerate()]
        try:
            tasks = len(asyncio.all_tasks())
        except RuntimeError:  # the loop has not begun, or has ended
            tasks = 0
        written = file.with_suffix(".new")
        pool = sum(name.startswith("asyncio_") for name in names)
        written.write_text(json.dumps({"asked": asked, "tasks": tasks, "pool": pool}))
        os.replace(written, file)

    signal.signal(signal.SIGUSR1, count)
    _, _, module, *arguments = sys.argv[2:]  # python -m piapp …
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
