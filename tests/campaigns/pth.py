"""PyTorch's files: damaged ones, and pickles whose opcodes were edited, harmful ones among them."""

from __future__ import annotations

import encodings.cp437  # noqa: F401 - what zip files may name their records in
import itertools
import pickle
import pickletools
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minialex.weights import open_weights
from tests.campaigns.fuzz import canary, files
from tests.campaigns.mutations import ODD_NUMBERS, damage
from tests.weights import pth_writer as w

Arrays = dict[str, npt.NDArray[np.generic]]
SHAPES = {"features.0.weight": (3, 2, 2), "features.0.bias": (3,), "last": (2, 5), "empty": (0, 3)}
TYPES = ("<f4", "<f8", "<f2", "<u2", "<i8", "|u1", "|b1")
GLOBALS = (
    *("os system", "posix system", "builtins eval", "builtins exec", "builtins open"),
    *("builtins getattr", "builtins __import__", "subprocess Popen", "subprocess run"),
    *("torch load", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"),
    *("collections OrderedDict", "torch Size", "torch FloatStorage", "copyreg _reconstructor"),
    *("numpy.core.multiarray scalar", "codecs encode", "functools partial", "x" * 600 + " y"),
)


def arrays(draw: random.Random) -> Arrays:
    """Return small arrays of various types."""
    chosen = draw.sample(list(SHAPES), draw.randint(1, len(SHAPES)))
    made = {}
    for name in chosen:
        kind = np.dtype(draw.choice(TYPES))
        count = int(np.prod(SHAPES[name]))
        made[name] = np.array([draw.randrange(2) for _ in range(count)], kind).reshape(SHAPES[name])
    return made


def harmful(draw: random.Random, path: Path) -> bytes:
    """Return opcodes that make the canary in a reader that executes, and leave one object."""
    command = f"open({str(canary(path))!r}, 'w')"
    word = w.say(command)
    function = draw.choice(GLOBALS)
    module, name = function.split()
    target = f"c{module}\n{name}\n".encode()
    if draw.random() < 0.3:
        target = w.say(module) + w.say(name) + b"\x93"
    return draw.choice(
        (
            target + word + b"\x85R",
            target + b"(" + word + b"tR",
            b"(" + word + f"i{module}\n{name}\n".encode(),
            b"(" + target + word + b"o",
            target + word + b"\x85\x81",
            target + b")\x81}" + w.say("__setstate__") + target + b"sb" + word + b"b",
            target + word + b"\x85}\x92",
            w.say(("storage", w.Raw(target), "0", "cpu", 3)) + b"Q",
            w.say(("module", w.Raw(target), "0", "x", command)) + b"Q",
        )
    )


def opcodes(program: bytes) -> list[bytes]:
    """Return a pickle's opcodes, each with its argument."""
    starts = [at for _, _, at in pickletools.genops(program)] + [len(program)]
    return [program[a:b] for a, b in itertools.pairwise(starts)]


def edited(draw: random.Random, program: bytes, path: Path) -> bytes:
    """Return a pickle of which opcodes were removed, moved, repeated, changed or added."""
    codes = opcodes(program)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at, other = draw.randrange(len(codes)), draw.randrange(len(codes))
        size = draw.choice((1, 1, 2, 5, 20))
        match draw.randrange(9):
            case 0:
                del codes[at : at + size]
            case 1:
                codes[at:at] = codes[other : other + size]
            case 2:
                codes[at], codes[other] = codes[other], codes[at]
            case 3 | 4:
                codes[at:at] = [harmful(draw, path)]
            case 5:
                codes[at:at] = [
                    draw.choice((b"(", b"]", b"}", b")", b"N", b"0", b"2", b"1"))
                ] * size
            case 6:
                codes[at] = w.say(draw.choice((*ODD_NUMBERS, "", "x" * 300, 1.5, None, (), [], {})))
            case 7:
                codes[at : at + size] = codes[at : at + size] * draw.choice((2, 50, 2000))
            case 8:
                codes[at:at] = [costly(draw)]
        codes = codes or [b"."]
    return b"".join(codes)


def costly(draw: random.Random) -> bytes:
    """Return opcodes that ask for much time or memory, and leave one object."""
    number = draw.choice((100, 3000))
    step = draw.choice((2**61 - 1, 2**32, 1, -1))
    many = b"".join(w.say(i * step) + b"N" for i in range(number))
    pairs = w.say([(i, None) for i in range(number)])
    again = b"ccollections\nOrderedDict\nh\x63\x85R"
    return draw.choice(
        (
            b"}(" + many + b"u",
            b"]q\x63(" + b"h\x63" * number + b"e",
            pairs + b"q\x63" + again * number,
            b")" + b"\x85" * number,
            b"}q\x63" + b"".join(w.say(str(i)) + b"h\x63s" for i in range(number)),
            b"".join(b"h\x00" for _ in range(number)),
            b"r" + struct.pack("<I", 2**31) + b"j" + struct.pack("<I", 2**31),
            b"\x8d" + struct.pack("<Q", 2**40) + b"x",
            w.tensor(w.storage("0", "FloatStorage", 10), 0, (2**24,), (0,)),
            w.tensor(
                w.storage("0", draw.choice(("BFloat16Storage", "ByteStorage")), 3), 0, (1,), (1,)
            ),
        )
    )


def make(draw: random.Random, path: Path) -> Arrays | None:
    """Write one file; returns what is in it, where nothing else may be read from it."""
    tensors, zipped = arrays(draw), draw.random() < 0.6
    (w.write_zip if zipped else w.write_legacy)(path, tensors)
    way = draw.random()
    if way < 0.45:
        path.write_bytes(damage(draw, path.read_bytes()))
        # each record has a checksum in the newer form; three places may be one of them as well
        return tensors if zipped else None
    view = () if zipped else (None,)
    tree = {name: w.whole(str(i), x, *view) for i, (name, x) in enumerate(tensors.items())}
    program = w.pickle_of(w.ordered(tree))
    if way < 0.9:
        program = edited(draw, program, path)
    else:
        program = pickle.dumps(Harm(path), draw.randrange(6))
    if not zipped:
        storages = {str(i): (x.size, x.tobytes()) for i, x in enumerate(tensors.values())}
        path.write_bytes(w.legacy_bytes(program, storages))
        return None
    records = {str(i): x.tobytes() for i, x in enumerate(tensors.values())}
    compression = draw.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
    w.zip_file(path, program, records, compression=compression)
    return None


class Harm:
    """Makes the canary when Python's own reader loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(canary(self.path)), "w")


def same(xs: Arrays, ys: Arrays) -> bool:
    """Whether arrays have the same names and values; bfloat16 is widened, and left out."""
    return xs.keys() == ys.keys() and all(
        np.array_equal(xs[name], y) for name, y in ys.items() if y.dtype != np.uint16
    )


def read(path: Path, made: Arrays | None) -> str | None:
    """Read it; returns what is wrong with what was read, or None."""
    size = path.stat().st_size
    found = open_weights(path).parameters
    if made is not None and not same(found, made):
        return "it was damaged, and was taken"
    for name, x in found.items():
        if type(name) is not str or type(x) is not np.ndarray:
            return f"{name!r:.60} is a {type(x).__name__}"
        if x.base is None and x.nbytes > 2 * size:
            return f"{name!r:.60} has {x.nbytes} bytes, the file {size}"
        # every element must be there to be read
        x.sum()
    return None


CAMPAIGN = files(__name__, "files of PyTorch", count=10_000, short=80)
