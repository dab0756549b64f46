"""The GPU back end: compiles a kernel with NVRTC through CuPy, once, and launches it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from minialex.cuda import where
from minialex.cuda.compiler_text import for_nvrtc
from minialex.cuda.device_variables import variables
from minialex.cuda.module_variables import ModuleVariables, expressions, with_extents
from minialex.cuda.plan import LaunchPlan
from minialex.cuda.signature import Signature, signatures
from minialex.cuda.source import Source, first_errors
from minialex.cuda.variable_declarations import device_variables
from minialex.errors import MinialexError

# Of every instruction its line, for Nsight Compute; that changes no instruction.
OPTIONS = ("-std=c++17", "-lineinfo")
_functions: dict[tuple[str, str, int], Any] = {}
# the most dynamic shared memory that each was launched with, in bytes
_shared: dict[tuple[str, str, int], int] = {}
# of those kernels whose text has variables at file scope
_variables: dict[tuple[str, str, int], ModuleVariables] = {}


def by_value(value: np.generic) -> Any:
    """Return a number as CuPy passes it to a kernel, so that it converts none at each launch."""
    if isinstance(value, np.void):
        # a struct: CuPy hands the bytes of a NumPy array to the kernel as they are
        return np.array(value)
    try:
        return importlib.import_module("cupy")._core._scalar.CScalar(value)
    except (AttributeError, TypeError):
        # It is no public class: without it a NumPy scalar is passed, which is slower.
        return value


def launch(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
    """Launch a kernel on the current stream of the arrays' device."""
    # CuPy is imported: the arrays are CuPy's.
    cuda = sys.modules["cupy"].cuda
    if cuda.runtime.getDevice() == plan.device.index:
        _launch(plan, values)
    else:
        with cuda.Device(plan.device.index):
            _launch(plan, values)


def _launch(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
    kernel = function(plan)
    if _variables and (its_variables := _variables.get(_key(plan))):
        variables(plan.source.file).enter(its_variables)
    if plan.shared and _shared.get(_key(plan), 0) < plan.shared:
        _allow_shared(kernel, plan)
    if plan.varying:
        values = tuple(np.array(v) if isinstance(v, np.void) else v for v in values)
    kernel(plan.grid, plan.block, values, shared_mem=plan.shared)


def _allow_shared(kernel: Any, plan: LaunchPlan) -> None:
    """Ask for a launch's dynamic shared memory, where it has to be asked for.

    It has to be beyond what a kernel's static memory leaves of 48 KiB, and not beyond 48 KiB alone
    (CUDA Driver API, ``CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES``).
    """
    if kernel.max_dynamic_shared_size_bytes < plan.shared:
        kernel.max_dynamic_shared_size_bytes = plan.shared
    _shared[_key(plan)] = plan.shared


def function(plan: LaunchPlan) -> Any:
    """Return the compiled kernel of a plan, on its device, which has to be the current one."""
    key = _key(plan)
    if key not in _functions:
        _compile(plan)
    return _functions[key]


def _key(plan: LaunchPlan) -> tuple[str, str, int]:
    return plan.source.digest, plan.expression, plan.device.index


def _compile(plan: LaunchPlan) -> None:
    """Compile a kernel, together with those that are likely to be launched next."""
    cupy = importlib.import_module("cupy")
    source, device = plan.source, plan.device
    have = where.gpu_capability(device.index)
    check_architecture(source, str(device), have)
    names = compiled_together(source, plan.signature, plan.binding)
    text = for_nvrtc(source, names, have)
    code, asked = with_extents(text), [*names, *expressions(text)]
    module = cupy.RawModule(code=code, options=OPTIONS, name_expressions=asked)
    try:
        # CuPy compiles at the first of these calls.
        for name in names:
            _functions[source.digest, name, device.index] = module.get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        raise MinialexError(
            f"{plan.expression} of {source.file} does not compile for {device} (sm_{have}):"
            "\n  " + "\n  ".join(first_errors(str(error)))
        ) from None
    if device_variables(text):
        its_variables = ModuleVariables(module, text)
        _variables.update({(source.digest, name, device.index): its_variables for name in names})


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


def compiled_together(source: Source, signature: Signature, binding: dict[str, str]) -> list[str]:
    """Return the instantiations to compile in one go with this one, in the order of the text.

    Those are the kernels of the file with the same template parameters, as far as their text
    declares these values for them: the other half of an op is asked for next. Whichever of them
    is asked for first, they are the same, and so is what compilers keep. Of a foreign file each is
    compiled alone: another may not compile.
    """
    if source.is_foreign:
        return [signature.expression(binding)]
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
