"""Write ``kernels/README.md``: every kernel, what it computes, which resources it uses, its tests.

From the root of a source tree,

    python -m minialex.study.kernels           writes the page; compiles what has changed
    python -m minialex.study.kernels --check   changes nothing; exit status 1 where it is stale

The page is derived: formulas and ideas from the kernels' own comments, uses from the ops, registers
and spills from NVRTC, tests from ``tests/results``, times from ``benchmarks/results``. Registers
are those of the last time a file was compiled. They are stale when its code has changed since, as a
hash beside them shows, and not when another NVRTC is installed. The same holds for the tables of
what was counted, which take longer: ``python -m minialex.bench.kernel_profiles`` writes those.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minialex.cuda import nvrtc, source
from minialex.cuda.signature import Signature, signatures
from minialex.errors import MinialexError
from minialex.study.digests import code_digest, profile_digest
from minialex.study.kernel_uses import Use, uses
from minialex.study.launch_times import kernel_times, read_launch_times
from minialex.study.proofs import Proof, read_proofs

PAGE = "kernels/README.md"
NOT_USED = "nothing yet"
HEADER = "| kernel | the idea | used by | registers | spills | time | emulated | on a GPU |"
RULE = "|---|---|---|---|---|---|---|---|"
NOT_MEASURED = "not measured"
PROFILED = "<!-- profiled with NVRTC"
Profiler = Callable[[Sequence[str]], dict[str, str]]
INTRO = """# The kernels

<!-- Generated: python -m minialex.study.kernels writes this page. -->

Every `__global__` function, file by file. The essay at the top of each `.cu` file says more; what
is shared stands in the `.cuh` files beside it.

- **used by**: op and implementation, as `minialex.using(conv2d="tiled")` takes them; bold where it
  is the default on a GPU.
- **registers**: per thread, in the float instance, or in that which takes most; one number for all
  architectures that NVRTC knows, or each number with its own (90 is `sm_90`). **spills**: bytes per
  thread spilled to local memory, in any instance. Both are the compiler's output, so they also show
  that every instance compiles for each of these architectures.
- **time**: on a GPU, of all its launches in a training step of `alexnet` at batch 128, and the
  lower bound (floor); from the records that `tests/device/first_contact.py` writes.
- **emulated**: run on the CPU by `minialex/cuda/emulator` in checked mode, which checks every
  access to memory. **on a GPU**: with which card and when. Both are from the records in
  `tests/results`, which `tests/device.sh` writes.

The second table of each file is what `minialex profile` counts of its kernels, for an H100, and
predicts: none of it is measured. A row is one launch, a kernel's slowest, of the layer with most
operations among those of the op in `alexnet`, at batch 128; where `alexnet` has none, in another of
the networks, or else of a small case. `minialex profile conv2d --emulate --implementation tiled
--case 'alexnet conv2d 2' --batch 128` shows the same line by line.

- **bound**, **predicted us**, **floor us**: what takes longest in
  [the model](../docs/profile-model.md), the time that follows, and the least that any kernel takes
  to move these arrays once or to do these operations.
- **occupancy**: the share of the warps that a multiprocessor has room for, and what limits it.
- **sectors/least**: 32-byte pieces of global memory per request, and how few would hold the
  bytes. **wavefronts/least**: passes through the banks of shared memory per request, and how few
  there would be without bank conflicts. Behind a semicolon stands the array at whose accesses it is
  far more.
- **divergent**: the share of branches, as written, at which the lanes of a warp part; the machine
  code may have predicates in place of them.

What tensor cores compute, and how `tf32x3` and `tf32` deal with it, stands in
[docs/tensor-cores.md](../docs/tensor-cores.md).

The resources of each float instance on each architecture, and the instructions of its main loop,
are in `kernels/budgets`, for NVRTC 12 and 13.

After a change to a kernel, or to what uses it, run `python -m minialex.bench.kernel_profiles`, for
this page, and `python -m minialex.study.budgets`, and commit what they write (they need NVRTC and
nvdisasm: `pip install 'minialex[test]'`). `python -m minialex.study.kernels --check` says whether
the page is due. `python -m minialex.study.kernels` writes all of it but the second tables, which
take minutes where the emulator or the profiler has changed, and seconds for one kernel.

## Tune a kernel

1. **Edit** the `.cu` text; nothing has to be built.
2. **Check** it: `minialex gradcheck --emulate checked --op conv2d --implementation tiled` compares
   every case with the definition, and finds races, accesses outside an array, divergent barriers.
