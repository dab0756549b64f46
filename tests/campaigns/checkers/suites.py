"""The functions that autograd's and JAX's own suites hand to their ``check_grads``.

    python -m tests.campaigns.checkers.suites autograd tests/test_numpy.py found.jsonl --share 1

runs one file of a suite with ``check_grads`` replaced: what it is handed is put to all four
checkers, in float64, and a line of JSON written. The owner's checker is asked about the function as
it is; the others about an op whose forward and backward are those of the owner, run on NumPy
arrays. Complex numbers go in and out as two real ones; whole numbers stay as they are.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from minialex.arrays import Array
from tests.campaigns.checkers.four import NAMES, PASSED, Function, ask, quietly

NO_NUMBERS = "without floating-point numbers that go in and come out"


def as_reals(
    leaves: Sequence[Any], make_complex: Callable[[Any, Any], Any] = lambda a, b: a + 1j * b
) -> tuple[list[Array], Callable[[Sequence[Any]], list[Any]]]:
    """Return the float64 arrays that floating-point leaves are made of, and how.

    The function takes as many arrays, or what traces them.
    """
    reals: list[Array] = []
    kinds = []
    for leaf in leaves:
        a = np.asarray(leaf) if hasattr(leaf, "dtype") or np.isscalar(leaf) else None
        kind = "" if a is None else "c" if a.dtype.kind == "c" else _kind(a)
        kinds.append(kind)
        if a is not None and kind == "c":
            reals += [np.array(a.real, np.float64), np.array(a.imag, np.float64)]
        elif kind == "f":
            reals.append(np.array(a, np.float64))

    def rebuilt(xs: Sequence[Any]) -> list[Any]:
        left = iter(xs)
        make = {"c": lambda: make_complex(next(left), next(left)), "f": lambda: next(left)}
        return [make[k]() if k else leaf for k, leaf in zip(kinds, leaves, strict=True)]

    return reals, rebuilt


def _kind(a: Array) -> str:
    """Return "f" for floating-point numbers, those of ml_dtypes too."""
    try:
        return "f" if a.dtype.kind == "f" or np.finfo(a.dtype) else ""
    except (TypeError, ValueError):
        return "f" if "float" in a.dtype.name and a.dtype.name != "float0" else ""


def of_autograd(f: Callable[[Any], Any], x: Any) -> Function:
    """Return a function that autograd's suite hands to its checker."""
    import autograd.numpy as anp
    from autograd import make_vjp, test_util
    from autograd.builtins import type as type_of

    leaves = list(_leaves(x, type))
    reals, rebuilt = as_reals(leaves)
    given = _rebuilt(x, iter(rebuilt(reals)))

    def flat(xs: Any) -> Any:
        parts = []
        for y in _leaves(f(_rebuilt(x, iter(rebuilt(xs)))), type_of):
            complex_ = anp.iscomplexobj(y)
            parts += [anp.ravel(part(y)) for part in ((anp.real, anp.imag)[: 1 + complex_])]
        return anp.concatenate(parts) + 0.0 if parts else anp.zeros(0)

    def backward(gy: Array, *xs: Array) -> Any:
        with quietly():
            return make_vjp(flat)(xs)[0](gy)

    def forward(*xs: Array) -> Array:
        with quietly():
            return np.asarray(flat(xs))

    own = _ORIGINAL["autograd"] or test_util.check_grads
    ask_own = functools.partial(own(f, modes=["rev"], order=1), given)
    return Function(forward, backward, tuple(reals), {"autograd": ask_own})


def _leaves(value: Any, type_of: Callable[[Any], type]) -> Iterator[Any]:
    kind = type_of(value)
    if kind in (list, tuple):
        for v in value:
            yield from _leaves(v, type_of)
    elif kind is dict:
        for key in sorted(value):
            yield from _leaves(value[key], type_of)
    else:
        yield value


def _rebuilt(like: Any, leaves: Iterator[Any]) -> Any:
    """Return containers as autograd's suite would have them traced, with `leaves` in them."""
    from autograd import builtins

    if type(like) in (list, tuple):
        made = [_rebuilt(v, leaves) for v in like]
        return builtins.list(made) if type(like) is list else builtins.tuple(made)
    if type(like) is dict:
        values = {key: _rebuilt(like[key], leaves) for key in sorted(like)}
        return builtins.dict({key: values[key] for key in like})
    return next(leaves)


def of_jax(f: Callable[..., Any], args: Any) -> Function:
    """Return a function that JAX's suite hands to its checker.

    It computes in float64, unless it holds arrays that do not go with that.
    """
    import jax
    import jax.numpy as jnp

    leaves, tree = jax.tree.flatten(tuple(args))
    reals, rebuilt = as_reals(leaves, jax.lax.complex)
    wide = jax.tree.unflatten(tree, rebuilt([jnp.asarray(x) for x in reals]))
    with quietly():
        try:
            given, y = wide, f(*wide)
        except Exception:
            given, y = args, f(*args)

    def inexact(leaf: Any) -> bool:
        return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))

    kinds = [jnp.result_type(v) if inexact(v) else None for v in jax.tree.leaves(given)]
    outputs = [str(jnp.result_type(v)) for v in jax.tree.leaves(y) if inexact(v)]

    def flat(*xs: Any) -> Any:
        both = zip(rebuilt(xs), kinds, strict=True)
        new = [x if t is None else jnp.asarray(x).astype(t) for x, t in both]
        parts = []
        for y in filter(inexact, jax.tree.leaves(f(*jax.tree.unflatten(tree, new)))):
            whole = jnp.asarray(y)
            parts += [jnp.real(whole), jnp.imag(whole)] if jnp.iscomplexobj(whole) else [whole]
        parts = [jnp.ravel(part).astype(np.float64) for part in parts]
        return jnp.concatenate(parts) if parts else jnp.zeros(0)

    def vjp(gy: Any, *xs: Any) -> Any:
        return jax.vjp(flat, *xs)[1](gy)

    forward, backward = _compiled(flat, reals), _compiled(vjp, [_run(flat, *reals), *reals])
    ask_own = functools.partial(_ORIGINAL["jax"], f, given, order=1, modes=["rev"])
    return Function(
        lambda *xs: np.asarray(_run(forward, *xs)),
        lambda gy, *xs: [np.asarray(g) for g in _run(backward, gy, *xs)],
        tuple(reals),
        {"JAX": ask_own},
        min(outputs, key=_bits, default="float64"),
    )


