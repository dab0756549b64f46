"""The tables of foreign kernels agree with their files, and each kernel with what it needs."""

from __future__ import annotations

import re

import pytest

from minialex.cuda.declarations import declarations
from minialex.cuda.needed import reached
from tests.cuda.foreign import cases
from tests.cuda.foreign.case import FOLDER

FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".cu", ".cuh"))
_OF_THE_HOST = {"main", "std", "torch", "cudaMalloc", "cudaMemcpy", "fprintf", "exit"}


def text_of(case):
    """Return the text of the case's file, with those that it includes."""
    path = FOLDER / case.file
    text = path.read_text()
    beside = re.findall(r'#include "(\w+\.cuh)"', text)
    return "\n".join([text, *((path.parent / name).read_text() for name in beside)])


def test_every_kernel_has_a_case():
    every = [(path.parent.name, d) for path in FILES for d in declarations(path.read_text())]
    defined = [(folder, d.names[0]) for folder, d in every if d.is_kernel and d.is_defined]
    named = [(case.path.parent.name, case.kernel.rpartition("::")[2]) for case in cases()]
    assert len(defined) >= 150
    assert sorted(named) == sorted(defined)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_kernel_of_a_file_is_found_and_needs_nothing_of_the_host(path):
    text = path.read_text()
    every = declarations(text)
    kernels = [d for d in every if d.is_kernel]
    assert len(kernels) == len(re.findall("__global__", re.sub(r"//[^\n]*", "", text)))
    for kernel in kernels:
        for one in reached(every, [kernel]):
            assert not one.words & _OF_THE_HOST, (kernel.qualified, one.names)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_table_names_a_kernel_and_a_text_that_stands_once(case):
    text = text_of(case)
    name = case.kernel.rpartition("::")[2]
    kernels = [d for d in declarations(text) if d.is_kernel and d.is_defined]
    assert name in [d.names[0] for d in kernels]
    assert text.count(case.fault.old) == 1
    assert case.fault.new != case.fault.old
