"""Reads machine code: NVIDIA's disassembler writes it out, and its loops are found and counted.

``nvdisasm`` (``pip install nvidia-cuda-nvdisasm``) needs no GPU. What its instructions mean: CUDA
Binary Utilities, "Instruction Set Reference".
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minialex.cuda import toolkit
from minialex.errors import MinialexError

_OLDEST = 75
_SECTION = re.compile(r"^\t\.section\t\.text\.([^,\s]+)", re.MULTILINE)
_LABEL = re.compile(r"^(\.L_\w+):")
_LINE = re.compile(r'^\s*//## File "(?P<file>[^"]+)", line (?P<line>\d+)')
_INSTRUCTION = re.compile(
    r"^\s+/\*[0-9a-f]{4,}\*/\s+(?P<predicate>@!?U?P\w+ )?\s*(?P<opcode>[A-Z][\w.]*)(?P<rest>[^;]*);"
)
# never: loads that the compiler puts in front of asynchronous copies, which take a slot only
_NEVER = "@!PT "
# Blackwell names the predicates of two carries, which are always true
_ADDITION = re.compile(
    r"(?P<to>U?R\d+), (?:U?PT, U?PT, )?(?P=to)(?:\.reuse)?, (?P<constant>-?0x[0-9a-f]+)(?:, U?RZ)?"
)
_ADDS = ("IADD3", "UIADD3", "VIADD")
_GROUPS = re.compile(r"SB0, (?P<count>0x[0-9a-f]+)")
_TARGET = re.compile(r"\.L_\w+")
_JUMPS = ("BRA", "BRX", "BRXU", "JMP", "JMX", "JMXU")
_INDIRECT = ("BRX", "BRXU", "JMX", "JMXU")
_ENDS = ("EXIT", "RET", "KILL")
_MULTIPLY_ADDS = ("FFMA", "DFMA", "HMMA")
# instructions of which the access width is reported
_MEMORY = ("LDG", "STG", "LDS", "STS")
_BYTES = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_WORD = 4


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes
    ----------
    opcode : str
        With its modifiers: ``"LDG.E.128.CONSTANT"``.
    targets : tuple of int
        Where it may jump, as indices into the list of instructions.
    falls_through : bool
        Whether the next instruction may follow it. A called subroutine returns.
    file : str
        The source file, as the compiler named it; of what was inlined, the inlined text's. Empty
        where the machine code does not say.
    line : int
        The source line, 0 where the machine code does not say.
    added : int
        The constant that it adds to an integer register, as loops do to their counter; else 0.
    pending : int
        Of one that waits for asynchronous copies, how many of the latest groups it does not wait
        for; else 0.
    """

    opcode: str
    targets: tuple[int, ...] = ()
    falls_through: bool = True
    file: str = ""
    line: int = 0
    added: int = 0
    pending: int = 0

    @property
    def kind(self) -> str:
        """The opcode without modifiers; of 16-byte vectors, with ``.128``: ``"LDG.128"``.

        A call that is a jump counts as one.
        """
        name, *modifiers = self.opcode.split(".")
        if name == "CALL" and self.targets:
            return "BRA"
        return f"{name}.128" if name in _MEMORY and "128" in modifiers else name

    @property
    def bytes(self) -> int:
        """How many bytes each lane moves, of an instruction that accesses memory."""
        name, *modifiers = self.opcode.split(".")
        if name == "LDSM":
            # 8 rows of 16 bytes per matrix: a register of each lane
            return _WORD * int(modifiers[-1]) if modifiers[-1].isdecimal() else _WORD
        return next((_BYTES[word] for word in modifiers if word in _BYTES), _WORD)


@dataclass(frozen=True)
class Loop:
    """One loop, without the loops within it.

    Attributes
    ----------
    length : int
        Instructions of one iteration, as if it took every branch.
    kinds : Counter of str
        How many of them there are of each kind.
    instructions : tuple of int
        Which ones they are.
    depth : int
        How many loops they are in.
    """

    length: int
    kinds: Counter[str]
    instructions: tuple[int, ...]
    depth: int


