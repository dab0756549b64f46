"""What a compiler is given of a foreign file: of a kernel, itself and what it needs.

Such a file is a program: it includes headers of CUDA and of the host, allocates, launches and
prints. The preprocessor of the machine's C++ compiler takes its macros and conditions away, with
the names that nvcc defines; then `declarations` finds what the kernel needs, and the rest becomes
blanks, every line where it was. So each kernel is compiled alone, and what others need, or the
host needs, is in no one's way.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minialex.cuda import cxx
from minialex.cuda.declarations import CppDeclaration, declarations
from minialex.cuda.needed import reached
from minialex.cuda.source import Source, first_errors, place
from minialex.cuda.tokens import Token, blanked, tokens_of
from minialex.errors import MinialexError

DEFAULT_CAPABILITY = 90
# As of nvcc 12.4, without what tells NVRTC.
_NVCC = (
    *("-D__CUDACC__", "-D__NVCC__", "-D__CUDACC_VER_MAJOR__=12", "-D__CUDACC_VER_MINOR__=4"),
    *("-DCUDART_VERSION=12040", "-DCUDA_VERSION=12040"),
)
_EMULATED = "-DMINIALEX_EMULATED=1"
_MARKER = re.compile(r'^# (\d+) "(.*?)".*$', re.MULTILINE)
_NUMBER = re.compile(r"(?:\./)?(\d+)")
_PLACE = re.compile(r"^(?:\./)?(\d+):(?=\d)")
# Namespaces that a kernel may use whole without its file declaring them.
_LIBRARIES = frozenset(("std", "cuda", "nvcuda", "cooperative_groups"))
_OF_THE_HOST = re.compile(
    r"cuda[A-Z]\w*|std|f?printf|exit|assert|malloc|calloc|free|FILE|cerr|cout"
)
_REFUSED = {
    r"__cluster_dims__|this_cluster|cluster_group|__cluster_\w+": "clusters",
    "cub": "CUB",
    "thrust": "Thrust",
    "cutlass": "CUTLASS",
    "cute": "CuTe",
    r"curand\w*": "cuRAND",
    r"texture|cudaTextureObject_t|CUtexObject|tex(?:[123]D|Cubemap)\w*": "textures",
    r"surface|cudaSurfaceObject_t|CUsurfObject|surf(?:[123]D|Cubemap)\w*": "surfaces",
    r"__nv_fp8\w*|__nv_fp4\w*": "numbers of 8 and 4 bits",
    r"<<<|cudaLaunchDevice\w*": "launches from within a kernel",
}
# What of libcu++ no kernel has under the emulator.
_REFUSED_OF_CUDA = re.compile("barrier|pipeline|atomic|atomic_ref|memcpy_async|semaphore|latch")


def refusal(tokens: Sequence[Token]) -> tuple[Token, str] | None:
    """Return the first word that names something that is not taken, and what that is."""
    for i, token in enumerate(tokens):
        if token.kind == "text":
            continue
        for pattern, what in _REFUSED.items():
            if re.fullmatch(pattern, token.text):
                return token, what
        before = [t.text for t in tokens[max(i - 2, 0) : i]]
        if before == ["cuda", "::"] and _REFUSED_OF_CUDA.fullmatch(token.text):
            return token, "libcu++"
    return None


@dataclass(frozen=True)
class Outline:
    """A preprocessed text and its declarations."""

    text: str
    declarations: Sequence[CppDeclaration] = field(repr=False)

    @property
    def kernels(self) -> dict[str, CppDeclaration]:
        """The kernels that it defines, by name with namespaces; of overloads the first."""
        found: dict[str, CppDeclaration] = {}
        for one in self.declarations:
            if one.is_kernel and one.is_defined:
                found.setdefault(one.qualified, one)
        return found


@functools.lru_cache(maxsize=32)
def outline(source: Source, capability: int = DEFAULT_CAPABILITY, emulated: bool = True) -> Outline:
    """Preprocess a file, and find what it declares.

    Parameters
    ----------
    capability : int
        The compute capability times ten, of which ``__CUDA_ARCH__`` is the tenfold.
    emulated : bool
        Whether ``MINIALEX_EMULATED`` is defined.

    Raises
    ------
    MinialexError
        If there is no C++ compiler, or the preprocessor finds an error.
    """
    text = _preprocessed(source, capability, emulated)
    return Outline(text, declarations(text))


def _preprocessed(source: Source, capability: int, emulated: bool) -> str:
    tool = cxx.compiler(f"reading {source.file}")
    defined = (*_NVCC, f"-D__CUDA_ARCH__={10 * capability}", *([_EMULATED] if emulated else []))
    beside = Path(source.own_name).parent.resolve()
    options = [
        f"-I{Path(one[2:]).resolve()}" if one.startswith("-I") else one for one in source.options
    ]
    command = [*tool.command, "-E", "-std=c++17", "-w", *defined, *options, f"-iquote{beside}"]
    with tempfile.TemporaryDirectory() as folder:
        for number, piece in enumerate(source.pieces.values()):
            (Path(folder) / str(number)).write_text(piece, encoding="utf-8")
        done = subprocess.run(
            [*command, "-x", "c++", "0"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    names = list(source.pieces)
    if done.returncode:
        said = first_errors(done.stderr) or ["it says nothing"]
        if not _PLACE.match(said[0]):
            name = tool.command[0]
            raise MinialexError(f"{name} failed, which is no fault of {source.file}: {said[0]}")
        said = [_PLACE.sub(lambda found: names[int(found[1])] + ":", one) for one in said]
        raise MinialexError(f"{source.file} cannot be preprocessed:\n  " + "\n  ".join(said))

    def marker(found: re.Match[str]) -> str:
        own = _NUMBER.fullmatch(found[2])
        # those of the compiler's own files say nothing
        return f'#line {found[1]} "{names[int(own[1])]}"' if own and found[1] != "0" else ""

    return _MARKER.sub(marker, done.stdout)


@functools.lru_cache(maxsize=256)
def excerpt(source: Source, expressions: Sequence[str], capability: int, emulated: bool) -> str:
    """Return what some kernels of a foreign file need, each line where it was.

    Parameters
    ----------
    expressions : tuple of str
        The kernels, with their namespaces and template arguments.
    capability, emulated
        As `outline` takes them.

    Raises
    ------
    MinialexError
        If a kernel needs a library or a feature that is not taken, or is none on that GPU.
    """
    whole = outline(source, capability, emulated)
    kernels = list(dict.fromkeys(one.partition("<")[0] for one in expressions))
    roots = [root for name in kernels for root in _roots(source, whole, name, capability)]
    # types and functions that template arguments name
    named = {t.text for one in expressions for t in tokens_of(one.partition("<")[2])}
    named_ones = [d for d in whole.declarations if not d.is_kernel and named & {*d.names}]
    needed = reached(whole.declarations, [*roots, *named_ones])
    for one in needed:
        _check(source, whole.text, one, kernels)
    return _blanked_but(whole, needed)


def _roots(source: Source, whole: Outline, name: str, capability: int) -> list[CppDeclaration]:
    """Return a kernel and its specialisations."""
    if name not in whole.kernels:
        raise MinialexError(
            f"{source.file} has no kernel {name!r} for sm_{capability}: emulate another "
            "architecture, or use another GPU"
        )
    alike = [d for d in whole.declarations if d.is_kernel and d.qualified == name]
    return [whole.kernels[name], *(d for d in alike if d.is_specialisation)]


def _check(source: Source, text: str, one: CppDeclaration, kernels: Sequence[str]) -> None:
    found = refusal(one.tokens)
    if found is not None:
        file, line = place(text, found[0].start)
        raise MinialexError(
            f"{file}:{line}: {' and '.join(kernels)} cannot run: {found[0].text!r} belongs to "
            f"{found[1]}, which the emulator does not have: write that part in plain CUDA C++"
        )


def _blanked_but(whole: Outline, needed: Iterable[CppDeclaration]) -> str:
    """Return the text with blanks in the place of all declarations but those."""
    kept = {one.start for one in needed}
    namespaces = _LIBRARIES.union(*(one.namespace for one in whole.declarations))
    parts, done = [], 0
    for start, end in _spans(whole.declarations, kept, namespaces):
        parts += [whole.text[done:start], blanked(whole.text[start:end])]
        done = end
    return "".join([*parts, whole.text[done:]])


def _spans(
    every: Iterable[CppDeclaration], kept: set[int], namespaces: frozenset[str]
) -> Iterable[tuple[int, int]]:
    """Yield where what goes begins and ends."""
    for one in every:
        if one.start in kept:
            if one.kind in ("class", "type"):
                yield from _members_of_the_host(one)
        elif one.kind != "using" or one.names[0].partition("::")[0] not in namespaces:
            yield one.start, one.tokens[-1].end


def _members_of_the_host(one: CppDeclaration) -> Iterable[tuple[int, int]]:
    """Yield where member functions stand that no device has."""
    for member in one.members:
        is_host = member.kind == "function" and not member.is_for_devices
        if is_host and any(_OF_THE_HOST.fullmatch(word) for word in member.words):
            yield member.start, member.tokens[-1].end
