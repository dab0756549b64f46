"""Every instantiation of every kernel, for every architecture, by every NVRTC that has budgets.

It compiles, its machine code takes what ``kernels/budgets`` says, and its blocks fit. Where an
NVRTC or the disassembler is missing this fails: a budget that was not looked at is not kept.
"""

import pytest

from minialex import cuda
from minialex.cuda import disassembly, nvrtc, source
from minialex.study import budgets
from tests.cuda.launches import launches
from tests.cuda.tools import (
    ROOT,
    assert_compiles,
    assert_within_budget,
    compiles,
    launch_bounds,
    too_much,
)

VERSIONS = sorted(budgets.read(ROOT))
COMPILED = [
    (version, file, architecture)
    for version in nvrtc.versions()
    for file in source.kernel_files()
    for architecture in nvrtc.architectures(file, version)
]


def test_every_version_that_has_budgets_is_at_hand():
    assert VERSIONS
    assert set(VERSIONS) <= set(nvrtc.versions()), (
        "CONTRIBUTING.md, 'Changing a kernel', says how to get it"
    )
    assert not disassembly.why_missing()


@compiles
@pytest.mark.parametrize(("version", "file", "architecture"), COMPILED)
def test_every_kernel_compiles_within_its_budget_and_fits(version, file, architecture):
    code = assert_compiles(file, architecture, version)
    if version in VERSIONS and architecture in budgets.architectures(file, version):
        assert_within_budget(file, architecture, version, code)
    bounds = launch_bounds(file)
    for usage in code.usage:
        # no case is so large that max_pool2d's argmax takes four bytes: the usual block
        blocks = {(bounds.get(usage.kernel, cuda.BLOCK_SIZE), 0)}
        blocks |= {(x.threads, x.dynamic_shared) for x in launches() if x.kernel == usage.kernel}
        for threads, dynamic_shared in blocks:
            assert not too_much(
                architecture,
                threads=threads,
                registers=usage.registers,
                shared=usage.shared,
                dynamic_shared=dynamic_shared,
            ), usage
