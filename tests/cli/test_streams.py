"""Standard output and error that are full or closed, or whose reader has gone."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minialex.cli.streams import OutputError, guard_streams, lines_are_remarks
from tests.cli.conftest import TINY

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def full():
    return open("/dev/full", "w")


def unread():
    """Return the end of a pipe whose reader has gone, as after ``| head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def closed():
    """Return a stream that answers as one that the shell closed with ``>&-``."""
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


BROKEN = [full, unread, closed]


@contextlib.contextmanager
def standard_output(stream):
    """Put `stream` in the place of standard output: within a test, pytest having put its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield
    # what its buffer holds cannot be written either
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    ("words", "end", "needed"),
    [
        (("train", "photos", "--out", "run"), "run/best.safetensors", False),
        # whose mean is in no file
        (("kfold", "photos", "--out", "run", "--folds", "2"), "run/fold-2/fold.json", True),
    ],
    ids=["train", "kfold"],
)
def test_a_run_goes_on_to_its_end(minialex, photos, broken, words, end, needed):
    with standard_output(broken()):
        answer = minialex(*words, *TINY, "--log-every", "1")
    assert answer.out == ""
    assert answer.status == ((141 if broken is unread else 2) if needed else 0)
    assert answer.err.count("cannot write to standard output") == (answer.status == 2)
    assert answer.err.count("\n") == (answer.status == 2)
    assert Path(end).exists()


@pytest.mark.parametrize(
    "words", [("summary", "alexnet-mini"), ("trace", "--list"), ("train", "--help")]
)
@pytest.mark.parametrize(
    ("broken", "status", "reason"),
    [
        (full, 2, "No space left on device"),
        (closed, 2, "it is closed"),
        # 128 and SIGPIPE, without a word
        (unread, 141, ""),
    ],
)
def test_a_result_that_cannot_be_written_is_an_error(minialex, broken, words, status, reason):
    with standard_output(broken()):
        answer = minialex(*words)
    line = f"minialex: error: cannot write to standard output ({reason}): redirect it elsewhere\n"
    assert (answer.status, answer.err) == (status, line if reason else "")


def test_what_is_needed_fails_once_and_what_is_not_never():
    with standard_output(full()):
        guard_streams()
        with pytest.raises(OutputError, match="No space left"):
            print("needed", flush=True)
        print("while the command ends", flush=True)
        guard_streams()
        lines_are_remarks()
        print("lost", flush=True)
    with pytest.MonkeyPatch.context() as patch, full() as errors:
        patch.setattr(sys, "stderr", errors)
        guard_streams()
        print("lost", file=sys.stderr, flush=True)


def test_a_pipe_that_nobody_empties_and_that_does_not_wait_is_an_error():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb") as reader, open(writing, "w") as writer, standard_output(writer):
        guard_streams()
        print("there", flush=True)
        assert reader.read(6) == b"there\n"
        with pytest.raises(OutputError, match="Resource temporarily unavailable") as caught:
            print("x" * 2**20, flush=True)
        assert caught.value.exit_status == 2


def test_a_stream_that_code_put_there_is_left(monkeypatch):
    for stream in io.StringIO(), io.TextIOWrapper(io.BytesIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        guard_streams()
        assert sys.stdout is stream


def test_a_file_does_not_get_the_number_of_a_closed_stream():
    code = (
        "import os; from minialex.cli.streams import guard_streams; guard_streams(); "
        "file = os.open(os.devnull, os.O_WRONLY); os._exit(file)"
    )
    root = Path(__file__).parents[2]
    child = f"{sys.executable} -c '{code}' <&- >&- 2>&-"
    assert subprocess.run(child, shell=True, cwd=root, check=False).returncode == 3
