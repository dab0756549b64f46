"""Files drawn from seeds, read in a process of their own that has little memory and little time.

A campaign of this kind is a module with

    make(draw, path)     writes the file of a seed, with `draw`, a `random.Random`; returns what
                         `read` compares with
    read(path, made)     reads it; returns what is wrong with what was read, or None
    prepare()            where there is one: what is done once, before anything is limited
    CAMPAIGN = files(__name__, "files of PyTorch", count=10_000, short=40)

Reading ends well if `read` returns None, or raises a MinialexError in one line that names the file.
Everything else is a fault: another exception, too much time or memory, the end of the process,
and the deeds that Python's audit hooks tell of: a program started, code compiled, a file written,
a connection opened, a name looked up for a pickle. Files that try to execute something should
touch `canary(path)`: that it is there is a fault as well.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import importlib
import itertools
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from minialex.errors import MinialexError
from tests.campaigns.campaign import Campaign

ROOT = Path(__file__).parents[2]
# by how their names begin; `open` is looked at by its mode
_DEEDS = (
    *("exec", "compile", "code.__new__", "pickle.find_class", "marshal.", "ctypes."),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.", "pty."),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink"),
    *("os.truncate", "os.kill", "os.putenv", "shutil.", "socket.", "urllib.", "builtins.input"),
)


def files(
    module: str,
    what: str,
    *,
    count: int,
    short: int,
    batch: int = 500,
    seconds: float = 5.0,
    megabytes: int = 200,
) -> Campaign:
    """Return a campaign of files.

    Parameters
    ----------
    module : str
        The name of the module that has `make` and `read`.
    what : str
        What is counted.
    count, short, batch : int
        As a `Campaign` has them.
    seconds : float
        How long the making and the reading of one file may take.
    megabytes : int
        How much memory the process may take beyond what it has when all is imported.
    """

    def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
        return _supervise(module, list(seeds), folder, seconds, megabytes)

    return Campaign(what, attempt, count, short, batch)


def canary(path: Path) -> Path:
    """Return the file beside `path` that nothing but executed code would make."""
    return path.with_name("executed")


def _supervise(
    module: str, seeds: list[int], folder: Path, seconds: float, megabytes: int
) -> list[str]:
    """Have child processes try all seeds: another one where one was ended by a file."""
    faults = []
    words = [sys.executable, "-m", __name__, module, str(folder), str(seconds), str(megabytes)]
    while seeds:
        child = subprocess.run(
            words, input=json.dumps(seeds), cwd=ROOT, capture_output=True, text=True, check=False
        )
        tried = [json.loads(line) for line in child.stdout.splitlines()]
        faults += [f"seed {seed}: {fault}" for seed, fault in tried if fault]
        seeds = seeds[len(tried) :]
        if seeds:
            faults.append(f"seed {seeds.pop(0)}: {_epitaph(child)}")
    return faults


def _epitaph(child: subprocess.CompletedProcess[str]) -> str:
    lines = child.stderr.strip().splitlines() or ["no word"]
    # where a watchdog's traceback has its innermost line, or the last words of an exception
    told = next((b for a, b in itertools.pairwise(lines) if "first)" in a), lines[-1])
    return f"the process ended with status {child.returncode}: {lines[0]} {told.strip()}"


# The child ----------------------------------------------------------------------------------------


class _Deeds(list[str]):
    """What audit hooks tell of while `watching`; a hook can not be taken out again."""

    watching = False

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.watching:
            return
        written = event == "open" and set(str(arguments[1])) & set("wax+")
        if written or event.startswith(_DEEDS):
            self.append(f"{event}{arguments!r:.200}")


def try_file(module: ModuleType, seed: int, path: Path, deeds: _Deeds | None = None) -> str:
    """Make and read the file of one seed; returns what is wrong, or an empty text."""
    deeds = _Deeds() if deeds is None else deeds
    # what was read may still be a view of the last file
    path.unlink(missing_ok=True)
    made = module.make(random.Random(seed), path)
    deeds.watching = True
    try:
        fault = module.read(path, made) or ""
    except MinialexError as error:
        fault = _badly_said(str(error), path)
    except BaseException as error:
        fault = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        deeds.watching = False
    found = [fault] if fault else []
    found += [f"it did {deed}" for deed in deeds[:3]]
    if canary(path).exists():
        canary(path).unlink()
        found.append("what it holds was executed")
    deeds.clear()
    return "; ".join(found)


def _badly_said(message: str, path: Path) -> str:
    if len(message) > 1000 or not message.isprintable():
        return f"its refusal is not one short line: {message!r:.300}"
    named = path.name in message or str(path.parent) in message
    return "" if named else f"its refusal does not name the file: {message}"


def _results(
    module: ModuleType, seeds: list[int], path: Path, seconds: float
) -> Iterator[tuple[int, str]]:
    deeds = _Deeds()
    sys.addaudithook(deeds.hear)
    for seed in seeds:
        # a thread that needs no interpreter: it ends the process in the middle of a call, too
        faulthandler.dump_traceback_later(seconds, exit=True)
        yield seed, try_file(module, seed, path, deeds)
        # what was read may hang on an exception that its own frame refers to
        gc.collect()
        faulthandler.cancel_dump_traceback_later()


def _limit_memory(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(name: str, folder: str, seconds: str, megabytes: str) -> None:
    """Try the seeds that standard input lists; a line per seed goes to standard output."""
    module, seeds = importlib.import_module(name), json.load(sys.stdin)
    say: Callable[..., None] = functools.partial(print, flush=True)
    faulthandler.enable()
    getattr(module, "prepare", lambda: None)()
    gc.freeze()
    _limit_memory(int(megabytes))
    for result in _results(module, seeds, Path(folder) / "drawn.file", float(seconds)):
        say(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
