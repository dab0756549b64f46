"""Pages of what runs: which kernel, which block, which implementation, and what all blocks do."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from minialex import cuda, ops
from minialex.errors import MinialexError
from minialex.study.profile import page_of
from minialex.study.profile.page import LAUNCH_FIELDS
from tests.cuda.tools import kernel

F32 = np.float32


def data_of(html):
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])


def relu():
    x, y, gx = np.arange(100, dtype=F32) - 50, np.zeros(100, F32), np.zeros(100, F32)
    kernel("elementwise.cu", "rectify")(4, 32, x, y, 100)
    kernel("elementwise.cu", "rectify_back")(4, 32, x, y, gx, 100)


def test_beside_a_block_stands_the_launch():
    data = data_of(page_of(relu, gpu="A100", block=(3, 0, 0)))
    assert (data["kernel"], data["at"]) == ("rectify<float>", [3, 0, 0])
    launch = data["launch"]
    assert (launch["blocks"], launch["counted"]) == (4, 4)
    assert launch["about"][1].startswith("predicted on an A100, not measured: ")
    rows = [dict(zip(LAUNCH_FIELDS, row, strict=True)) for row in launch["lines"]]
    # three blocks whole, and 4 lanes of the last
    assert {(r["access"], r["requests"], r["lanes"], r["cost"], r["least"]) for r in rows} == {
        ("read", 4, 100, 13, 13),
        ("write", 4, 100, 13, 13),
    }
    for row in data["lines"]:
        assert row[:6] in [one[:6] for one in launch["lines"]]
        assert row[6:] == [1, 4, 1, 1]


def test_a_view_begins_where_its_memory_has_it():
    x, y = np.ones(33, F32)[1:], np.zeros(32, F32)
    html = page_of(lambda: kernel("elementwise.cu", "rectify")(1, 32, x, y, 32))
    arrays = {one["name"]: one["phase"] for one in data_of(html)["arrays"]}
    assert arrays == {"x": 4, "y": 0}
    assert [row[8:10] for row in data_of(html)["lines"]] == [[5, 4], [4, 4]]


def test_a_kernel_may_be_named():
    assert data_of(page_of(relu, "rectify_back"))["kernel"] == "rectify_back<float>"


def test_an_op_is_shown_in_what_the_gpu_runs():
    x, w = np.ones((4, 8), F32), np.ones((4, 8), F32)
    data = data_of(page_of(lambda: ops.linear(x, w), gpu="A100"))
    assert data["kernel"].startswith("linear_forward_tf32x3<")


def test_a_file_of_another_folder_is_shown_without_its_path(tmp_path):
    path = tmp_path / "twice.cu"
    path.write_text("""__global__ void twice(float* x, int n) {
            if (threadIdx.x < n) x[threadIdx.x] *= 2;
        }""")
    x = np.ones(32, F32)
    html = page_of(lambda: cuda.kernel(path, "twice")(1, 32, x, 32))
    assert str(tmp_path) not in html
    data = data_of(html)
    assert data["files"] == ["twice.cu"]
    assert {row[0] for row in data["lines"] + data["launch"]["lines"]} == {"twice.cu"}
    assert [part["file"] for part in data["texts"]] == ["twice.cu"]
    assert (x == 4).all()


@pytest.mark.parametrize(
    ("run", "more", "said"),
    [
        (relu, {"kernel": "gelu"}, "no kernel 'gelu' is launched, but: rectify, rectify_back"),
        (lambda: None, {}, "no kernel is launched, of which"),
        (relu, {"block": (4, 0, 0)}, r"has no block \(4, 0, 0\): its grid is \(4, 1, 1\)"),
        (relu, {"gpu": "A200"}, "unknown GPU 'A200'"),
    ],
    ids=["kernel", "nothing", "block", "gpu"],
)
def test_what_there_is_no_page_of(run, more, said):
    with pytest.raises(MinialexError, match=said):
        page_of(run, **more)
