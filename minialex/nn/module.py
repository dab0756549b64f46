"""Module: a tree of layers that knows its parameters by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, Device, device, to_device
from minialex.autograd import Gradients, RemovableHandle, Tensor
from minialex.autograd.conversion import as_array, flag
from minialex.autograd.graph import grad_enabled
from minialex.autograd.hooks import Hooks
from minialex.nn.backward_hooks import HookedCall
from minialex.wording import enumerated


class Parameter(Tensor):
    """A Tensor that a Module trains: a leaf that wants a gradient."""

    # a misspelt attribute is then an error, as it is of a Tensor
    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """A layer, or a tree of them.

    Parameters and Modules are found where they are: in attributes, and in lists, tuples and
    dictionaries that are attributes. ``features.0.weight`` is the attribute ``weight`` of the
    child ``0`` of the child ``features``. What stands in several places is found once, by the
    first of its names.

    Attributes
    ----------
    training : bool
        True while training: dropout drops. `train` and `eval` set it for the whole tree.
    """

    # on the class, so that a subclass need not call __init__ of this one
    training: bool = True
    _forward_pre_hooks: Hooks | None = None
    _forward_hooks: Hooks | None = None
    _backward_hooks: Hooks | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the layer's output; each layer says what it takes and what that is."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, and hooks before and after it."""
        for hook in self._forward_pre_hooks or ():
            new = hook(self, args)
            if new is not None:
                args = new if isinstance(new, tuple) else (new,)
        backward = self._backward_hooks
        call = HookedCall(self, backward) if backward and grad_enabled() else None
        args = call.inputs(args) if call else args
        y = self.forward(*args, **kwargs)
        for hook in self._forward_hooks or ():
            new = hook(self, args, y)
            y = y if new is None else new
        return call.outputs(y) if call else y

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self).get(name)
        if isinstance(held, Parameter) and not isinstance(value, Parameter | Module | None):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter, and would not be trained as "
                f"{type(value).__name__}: assign nn.Parameter(...), or change its array, "
                f".{name}.data[...] = ..."
            )
        super().__setattr__(name, value)

    def register_forward_pre_hook(
        self, hook: Callable[[Self, tuple[Any, ...]], Any]
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before each forward, `args` being its positional arguments.

        The hook may return others in their place: a tuple, or the one that there is. Hooks of a
        Module are called in the order of registration, and copied and pickled with it.

        Returns
        -------
        RemovableHandle
            Its ``remove()`` removes the hook, and so does leaving a ``with`` block that it opens.
        """
        return self._hooks("_forward_pre_hooks").register(hook)

    def register_forward_hook(
        self, hook: Callable[[Self, tuple[Any, ...], Any], Any]
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward.

        The hook may return what takes the output's place. See `register_forward_pre_hook`.
        """
        return self._hooks("_forward_hooks").register(hook)

    def register_full_backward_hook(
        self, hook: Callable[[Self, Gradients, Gradients], Gradients | None]
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` in each backward through the module.

        Both are tuples of arrays as `Tensor.grad` holds them: one for each positional argument of
        forward, and one for each output. There is None for what is no Tensor, requires no gradient,
        or is reached by none. A gradient of an input is the part that comes through this module.
        The hook is called when the gradients of all inputs are complete; where none requires one,
        when those of the outputs are. It may return a tuple that takes the place of `grad_input`,
        but must not write to the arrays. See `register_forward_pre_hook`.
        """
        return self._hooks("_backward_hooks").register(hook)

    def has_hooks(self) -> bool:
        """Return whether a Module or a parameter of the tree has a hook."""
        kinds = "_forward_pre_hooks", "_forward_hooks", "_backward_hooks"
        return any(getattr(m, kind) for m in self.modules() for kind in kinds) or any(
            p.hooks for p in self.parameters()
        )

    def _hooks(self, kind: str) -> Hooks:
        """Return this module's hooks of one kind."""
        found: Hooks = vars(self).setdefault(kind, Hooks())
        return found

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the Modules right below this one, in order of definition, with their names."""
        seen: set[Module] = set()
        for name, child in found_in(vars(self), Module):
            if child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the Modules right below this one, in order of definition."""
        return (child for _, child in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this Module, named "", and all below it, depth first, with their names."""
        return self._tree("", set())

    def modules(self) -> Iterator[Module]:
        """Yield this Module and all below it, depth first."""
        return (module for _, module in self.named_modules())

    def _tree(self, prefix: str, seen: set[Module]) -> Iterator[tuple[str, Module]]:
        if self in seen:
            return
        seen.add(self)
        yield prefix, self
        for name, child in self.named_children():
            yield from child._tree(f"{prefix}.{name}" if prefix else name, seen)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter of the tree with its name, in order of definition.

        Raises
        ------
        ValueError
            If two have the same name, as those of the keys 1 and "1" of one dictionary.
        """
        seen: set[int] = set()
        names: set[str] = set()
        for prefix, module in self.named_modules():
            for own, parameter in found_in(vars(module), Parameter):
                if id(parameter) in seen:
                    continue
                name = f"{prefix}.{own}" if prefix else own
                if name in names:
                    raise ValueError(f"two parameters are named {name}: rename one of them")
                seen.add(id(parameter))
                names.add(name)
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter of the tree."""
        return (parameter for _, parameter in self.named_parameters())

    def state_dict(self) -> dict[str, Array]:
        """Return every parameter's array by name: the arrays themselves, which training changes.

        To keep them, copy them: ``{name: a.copy() for name, a in model.state_dict().items()}``.
        When an optimizer is made it gives parameters other arrays.
        """
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters of the same names.

        Parameters
        ----------
        state : mapping from names to arrays
            NumPy's, CuPy's, Tensors, or another library's: `Tensor` says which. They are converted
            to the parameters' type.

        Raises
        ------
        ValueError, TypeError
            If a name is missing or unexpected, a shape differs, or what is given is not of numbers;
            nothing is changed then.
        """
        own = dict(self.named_parameters())
        _check_names(own, state)
        new = {name: _loaded(name, state[name], p) for name, p in own.items()}
        for name, parameter in own.items():
            parameter.note_change()
            parameter.array[...] = new[name]

    def train(self, mode: bool = True) -> Self:
        """Set `training` in the whole tree; returns the Module."""
        mode = flag(type(self).__name__, "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Stop dropping and whatever else only training does; returns the Module."""
        return self.train(False)

    def to(self, where: str | Device | None = None, dtype: npt.DTypeLike | None = None) -> Self:
        """Move every parameter to a device, a type or both, in place; returns the Module.

        Do this before an optimizer is made: it binds the parameters to arrays of its own.

        Raises
        ------
        RuntimeError
            If an optimizer holds the parameters already.
        TypeError
            If `where` is no device.
        """
        if not isinstance(where, str | Device | None):
            raise TypeError(f"to: {where!r} is no device; a type of numbers is given as dtype=...")
        for name, parameter in self.named_parameters():
            if parameter.grad_buffer is not None:
                raise RuntimeError(
                    f"to: an optimizer holds {name}; move the model before making it"
                )
            data = parameter.data if where is None else to_device(parameter.data, device(where))
            parameter.data = data if dtype is None else data.astype(np.dtype(dtype), copy=False)
            parameter.grad = None
        return self

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call ``fn(module)`` for each Module of the tree, children first; returns the Module."""
        self._apply(fn, set())
        return self

    def _apply(self, fn: Callable[[Module], object], seen: set[Module]) -> None:
        seen.add(self)
        for child in self.children():
            if child not in seen:
                child._apply(fn, seen)
        fn(self)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether every parameter of the tree requires a gradient; returns the Module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward starts afresh."""
        for parameter in self.parameters():
            parameter.grad = None

    def describe(self) -> str:
        """Return the arguments that tell this layer from others of its class."""
        return ""

    def __repr__(self) -> str:
        children = "".join(
            "\n  " + f"({name}) {child!r}".replace("\n", "\n  ")
            for name, child in found_in(vars(self), Module)
        )
        return f"{type(self).__name__}({self.describe()}{children}{chr(10) * bool(children)})"


Kind = TypeVar("Kind")


def found_in(where: Mapping[Any, Any], kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Yield what is of a kind among the values, and in lists, tuples and dictionaries of them."""
    for name, value in where.items():
        if isinstance(value, kind):
            yield str(name), value
        elif isinstance(value, list | tuple | dict):
            inside = value if isinstance(value, dict) else dict(enumerate(value))
            yield from ((f"{name}.{inner}", one) for inner, one in found_in(inside, kind))


def _check_names(own: Mapping[str, Parameter], state: Mapping[str, Any]) -> None:
    if not isinstance(state, Mapping):
        raise TypeError(
            "load_state_dict takes a mapping from names to arrays, as state_dict() returns it, not "
            f"{type(state).__name__}"
        )
    missing = [name for name in own if name not in state]
    unexpected = [str(name) for name in state if name not in own]
    parts = [
        f"{what} {enumerated(names, 4)}"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if parts:
        raise ValueError(f"load_state_dict: {', '.join(parts)}")


def _loaded(name: str, value: Any, parameter: Parameter) -> Array:
    """Return a copy of `value`, for a state may be made of the very arrays that are written to."""
    try:
        array = value.data if isinstance(value, Tensor) else as_array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"load_state_dict: {name} cannot be read: {error}") from error
    if parameter.shape != array.shape:
        raise ValueError(
            f"load_state_dict: {name} has the shape {array.shape}, not {parameter.shape}"
        )
    return to_device(array, parameter.device).astype(parameter.dtype, copy=True)