3. **Profile** it: `minialex profile conv2d --emulate --implementation tiled`; at its size in a
   network with `--case 'alexnet conv2d 2' --batch 128`, for your GPU with `--gpu`. It shows
   sectors, wavefronts and divergence by line, registers, what binds, and what to mend first.
4. **Trace** a thread, `minialex trace conv2d --implementation tiled --thread 3,1`, or step warps
   through the kernel on the page that `profile --page tiled.html` writes.
5. **Bench** it where there is a GPU: `minialex bench --op conv2d`.

[docs/tuning.md](../docs/tuning.md) does so with a kernel of one's own, in three stages.

## Contents
"""


@dataclass(frozen=True)
class Figures:
    """The compiler's figures for one file: its version, the code's hash, two cells per kernel."""

    version: str
    digest: str
    cells: dict[str, tuple[str, str]]

    @property
    def mark(self) -> str:
        """The line that keeps version and hash on the page."""
        return f"<!-- compiled by NVRTC {self.version}, code {self.digest} -->"


def main(words: list[str], root: Path, profile: Profiler | None = None) -> int:
    """Do it, say what was done, and return the exit status.

    Parameters
    ----------
    profile : callable, optional
        Counts what has changed; otherwise what was counted before is kept.
    """
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    path = root / PAGE
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        text = page(before, root, compile_changed=not words, profile=profile)
    except MinialexError as error:
        print(f"error: {error}")
        return 2
    stale = profiles_due(text)
    if stale:
        print(
            f"{PAGE}: what was counted of {', '.join(stale)} is out of date: "
            "python -m minialex.bench.kernel_profiles"
        )
    if words and text != before:
        print(f"{PAGE}: out of date: python -m minialex.study.kernels")
    elif text != before:
        path.write_text(text, encoding="utf-8")
        print(f"{PAGE}: written")
    return int(bool(words) and (text != before or bool(stale)))


def page(before: str, root: Path, *, compile_changed: bool, profile: Profiler | None = None) -> str:
    """Return the page as it should be.

    Parameters
    ----------
    before : str
        The page as it is, whose figures are kept where the code has not changed.
    root : Path
        Of the source tree whose ``tests/results`` and ``benchmarks/results`` are read.
    compile_changed : bool
        Whether to compile the files that have changed; else their figures are left out.
    profile : callable, optional
        Returns the tables of what is counted of the files that it is given. It is given those that
        have changed.

    Raises
    ------
    MinialexError
        If something must be compiled and NVRTC is missing, or it does not compile.
    """
    kept, used, proofs = _kept(before), uses(), read_proofs(root)
    times, profiles = kernel_times(read_launch_times(root)), _kept_profiles(before)
    if profile is not None:
        new = profile(profiles_due(before))
        profiles |= {
            file: f"{PROFILED} {nvrtc.version()}, code {_profile_digest(file, used)} -->\n{found}"
            for file, found in new.items()
        }
    sections = [INTRO, *(_entry(file) for file in source.kernel_files()), ""]
    for file in source.kernel_files():
        figures = kept.get(file)
        if figures is None or figures.digest != code_digest(file):
            figures = compiled(file) if compile_changed else Figures("none", "stale", {})
        section = _section(file, figures, used, proofs, times)
        sections += [section, *([f"{profiles[file]}\n"] if file in profiles else [])]
    return "\n".join(sections)


def profiles_due(text: str) -> list[str]:
    """Return the files of which a page does not show what would be counted today."""
    there, used = _kept_profiles(text), uses()
    return [
        file
        for file in source.kernel_files()
        if f", code {_profile_digest(file, used)} -->" not in there.get(file, "")
    ]


def compiled(file: str) -> Figures:
    """Compile every instance of `file` for every architecture and return what each kernel takes."""
    if why := nvrtc.why_missing():
        raise MinialexError(f"{file} has changed, and its registers are not known: {why}")
    found: dict[str, list[nvrtc.Usage]] = {}
    for architecture in nvrtc.architectures(file):
        for usage in nvrtc.usage(file, architecture):
            found.setdefault(usage.kernel.partition("<")[0], []).append(usage)
    cells = {name: (_registers(taken), _spills(taken)) for name, taken in found.items()}
    return Figures(nvrtc.version(), code_digest(file), cells)


def _kept(text: str) -> dict[str, Figures]:
    """Return the figures of each file that stand on a page."""
    kept = {}
    for section in text.split("\n## ")[1:]:
        file, section = re.match(r"`([\w.]+)`", section), section.partition(PROFILED)[0]
        mark = re.search(r"<!-- compiled by NVRTC ([\d.]+), code (\w+) -->", section)
        if file and mark:
            rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
            cells = {row[0].strip("|` "): (row[3], row[4]) for row in rows}
            kept[file[1]] = Figures(mark[1], mark[2], cells)
    return kept


def _kept_profiles(text: str) -> dict[str, str]:
    """Return what a page says that was counted of each file."""
    sections = (section.partition(PROFILED) for section in text.split("\n## ")[1:])
    return {
        head.partition("`")[2].partition("`")[0]: f"{mark}{said}".rstrip()
        for head, mark, said in sections
        if mark
    }


def _profile_digest(file: str, used: dict[tuple[str, str], list[Use]]) -> str:
    return profile_digest(
        file, [u for (name, _), every in used.items() if name == file for u in every]
    )


# ---- cells ---------------------------------------------------------------------------------------


def _short(architecture: str) -> str:
    return architecture.removeprefix("sm_")


def _registers(taken: Sequence[nvrtc.Usage]) -> str:
    """Return registers and the architectures that have them: ``115 (75 80), 116 (70)``."""
    most: dict[str, int] = {}
    floats = [u for u in taken if "double" not in u.kernel] or taken
    for u in floats:
        most[u.architecture] = max(u.registers, most.get(u.architecture, 0))
    there: dict[int, list[str]] = {}
    for architecture, count in most.items():
        there.setdefault(count, []).append(_short(architecture))
    if len(there) == 1:
        return str(next(iter(there)))
    return ", ".join(f"{count} ({' '.join(names)})" for count, names in sorted(there.items()))


def _spills(taken: Sequence[nvrtc.Usage]) -> str:
    spilled = [u for u in taken if u.spill_stores or u.spill_loads]
    instances: dict[str, list[str]] = {}
    for u in spilled:
        values = u.kernel.partition("<")[2].rstrip(">")
        instances.setdefault(values, []).append(f"{u.spill_stores} ({_short(u.architecture)})")
    return "; ".join(f"{name}: {', '.join(there)}" for name, there in instances.items()) or "none"


def _used_by(used: Sequence[Use]) -> str:
    """Return the routines with their implementations: ``conv2d: im2col, **implicit_gemm**``."""
    routines: dict[str, list[str]] = {}
    for use in used:
        name = f"**{use.implementation}**" if use.is_default else use.implementation
        routines.setdefault(use.routine, []).append(name)
    return "; ".join(f"{name}: {', '.join(there)}" for name, there in routines.items()) or NOT_USED


# ---- essays and ideas ---------------------------------------------------------------------------


def _entry(file: str) -> str:
    """Return a file's line in the table of contents."""
    title, _ = _essay(file)
    # as GitHub makes an address of a heading
    anchor = re.sub(r"[^\w\- ]", "", f"{file}: {title}".lower()).replace(" ", "-")
    return f"- [`{file}`](#{anchor}): {title}"


