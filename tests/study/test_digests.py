"""The hashes that say what is out of date: they change with code, and with nothing else."""

import pytest

from minialex.autograd import ROUTINES
from minialex.cuda import source
from minialex.study import digests
from minialex.study.kernel_uses import Use, modules_of, uses

RELU = [Use("relu", "kernel", True)]


def digest(used=RELU):
    return digests.profile_digest("relu.cu", used)


def test_comments_docstrings_and_empty_lines_are_no_code():
    said = '''"""What it is."""
import x  # why


# what
def f(a: str) -> str:
    """Return it.

    Twice.
    """
    # a comment
    return a + "# none"
'''
    code = 'import x  # why\ndef f(a: str) -> str:\n    return a + "# none"'
    assert digests.python_code(said) == code


def test_kernels_launching_code_and_the_profiler_count(monkeypatch):
    before = digest()
    with source.edited("relu.cu", "The idea: max(x, 0)", "The idea: that"):
        assert digest() == before
    with source.edited("relu.cu", "pack[k] < 0", "pack[k] <= 0"):
        assert digest() != before
    launching = modules_of(ROUTINES["relu"].implementations["kernel"])
    assert launching == {"minialex.ops._cuda.launching", "minialex.ops.relu.cuda"}
    for name in launching:
        with monkeypatch.context() as patch:
            code = digests._module_code
            patch.setattr(digests, "_module_code", lambda m, n=name, c=code: c(m) + ";" * (m == n))
            assert digest() != before
    with monkeypatch.context() as patch:
        patch.setattr(digests, "_profiler_code", lambda: "another")
        assert digest() != before
    assert digest() == before


def test_a_step_has_the_hash_of_all_that_it_runs(monkeypatch):
    files = "relu.cu", "dropout.cu"
    before = digests.step_digest(files, RELU)
    assert digests.step_digest(files[::-1], RELU) == before
    assert digests.step_digest(files, [*RELU, Use("dropout", "kernel", True)]) != before
    for file, kernel in zip(files, ("relu_forward(", "dropout("), strict=True):
        with source.edited(file, f"void {kernel}", f"int {kernel}"):
            assert digests.step_digest(files, RELU) != before
    for path in digests.STEP:
        with monkeypatch.context() as patch:
            code = digests.python_code
            text = (digests._PACKAGE / path).read_text("utf-8")
            patch.setattr(digests, "python_code", lambda t, n=text, c=code: c(t) + ";" * (t == n))
            assert digests.step_digest(files, RELU) != before


@pytest.mark.parametrize("pattern", digests.PROFILER)
def test_the_files_of_the_profiler_are_there(pattern):
    assert list(digests._PACKAGE.glob(pattern))


def test_the_parts_that_do_not_count_are_there():
    folders = (digests._PACKAGE / "cuda" / "emulator", digests._PACKAGE / "study" / "profile")
    there = {path.stem for folder in folders for path in folder.rglob("*.*")}
    assert there >= set(digests.NOT_COUNTING)


def test_every_use_has_code_that_launches():
    for use in {use for there in uses().values() for use in there}:
        assert modules_of(ROUTINES[use.routine].implementations[use.implementation])
