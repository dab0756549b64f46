"""Puzzles about ops that work element by element, that move elements, and about products."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import philox
from minialex.study.puzzles.puzzle import BACKWARD, Puzzle
from minialex.study.puzzles.python_puzzles import (
    Backward,
    Forward,
    Functions,
    OpPuzzle,
    own_backward,
)

_UNBROADCAST = '''
def unbroadcast(g, shape):
    """Sum g over the axes along which an array of that shape was broadcast to it."""
    extra = g.ndim - len(shape)
    ones = tuple(extra + i for i, n in enumerate(shape) if n == 1)
    return g.sum(axis=(*range(extra), *ones), keepdims=True).reshape(shape)
'''


def _of_one_input(op: str, f: Functions) -> tuple[Forward, Backward]:
    """Return an op of one input, whose ``backward(gy, *saved, **params)`` is the solution's."""
    return own_backward(op, lambda gy, saved, **params: (f.backward(gy, *saved, **params),))


def _add(f: Functions) -> tuple[Forward, Backward]:
    return own_backward("add", lambda gy, saved: tuple(f.unbroadcast(gy, s) for s in saved))


def _of_all_inputs(op: str, f: Functions) -> tuple[Forward, Backward]:
    """Return an op, whose ``backward(gy, *saved)`` gives all gradients, wanted or not."""

    def backward(gy: Any, saved: Any, *, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        found = f.backward(gy, *saved)
        return tuple(g if need else None for g, need in zip(found, needs, strict=True))

    return own_backward(op, backward)


def _dropout(f: Functions) -> tuple[Forward, Backward]:
    def backward(gy: Any, saved: Any, *, p: float, seed: int, offset: int) -> tuple[Any]:
        words = philox.bits(np, gy.size, seed=seed, offset=offset).reshape(gy.shape)
        return (f.backward(gy, words, p),)

    return own_backward("dropout", backward)


PUZZLES: list[Puzzle] = [
    OpPuzzle(
        name="relu",
        title="Where a ReLU lets a gradient through",
        kind=BACKWARD,
        topic="element by element",
        op="relu",
        implement=lambda f: _of_one_input("relu", f),
        functions=("backward",),
        task="""
        y = max(x, 0) was computed, and y kept. Given gy, the gradient of y, return that of x. At x
        = 0 this library's rule is 0. A NaN in y lets its gradient pass, as max(NaN, 0) is NaN: a
        broken number must not be hidden.
        """,
        hint="Where exactly is y zero?",
        why="y is 0 exactly where x <= 0; NaN == 0 is false, so a NaN's gradient passes.",
        template="""
        import numpy as np


        def backward(gy, y):
            @@
        """,
        begun="return gy",
        solved="return np.where(y == 0, 0, gy)",
    ),
    OpPuzzle(
        name="clip",
        title="The gradient at the bounds of a clip",
        kind=BACKWARD,
        topic="element by element",
        op="clip",
        implement=lambda f: _of_one_input("clip", f),
        functions=("backward",),
        task="""
        y = x, but no less than min and no more than max; either bound may be None. The gradient
        passes where min <= x <= max, at the bounds themselves too, and is 0 elsewhere, and where x
        is NaN.
        """,
        hint="Write down what must hold for the gradient to pass, not what must not.",
        why="Each bound that is there is one condition; x == x is false for NaN alone.",
        template="""
        import numpy as np


        def backward(gy, x, *, min, max):
            @@
        """,
        begun="return np.where((x > min) & (x < max), gy, 0)",
        solved="""
        passes = x == x
        if min is not None:
            passes = passes & (x >= min)
        if max is not None:
            passes = passes & (x <= max)
        return np.where(passes, gy, 0)
        """,
    ),
    OpPuzzle(
        name="broadcast-add",
        title="Undo a broadcast",
        kind=BACKWARD,
        topic="broadcasting",
        op="add",
        implement=_add,
        functions=("unbroadcast",),
        task="""
        y = a + b, where NumPy broadcasts a and b to one shape: it puts axes in front, and repeats
        axes of length 1. The gradient of a is gy, added up over all places where an element of a
        was used. Given g, of the shape of y, and the shape of a, return that gradient: of that
        shape.
        """,
        hint="Axes line up from the right. Which of them were repeated?",
        why="An element that was used several times gets the sum of what all its uses get: over "
        "the axes put in front, and over those of length 1.",
        template="""
        import numpy as np


        def unbroadcast(g, shape):
            @@
        """,
        begun="return g.reshape(shape)",
        solved="""
        extra = g.ndim - len(shape)
        ones = tuple(extra + i for i, n in enumerate(shape) if n == 1)
        return g.sum(axis=(*range(extra), *ones), keepdims=True).reshape(shape)
        """,
    ),
    OpPuzzle(
        name="dropout",
        title="The same mask again, and what keeps the mean",
        kind=BACKWARD,
        topic="layers",
        op="dropout",
        implement=_dropout,
        functions=("backward",),
        task="""
        Dropout keeps an element where its random word, a whole number from 0 to 2^32 - 1, is p
        2^32 or more, and multiplies what it keeps by 1 / (1 - p); all else becomes 0. With p = 1
        all is dropped. backward gets the words that forward drew. What is dropped is 0 whatever it
        was, NaN too.
        """,
        hint="Dropout is linear in x: backward does to gy what forward did to x.",
        why="y = x / (1 - p) where kept, so the derivative is the same factor at the same places; "
        "np.where drops a NaN too, which a product with 0 does not.",
        template="""
        import numpy as np


        def backward(gy, words, p):
            @@
        """,
        begun="return np.where(words >= p * 2**32, gy, 0)",
        solved="""
        scale = 1 / (1 - p) if p < 1 else 0.0
        return np.where(words >= p * 2**32, gy * scale, 0)
        """,
    ),
    OpPuzzle(
        name="permute",
        title="Put the axes back",
        kind=BACKWARD,
        topic="moving elements",
        op="permute",
        implement=lambda f: _of_one_input("permute", f),
        functions=("backward",),
        task="""
        y = x.transpose(dims): axis i of y is axis dims[i] of x. Return the gradient of x.
        """,
        hint="For two axes any answer is right. Try dims = (2, 0, 1).",
        why="The inverse of a permutation puts i at place dims[i], which is what argsort gives; "
        "it is the permutation itself only where that just swaps axes.",
        template="""
        import numpy as np


        def backward(gy, *, dims):
            @@
        """,
        begun="return gy",
        solved="return gy.transpose(tuple(int(d) for d in np.argsort(dims)))",
    ),
    OpPuzzle(
        name="concatenate",
        title="Cut a gradient where arrays were joined",
        kind=BACKWARD,
        topic="moving elements",
        op="concatenate",
        implement=lambda f: own_backward(
            "concatenate", lambda gy, saved, *, dim: f.backward(gy, saved, dim)
        ),
        functions=("backward",),
        task="""
        y is several arrays joined along the axis dim; lengths has the length of each along it.
        Return a tuple of the gradient of each.
        """,
        hint="np.split wants the places where to cut, not the lengths of the pieces.",
        why="The pieces begin where the sum of the lengths before them says; the last sum is the "
        "end, where nothing is left to cut.",
        template="""
        import numpy as np


        def backward(gy, lengths, dim):
            @@
        """,
        begun="return tuple(np.split(gy, len(lengths), axis=dim))",
        solved="return tuple(np.split(gy, np.cumsum(lengths)[:-1], axis=dim))",
    ),
    OpPuzzle(
        name="getitem",
        title="An element that was taken twice",
        kind=BACKWARD,
        topic="moving elements",
        op="getitem",
        implement=lambda f: own_backward(
            "getitem", lambda gy, saved, *, index: (f.backward(gy, saved[0], index),)
        ),
        functions=("backward",),
        task="""
        y = x[index], where index may hold whole numbers, slices, None, ..., masks, and arrays that
        name an element several times. Given gy and the shape of x, return the gradient of x, in
        the type of gy.
        """,
        hint="gx[index] += gy reads, adds and writes each named element once, however often it is "
        "named.",
        why="np.add.at adds for every time that an element is named; with +=, of equal indices "
        "only the last one counts.",
        template="""
        import numpy as np


        def backward(gy, shape, index):
            gx = np.zeros(shape, gy.dtype)
            @@
            return gx
        """,
        begun="gx[index] = gy",
        solved="np.add.at(gx, index, gy)",
    ),
    OpPuzzle(
        name="linear",
        title="The three gradients of a linear layer",
        kind=BACKWARD,
        topic="products",
        op="linear",
        implement=lambda f: _linear(f),
        functions=("backward",),
        task="""
        y = x w^T + b, with x (..., I), w (O, I) and b (O,): x may have several axes of rows, or
        none. Return the gradients of x, w and b, each of the shape of what it belongs to. (1 / N
        of a mean over the batch is in gy already, if it is anywhere.)
        """,
        hint="Take all axes of rows as one. Of which shape must gw be, and which order of gy and "
        "x gives that?",
        why="y[r, o] = sum_i x[r, i] w[o, i] + b[o]: w[o, i] is met in every row r, so its "
        "gradient is the sum over rows of gy[r, o] x[r, i], and that of b[o] the sum of gy[r, "
        "o].",
        template="""
        import numpy as np


        def backward(gy, x, w):
            gy_rows, x_rows = gy.reshape(-1, len(w)), x.reshape(-1, w.shape[1])
            @@
            return gx, gw, gb
        """,
        begun="""
        gx = gy @ w
        gw = x_rows.T @ gy_rows
        gb = gy_rows.mean(axis=0)
        """,
        solved="""
        gx = gy @ w
        gw = gy_rows.T @ x_rows
        gb = gy_rows.sum(axis=0)
        """,
    ),
    OpPuzzle(
        name="matmul",
        title="A product of stacks of matrices",
        kind=BACKWARD,
        topic="products",
        op="matmul",
        implement=lambda f: _matmul(f),
        functions=("backward",),
        task="""
        y = a @ b, for stacks of matrices, which broadcast as NumPy's do: a (..., M, K) and b (...,
        K, N). Return the gradients of a and b. unbroadcast is there for the stacks.
        """,
        hint="One matrix transposes by its last two axes; a.T turns the whole stack around.",
        why="y = a b gives ga = gy b^T and gb = a^T gy, matrix by matrix; a matrix that served "
        "several of a stack adds up what each of them gives.",
        template=f"""
        import numpy as np

        {_UNBROADCAST.strip().replace(chr(10), chr(10) + "        ")}


        def backward(gy, a, b):
            @@
            return unbroadcast(ga, a.shape), unbroadcast(gb, b.shape)
        """,
        begun="""
        ga = gy @ b
        gb = a @ gy
        """,
        solved="""
        ga = gy @ b.swapaxes(-1, -2)
        gb = a.swapaxes(-1, -2) @ gy
        """,
    ),
]


def _linear(f: Functions) -> tuple[Forward, Backward]:
    return _of_all_inputs("linear", f)


def _matmul(f: Functions) -> tuple[Forward, Backward]:
    """Return matmul; a vector is made a matrix of one row or column before the solution sees it."""

    def backward(gy: Any, saved: Any, *, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        a, b = saved
        rows = a[None, :] if a.ndim == 1 else a
        columns = b[:, None] if b.ndim == 1 else b
        gy = gy[..., None] if b.ndim == 1 else gy
        gy = gy[..., None, :] if a.ndim == 1 else gy
        ga, gb = f.backward(gy, rows, columns)
        return (
            ga.reshape(a.shape) if needs[0] else None,
            gb.reshape(b.shape) if needs[1] else None,
        )

    return own_backward("matmul", backward)
