"""A cross-validation that nothing stopped, which others are compared with."""

import pytest
import threadpoolctl

from minialex.cpu import threads
from minialex.kfold.folds import kfold
from tests.small_runs import Listener, small, write_images

K = 3


@pytest.fixture(scope="package")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images", each=6)


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Folds that share two cores have one thread each: so has what they are compared with."""
    with pytest.MonkeyPatch.context() as patch, threadpoolctl.threadpool_limits(1):
        patch.setenv(threads.VARIABLE, "1")
        yield


@pytest.fixture(scope="package")
def whole(images, tmp_path_factory):
    """Folds that were not stopped: the folder, what was heard, and the outcome."""
    out, listener = tmp_path_factory.mktemp("whole") / "folds", Listener()
    return out, listener, kfold(small(images, out=str(out)), K, reporter=listener)


def content(out):
    """Return the bytes of all checkpoints and records, by name."""
    files = [p for p in out.rglob("*") if p.suffix in (".safetensors", ".json")]
    return {str(p.relative_to(out)): p.read_bytes() for p in files if p.name != "kfold.json"}
