"""The code speaks the field's language: words that were its own alone do not come back.

Each line is a pattern and what to say instead. What is ours and stays is in docs/glossary.md.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = "minialex", "kernels", "tests", "benchmarks", "docs"
SUFFIXES = {".py", ".cu", ".cuh", ".h", ".cpp", ".md", ".sh"}

NAMES = {
    r"def some\(": "what it computes: compute_blocks, compute_rows",
    r"\b(shares|blocks_of)\(": "blocks_per_worker, cache_blocks",
    r"\bpieces\(": "slices_per_worker",
    r"def every\(|\bevery\(": "strided_slice",
    r"\bpositions\(": "output_length",
    r"\bdelivered\b|\bgrad_home\b": "store_gradient, grad_buffer",
    r"\bwinners?(_type)?\b": "argmax, argmax_dtype",
    r"\bRoom\b|\badd_up\(|\broom\.(see|cut)\b": "PatchBuffer, load, im2col, col2im",
    r"\b_?places\(|\b_places\b": "windows, num_positions, offsets",
    r"\badd_up_(patches|rows)\b|\bconvolve_few\b": "data_gradient_col2im, convolve_small_output",
    r"\b_Phases\b|\btwins\b|\b_dealt\b": "StridePhases, phase_and_pixels, phase_overlap",
    r"\b_times_few\b|\b_products\b": "_tall_skinny_matmul, _matmul_out",
    r"\bin_vectors\b|\bEDGES\b|\bclass Cut\b": "is_vector_aligned, PROLOGUE_STEPS, TilePlan",
    r"\b_(spans|places|shapes|blocking|launching|rows|pooling|patches)\.py": "the file's new name",
    r"\bin_blocks\b": "blockwise",
    r"(?<![\w.])(choose|chosen)\(": "implementation_for, implementation_name",
    r"(?<![\w.])(proven|posed|pose)\(|\blands\b": "baseline, make_problem, output_device",
    r"\bclass (Problem|Elements|Place|Sums|Best|Bad|Few|Owned|Triple|Calls|Bench|Room)\b": (
        "the names in the class's module"
    ),
    r"\bskip_bad\b|\bskip-bad\b|\bfind_bad\b": "drop_unreadable, skip_unreadable",
    r"\blasting\(|\bPLACES\b": "result_settings, RUNTIME_SETTINGS",
    r"\bjudg(e|ed|es|ing)\b": "evaluate, evaluation",
    r"\b(tells|goes_on)\(": "reports_missing, within_budget",
    r"\b(Few|Owned)<|\bTEAM\b|\bSHELVES\b|\bmet_by\b|\b(lefts|rights)\[|\bTriple\b": (
        "Vec, ThreadSlice, THREADS_PER_PIXEL, SMEM_ROWS, input_offset, a_tile, b_tile, Index3"
    ),
    r"^_?(CACHE|LEAST|FEW|MANY|ENOUGH|BLOCK|MOST|EACH|SMALL|LIMIT)\b\s*(:[^=]*)?=": (
        "what it bounds, and in which unit"
    ),
}

COUNTED = (
    "array|batch|batches|bit|block|byte|case|column|element|flag|image|launch|launches|line|number|"
    "register|row|slice|step|thread|tile|view|warp|word"
)
PHRASES = {
    rf"\b(an?|one|two) ({COUNTED}) (an?|each|every) \w+": "one thread per element",
    r"\bbatches an epoch\b": "batches per epoch",
    r"\bturned round\b": "flipped",
    r"\bas they lie\b": "without a layout change",
    r"\b(wait|waits|waiting) for each other's Python\b": "threads contend for the GIL",
    r"\bthat nobody has computed\b": "deferred",
    r"\b[Ll]et go of what\b": "free saved tensors",
    r"\bthe direction moves\b": "which outputs depend on it",
    r"\bheld against\b": "normalised by, compared with",
    r"\b[Tt]he (one )?door\b": "the CUDA launch layer",
    r"\bnot to be had\b": "not available",
    r"\bthere is no (op|implementation|routine|precision) (named )?\{": "unknown op; known:",
    r"\b(in|into) words[,.;]|\bReturn in words\b": "a description, translate to",
    r"\blooked through\b": "checked",
    r"\bheld[- ]out\b": "validation, evaluation",
    r"\bthat nobody (wrote|has written)\b": "uninitialised",
    r"\bhow it goes\b": "progress",
    r"\b([Nn]obody|[Ss]omebody|[Ee]verybody|[Ww]hoever|[Aa]nybody)\b": "the user, the caller, all",
}


def files():
    own = Path(__file__).resolve()
    inside = (p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*")))
    yield from (p for p in inside if p.suffix in SUFFIXES and p != own)
    others = *sorted(ROOT.glob("*.md")), ROOT / "pyproject.toml", ROOT / ".ci" / "run"
    yield from filter(Path.exists, others)


@pytest.mark.parametrize("table", [NAMES, PHRASES], ids=["names", "phrases"])
def test_no_word_is_ours_alone(table):
    found = []
    for path in files():
        text = path.read_text(encoding="utf-8")
        for pattern, instead in table.items():
            for match in re.finditer(pattern, text, re.MULTILINE):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(ROOT)}:{line}: {match[0]!r}: say {instead}")
    assert not found, "\n".join(found)


def test_a_word_that_comes_back_is_found():
    for pattern, text in (
        (r"\bheld[- ]out\b", "of which a fifth is held out"),
        (next(iter(PHRASES)), "one thread a vector, a bit an element"),
        (next(p for p in NAMES if "SHELVES" in p), "constexpr int SHELVES = 2;"),
    ):
        assert re.search(pattern, text), pattern
