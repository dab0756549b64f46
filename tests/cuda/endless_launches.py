"""Launches that never end, one after another: the program that test_interruption.py interrupts.

``python -m tests.cuda.endless_launches``: says "running" when a kernel runs, and what became of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np

from minialex import cuda
from tests.cuda.tools import kernel

LAUNCHES = (
    ("fast", "in_registers"),
    ("fast", "waiting_for_a_flag"),
    ("fast", "waiting_for_an_atomic"),
    ("fast", "at_barriers"),
    ("fast", "in_the_library"),
    ("checked", "in_registers"),
    ("checked", "at_barriers"),
    ("traced", "in_registers"),
    ("counted", "in_registers"),
    ("counted", "waiting_for_a_flag"),
    ("counted", "waiting_for_an_atomic"),
)
"""The mode and the kernel of each."""
FILES = {"waiting_for_a_flag": "endless_flag.cu"}
BLOCKS = 64
"""With 1024 threads each, enough for all cores."""


def launch(mode: str, name: str, running: np.ndarray) -> None:
    with cuda.emulated(mode, write=lambda line: None):
        kernel(FILES.get(name, "endless.cu"), name)(BLOCKS, 1024, running)


def say_when_it_runs(mode: str, running: np.ndarray) -> None:
    main = threading.main_thread().ident
    # a checked kernel works on copies
    while not running[0] if mode in ("fast", "counted") else not in_launch(main):
        time.sleep(0.001)
    if mode not in ("fast", "counted"):
        time.sleep(0.02)
    print("running", flush=True)


def in_launch(thread: int | None) -> bool:
    return sys._current_frames()[thread or 0].f_code.co_name == "_emulate"


def interrupted(mode: str, name: str) -> str:
    running = np.zeros(1, np.int32)
    watch = threading.Thread(target=say_when_it_runs, args=(mode, running))
    watch.start()
    try:
        launch(mode, name, running)
        return "returned"
    except KeyboardInterrupt:
        return "interrupted"
    finally:
        watch.join()


def main() -> None:
    # a shell's background job, and what it starts, is given SIGINT as a signal to ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = np.zeros(1, np.int32)
    launch("fast", "ending", ended)
    there = len(os.listdir("/proc/self/task"))
    for mode, name in LAUNCHES:
        print(interrupted(mode, name), flush=True)
        # the emulator is as it was
        ended[0] = 0
        launch(mode, "ending", ended)
        assert ended[0] == 1
        assert cuda.emulation() is None
        # a thread that was joined is there for a moment yet
        while len(os.listdir("/proc/self/task")) != there:
            time.sleep(0.001)
    # the caller's handler may let a launch come to its end; asked again, it is ended
    called = []
    signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    print(interrupted("fast", "in_registers"), flush=True)
    assert called
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # elsewhere all is as ever
    try:
        print("running", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)


if __name__ == "__main__":
    main()
