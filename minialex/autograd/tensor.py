"""Tensor: an array that knows the op that made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from minialex import arrays
from minialex.arrays import Array, Device
from minialex.autograd.clock import note_write
from minialex.autograd.conversion import as_array, as_number, flag, number_like
from minialex.autograd.deferred import DeferredGradient
from minialex.autograd.exchange import Exchange
from minialex.autograd.graph import Node, accumulate, run_backward
from minialex.autograd.hooks import Hooks, RemovableHandle
from minialex.autograd.operators import FUNCTIONS, Operators


def _check_differentiable(x: Array) -> None:
    if x.dtype not in arrays.DIFFERENTIABLE:
        raise TypeError(f"only float32, float64 and bfloat16 can require a gradient, not {x.dtype}")


class Tensor(Operators, Exchange):
    """An array that knows the op that made it, so that gradients can flow back through it.

    Operators work element by element and broadcast; ``@`` is the matrix product. Comparisons give
    Tensors of booleans, through which no gradient flows; in sets and dictionaries a Tensor is only
    equal to itself. ``x += y`` binds the name `x` to a new Tensor, and is refused where `x` is a
    leaf that requires a gradient: nothing would change what an optimizer or a Module holds. Copies
    and pickles have neither gradient nor hooks; what an op made is not copied with its graph.

    Parameters
    ----------
    data : array, nested lists of numbers, a number, or another library's array
        NumPy and CuPy arrays are taken as they are, without a copy; other libraries' arrays come
        through DLPack (or ``__cuda_array_interface__``). Python floats become float32. Floats,
        whole numbers and booleans only.
    requires_grad : bool
        Whether gradients with respect to this Tensor are wanted. float32, float64 and bfloat16
        only.

    Attributes
    ----------
    grad_buffer : array or None
        Where an optimizer holds this Tensor: the optimizer's memory for the gradient.
    deferred_grad : DeferredGradient or None
        Where an optimizer holds this Tensor: a gradient that is computed when `grad` is read.
    hooks : Hooks or None
        Of a leaf, what `register_hook` was given.
    node : Node or None
        The op that made it; None for a leaf.
    shadow : bfloat16 array or None
        Where an optimizer holds this Tensor: the same numbers rounded, which it keeps so with each
        step (`Optimizer.refresh_shadow`); None where `data` may have been written to since.
    is_exposed : bool
        Whether `data` was given away, so that it may be written to at any time: it then has no
        `shadow`, till another optimizer gives it memory of its own.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "_requires_grad",
        "deferred_grad",
        "grad_buffer",
        "hooks",
        "is_exposed",
        "node",
        "shadow",
    )

    def __init__(self, data: Any, *, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            raise TypeError("the data is a Tensor already; use detach() for one without a graph")
        self._data: Array = as_array(data)
        self.shadow: Array | None = None
        self.is_exposed = True
        self.node: Node | None = None
        self.requires_grad = requires_grad
        self._grad: Array | None = None
        self.deferred_grad: DeferredGradient | None = None
        self.grad_buffer: Array | None = None
        self.hooks: Hooks | None = None

    @property
    def data(self) -> Array:
        """The values: an array on the CPU (NumPy) or a GPU (CuPy).

        It may be written to, so that there is no `shadow` any more: `array` is for those who do
        not. What is assigned is taken as it is, as an array that a Tensor is made of.

        Raises
        ------
        TypeError
            If what is assigned is no array of NumPy or CuPy, or not of numbers, or of whole ones
            where a gradient is required.
        """
        self.shadow, self.is_exposed = None, True
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        if not arrays.is_array(value):
            raise TypeError(f"data must be a NumPy or CuPy array, not {type(value).__name__}")
        # of no axes, NumPy may have made a number of it
        value = as_array(value)
        if self._requires_grad:
            _check_differentiable(value)
        self._data, self.shadow, self.is_exposed = value, None, True

    @property
    def array(self) -> Array:
        """`data`, for those who do not write to it."""
        return self._data

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to this Tensor are wanted."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = flag("Tensor", "requires_grad", value)
        if self.node is not None and not value:
            raise RuntimeError(
                f"the result of {self.node.name} has a gradient as long as what it is made of has "
                "one; detach() gives a Tensor without"
            )
        if value:
            _check_differentiable(self._data)
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad`; returns the Tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> Array | None:
        """The gradient that `backward` calls have added up, of the shape and type of `data`.

        None where there was no backward; assign None to start afresh. An array that is assigned is
        copied, and the copy is what an optimizer steps with. Where an optimizer holds this Tensor,
        `backward` writes to the optimizer's memory each time: copy the gradient to keep it.

        Raises
        ------
        ValueError, TypeError
            If what is assigned has another shape or device; if it has another type, or is no array.
        """
        if self.deferred_grad is not None and self.grad_buffer is not None:
            self.grad = self.grad_buffer
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is not None and value is not self._grad and value is not self.grad_buffer:
            arrays.check_replaces("grad", value, self._data)
            # of no axes, NumPy may have made a number of it
            value = arrays.array_module(value).array(value, order="C")
        if self.deferred_grad is not None and value is not None and value is self.grad_buffer:
            self.deferred_grad.compute(value)
        self._grad, self.deferred_grad = value, None

    def __getstate__(self) -> dict[str, Any]:
        """Return what copying and pickling keep: no gradient, hook or graph."""
        if self.node is not None:
            raise TypeError(
                f"a Tensor made by {self.node.name} cannot be copied or pickled with its graph; "
                "use detach() first"
            )
        return {"data": self.data, "requires_grad": self.requires_grad}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Tensor.__init__(self, **state)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._data.dtype

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return arrays.device_of(self._data)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made it."""
        return self.node is None

    def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor to `grad` of every leaf that it depends on.

        Parameters
        ----------
        gradient : array or Tensor of this Tensor's shape, optional
            The cotangent. May be left out where there is one element: it is then 1.
        retain_graph : bool
            Keep what backward needs, so that it can run again.

        Raises
        ------
        RuntimeError
            If nothing here requires a gradient, `gradient` is missing, the graph was freed, or what
            it has saved was written to after the forward pass (see `note_change`).
        ValueError
            If `gradient` is of another shape.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward() found no gradient to compute: this Tensor depends on nothing made with "
                "requires_grad=True, or it was computed under no_grad()"
            )
        gy = self._cotangent(gradient)
        if self.node is None:
            accumulate(self, gy)
        else:
            run_backward(self.node, gy, retain_graph=retain_graph)

    def _cotangent(self, gradient: Any) -> Array:
        xp = arrays.array_module(self._data)
        if gradient is None:
            if self.size != 1:
                raise RuntimeError(
                    f"backward() on a Tensor of shape {self.shape} needs a gradient of that shape; "
                    "only a Tensor of one element has an obvious one"
                )
            return xp.ones_like(self._data)  # type: ignore[no-any-return]
        gy = as_tensor(gradient, like=self).data
        if gy.shape != self.shape:
            raise ValueError(f"the gradient has shape {gy.shape}, the Tensor {self.shape}")
        return gy.astype(self.dtype, copy=False)

    def note_change(self) -> None:
        """Say that `data` is written to in place: no graph that has saved it gives gradients.

        Optimizers and ``Module.load_state_dict`` say so. Who writes to `data` between forward and
        backward does well to say so too: it goes unnoticed otherwise.
        """
        note_write(self._data)
        self.shadow = None

    def retain_grad(self) -> None:
        """Have `backward` leave its gradient in `grad`, as hooks leave it, though it is no leaf.

        Raises
        ------
        RuntimeError
            If it requires no gradient.
        """
        self._check_gradient("retain_grad")
        if self.node is not None:
            self.node.retained = self

    def register_hook(self, hook: Callable[[Array], Array | None]) -> RemovableHandle:
        """Call ``hook(grad)`` with this Tensor's gradient in each backward, once it is complete.

        It is the sum of what this backward brings, an array as `grad` is, before it is added to
        `grad`; a hook of a parameter sees it whole, wherever an optimizer keeps it. Hooks are
        called in the order of registration. They are left out of copies and pickles.

        Parameters
        ----------
        hook : function
            It may return an array that takes the gradient's place. It must not write to its
            argument, which is read-only on the CPU.

        Returns
        -------
        RemovableHandle
            Its ``remove()`` removes the hook, and so does leaving a ``with`` block that it opens.

        Raises
        ------
        RuntimeError
            If it requires no gradient.
        """
        self._check_gradient("register_hook")
        owner = self if self.node is None else self.node
        owner.hooks = owner.hooks or Hooks()
        return owner.hooks.register(hook)

    def _check_gradient(self, what: str) -> None:
        if not self.requires_grad:
            raise RuntimeError(f"{what}: this Tensor requires no gradient, so it will have none")

    def detach(self) -> Tensor:
        """Return a Tensor of the same array that does not remember how it was made."""
        return Tensor(self.data)

    def numpy(self) -> Array:
        """Return the values as a NumPy array (shared where they are on the CPU, else copied).

        This is the way out on purpose, past which no gradient is followed. NumPy's functions take
        Tensors on the CPU that require none, and refuse others; but its ufuncs, such as ``np.exp``,
        and ``np.sum``, ``np.mean`` and ``np.max`` take what this returns alone.
        """
        return arrays.to_numpy(self.data)

    def item(self) -> float:
        """Return the one element as a Python number."""
        if self.size != 1:
            raise ValueError(
                f"a Tensor of shape {self.shape} is not one number; index it, or take its .sum()"
            )
        return self._data.item()  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.ndim or self.dtype.kind not in "iu":
            raise TypeError(
                "an index must be a Tensor of one whole number and no axes, "
                f"not of shape {self.shape} and type {self.dtype}"
            )
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"a Tensor of shape {self.shape} is neither true nor false; ask "
                ".numpy().all() or .numpy().any()"
            )
        return bool(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a Tensor of no axes has no length or elements; .item() is its number")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool(FUNCTIONS["equal"](self, value).data.any())

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "elements of a Tensor cannot be assigned, as no gradient would know of it; "
            "write to the array, x.data[...] = ..., where that is meant"
        )

    def __delitem__(self, index: Any) -> None:
        raise TypeError("elements of a Tensor cannot be deleted; keep others with x[index]")

    def __format__(self, spec: str) -> str:
        if not self.ndim:
            return format(self.item(), spec)
        if spec:
            raise TypeError(
                f"the format {spec!r} is for one number, not a Tensor of shape {self.shape}; "
                "reduce it, as with .mean(), or format .item() of each element"
            )
        return str(self)

    def __repr__(self) -> str:
        made = (
            f", made by {self.node.name}" if self.node else ", requires_grad" * self.requires_grad
        )
        place = "" if self.device.kind == "cpu" else f", {self.device}"
        values = np.array2string(arrays.to_numpy(self._data), separator=", ", prefix="Tensor(")
        return f"Tensor({values}, {self.dtype}{place}{made})"


def as_tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """Return `x` as a Tensor; a number takes device and type of `like` (see `as_tensors`)."""
    if isinstance(x, Tensor):
        return x
    number = None if like is None else as_number(x)
    return Tensor(x if like is None or number is None else number_like(number, like.array))


def as_tensors(*xs: Any) -> tuple[Tensor, ...]:
    """Return what an op takes side by side as Tensors whose types go together.

    This is the one rule for mixed types. A number, be it Python's, a NumPy scalar or a NumPy array
    of no axes, takes the type of the Tensor or array beside it; but a whole number beside booleans
    is int64, a float beside whole numbers or booleans float32. Whole numbers and booleans then
    take the type of the floats beside them. Two types of floats stay two, which ops refuse.
    """
    if {x.array.dtype.kind if isinstance(x, Tensor) else "" for x in xs} == {"f"}:
        return xs
    like = next((as_tensor(x) for x in xs if as_number(x) is None), None)
    tensors = tuple([as_tensor(x, like) for x in xs])
    floats = [t.dtype for t in tensors if arrays.is_floating(t.dtype)]
    if len(floats) in (0, len(tensors)):
        return tensors
    return tuple(
        t if arrays.is_floating(t.dtype) else Tensor(t.array.astype(floats[0])) for t in tensors
    )
