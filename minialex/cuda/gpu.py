"""The door's way out to a GPU: compile with NVRTC through CuPy, once, and launch."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from minialex.cuda.arguments import Bound
from minialex.cuda.signature import Signature, signatures
from minialex.cuda.source import Source, complaints
from minialex.errors import MinialexError

OPTIONS = ("-std=c++17",)
_STATIC_LIMIT = 48 * 1024
_functions: dict[tuple[str, str, int], Any] = {}


def launch(
    source: Source,
    signature: Signature,
    bound: Bound,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    shared: int,
) -> None:
    """Launch a kernel on the current stream of the arrays' device."""
    cupy = importlib.import_module("cupy")
    values = tuple(np.uint64(0) if value is None else value for value in bound.values)
    with cupy.cuda.Device(bound.device.index):
        function = _function(cupy, source, signature, bound)
        if shared > _STATIC_LIMIT and function.max_dynamic_shared_size_bytes < shared:
            function.max_dynamic_shared_size_bytes = shared
        function(grid, block, values, shared_mem=shared)


def _function(cupy: Any, source: Source, signature: Signature, bound: Bound) -> Any:
    expression = signature.expression(bound.binding)
    key = (source.digest, expression, bound.device.index)
    if key not in _functions:
        have = int(cupy.cuda.Device(bound.device.index).compute_capability)
        check_architecture(source, str(bound.device), have)
        names = together(source, signature, bound.binding)
        module = cupy.RawModule(code=source.text, options=OPTIONS, name_expressions=names)
        try:
            # CuPy compiles when it is asked for the first of them.
            for name in names:
                _functions[source.digest, name, bound.device.index] = module.get_function(name)
        except cupy.cuda.compiler.CompileException as error:
            raise MinialexError(
                f"{expression} of {source.file} does not compile for {bound.device} (sm_{have}):"
                "\n  " + "\n  ".join(complaints(str(error)))
            ) from None
    return _functions[key]


def check_architecture(source: Source, device: str, have: int) -> None:
    """Check that the kernels of a file run on `device`, whose compute capability is `have`.

    Raises
    ------
    MinialexError
        If the file says that they need a later one.
    """
    if have < source.needs:
        raise MinialexError(
            f"{source.file} needs a GPU of sm_{source.needs} or later, {device} is "
            f"sm_{have}: use another implementation"
        )


def together(source: Source, signature: Signature, binding: dict[str, str]) -> list[str]:
    """Return the instantiations to compile in one go with this one, in the order of the text.

    Those are the kernels of the file with the same template parameters, as far as their text
    declares these values for them: the other half of an op is asked for next. Whichever of them
    is asked for first, they are the same, and so is what compilers keep.
    """
    parameters = [p.name for p in signature.template]
    return [
        s.expression(binding)
        for s in signatures(source).values()
        if s.name == signature.name
        or (
            [p.name for p in s.template] == parameters
            and len(dict(s.instances)) == len(parameters)
            and s.allows(binding)
        )
    ]
