"""Kernels as Python calls them.

    relu_forward = cuda.kernel("relu.cu", "relu_forward")
    relu_forward(cuda.blocks(x.size, 4 * cuda.BLOCK_SIZE), cuda.BLOCK_SIZE, x, y, x.size)

A kernel is the name of one until its first launch: what reads, checks and compiles its text
(`launch`) is slow to import, and most programs on a CPU launch none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from minialex.cuda.launch import Launcher
    from minialex.cuda.signature import Signature

BLOCK_SIZE = 256
"""Threads of a 1-D block where a kernel asks for no other number."""

Size: TypeAlias = int | Sequence[int]


def blocks(count: int, threads: int = BLOCK_SIZE) -> int:
    """Return how many blocks of `threads` threads cover `count` threads."""
    return -(-count // threads)


class Kernel:
    """One ``__global__`` function of one file, to be called like a function.

    Parameters
    ----------
    file : str or Path
        A file of the kernel folder by name, or the path of any other. One that does not include
        ``common.cuh`` may hold anything, host code and headers too: see `minialex.cuda.foreign`.
    name : str
        The function, with its namespaces where there are several of that name.
    optional : sequence of str
        The pointers that may be None, which the kernel then reads as null; of a foreign file all
        may.
    options : sequence of str
        Of the compiler, as a foreign file may need them: ``-DNAME=VALUE``, ``-UNAME``,
        ``-IFOLDER``.

    Examples
    --------
    ``kernel(grid, block, *args, shared=0, shapes=None, **template)``: `grid` and `block` are one
    to three sizes; `shared` is the dynamic shared memory in bytes; `shapes` maps the name of an
    array to the shape that it must have; the rest are template arguments by name. Types are
    deduced from the arrays. An empty grid launches nothing.
    """

    def __init__(
        self,
        file: str | Path,
        name: str,
        *,
        optional: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.file, self.name = file, name
        self.optional, self.options = tuple(optional), tuple(options)

    def __repr__(self) -> str:
        return f"<kernel {self.name} of {self.file}>"

    @property
    def signature(self) -> Signature:
        """What the text declares.

        Raises
        ------
        MinialexError
            If the file has no kernel of that name, or it cannot be launched.
        """
        return self._launcher.signature

    def __call__(
        self,
        grid: Size,
        block: Size,
        *args: Any,
        shared: int = 0,
        shapes: Mapping[str, Sequence[int]] | None = None,
        **template: Any,
    ) -> None:
        """Check the arguments and run the kernel.

        Raises
        ------
        TypeError, ValueError
            If an argument, the grid or the block is not what the kernel takes.
        MinialexError
            If the arrays are NumPy's and no emulator is active, or the kernel does not compile.
        """
        self._launcher.launch(grid, block, args, shared, shapes, template)

    @functools.cached_property
    def _launcher(self) -> Launcher:
        # here, and not above: it is slow to import
        from minialex.cuda.launch import Launcher

        return Launcher(self.file, self.name, self.optional, self.options)


def kernel(
    file: str | Path, name: str, *, optional: Sequence[str] = (), options: Sequence[str] = ()
) -> Kernel:
    """Return the kernel `name` of `file`; see `Kernel`. Nothing is read before the first call."""
    return Kernel(file, name, optional=optional, options=options)
