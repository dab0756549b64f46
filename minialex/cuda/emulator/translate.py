"""Turns CUDA text into C++ text: what a header of macros cannot do.

Only three things need it. Shared memory belongs to a block, which C++ knows nothing of, so its
declarations become references into memory that the emulator keeps for the block that runs;
variables at file scope are listed (`variables`); and each instantiation gets a function that can be
called from outside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from minialex.cuda.emulator.assembly import translate_assembly
from minialex.cuda.emulator.shared_declarations import translate_shared
from minialex.cuda.emulator.variables import list_variables
from minialex.cuda.tokens import without_comments

# CUDA's pragma without a number.
_UNROLL = re.compile(r"^([ \t]*#[ \t]*pragma)[ \t]+unroll[ \t]*$", re.MULTILINE)


def translate(text: str, expressions: Sequence[str], *, unroll: bool = False) -> str:
    """Return the C++ of the CUDA `text`, with an entry for each of the instantiations.

    Entry number i, for ``expressions[i]``, is the function ``emu_entry_i``. Every line stays
    where it was. With `unroll`, short loops are unrolled where the text says so, as nvcc does: of
    longer ones there would be more code than g++ gets through.
    """
    body = translate_assembly(translate_shared(list_variables(without_comments(text))))
    if unroll:
        body = _UNROLL.sub(r"\1 GCC unroll 8", body)
    entries = [f"EMU_ENTRY({entry(i)}, {e})\n" for i, e in enumerate(expressions)]
    return body + '#line 1 "entries"\n' + "".join(entries)


def entry(number: int) -> str:
    """Return the name of entry `number` of a module."""
    return f"emu_entry_{number}"
