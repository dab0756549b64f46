"""Ctrl-C ends a launch whose kernel would go on for ever, and nothing else."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import threading

import pytest

from minialex.cuda.emulator import machine
from tests.cuda.endless_launches import LAUNCHES
from tests.cuda.tools import ROOT


@pytest.fixture(scope="module")
def program():
    """Yield a program that launches endless kernels, and end it."""
    command = [sys.executable, "-m", "tests.cuda.endless_launches"]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, bufsize=1, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        yield started
        started.kill()


def says(program):
    """Return what the program says next."""
    line = program.stdout.readline().strip()
    return line or program.communicate()[1]


@pytest.mark.timeout(60)
def test_it_ends_every_kernel_and_leaves_the_emulator_as_it_was(program):
    for launch in LAUNCHES:
        assert says(program) == "running", launch
        program.send_signal(signal.SIGINT)
        assert says(program) == "interrupted", launch
    # with a handler of the caller's the second ends it
    assert says(program) == "running"
    program.send_signal(signal.SIGINT)
    assert not select.select([program.stdout], [], [], 0.1)[0]
    program.send_signal(signal.SIGINT)
    assert says(program) == "interrupted"
    # and outside of launches all is as ever
    assert says(program) == "running"
    program.send_signal(signal.SIGINT)
    assert says(program) == "interrupted"
    assert program.wait() == 0, program.stderr.read()


def test_only_the_main_thread_is_interrupted():
    found = []
    other = threading.Thread(target=lambda: found.append(machine._interrupts()))
    other.start()
    other.join()
    assert found == [0]


@pytest.mark.parametrize(
    ("handler", "expected"),
    [(signal.SIG_DFL, 0), (signal.SIG_IGN, 0), (signal.default_int_handler, 1), (print, 2)],
)
def test_the_handler_says_how_often_it_takes(handler, expected):
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert machine._interrupts() == expected
    finally:
        signal.signal(signal.SIGINT, before)
