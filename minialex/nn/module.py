"""Module: a tree of layers that knows its parameters by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, Device, device, to_device
from minialex.autograd import Tensor

Hook = Callable[["Module", Tensor, Tensor], None]


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

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._hooks: list[Hook] = []

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; each layer says what that is."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, x: Tensor) -> Tensor:
        """Run `forward`, then the hooks."""
        y = self.forward(x)
        for hook in self._hooks:
            hook(self, x, y)
        return y

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(module, x, y)`` after each forward; returns a function that stops it."""
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the Modules right below this one, in order of definition, with their names."""
        return _found(vars(self), Module)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this Module, named "", and all below it, depth first, with their names."""
        return self._tree("", set())

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
            for own, parameter in _found(vars(module), Parameter):
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
        """Return every parameter's array by name: the arrays themselves, not copies.

        Copy them to keep them. When an optimizer is made it gives parameters other arrays.
        """
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy arrays into the parameters of the same names.

        Raises
        ------
        ValueError, TypeError
            If a name is missing or surplus, a shape differs, or what is given is not of numbers;
            nothing is changed then.
        """
        own = dict(self.named_parameters())
        if set(own) != set(state):
            missing, surplus = sorted(set(own) - set(state)), sorted(set(state) - set(own))
            raise ValueError(f"load_state_dict: missing {missing}, surplus {surplus}")
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise ValueError(
                    f"load_state_dict: {name} has shape {state[name].shape}, not {parameter.shape}"
                )
        # copies, for a state may be made of the very arrays that are written to
        new = {
            name: to_device(state[name], p.device).astype(p.dtype, copy=True)
            for name, p in own.items()
        }
        for name, parameter in own.items():
            parameter.note_change()
            parameter.data[...] = new[name]

    def train(self, mode: bool = True) -> Module:
        """Set `training` in the whole tree; returns the Module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Stop dropping and whatever else only training does; returns the Module."""
        return self.train(False)

    def to(self, where: str | Device | None = None, dtype: npt.DTypeLike | None = None) -> Module:
        """Move every parameter to a device, a type or both, in place; returns the Module.

        Do this before an optimizer is made: it binds the parameters to arrays of its own.

        Raises
        ------
        RuntimeError
            If an optimizer holds the parameters already.
        """
        for name, parameter in self.named_parameters():
            if parameter.grad_buffer is not None:
                raise RuntimeError(
                    f"to: an optimizer holds {name}; move the model before making it"
                )
            data = parameter.data if where is None else to_device(parameter.data, device(where))
            parameter.data = data if dtype is None else data.astype(np.dtype(dtype), copy=False)
            parameter.grad = None
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
            for name, child in self.named_children()
        )
        return f"{type(self).__name__}({self.describe()}{children}{chr(10) * bool(children)})"


Kind = TypeVar("Kind")


def _found(where: Mapping[Any, Any], kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Yield what is of a kind among the values, and in lists, tuples and dictionaries of them."""
    for name, value in where.items():
        if isinstance(value, kind):
            yield str(name), value
        elif isinstance(value, list | tuple | dict):
            inside = value if isinstance(value, dict) else dict(enumerate(value))
            yield from ((f"{name}.{inner}", one) for inner, one in _found(inside, kind))


class Sequential(Module):
    """Modules one after the other, named ``0``, ``1``, ...

    Raises
    ------
    TypeError
        If something is no Module.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.isdecimal() and not isinstance(value, Module):
            raise TypeError(f"Sequential: element {name} is {_no_module(value)}")
        super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Hand `x` through the modules in order."""
        for _, module in self.named_children():
            x = module(x)
        return x

    def __getitem__(self, i: int) -> Module:
        return [module for _, module in self.named_children()][i]

    def __len__(self) -> int:
        return len(list(self.named_children()))


def _no_module(value: Any) -> str:
    """Return what stands where a Module should, and what to write instead."""
    if isinstance(value, list | tuple | dict | Iterator):
        return f"a {type(value).__name__}, not a Module: write Sequential(*layers)"
    if isinstance(value, type):
        return f"the class {value.__name__}, not a Module: write {value.__name__}(...)"
    name = getattr(value, "__name__", type(value).__name__)
    return f"{name}, not a Module: write a layer such as nn.ReLU(), or a Module with a forward"
