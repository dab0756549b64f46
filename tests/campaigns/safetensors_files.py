"""Safetensors files, with and without a checksum: damaged, and with headers that were edited."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from minialex.weights import open_weights
from minialex.weights.safetensors import HEADER_CHECKSUM, write_safetensors
from tests.campaigns.fuzz import files
from tests.campaigns.mutations import damage, edited
from tests.campaigns.pth import Arrays, arrays, same


def make(draw: random.Random, path: Path) -> tuple[Arrays, bool]:
    """Write one file; returns what was in it, and whether its header must be as it was."""
    tensors, signed = arrays(draw), draw.random() < 0.4
    metadata = {"format": "pt", "note": "x" * draw.randrange(9)}
    write_safetensors(path, tensors, metadata | ({HEADER_CHECKSUM: ""} if signed else {}))
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header, rest = content[:start], content[start:]
    way = draw.random()
    if signed:
        path.write_bytes(damage(draw, header) + rest)
    elif way < 0.4:
        path.write_bytes(damage(draw, content))
    elif way < 0.5:
        path.write_bytes(many(draw))
    else:
        text = edited(draw, json.loads(header[8:])).encode()
        length = len(text) + draw.choice((0, 0, 0, 0, 1, -1, 2**40))
        path.write_bytes(max(0, length).to_bytes(8, "little") + text + rest)
    return tensors, signed


def many(draw: random.Random) -> bytes:
    """Return a file whose header has many entries, or is nested deeply, or is long."""
    entry = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    number = draw.choice((1000, 20_000))
    text = draw.choice(
        (
            "{" + ",".join(entry.format(i) for i in range(number)) + "}",
            "{" + ",".join(entry.format(0) for _ in range(number)) + "}",
            '{"__metadata__":{"a":"' + "x" * 100 * number + '"}}',
            '{"a":' + "[" * number + "]" * number + "}",
            "{" + '"a":{' * number + "}" * (number + 1),
            '{"a":[' + ",".join(["{}"] * number) + "]}",
        )
    ).encode()
    return len(text).to_bytes(8, "little") + text


def read(path: Path, made: tuple[Arrays, bool]) -> str | None:
    """Read it; returns what is wrong with what was read, or None."""
    tensors, signed = made
    found, size = open_weights(path).parameters, path.stat().st_size
    # where even the checksum's name was hit, nothing says that there was one
    if signed and HEADER_CHECKSUM.encode() in path.read_bytes() and not same(found, tensors):
        return "its header was damaged, and was taken"
    if sum(x.nbytes for x in found.values()) > 2 * size:
        return "its tensors are larger than the file"
    for x in found.values():
        np.abs(x.astype(np.float64)).sum()
    return None


CAMPAIGN = files(__name__, "safetensors files", count=10_000, short=50)
