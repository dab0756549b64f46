"""The text of the kernels: where the files are, and what a compiler is given of them.

A kernel file is compiled as one text: ``common.cuh``, every ``#include "..."`` expanded in place,
then the file itself, with ``#line`` directives so that errors name the real file and line. A
compiled binary is kept under a key of that whole text, so an edited header is never missed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minialex.errors import MinialexError

COMMON = "common.cuh"
_PACKAGE = Path(__file__).resolve().parent.parent
_NEEDS = re.compile(r"^// needs: sm_(\d+)$", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"[^\n]*$', re.MULTILINE)
_CUDA_HEADERS = {"cuda_fp16.h": "__half", "cuda_bf16.h": "__nv_bfloat16"}
_edits: dict[Path, str] = {}


@dataclass(frozen=True)
class Source:
    """One kernel file as a compiler is given it.

    Attributes
    ----------
    file : str
        The name it was asked for by, as in messages: ``"relu.cu"``, or a path.
    own : str
        The file's own text.
    text : str
        The whole text: headers in front, ``#line`` directives between.
    files : dict of str to str
        Each file that went into `text`, under the name its ``#line`` gives.
    """

    file: str
    own: str
    text: str
    files: dict[str, str] = field(compare=False)

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the whole text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @functools.cached_property
    def is_own(self) -> bool:
        """Whether it is one of the package's own kernel files, which keep the house rules."""
        return _locate(self.file).parent == kernel_folder()

    @property
    def needs(self) -> int:
        """The lowest architecture that it compiles for, from a line ``// needs: sm_80``, else 0."""
        found = _NEEDS.search(self.own)
        return int(found[1]) if found else 0

    def for_cuda(self, names: Sequence[str]) -> str:
        """Return the text for NVIDIA's compilers, which know half and bfloat16 from headers only.

        The file need not include them: an array of float16 may make a template's ``T`` a __half.
        """
        written = "\n".join([self.own, *names])
        headers = [
            header
            for header, type_name in _CUDA_HEADERS.items()
            if f"<{header}>" not in self.text and re.search(rf"\b{type_name}2?\b", written)
        ]
        return "".join(f"#include <{header}>\n" for header in headers) + self.text

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
def read(file: str | Path) -> Source:
    """Return the kernel file `file`: a name in the kernel folder, or the path of any other.

    Files are read once per process; `clear_cache` has them read again.

    Raises
    ------
    MinialexError
        If the file or one that it includes is not there.
    """
    path = _locate(file)
    files: dict[str, str] = {}
    header = _expand(kernel_folder() / COMMON, files)
    body = _expand(path, files)
    return Source(str(file), _text(path), header + body, files)


def first_errors(log: str) -> list[str]:
    """Return the first errors that a compiler's log has, or its first lines where it names none."""
    lines = log.splitlines()
    return [line for line in lines if " error: " in line][:5] or lines[:5]


def clear_cache() -> None:
    """Have every file read again the next time it is asked for."""
    read.cache_clear()


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
    return _edits[path] if path in _edits else path.read_text(encoding="utf-8")


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
        target = next(
            (f / found[1] for f in (path.parent, kernel_folder()) if (f / found[1]).is_file()), None
        )
        line = text.count("\n", 0, found.start()) + 1
        if target is None:
            raise MinialexError(f'{name}:{line}: no file for #include "{found[1]}"')
        return f'{_expand(target, files)}#line {line + 1} "{name}"'

    body = _INCLUDE.sub(included, text)
    return f'#line 1 "{name}"\n{body}' + ("" if body.endswith("\n") else "\n")
