"""No kernel reads a variable that nothing was written to, as far as a compiler can see.

The emulator cannot: such a variable holds whatever its place on the stack did.
"""

import subprocess

import pytest

from minialex.cuda import nvrtc, source
from minialex.cuda.compiler_text import for_emulator
from minialex.cuda.emulator import compiler
from minialex.cuda.emulator.translate import translate

WARNINGS = "-Wuninitialized", "-Wmaybe-uninitialized", "-Winit-self"
MAX_INSTANCES = 4
"""Instances of a kernel file that are compiled: the first and the last, and some between."""


def warned_of(text, expressions):
    """Return what g++ says of variables in instances of kernels, compiled as the emulator does."""
    tool = compiler.compiler()
    how = ("-O1", "-S", "-o", "-", "-include", "emulator.h", "-x", "c++", "-")
    command = [*tool.command, *compiler._kernel_flags(tool), *WARNINGS, *how]
    done = subprocess.run(
        command, input=translate(text, expressions), text=True, capture_output=True, check=True
    )
    return [line for line in done.stderr.splitlines() if "uninitialized" in line]


gcc = pytest.mark.skipif(compiler.compiler().is_clang, reason="g++ is asked: CXX is another")


@gcc
@pytest.mark.parametrize("file", source.kernel_files())
def test_no_kernel_reads_what_was_never_written(file):
    every = nvrtc.instances(file)
    some = every[:: max(1, len(every) // MAX_INSTANCES)]
    assert warned_of(for_emulator(source.read(file), some, capability=90), some) == []


@gcc
def test_a_flag_that_is_made_of_itself_is_seen():
    text = source.read("adam.cu").text
    planted = text.replace("is_vector(vector_aligned &&", "is_vector(is_vector &&")
    assert planted != text
    (line,) = warned_of(planted, ["adam<float>"])
    assert "is_vector" in line
