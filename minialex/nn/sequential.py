"""Sequential: modules one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, overload

from minialex.autograd import Tensor
from minialex.nn.module import Module, found_in


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
        for module in self:
            x = module(x)
        return x

    def _elements(self) -> list[tuple[str, Module]]:
        """Return the modules with their names; one that stands in two places is there twice."""
        return list(found_in(vars(self), Module))

    @overload
    def __getitem__(self, i: int) -> Module: ...
    @overload
    def __getitem__(self, i: slice) -> Sequential: ...
    def __getitem__(self, i: int | slice) -> Module | Sequential:
        """Return a module, or a Sequential of some of them, which keep their names."""
        if not isinstance(i, slice):
            return self._elements()[i][1]
        part = Sequential()
        for name, module in self._elements()[i]:
            setattr(part, name, module)
        return part

    def __setitem__(self, i: int, module: Module) -> None:
        setattr(self, self._elements()[i][0], module)

    def __delitem__(self, i: int | slice) -> None:
        """Remove a module, or several; the numbers of those behind close up."""
        elements = self._elements()
        kept = dict(elements)
        for name, _ in elements[i] if isinstance(i, slice) else [elements[i]]:
            del kept[name]
        for name, _ in elements:
            delattr(self, name)
        for number, module in enumerate(kept.values()):
            setattr(self, str(number), module)

    def append(self, module: Module) -> Self:
        """Put a module behind the others; returns the Sequential."""
        last = max((int(name) for name in vars(self) if name.isdecimal()), default=-1)
        setattr(self, str(last + 1), module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._elements()])

    def __len__(self) -> int:
        return len(self._elements())


def _no_module(value: Any) -> str:
    """Return what stands where a Module should, and what to write instead."""
    if isinstance(value, list | tuple | dict | Iterator):
        return f"a {type(value).__name__}, not a Module: write Sequential(*layers)"
    if isinstance(value, type):
        return f"the class {value.__name__}, not a Module: write {value.__name__}(...)"
    name = getattr(value, "__name__", type(value).__name__)
    return f"{name}, not a Module: write a layer such as nn.ReLU(), or a Module with a forward"