def _section(
    file: str,
    figures: Figures,
    used: dict[tuple[str, str], list[Use]],
    proofs: dict[tuple[str, str], Proof],
    times: dict[tuple[str, str], str],
) -> str:
    title, body = _essay(file)
    lines = [f"## `{file}`: {title}", "", "```text", body, "```", "", figures.mark, HEADER, RULE]
    for name, signature in signatures(source.read(file)).items():
        registers, spills = figures.cells.get(name, ("?", "?"))
        proof = proofs.get((file, name), Proof())
        cells = [f"`{name}`", _idea(signature), _used_by(used.get((file, name), []))]
        time = times.get((file, name), NOT_MEASURED)
        cells += [registers, spills, time, proof.emulated, proof.gpu]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join((*lines, ""))


def _essay(file: str) -> tuple[str, str]:
    """Return what a file is, from its first line, and its formula and launch."""
    comment = []
    for line in source.read(file).own.splitlines():
        if not line.startswith("//"):
            break
        comment.append(line[2:].removeprefix(" "))
    text = "\n".join(comment)
    first, _, rest = text.partition("\n\n")
    # the first sentence, without the name of the file and who calls it
    sentence = re.split(r"\.\s|\.$", " ".join(first.split()).partition(" -- ")[2])[0]
    parts = re.split(r"^(?=[A-Z][\w-]+: )", rest, flags=re.MULTILINE)
    wanted = [p.rstrip() for p in parts if not re.match(r"(Layout|Cost|Split-K):", p)]
    return sentence, "\n\n".join(p for p in wanted if p)


def _idea(signature: Signature) -> str:
    """Return the first sentence of the idea in the comment above a kernel."""
    idea = signature.comment.partition("The idea: ")[2].partition("\ninstances:")[0]
    words = " ".join(idea.split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", words)[0].replace("|", "\\|")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
