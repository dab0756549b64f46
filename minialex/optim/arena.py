"""One flat array for all parameters, one for their gradients, one per kind of state.

Parameters become views into it. Updating or saving them is then one operation on one array, and the
backward pass writes gradients where the optimizer will read them (but for deferred ones).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from minialex import arrays
from minialex.arrays import BFLOAT16, Array, check_replaces
from minialex.autograd import DeferredGradient, Tensor
from minialex.autograd.clock import note_write

# parameters start at multiples of 64 bytes (float32), which suits vector loads
ALIGNMENT_ELEMENTS = 16

Key = TypeVar("Key")


class Arena:
    """The memory that the parameters of one optimizer share.

    Parameters
    ----------
    params : leaf Tensors, or pairs (name, Tensor)
        Of one float type, on one device. Their arrays are rebound to views into `data`, and
        backward writes gradients into `grad`.
    slots : names of the kinds of state
        Each becomes a flat array of zeros in `state`.

    Attributes
    ----------
    data : (total,) array
    grad : (total,) array
        Valid for parameters whose `grad` is an array: a deferred gradient is not in it until
        ``p.grad`` is read. So read those of all parameters before using it as a whole.
    state : dict from slot to (total,) array
    shadow : (total,) bfloat16 array or None
        `data` rounded, where it was asked for; see `refresh_shadow`.
    slices : list of slice, one per parameter
    names : list of str, one per parameter

    Copied or unpickled together with its parameters, an arena holds the copies.

    Raises
    ------
    ValueError
        If there is no parameter, one is given twice, or types or devices differ.
    TypeError
        If something else than Tensors is given.
    """

    def __init__(self, params: Iterable[Tensor | tuple[str, Tensor]], slots: Iterable[str]) -> None:
        self.names, self.params = _named(params)
        _check(self.names, self.params)
        self._allocate()
        self.state: dict[str, Array] = {}
        self.add_state(slots)

    def _allocate(self) -> None:
        """Allocate parameters and gradients, and copy them in."""
        self.slices, total = [], 0
        for p in self.params:
            self.slices.append(slice(total, total + p.size))
            total += -(-p.size // ALIGNMENT_ELEMENTS) * ALIGNMENT_ELEMENTS
        like = self.params[0].array
        with arrays.on_device(arrays.device_of(like)) as xp:
            self.data: Array = xp.zeros(total, like.dtype)
            self.grad: Array = xp.zeros(total, like.dtype)
        self.shadow: Array | None = None
        self.shadow_views: list[Array] = []
        self._array_views, self._grad_views = self._views(self.data), self._views(self.grad)
        self.rebind()
        for p in self.params:
            # new memory, which was not given away
            p.is_exposed = False

    def __getstate__(self) -> dict[str, Any]:
        return {"names": self.names, "params": self.params, "state": self.state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._allocate()

    def rebind(self) -> None:
        """Copy arrays that lie elsewhere into the arena, and make `data` and `grad` views again.

        An array lies elsewhere where it was assigned to ``p.data``; both do where another optimizer
        was made over the same parameter.

        Raises
        ------
        TypeError, ValueError
            If an array has another type, shape or device than before, or two parameters share one.
        """
        self._rebind_arrays()
        for name, p, view in zip(self.names, self.params, self._grad_views, strict=True):
            deferred = p.deferred_grad is not None
            if p.grad_buffer is not view or not (deferred or p.grad is None or p.grad is view):
                _rebind_gradient(name, p, view)

    def _rebind_arrays(self) -> None:
        pairs = zip(self.names, self.params, self._array_views, strict=True)
        elsewhere = [(name, p, view) for name, p, view in pairs if p.array is not view]
        if not elsewhere:
            return
        for name, p, view in elsewhere:
            check_replaces(f"the array assigned to data of {name}", p.array, view)
        _check_apart(self.names, self.params)
        xp = arrays.array_module(self.data)
        # two parameters may have swapped arrays
        arrived = [
            p.array.copy() if xp.may_share_memory(p.array, self.data) else p.array
            for _, p, _ in elsewhere
        ]
        for (_, p, view), array in zip(elsewhere, arrived, strict=True):
            view[...] = array
            p.data = view
            p.note_change()

    def add_state(self, slots: Iterable[str]) -> None:
        """Allocate these kinds of state, zeros, where there is none."""
        with arrays.on_device(arrays.device_of(self.data)) as xp:
            for slot in slots:
                if slot not in self.state:
                    self.state[slot] = xp.zeros(self.data.size, self.data.dtype)

    def refresh_shadow(self) -> None:
        """Have each parameter's `shadow` be its numbers of now, in bfloat16.

        Those whose `data` was given away have none: they may be written to at any time.
        """
        if self.shadow is None:
            with arrays.on_device(arrays.device_of(self.data)) as xp:
                self.shadow = xp.zeros(self.data.size, BFLOAT16)
            self.shadow_views = self._views(self.shadow)
        for p, view in zip(self.params, self.shadow_views, strict=True):
            if p.shadow is not view and not p.is_exposed:
                note_write(view)
                view[...] = p.array
                p.shadow = view

    def segments(
        self, keys: Sequence[Key], keep_deferred: bool
    ) -> Iterator[tuple[Key, slice, Array | DeferredGradient]]:
        """Yield slices of the arena whose parameters have a gradient and one key: key, slice, it.

        They are as long as can be, but a parameter with a deferred gradient is a segment of its own
        where `keep_deferred` is true; else that gradient is computed.

        Parameters
        ----------
        keys : sequence
            What tells apart parameters that are not updated together, for each.
        keep_deferred : bool
        """
        run: tuple[Key, int, int] | None = None
        for key, p, part in zip(keys, self.params, self.slices, strict=True):
            deferred = p.deferred_grad if keep_deferred else None
            has_array = deferred is None and p.grad is not None
            if run is not None and not (has_array and run[0] == key):
                yield self._segment(*run)
                run = None
            if has_array:
                run = (key, run[1] if run else part.start, part.stop)
            elif deferred is not None:
                yield key, part, deferred
        if run is not None:
            yield self._segment(*run)

    def _segment(self, key: Key, start: int, stop: int) -> tuple[Key, slice, Array]:
        return key, slice(start, stop), self.grad[start:stop]

    def views(self, slot: str) -> list[Array]:
        """Return one kind of state as a list of arrays of the parameters' shapes."""
        return self._views(self.state[slot])

    def _views(self, flat: Array) -> list[Array]:
        return [
            flat[part].reshape(p.shape) for p, part in zip(self.params, self.slices, strict=True)
        ]


