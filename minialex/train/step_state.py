"""What a training step counts where it runs, so that a GPU can repeat it without the host.

    tally     totals <- totals + (N loss, |{n: argmax x[n] = targets[n]}|)
              failed <- 1 where the loss is not finite
    advance   counts <- counts + (1, streams), rates <- table[counts[0] mod R]      unless failed

Everything is float64, in which whole numbers are exact up to 2^53.

    plain    operations that NumPy and CuPy share
    kernel   kernels/train_step.cu, one launch each
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minialex import cuda
from minialex.arrays import Array, Device, array_module, on_device, to_device, to_numpy
from minialex.autograd import Routine, implementation_for
from minialex.optim import ReplayInputs
from minialex.wording import counted

TABLE_STEPS = 1024
"""Steps whose learning rates stand in a device's memory at a time."""

MAX_COUNT = 2**53
"""Up to this every whole number is a float64."""

Rates = Callable[[int], Sequence[tuple[float, float]]]
"""From the number of steps taken to what `Optimizer.rates` gives for the next."""

_THREADS_PER_BLOCK = 1024


class StepState:
    """The numbers of a training step, side by side in the memory of one device.

    Attributes
    ----------
    totals : (2,) float64
        The sum of the losses of all images of the epoch so far, and how many predictions were
        correct.
    failed : (1,) float64
        Not 0 from the first loss on that was not finite.
    counts : (2,) float64
        Steps taken, and random streams drawn.
    rates : (groups, 2) float64
        What `Optimizer.rates` gives for the next step.
    table : (TABLE_STEPS, groups, 2) float64
        The same for the steps to come: for step s in row s mod TABLE_STEPS.
    """

    def __init__(self, device: Device, groups: int = 1) -> None:
        with on_device(device) as xp:
            self._block: Array = xp.zeros(5 + 2 * groups, np.float64)
            self.table: Array = xp.zeros((TABLE_STEPS, groups, 2), np.float64)
        self.device = device
        self.totals, self.failed = self._block[:2], self._block[2:3]
        self.counts, self.rates = self._block[3:5], self._block[5:].reshape(groups, 2)
        # the steps whose rates the table holds; none yet
        self._table_steps = range(0)

    @property
    def drawn(self) -> Array:
        """The random streams drawn, (1,) float64."""
        return self.counts[1:]  # type: ignore[no-any-return]

    @property
    def replay_inputs(self) -> ReplayInputs:
        """What an optimizer's kernel reads."""
        return ReplayInputs(self.rates, self.failed)

    def start(self, steps: int, streams: int, rates: Rates) -> None:
        """Begin at step `steps`, not failed, with `streams` random streams drawn.

        Raises
        ------
        ValueError
            If a number is too large to be counted here.
        """
        if max(steps, streams) >= MAX_COUNT:
            raise ValueError(
                f"a training step counts up to 2**53, but begins with {counted(steps, 'step')} and "
                f"{counted(streams, 'random stream')}: start with fewer"
            )
        head = np.array([0, steps, streams, *np.ravel(rates(steps))], np.float64)
        self._block[2:] = to_device(head, self.device)
        self._table_steps = range(0)

    def set_rates(self, steps: int, rates: Rates) -> None:
        """Take other rates from step `steps` on; everything else stays."""
        self.rates[...] = to_device(np.array(rates(steps), np.float64), self.device)
        self._table_steps = range(0)

    def fill_table(self, steps: int, rates: Rates) -> None:
        """Make sure that the table holds the rates of the step after step `steps`."""
        if steps + 1 not in self._table_steps:
            self._table_steps = range(steps, steps + TABLE_STEPS)
            table = np.empty(self.table.shape, np.float64)
            for step in self._table_steps:
                table[step % TABLE_STEPS] = rates(step)
            self.table[...] = to_device(table, self.device)

    def tally(self, x: Array, targets: Array, loss: Array) -> None:
        """Count a batch: its logits (N, C), targets (N,) int64 and mean loss ()."""
        implementation_for(TALLY, self.device)(x, targets, loss, self.totals, self.failed)

    def advance(self, streams: int) -> None:
        """Go on to the next step, this one having drawn so many random streams."""
        implementation_for(ADVANCE, self.device)(
            self.counts, self.rates, self.failed, self.table, streams
        )

    def on_host(self) -> tuple[bool, int, int]:
        """Return whether a loss was not finite, and how many steps and streams were counted."""
        failed, steps, streams = to_numpy(self._block)[2:5].tolist()
        return failed != 0, int(steps), int(streams)


# ---- the two routines ----------------------------------------------------------------------------


def tally_plain(x: Array, targets: Array, loss: Array, totals: Array, failed: Array) -> None:
    """Add a batch to `totals`, and note in `failed` whether its loss is finite."""
    xp = array_module(x)
    totals[0] += loss.astype(np.float64) * len(targets)
    totals[1] += (x.argmax(axis=1) == targets).sum()
    failed += ~xp.isfinite(loss)


def advance_plain(counts: Array, rates: Array, failed: Array, table: Array, streams: int) -> None:
    """Count a step and take its rates from the table, unless a loss was not finite."""
    xp = array_module(counts)
    goes_on = failed == 0
    counts[:1] += goes_on
    counts[1:] += streams * goes_on
    row = (counts[:1] % len(table)).astype(np.int64)
    xp.copyto(rates, table[row][0], where=goes_on)


_tally = cuda.kernel("train_step.cu", "tally")
_advance = cuda.kernel("train_step.cu", "advance")


def tally_kernel(x: Array, targets: Array, loss: Array, totals: Array, failed: Array) -> None:
    """Add a batch to `totals`, and note in `failed` whether its loss is finite."""
    xp = array_module(x)
    packed = xp.ascontiguousarray(x), xp.ascontiguousarray(targets)
    _tally(1, _THREADS_PER_BLOCK, *packed, loss, totals, failed, *x.shape)


def advance_kernel(counts: Array, rates: Array, failed: Array, table: Array, streams: int) -> None:
    """Count a step and take its rates from the table, unless a loss was not finite."""
    _advance(1, 32, counts, rates, failed, table, streams, len(table), rates.size)


TALLY = Routine("tally", {"plain": tally_plain, "kernel": tally_kernel}, kernel="kernel")
ADVANCE = Routine("advance", {"plain": advance_plain, "kernel": advance_kernel}, kernel="kernel")
