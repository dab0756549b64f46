"""The text of the kernels: where the files are, and what a compiler is given of them.

A kernel file is compiled as one text, every ``#include "..."`` of a file beside it expanded in
place, once, with ``#line`` directives so that errors name the real file and line. The package's own
files have ``common.cuh`` in front, and so has any file that includes it or another of their
headers: it keeps the house rules, and is compiled whole. Of others, *foreign* ones, other headers
are left out, and a compiler is given what the kernel needs (`foreign`). A compiled binary is kept
under a key of its whole text, so an edited header is never missed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minialex.cuda.tokens import without_comments
from minialex.errors import MinialexError

COMMON = "common.cuh"
_PACKAGE = Path(__file__).resolve().parent.parent
_NEEDS = re.compile(r"^// needs: sm_(\d+)$", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"[^\n]*$', re.MULTILINE)
_ANY_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include\b[ \t]*["<]?([^">\n]*)[^\n]*$', re.MULTILINE)
_MARKER = re.compile(r'^#line (\d+) "(.*)"$', re.MULTILINE)
_OPTION = re.compile(r"-D[A-Za-z_]\w*(\([\w, .]*\))?(=.*)?|-U[A-Za-z_]\w*|-I.+")
_edits: dict[Path, str] = {}


@dataclass(frozen=True)
class Source:
    """One kernel file as a compiler is given it.

    Attributes
    ----------
    file : str
        The name it was asked for by, as in messages: ``"relu.cu"``, or a path.
    own_name : str
        The name that it has among `files`.
    text : str
        The whole text: headers in front, ``#line`` directives between.
    files : dict of str to str
        Each file that went into `text`, under the name its ``#line`` gives.
    is_foreign : bool
        Whether it keeps no house rules: it lies elsewhere and includes no header of the package.
    pieces : dict of str to str
        Of a foreign file, `files` without comments, which include each other by their numbers in
        this order, and nothing else.
    left_out : dict of str to str
        The headers that a foreign file includes and that are none of `files`, and where.
    options : tuple of str
        What a foreign file is preprocessed with: ``"-DTILE=16"``, ``"-UNDEBUG"``, ``"-Iinclude"``.
    """

    file: str
    own_name: str
    text: str
    files: dict[str, str] = field(compare=False)
    is_foreign: bool = False
    pieces: dict[str, str] = field(default_factory=dict, compare=False)
    left_out: dict[str, str] = field(default_factory=dict, compare=False)
    options: tuple[str, ...] = ()

    @property
    def own(self) -> str:
        """The file's own text."""
        return self.files[self.own_name]

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the whole text, and of what it is preprocessed with."""
        return hashlib.sha256("\0".join([self.text, *self.options]).encode()).hexdigest()

    @functools.cached_property
    def is_own(self) -> bool:
        """Whether it is one of the package's own kernel files, which keep the house rules."""
        return _locate(self.file).parent == kernel_folder()

    @property
    def asks_for_architecture(self) -> bool:
        """Whether what is compiled of it depends on ``__CUDA_ARCH__``, which nvcc defines."""
        return self.is_foreign or "__CUDA_ARCH__" in self.own or "__CUDACC__" in self.own

    @property
    def needs(self) -> int:
        """The lowest architecture that it compiles for, from a line ``// needs: sm_80``, else 0."""
        found = _NEEDS.search(self.own)
        return int(found[1]) if found else 0

    def name(self, path: str) -> str:
        """Return which of `files` a compiler means by `path`; `path` itself if it is none of them.

        Compilers put the folder that they ran in before a bare name.
        """
        if path in self.files:
            return path
        return next((name for name in self.files if path.endswith("/" + name)), path)

    def line(self, file: str, number: int) -> str:
        """Return line `number` (from 1) of one of `files`, stripped; empty where there is none."""
        lines = self.files.get(file, "").splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


@functools.cache
def kernel_folder() -> Path:
    """Return the folder of the ``.cu`` files: inside the installed wheel, or in the checkout.

    Raises
    ------
    MinialexError
        If neither is there, which means a broken installation.
    """
    candidates = (_PACKAGE / "_kernels", _PACKAGE.parent / "kernels")
    for folder in candidates:
        if (folder / COMMON).is_file():
            return folder
    raise MinialexError(
        f"no kernel sources: neither {candidates[0]} nor {candidates[1]} holds {COMMON}; "
        "install again"
    )


@functools.cache
def read(file: str | Path, options: tuple[str, ...] = ()) -> Source:
    """Return the kernel file `file`: a name in the kernel folder, or the path of any other.

    Files are read once per process; `clear_cache` has them read again.

    Parameters
    ----------
    options : tuple of str
        Of the compiler, for a foreign file: ``-DNAME=VALUE``, ``-UNAME`` and ``-IFOLDER``.

    Raises
    ------
    MinialexError
        If the file or one that it includes is not there.
    ValueError
        If there are other options, or the file is not foreign and has any.
    """
    path = _locate(file)
    name, files = _shown(path), dict[str, str]()
    if _is_foreign(path):
        wrong = [one for one in options if not _OPTION.fullmatch(one)]
        if wrong:
            raise ValueError(
                f"{file}: option {wrong[0]!r} is none of -DNAME=VALUE, -UNAME and -IFOLDER"
            )
        folders = [Path(one[2:]) for one in options if one.startswith("-I")]
        read = _ForeignFiles(folders)
        read.add(path)
        text = "".join(f'#line 1 "{name}"\n{piece}' for name, piece in read.pieces.items())
        return Source(str(file), name, text, read.files, True, read.pieces, read.left_out, options)
    if options:
        raise ValueError(f"{file} keeps the house rules, and takes no options: leave them out")
    header = _expand(kernel_folder() / COMMON, files)
    return Source(str(file), name, header + _expand(path, files), files)


