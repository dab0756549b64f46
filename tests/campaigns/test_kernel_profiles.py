"""The tables of kernels/README.md: some files, drawn by the page's own text, are counted anew."""

import random
import re

import pytest

from minialex.bench.kernel_profiles import profile_table
from minialex.cuda import nvrtc, source
from minialex.study.kernels import PAGE
from tests.cuda.tools import ROOT, disassembles

TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
DRAWN = random.Random(TEXT).sample(source.kernel_files(), 4)


@disassembles
@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", DRAWN)
def test_the_page_shows_what_is_counted_today(file):
    section = TEXT.partition(f"\n## `{file}`")[2].partition("\n## ")[0]
    version, shown = re.split(r"<!-- profiled with NVRTC ([\d.]+), code \w+ -->\n", section)[1:]
    if version != nvrtc.version():
        pytest.skip(f"the page is of the code of NVRTC {version}")
    assert profile_table(file) == shown.strip(), "python -m minialex.bench.kernel_profiles"