def why_missing() -> str:
    """Return why machine code cannot be read here; empty if it can."""
    if _nvdisasm() is None:
        return "reading machine code needs nvdisasm: pip install nvidia-cuda-nvdisasm"
    return ""


def is_readable(architecture: str) -> bool:
    """Return whether the disassembler still knows `architecture`: version 13 has dropped sm_70."""
    return int(architecture.strip("sm_a")) >= _OLDEST


def disassemble(cubin: bytes) -> dict[str, list[Instruction]]:
    """Return the instructions of every kernel in `cubin`, by its symbol.

    Raises
    ------
    MinialexError
        If there is no disassembler, or it refuses the code.
    """
    if why := why_missing():
        raise MinialexError(why)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernels.cubin")
        path.write_bytes(cubin)
        done = subprocess.run(
            [str(_nvdisasm()), "--print-code", "--print-line-info", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        raise MinialexError(f"nvdisasm does not read this code: {said}")
    return parse(done.stdout)


def parse(text: str) -> dict[str, list[Instruction]]:
    """Return the instructions in what ``nvdisasm --print-code`` has written, by symbol.

    Raises
    ------
    MinialexError
        If an indirect jump has no list of targets.
    """
    _, *parts = _SECTION.split(text)
    return {
        symbol: _instructions(body) for symbol, body in zip(parts[::2], parts[1::2], strict=True)
    }


def loops(code: Sequence[Instruction]) -> list[Loop]:
    """Return the loops of a kernel, in the order of their first instructions.

    Loops are the natural ones (Aho, Lam, Sethi, Ullman, Compilers, section 9.6.6): all that leads
    to a jump backwards without passing its target. An instruction belongs to the innermost loop
    around it.
    """
    bodies = _loops(code)
    return [_loop(code, head, bodies) for head in sorted(bodies)]


def main_loop(code: Sequence[Instruction]) -> list[Loop]:
    """Return the main loop of a kernel and the `loops` around it, from inside out.

    The main loop is that with most FFMA, DFMA and HMMA, of equal ones the longest, and of these
    the first; a kernel without loops has none.
    """
    bodies = _loops(code)
    found = {head: _loop(code, head, bodies) for head in bodies}

    def rank(head: int) -> tuple[int, int, int]:
        multiply_adds = sum(found[head].kinds[kind] for kind in _MULTIPLY_ADDS)
        return multiply_adds, found[head].length, -head

    if not bodies:
        return []
    main = max(bodies, key=rank)
    return [found[h] for h in sorted(_around(main, bodies), key=lambda h: len(bodies[h]))]


def reachable(code: Sequence[Instruction]) -> list[int]:
    """Return which instructions can follow the first: no padding, no subroutine that is called."""
    return sorted({0, *(target for _, target, _ in _edges(code))}) if code else []


def passed(code: Sequence[Instruction], without: Collection[int]) -> frozenset[int]:
    """Return what lies on a way from the first instruction to an end that avoids `without`."""
    ends = [i for i, one in enumerate(code) if one.opcode.partition(".")[0] in _ENDS]
    following = [_next(code, i) for i in range(len(code))]
    before: list[list[int]] = [[] for _ in code]
    for i, targets in enumerate(following):
        for target in targets:
            before[target].append(i)
    return _spread([0] if code else [], following, without) & _spread(ends, before, without)


def count(code: Iterable[Instruction]) -> Counter[str]:
    """Return how many instructions there are of each kind."""
    return Counter(instruction.kind for instruction in code)


def _nvdisasm() -> Path | None:
    found = toolkit.find("bin/nvdisasm")
    elsewhere = shutil.which("nvdisasm")
    return found[0] if found else Path(elsewhere) if elsewhere else None


def _instructions(body: str) -> list[Instruction]:
    labels: dict[str, int] = {}
    found: list[tuple[re.Match[str], tuple[str, int]]] = []
    place = ("", 0)
    for line in body.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(found)
        elif instruction := _INSTRUCTION.match(line):
            found.append((instruction, place))
        elif where := _LINE.match(line):
            place = where["file"], int(where["line"])
    return [
        dataclasses.replace(_instruction(one, labels), file=file, line=number)
        for one, (file, number) in found
    ]


def _instruction(found: re.Match[str], labels: dict[str, int]) -> Instruction:
    opcode, predicated = found["opcode"], found["predicate"] is not None
    if found["predicate"] == _NEVER:
        return Instruction("NOP")
    name = opcode.partition(".")[0]
    # a call of a label is how some architectures leave a loop; subroutines have names
    if name not in _JUMPS and not (name == "CALL" and _TARGET.search(found["rest"])):
        falls_through = predicated or name not in _ENDS
        added, pending = _added(name, found["rest"]), _pending(name, found["rest"])
        return Instruction(opcode, (), falls_through, added=added, pending=pending)
    targets = tuple(labels[label] for label in _TARGET.findall(found["rest"]))
    if not targets:
        raise MinialexError(f"nvdisasm names no target of {opcode}{found['rest'].rstrip()}")
    # a branch with another operand in front of its target has a condition in it
    conditional = predicated or (name not in _INDIRECT and "," in found["rest"])
    return Instruction(opcode, targets, conditional)


def _added(name: str, operands: str) -> int:
    found = _ADDITION.fullmatch(operands.strip()) if name in _ADDS else None
    return int(found["constant"], 16) if found else 0


def _pending(name: str, operands: str) -> int:
    found = _GROUPS.fullmatch(operands.strip()) if name == "DEPBAR" else None
    return int(found["count"], 16) if found else 0


def _around(head: int, bodies: dict[int, set[int]]) -> list[int]:
    return [other for other, body in bodies.items() if head in body]


def _loop(code: Sequence[Instruction], head: int, bodies: dict[int, set[int]]) -> Loop:
    inner = (bodies[h] for h in bodies[head] if h != head and h in bodies)
    own = sorted(bodies[head].difference(*inner))
    kinds = count(code[i] for i in own)
    return Loop(len(own), kinds, tuple(own), len(_around(head, bodies)))


def _loops(code: Sequence[Instruction]) -> dict[int, set[int]]:
    """Return the instructions of each loop by its first; those of one head are one loop."""
    before: list[list[int]] = [[] for _ in code]
    backward: list[tuple[int, int]] = []
    for source, target, is_backward in _edges(code):
        before[target].append(source)
        if is_backward:
            backward.append((source, target))
    loops: dict[int, set[int]] = {}
    for last, head in backward:
        body = loops.setdefault(head, {head})
        todo = [last]
        while todo:
            one = todo.pop()
            if one not in body:
                body.add(one)
                todo.extend(before[one])
    return loops


def _edges(code: Sequence[Instruction]) -> Iterator[tuple[int, int, bool]]:
    """Yield what may follow what, from the entry on, and whether that closes a loop.

    It does where the depth-first search has not yet left the target (a back edge).
    """
    entered, open_nodes = {0}, {0}
    path = [(0, iter(_next(code, 0)))]
    while path:
        here, following = path[-1]
        for target in following:
            yield here, target, target in open_nodes
            if target not in entered:
                entered.add(target)
                open_nodes.add(target)
                path.append((target, iter(_next(code, target))))
                break
        else:
            open_nodes.remove(here)
            path.pop()


def _spread(
    start: Iterable[int], neighbours: Sequence[Sequence[int]], without: Collection[int]
) -> frozenset[int]:
    """Return what can be reached from `start`, `start` too, without passing `without`."""
    found: set[int] = set()
    todo = list(start)
    while todo:
        one = todo.pop()
        if one not in found and one not in without:
            found.add(one)
            todo.extend(neighbours[one])
    return frozenset(found)


def _next(code: Sequence[Instruction], index: int) -> tuple[int, ...]:
    falls = (index + 1,) if code[index].falls_through and index + 1 < len(code) else ()
    return (*falls, *code[index].targets)
