"""Module: a tree of layers that knows its parameters by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from minialex.arrays import Array, Device, device, to_device
from minialex.autograd import Tensor

Hook = Callable[["Module", Tensor, Tensor], None]


class Parameter(Tensor):
    """A Tensor that a Module trains: a leaf that wants a gradient."""

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """A layer, or a tree of them.

    Parameters and Modules assigned to attributes are found by name: ``features.0.weight`` is the
    attribute ``weight`` of the child ``0`` of the child ``features``.

    Attributes
    ----------
    training : bool
        True while training: dropout drops. `train` and `eval` set it for the whole tree.
    """

    training: bool

    def __init__(self) -> None:
        self.training = True
        self._parameters: dict[str, Parameter] = {}
        self._modules: dict[str, Module] = {}
        self._hooks: list[Hook] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        super().__setattr__(name, value)

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

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this Module and all below it, depth first, with their names."""
        yield prefix, self
        for name, child in self._modules.items():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter of the tree with its name, in order of definition."""
        for prefix, module in self.named_modules():
            for name, parameter in module._parameters.items():
                yield f"{prefix}.{name}" if prefix else name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter of the tree."""
        return (parameter for _, parameter in self.named_parameters())

    def state_dict(self) -> dict[str, Array]:
        """Return every parameter's array by name: the arrays themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy arrays into the parameters of the same names.

        Raises
        ------
        ValueError
            If a name is missing or surplus, or a shape differs; nothing is changed then.
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
        for name, parameter in own.items():
            parameter.data[...] = to_device(state[name], parameter.device)

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
            if parameter.grad_home is not None:
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
            for name, child in self._modules.items()
        )
        return f"{type(self).__name__}({self.describe()}{children}{chr(10) * bool(children)})"


class Sequential(Module):
    """Modules one after the other, named ``0``, ``1``, ..."""

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def forward(self, x: Tensor) -> Tensor:
        """Hand `x` through the modules in order."""
        for module in self._modules.values():
            x = module(x)
        return x

    def __getitem__(self, i: int) -> Module:
        return list(self._modules.values())[i]

    def __len__(self) -> int:
        return len(self._modules)
