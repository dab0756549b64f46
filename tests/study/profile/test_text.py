"""The table of lines says what the compiler made of each access."""

from __future__ import annotations

import json

import numpy as np

from minialex import cuda, ops
from minialex.autograd import using
from minialex.cuda import nvrtc
from minialex.study.profile import profiled, resources, text
from tests.cuda.tools import disassembles


def profile_of_a_relu():
    x, y = np.ones(1024, np.float32), np.zeros(1024, np.float32)
    with profiled("A100") as profile:
        cuda.kernel("relu.cu", "relu_forward")(4, 256, x, y, 1024)
    return profile


@disassembles
def test_a_row_names_the_instructions_of_the_machine_code():
    profile = profile_of_a_relu()
    (launch,) = profile.launches
    rows = {row[2]: row[1] for row in text.line_rows(launch)}
    assert rows == {"x": "read 4 B: LDG", "y": "write 4 B: STG"}
    (found,) = json.loads(json.dumps(profile.to_json()))["launches"]
    kinds = [one["kind"] for one in found["machine_code"]]
    assert {"LDG", "STG"} <= set(kinds)


def test_without_machine_code_a_row_says_what_was_written(monkeypatch):
    monkeypatch.setattr(nvrtc, "why_missing", lambda: "needs NVRTC")
    resources._code.cache_clear()
    try:
        (launch,) = profile_of_a_relu().launches
        rows = {row[2]: row[1] for row in text.line_rows(launch)}
        assert rows == {"x": "read 4 B", "y": "write 4 B"}
        assert "registers and occupancy: not known, needs NVRTC" in text.summary(launch)
    finally:
        resources._code.cache_clear()


def test_what_launches_no_kernel_is_said_to_be_missing():
    x = np.ones(64, np.float32)
    with profiled() as profile, using(relu="plain"):
        ops.relu(x)
        ops.log(x)  # has no other implementation
        assert text.implementations(profile) == "implementations: relu=plain, all without kernels"
        ops.softmax(x.reshape(8, 8))
    missing = "; without kernels, and so without times: relu=plain"
    assert text.implementations(profile) == f"implementations: relu=plain softmax=kernel{missing}"