def _bits(dtype: str) -> int:
    """Return how many bits a real number of a type has."""
    bits = int(re.findall(r"\d+", dtype)[0])
    return bits // 2 if "complex" in dtype else bits


def _compiled(function: Callable[..., Any], args: Sequence[Any]) -> Callable[..., Any]:
    """Return `function` as JAX compiles it, or as it is where it cannot be."""
    import jax

    compiled = jax.jit(function)
    try:
        _run(compiled, *args)
    except Exception:
        return function
    return compiled


def _run(function: Callable[..., Any], *args: Any) -> Any:
    import jax.numpy as jnp

    with quietly():
        return function(*map(jnp.asarray, args))


_ORIGINAL: dict[str, Any] = {"autograd": None, "jax": None}
"""The checkers that were replaced, by their library."""


class Recorder:
    """Takes the place of ``check_grads``; a plugin of pytest, which says which test is running."""

    def __init__(self, suite: str, path: Path, out: Path, share: float, seed: int) -> None:
        self.suite, self.path, self.share, self.seed = suite, path, share, seed
        self.out = out.open("w")
        self.test, self.number = "", 0
        self.outcomes: dict[str, int] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        names = tuple(tests_that_check(self.path.read_text()))
        if self.suite == "jax":
            items[:] = [item for item in items if item.name.startswith(names)]

    def pytest_runtest_setup(self, item: Any) -> None:
        self.test, self.number = item.name, 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] = self.outcomes.get(report.outcome, 0) + 1

    def __call__(self, make: Callable[..., Function], *handed: Any) -> None:
        """Put one function to the checkers, if it is drawn."""
        name = f"{self.path.name}::{self.test}#{self.number}"
        self.number += 1
        row: dict[str, Any] = {"name": name}
        if zlib.crc32(f"{self.seed} {name}".encode()) < self.share * 2**32:
            row |= self.asked(make, *handed)
        print(json.dumps(row), file=self.out, flush=True)

    def asked(self, make: Callable[..., Function], *handed: Any) -> dict[str, Any]:
        try:
            function = make(*handed)
            y = function.forward(*function.inputs)
            function.backward(np.ones_like(y), *function.inputs)
        except Exception as error:
            words = " ".join(str(error).split())[:200]
            return {"left out": f"{type(error).__name__}: {words}"}
        if not function.inputs or not y.size:
            return {"left out": NO_NUMBERS}
        said = {checker: ask(checker, function) for checker in NAMES}
        return {
            "dtype": function.dtype,
            "sizes": [[x.size for x in function.inputs], y.size],
            "said": {checker: s.verdict for checker, s in said.items()},
            "words": {checker: s.words for checker, s in said.items() if s.verdict != PASSED},
        }


def tests_that_check(text: str) -> list[str]:
    """Return the tests of a file from which ``check_grads`` is reached."""
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    uses = {
        f.name: {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(f)} for f in functions
    }
    found, before = {"check_grads"}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, used in uses.items() if used & found}
    return sorted(name for name in found if name.startswith("test"))


def replace_check_grads(suite: str, recorder: Recorder) -> None:
    """Have the suite hand its functions to `recorder`."""
    if suite == "autograd":
        from autograd import test_util
        from autograd.wrap_util import unary_to_nary

        def unary(f: Any, x: Any, modes: Any = None, order: int = 2) -> None:
            recorder(of_autograd, f, x)

        _ORIGINAL["autograd"] = test_util.check_grads
        test_util.check_grads = unary_to_nary(unary)
        return
    import jax.test_util
    from jax._src import public_test_util
    from jax._src import test_util as internal

    def record(f: Any, args: Any, order: int, *_: Any, **__: Any) -> None:
        recorder(of_jax, f, args)

    _ORIGINAL["jax"] = public_test_util.check_grads
    for module in (jax.test_util, public_test_util, internal):
        module.check_grads = record  # type: ignore[attr-defined]


@click.command()
@click.argument("suite", type=click.Choice(["autograd", "jax"]))
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--share", type=float, default=1.0, help="Of the functions, how many are drawn.")
@click.option("--seed", type=int, default=0)
def main(suite: str, path: Path, out: Path, share: float, seed: int) -> None:
    """Run one file of a suite, and write what is said of the functions that it checks."""
    recorder = Recorder(suite, path, out, share, seed)
    replace_check_grads(suite, recorder)
    folder = str(path.parent)
    # its own settings ask for plugins and for all cores
    options = ["-q", "-c", "/dev/null", "--rootdir", folder, "--confcutdir", folder, "-W", "ignore"]
    status = pytest.main([str(path), *options, "-p", "no:cacheprovider"], plugins=[recorder])
    ended = {"file": path.name, "status": int(status), "outcomes": recorder.outcomes}
    print(json.dumps(ended), file=recorder.out, flush=True)


if __name__ == "__main__":
    sys.exit(main())
