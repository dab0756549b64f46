"""Write ``kernels/budgets/``: the resources that each kernel's machine code uses, one line each.

From the root of a source tree,

    python -m minialex.study.budgets             compiles the files whose code has changed
    python -m minialex.study.budgets 12.9 13.5   recompiles all with these versions of NVRTC
    python -m minialex.study.budgets --check     changes nothing; exit status 1 where one is stale

There is a file for each version of NVRTC, as each makes other code of the same text. The lines are
sorted, so that the difference of two revisions shows what an edit did to the code. They are of the
float instances, and of the kernels that have no others.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from minialex.cuda import disassembly, nvrtc, source
from minialex.cuda.disassembly import Instruction
from minialex.errors import MinialexError
from minialex.study.digests import code_digest
from minialex.study.parallel import in_parallel

FOLDER = "kernels/budgets"
KINDS = (
    *("FFMA", "HMMA", "MUFU", "SHFL", "LDG.128", "LDG", "LDGSTS", "STG.128", "STG"),
    *("LDS.128", "LDS", "LDSM", "STS.128", "STS", "BAR", "CALL"),
)
"""The instructions that are counted; the others are the difference to the length."""
HEADER = """\
# Resources of the kernels' machine code, compiled by NVRTC {version}; float instances.
# Generated: python -m minialex.study.budgets writes this file.
#
# registers per thread; bytes of spill stores and of stack per thread; bytes of static shared
# memory per block; code: all instructions, padding included, and of them LDL and STL, accesses to
# local memory, where there are any.
# loop: instructions of the main loop, the one that multiplies and adds most (FFMA, DFMA, HMMA), or
# the longest; around: of the next loop around it, without the inner. Each counts every branch, also
# those that are seldom taken. Behind each, its instructions of some kinds: .128 is a 16-byte
# vector per thread, LDG and STG are global memory, LDS and STS shared, LDGSTS from one to the
# other, LDSM a matrix from shared memory, BAR a barrier, CALL a subroutine. A kernel without a
# loop has the counts of all its code.
# unread: the disassembler does not know the architecture. sm_90a has no lines: its code is sm_90's.
"""
Compilation = tuple[str, str, str]


def main(words: list[str], root: Path) -> int:
    """Do it, say what was done, and return the exit status."""
    check = words == ["--check"]
    if not check and any(word.startswith("-") for word in words):
        print(__doc__)
        return 2
    kept = read(root)
    requested = [] if check else words
    versions = requested or list(kept)
    due = [
        (version, file)
        for version in versions
        for file in source.kernel_files()
        if requested or _stale(kept[version], file)
    ]
    if check:
        for version, file in due:
            print(f"{_path(version)}: {file} has changed: python -m minialex.study.budgets")
        return int(bool(due))
    missing = sorted({version for version, _ in due} - set(nvrtc.versions()))
    try:
        found = measure([(version, file) for version, file in due if version not in missing])
    except MinialexError as error:
        print(f"error: {error}")
        return 2
    for version in versions:
        if version not in missing:
            _write(root / _path(version), version, kept.get(version, {}), found)
    for version in missing:
        print(
            f"error: NVRTC {version} is not installed, which {_path(version)} is of: "
            "CONTRIBUTING.md, 'Changing a kernel', says how to get it"
        )
    return 2 if missing else 0


def read(root: Path) -> dict[str, dict[str, str]]:
    """Return the sections that stand in each version's file, by the names of the kernel files."""
    kept: dict[str, dict[str, str]] = {}
    for path in sorted((root / FOLDER).glob("nvrtc-*.txt")):
        _, *sections = path.read_text(encoding="utf-8").split("\n## ")
        version = path.stem.removeprefix("nvrtc-")
        kept[version] = {one.partition(",")[0]: f"## {one.rstrip()}\n" for one in sections}
    return kept


def lines(section: str) -> dict[str, str]:
    """Return what a section says of each kernel and architecture: ``{"f<float> sm_90": "..."}``."""
    rows = (line.partition(": ") for line in section.splitlines() if not line.startswith("##"))
    return {key: said for key, _, said in rows}


