"""Full backward hooks: what a module's hooks are told of one call of it, when gradients come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minialex.autograd import Gradients, Tensor
from minialex.autograd.hooks import Hook, Hooks, read_only, replacement
from minialex.autograd.multi_grad import MultiGradHook, with_multi_grad_hook

if TYPE_CHECKING:
    from minialex.nn.module import Module


class HookedCall:
    """One call of a module with full backward hooks.

    Gradients come to the outputs first, and are kept until those of the inputs are complete.
    """

    def __init__(self, module: Module, hooks: Hooks) -> None:
        self._module, self._hooks = module, hooks
        self._grad_output: Gradients = ()
        self._grad_input: Gradients = ()
        self._wanted: list[int] = []

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments that the module is to run on."""
        self._grad_input, self._wanted = (None,) * len(args), _requiring(args)
        return _with_hook(args, self._wanted, self._at_inputs)

    def outputs(self, y: Any) -> Any:
        """Return the output that the module is to return.

        Raises
        ------
        TypeError
            If it is neither a Tensor nor a tuple.
        """
        if not isinstance(y, Tensor | tuple):
            raise TypeError(
                f"{type(self._module).__name__}: a module with a full backward hook returns a "
                f"Tensor or a tuple of them, not {type(y).__name__}"
            )
        ys = y if isinstance(y, tuple) else (y,)
        wanted = _requiring(ys)

        def at_outputs(arrived: Gradients) -> Gradients:
            self._grad_output = _placed(arrived, wanted, len(ys))
            if not self._wanted:
                self._run_hooks(self._grad_input)
            return arrived

        ys = _with_hook(ys, wanted, at_outputs)
        return ys if isinstance(y, tuple) else ys[0]

    def _at_inputs(self, arrived: Gradients) -> Gradients:
        gx = self._run_hooks(_placed(arrived, self._wanted, len(self._grad_input)))
        return tuple(gx[i] for i in self._wanted)

    def _run_hooks(self, gx: Gradients) -> Gradients:
        gy = tuple(None if g is None else read_only(g) for g in self._grad_output)
        for hook in self._hooks:
            given = tuple(None if g is None else read_only(g) for g in gx)
            new = hook(self._module, given, gy)
            gx = gx if new is None else self._replaced(hook, new, gx)
        return gx

    def _replaced(self, hook: Hook, new: Any, gx: Gradients) -> Gradients:
        name = f"{type(self._module).__name__}: a full backward hook"
        if not isinstance(new, tuple) or len(new) != len(gx):
            given = f"{len(new)}" if isinstance(new, tuple) else type(new).__name__
            raise TypeError(
                f"{name} returns None or a tuple of {len(gx)}, a gradient for each positional "
                f"argument of forward, not {given}"
            )
        for i, (after, g) in enumerate(zip(new, gx, strict=True)):
            if g is None and after is not None:
                raise ValueError(f"{name} returned a gradient for input {i}, which has none")
        return tuple(
            None if after is None or g is None else replacement(hook, after, g)
            for after, g in zip(new, gx, strict=True)
        )


def _requiring(values: tuple[Any, ...]) -> list[int]:
    return [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]


def _placed(gradients: Gradients, places: list[int], count: int) -> Gradients:
    """Return a tuple of `count` with `gradients` at their places, and None elsewhere."""
    by_place = dict(zip(places, gradients, strict=True))
    return tuple(by_place.get(i) for i in range(count))


def _with_hook(values: tuple[Any, ...], places: list[int], hook: MultiGradHook) -> tuple[Any, ...]:
    """Return `values` with views in `places`, whose gradients pass through `hook`."""
    views = with_multi_grad_hook([values[i] for i in places], hook) if places else []
    by_place = dict(zip(places, views, strict=True))
    return tuple(by_place.get(i, v) for i, v in enumerate(values))
