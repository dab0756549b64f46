"""Ways to spoil a file: bytes that a disk or a download changes, and JSON that was edited."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_NUMBERS = (0, 1, -1, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
# as they stand in a JSON text
ODD_JSON = (
    *("null", "true", "false", "-0", "0", "1", "-1", "2", "3", "0.5", "-1e-320", "1e308"),
    *("1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400, "9" * 5000, "1.0", "1e0"),
    *('""', '"x"', r'"\ud800"', r'"\u0000"', '"../x"', '"/etc/passwd"', '"\\n"', '"1"'),
    *("[]", "{}", "[[]]", "[1]", "[1, 2, 3]", '{"a": 1}', "[" * 2000 + "]" * 2000, "[" * 50_000),
    *('{"a": 1, "a": 2}', "[,]", "'x'", "", "x" * 100, '"' + "y" * 20_000 + '"'),
)


def damage(draw: random.Random, content: bytes) -> bytes:
    """Return bytes that differ from `content`, in one to three places."""
    spoiled = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at = draw.randrange(len(spoiled)) if spoiled else 0
        size = draw.choice((1, 2, 4, 8, 30, 300))
        match draw.randrange(9):
            case 0 | 1 | 2:
                spoiled[at : at + 1] = bytes([(spoiled + b"\0")[at] ^ 1 << draw.randrange(8)])
            case 3:
                del spoiled[at:]
            case 4:
                del spoiled[at : at + size]
            case 5:
                spoiled[at:at] = draw.randbytes(size)
            case 6:
                spoiled[at : at + size] = draw.choice((b"\0", b"\xff")) * size
            case 7:
                source = draw.randrange(len(spoiled) + 1)
                spoiled[at : at + size] = spoiled[source : source + size]
            case 8:
                width = draw.choice((1, 2, 4, 8))
                number = draw.choice(ODD_NUMBERS) % 2 ** (8 * width)
                spoiled[at : at + width] = number.to_bytes(width, "little")
    return bytes(spoiled) if spoiled != content else bytes([*spoiled, 0])


def edited(draw: random.Random, table: Any) -> str:
    """Return the JSON of `table`, changed in one to three places of its structure."""
    table, texts = copy.deepcopy(table), {}
    for number in range(draw.choice((1, 1, 1, 2, 3))):
        inner = draw.choice([x for x in _containers(table) if x] or [table])
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            continue
        key, other = draw.choice(keys), draw.choice(keys)
        match draw.randrange(8):
            case 0:
                del inner[key]
            case 1 if isinstance(inner, dict):
                inner[draw.choice(("", "x", "é\n", str(other) + "_"))] = inner[other]
            case 2:
                inner[key] = copy.deepcopy(inner[other])
            case 3 if isinstance(inner[key], int | float):
                inner[key] *= draw.choice((-1, 0, 2, 1000, 1.5))
            case _:
                # a mark, and in its place later what `json` would not write
                texts[f'"<<{number}>>"'] = draw.choice(ODD_JSON)
                inner[key] = f"<<{number}>>"
    text = json.dumps(table)
    for mark, odd in texts.items():
        text = text.replace(mark, odd)
    return text


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for x in inner for found in _containers(x))]