def _named(params: Iterable[Tensor | tuple[str, Tensor]]) -> tuple[list[str], list[Tensor]]:
    """Return names and Tensors; the name of one without is its index."""
    pairs = [
        p if isinstance(p, tuple) else (f"parameter {i} of shape {getattr(p, 'shape', '?')}", p)
        for i, p in enumerate(params)
    ]
    return [name for name, _ in pairs], [p for _, p in pairs]


def _check(names: list[str], params: list[Tensor]) -> None:
    if not params:
        raise ValueError("an optimizer needs at least one parameter")
    for p in params:
        if not isinstance(p, Tensor):
            raise TypeError(f"an optimizer takes Tensors, not {type(p).__name__}")
    first: dict[int, str] = {}
    for name, p in zip(names, params, strict=True):
        if first.setdefault(id(p), name) != name:
            raise ValueError(
                f"{name} is given to the optimizer twice, first as {first[id(p)]}: list it once, "
                "as parameters() of a Module lists a tied weight"
            )
    kinds = {(str(p.dtype), str(p.device)) for p in params}
    if len(kinds) > 1:
        raise ValueError(f"parameters differ in type or device: {sorted(kinds)}")
    if not all(p.is_leaf and p.dtype in arrays.FLOATS for p in params):
        raise ValueError(
            "an optimizer takes leaf Tensors, float32 or float64; beside activations of bfloat16, "
            "parameters stay float32"
        )


def _rebind_gradient(name: str, p: Tensor, view: Array) -> None:
    """Make `view` the place of the gradient of `p`, and of those to come; copy it there."""
    g = p.grad
    if g is not None:
        check_replaces(f"the gradient of {name}", g, view)
        view[...] = g
    p.grad_buffer = view
    p.grad = None if g is None else view


def _check_apart(names: list[str], params: list[Tensor]) -> None:
    """Refuse parameters that share memory, which copies in the arena would not."""
    extents = [arrays.extent_of(p.array) for p in params]
    xp = arrays.array_module(params[0].array)
    before: list[int] = []
    for i in sorted(range(len(params)), key=extents.__getitem__):
        before = [j for j in before if extents[j][1] > extents[i][0]]
        for j in before:
            if xp.shares_memory(params[j].array, params[i].array):
                raise ValueError(
                    f"{names[j]} and {names[i]} share memory: to tie weights, use one Parameter in "
                    "both places"
                )
        before.append(i)
