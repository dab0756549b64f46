"""One flat stretch of memory for all parameters, one for the gradients, one a kind of state.

Parameters become views into it. Updating, saving or sending all of them is then one operation on
one array, and the backward pass writes gradients where the optimizer will read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from minialex import arrays
from minialex.arrays import Array
from minialex.autograd import Pending, Tensor

# parameters start at multiples of 64 bytes (float32), which suits vector loads
ALIGNMENT = 16


class Arena:
    """The memory that the parameters of one optimizer share.

    Parameters
    ----------
    params : Tensors that require a gradient, of one float type on one device
        Rebound: their arrays become views into `data`, and backward writes gradients into `grad`.
    slots : names of the kinds of state
        Each becomes a flat array of zeros in `state`.

    Attributes
    ----------
    data, grad : (total,) arrays
    state : dict from slot to (total,) array
    places : list of slices, one a parameter

    Raises
    ------
    ValueError
        If there is no parameter, one is given twice, or types or devices differ.
    """

    def __init__(self, params: Iterable[Tensor], slots: Sequence[str]) -> None:
        self.params = list(params)
        _check(self.params)
        self.places, total = [], 0
        for p in self.params:
            self.places.append(slice(total, total + p.size))
            total += -(-p.size // ALIGNMENT) * ALIGNMENT
        like = self.params[0].data
        with arrays.on_device(arrays.device_of(like)) as xp:
            self.data: Array = xp.zeros(total, like.dtype)
            self.grad: Array = xp.zeros(total, like.dtype)
        for p, place in zip(self.params, self.places, strict=True):
            shape = p.shape
            self.data[place] = p.data.reshape(-1)
            p.data, p.grad = self.data[place].reshape(shape), None
            p.grad_home = self.grad[place].reshape(shape)
        self.state: dict[str, Array] = {}
        self.keep(slots)

    def keep(self, slots: Iterable[str]) -> None:
        """Have state of these kinds: zeros where there was none."""
        with arrays.on_device(arrays.device_of(self.data)) as xp:
            for slot in slots:
                if slot not in self.state:
                    self.state[slot] = xp.zeros(self.data.size, self.data.dtype)

    def spans(self, pending: bool) -> Iterator[tuple[slice, Array | Pending]]:
        """Yield the stretches, as long as can be, of parameters that have a gradient, and that.

        A pending gradient stands for itself where `pending` is true; else it is computed.
        """
        start: int | None = None
        for p, place in zip(self.params, self.places, strict=True):
            waits = p.pending if pending else None
            if waits is None and p.grad is not None:
                start = place.start if start is None else start
                end = place.stop
                continue
            if start is not None:
                yield slice(start, end), self.grad[start:end]
                start = None
            if waits is not None:
                yield place, waits
        if start is not None:
            yield slice(start, end), self.grad[start:end]

    def views(self, slot: str) -> list[Array]:
        """Return one kind of state as a list of arrays of the parameters' shapes."""
        flat = self.state[slot]
        return [
            flat[place].reshape(p.shape) for p, place in zip(self.params, self.places, strict=True)
        ]


def _check(params: list[Tensor]) -> None:
    if not params:
        raise ValueError("an optimizer needs at least one parameter")
    if len({id(p) for p in params}) < len(params):
        raise ValueError("a parameter is given to the optimizer twice")
    kinds = {(str(p.dtype), str(p.device)) for p in params}
    if len(kinds) > 1:
        raise ValueError(f"parameters differ in type or device: {sorted(kinds)}")
    if not all(p.requires_grad and p.is_leaf for p in params):
        raise ValueError("an optimizer takes leaf Tensors that require a gradient")