def place(text: str, offset: int) -> tuple[str, int]:
    """Return the file and the line of a place in a text with ``#line`` directives."""
    file, line, start = "", 1, 0
    for marker in _MARKER.finditer(text, 0, offset):
        file, line, start = marker[2], int(marker[1]), marker.end() + 1
    return file, line + text.count("\n", start, offset)


def first_errors(log: str) -> list[str]:
    """Return the first errors that a compiler's log has, or its first lines where it names none."""
    lines = log.splitlines()
    return [line for line in lines if " error: " in line][:5] or lines[:5]


def clear_cache() -> None:
    """Have every file read again the next time it is asked for."""
    read.cache_clear()


def path_of(file: str | Path) -> Path:
    """Return where the kernel file `file` is.

    Raises
    ------
    MinialexError
        If there is none.
    """
    return _locate(file)


def kernel_files() -> list[str]:
    """Return the names of the ``.cu`` files in the kernel folder, sorted."""
    return sorted(path.name for path in kernel_folder().glob("*.cu"))


@contextlib.contextmanager
def edited(file: str | Path, old: str, new: str) -> Iterator[None]:
    """While the block runs, let every kernel see `file` with `old` replaced by `new`.

    This is how a fault is planted to see a test catch it; nothing is written to disk.

    Raises
    ------
    ValueError
        If `old` does not stand in the file exactly once.
    """
    path = _locate(file)
    text = _text(path)
    if text.count(old) != 1:
        raise ValueError(f"edited: {old!r} stands {text.count(old)} times in {file}, not once")
    before = _edits.get(path)
    _edits[path] = text.replace(old, new)
    clear_cache()
    try:
        yield
    finally:
        del _edits[path]
        if before is not None:
            _edits[path] = before
        clear_cache()


def edits() -> dict[Path, str]:
    """Return the texts of the files that are `edited` now."""
    return dict(_edits)


def take_edits(texts: Mapping[Path, str]) -> None:
    """Let every kernel see these files as another process, whose `edits` they are, does."""
    _edits.update(texts)
    clear_cache()


def _locate(file: str | Path) -> Path:
    folder = kernel_folder()
    # Joining keeps an absolute path as it is.
    path = folder / file
    if path.is_file():
        return path
    if Path(file).is_file():
        return Path(file).resolve()
    if Path(file).is_absolute():
        raise MinialexError(f"no file {os.fspath(file)!r}: check the path")
    raise MinialexError(f"no kernel file {os.fspath(file)!r} in {folder}: check the name")


def _text(path: Path) -> str:
    if path in _edits:
        return _edits[path]
    return path.read_text(encoding="utf-8", errors="replace").removeprefix("\ufeff")


def _is_foreign(path: Path) -> bool:
    if path.parent == kernel_folder():
        return False
    ours = [
        name
        for name in _INCLUDE.findall(_text(path))
        if (kernel_folder() / name).is_file() and not (path.parent / name).is_file()
    ]
    return not ours


def _shown(path: Path) -> str:
    # The kernels' own files go by their bare names, so that compiled binaries do not depend on
    # where the package was installed.
    return path.name if path.parent == kernel_folder() else path.as_posix()


def _expand(path: Path, files: dict[str, str]) -> str:
    """Return the text of `path` with its local includes expanded, each file once in all."""
    name = _shown(path)
    if name in files:
        return ""
    text = files[name] = _text(path)

    def included(found: re.Match[str]) -> str:
        there = [f / found[1] for f in (path.parent, kernel_folder()) if (f / found[1]).is_file()]
        line = text.count("\n", 0, found.start()) + 1
        if not there:
            raise MinialexError(f'{name}:{line}: no file for #include "{found[1]}"')
        return f'{_expand(there[0], files)}#line {line + 1} "{name}"'

    body = _INCLUDE.sub(included, text)
    return f'#line 1 "{name}"\n{body}' + ("" if body.endswith("\n") else "\n")


@dataclass(frozen=True)
class _ForeignFiles:
    """A foreign file and those that it includes, as a preprocessor is given them; see `Source`."""

    folders: Sequence[Path]
    files: dict[str, str] = field(default_factory=dict)
    pieces: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path) -> int:
        """Add a file and return its number."""
        name = _shown(path)
        if name in self.files:
            return list(self.files).index(name)
        number = len(self.files)
        self.files[name], self.pieces[name] = _text(path), ""
        # a header that a comment speaks of is not included
        text = without_comments(self.files[name])

        def included(found: re.Match[str]) -> str:
            folders = [*([path.parent] if '"' in found[0] else []), *self.folders]
            there = [f / found[1] for f in folders if (f / found[1]).is_file()]
            if there:
                return f'#include "{self.add(there[0].resolve())}"'
            line = text.count("\n", 0, found.start()) + 1
            self.left_out.setdefault(found[1].strip(), f"{name}:{line}")
            return ""

        self.pieces[name] = _ANY_INCLUDE.sub(included, text)
        return number