def numbers(said: str) -> dict[str, int]:
    """Return the numbers of a line by name, those of the loop around after ``"around "``."""
    found: dict[str, int] = {}
    prefix = ""
    for name, value in (word.split("=") for word in said.split() if "=" in word):
        found[prefix + name] = int(value)
        prefix = "around " if name == "around" else prefix
    return found


def architectures(file: str, version: str) -> list[str]:
    """Return those that have lines: all but the special forms, whose code is the plain form's."""
    return [name for name in nvrtc.architectures(file, version) if not name.endswith("a")]


def budget(code: nvrtc.CompiledKernels, architecture: str) -> dict[str, str]:
    """Return the line of each kernel that has one, by kernel and architecture.

    Raises
    ------
    MinialexError
        If the machine code cannot be read.
    """
    readable = disassembly.is_readable(architecture)
    instructions = disassembly.disassemble(code.cubin) if readable else {}
    return {
        f"{usage.kernel} {architecture}": _line(usage, instructions.get(code.symbols[usage.kernel]))
        for usage in code.usage
        if "double" not in usage.kernel
    }


def measure(due: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Compile files and return their sections, by version and file.

    Raises
    ------
    MinialexError
        If NVRTC of that version or the disassembler is missing, or a file does not compile.
    """
    if due and (why := disassembly.why_missing()):
        raise MinialexError(why)
    compilations = [(v, file, name) for v, file in due for name in architectures(file, v)]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for (version, file, _), found in zip(
        compilations, in_parallel(_measured, compilations, "compiling"), strict=True
    ):
        rows.setdefault((version, file), {}).update(found)
    return {key: _section(key[1], there) for key, there in rows.items()}


def _measured(compilation: Compilation) -> dict[str, str]:
    version, file, architecture = compilation
    return budget(nvrtc.compiled(file, architecture, version=version), architecture)


def _section(file: str, rows: dict[str, str]) -> str:
    text = sorted((f"{key}: {said}" for key, said in rows.items()), key=_order)
    return "\n".join([f"## {file}, code {code_digest(file)}", *text, ""])


def _order(line: str) -> tuple[str, int]:
    kernel, _, architecture = line.partition(":")[0].rpartition(" ")
    return kernel, int(architecture.removeprefix("sm_"))


def _line(usage: nvrtc.Usage, code: Sequence[Instruction] | None) -> str:
    words = [f"registers={usage.registers}", f"spills={usage.spill_stores}"]
    words += [f"stack={usage.stack}", f"shared={usage.shared}"]
    if code is None:
        return " ".join((*words, "unread"))
    kinds, loops = disassembly.count(code), disassembly.main_loop(code)
    words += [f"code={len(code)}", *_counts(kinds, ("LDL", "STL"))]
    if not loops:
        words += _counts(kinds, KINDS)
    for name, loop in zip(("loop", "around"), loops, strict=False):
        words += [f"{name}={loop.length}", *_counts(loop.kinds, KINDS)]
    return " ".join(words)


def _counts(kinds: Counter[str], names: Sequence[str]) -> list[str]:
    return [f"{name}={kinds[name]}" for name in names if kinds[name]]


def _write(
    path: Path, version: str, kept: dict[str, str], found: dict[tuple[str, str], str]
) -> None:
    """Write a version's file, of the sections that were found and, for the others, those kept."""
    sections = [found.get((version, file)) or kept[file] for file in source.kernel_files()]
    text = "\n".join([HEADER.format(version=version), *sections])
    if not path.exists() or text != path.read_text(encoding="utf-8"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{_path(version)}: written")


def _stale(sections: dict[str, str], file: str) -> bool:
    return not sections.get(file, "").startswith(f"## {file}, code {code_digest(file)}\n")


def _path(version: str) -> str:
    return f"{FOLDER}/nvrtc-{version}.txt"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
