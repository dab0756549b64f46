"""Which pipeline an instruction runs on, and how much a tensor core's does."""

from __future__ import annotations

import pytest

from minialex.cuda.disassembly import Instruction
from minialex.cuda.pipelines import by_pipeline, pipeline, tensor_products


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("FFMA", "FMA"),
        ("IMAD", "FMA"),
        ("DFMA", "FP64"),
        ("MUFU", "XU"),
        ("LDG.128", "LSU"),
        ("SHFL", "LSU"),
        ("HMMA", "tensor"),
        ("ISETP", "ALU"),
        ("UIADD3", "uniform"),
        ("BRA", "control"),
    ],
)
def test_the_pipeline_of_an_instruction(kind, name):
    assert pipeline(kind) == name


def test_kinds_are_added_up():
    assert by_pipeline({"LDS": 2, "LDS.128": 3, "FFMA": 4}) == {"LSU": 5, "FMA": 4}


@pytest.mark.parametrize(
    ("opcode", "products"),
    [
        ("HMMA.1688.F32.TF32", (1024, True)),
        ("HMMA.16816.F32.BF16", (2048, False)),
        ("HMMA.1684.F32.TF32", (512, True)),
        ("HMMA.16816.F32", (2048, False)),
        ("FFMA.FTZ", (0, False)),
    ],
)
def test_multiply_adds_of_a_tensor_core(opcode, products):
    assert tensor_products(Instruction(opcode)) == products
