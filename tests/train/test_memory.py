"""A batch that is too large for memory: refused before it starts, or explained."""

import pytest

from minialex import arrays
from minialex.errors import MinialexError
from minialex.evaluation import batch_memory
from minialex.train import train
from tests.small_runs import small

pytestmark = pytest.mark.usefixtures("no_curves")


class TestNotEnoughMemory:
    def test_a_batch_larger_than_all_memory_is_refused_before_it_starts(self, images, tmp_path):
        with pytest.raises(MinialexError, match=r"at least .* GB .* needed .* lower the batch"):
            train(small(images, out=str(tmp_path / "run"), batch_size=10**9))
        assert not list(tmp_path.iterdir())

    def test_a_containers_limit_counts(self, tmp_path, monkeypatch):
        machine = tmp_path / "meminfo"
        machine.write_text("MemTotal: 9 kB\nMemAvailable: 2 kB\n")
        monkeypatch.setattr(batch_memory, "MEMINFO", machine)
        monkeypatch.setattr(batch_memory, "CGROUP", tmp_path)
        assert batch_memory.available_memory() == 2048
        (tmp_path / "memory.max").write_text("max\n")
        (tmp_path / "memory.current").write_text("700\n")
        assert batch_memory.available_memory() == 2048
        (tmp_path / "memory.max").write_text("1000\n")
        assert batch_memory.available_memory() == 300
        machine.unlink()
        assert batch_memory.available_memory() == 300

    def test_what_is_needed_is_the_outputs_and_two_batches_of_images(self, monkeypatch):
        # of ten images: 1,000 bytes of outputs, and twice 3 x 8 x 8 float32
        needed = 10 * (1000 + 2 * 3 * 8 * 8 * 4)
        monkeypatch.setattr(batch_memory, "available_memory", lambda: needed)
        batch_memory.check_memory(1000, arrays.CPU, 10, 8)
        monkeypatch.setattr(batch_memory, "available_memory", lambda: needed - 1)
        # a GPU's allocator tells by itself
        batch_memory.check_memory(1000, arrays.Device("cuda", 0), 10, 8)
        with pytest.raises(MinialexError, match="batches of 10 images of 8x8 pixels"):
            batch_memory.check_memory(1000, arrays.CPU, 10, 8)

    def test_where_nobody_tells_nothing_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(batch_memory, "MEMINFO", tmp_path / "none")
        monkeypatch.setattr(batch_memory, "CGROUP", tmp_path / "none")
        batch_memory.check_memory(10**9, arrays.CPU, 10**9, 32)

    @pytest.mark.parametrize(
        "where",
        [
            "train.step.cross_entropy",
            "evaluation.evaluate.cross_entropy",
            "train.recorder.RunRecorder.log",
        ],
    )
    def test_says_what_to_lower(self, images, tmp_path, monkeypatch, where):
        def fail(*_, **__):
            raise MemoryError

        monkeypatch.setattr(f"minialex.{where}", fail)
        with pytest.raises(
            MinialexError, match=r"on cpu for batches of 5 images of 32x32 .* lower the batch size"
        ):
            train(small(images, out=str(tmp_path / "run")))
