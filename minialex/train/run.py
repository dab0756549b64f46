"""A run from beginning to end: claim its folder, open images, train a network, draw curves."""

from __future__ import annotations

import itertools
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import minialex
from minialex import arrays
from minialex.autograd.choice import FP32, named
from minialex.cpu import threads
from minialex.cuda import emulation
from minialex.errors import MinialexError
from minialex.files import atomic_write
from minialex.plain_json import read_json, typed
from minialex.run_folder import claim
from minialex.train.curves import draw_curves
from minialex.train.factory import check_data_is_there, open_data
from minialex.train.loop import Trainer
from minialex.train.metrics import read_metrics
from minialex.train.report import Outcome, Reporter
from minialex.train.run_state import RunData, RunState
from minialex.train.settings import DIGITS, RUNTIME_SETTINGS, Settings
from minialex.weights import checkpoint
from minialex.weights.checkpoint import LAST_CHECKPOINT
from minialex.wording import counted, enumerated, one_line

SETTINGS_FILE, CURVES_FILE, SKIPPED_FILE = "settings.json", "curves.png", "skipped.txt"
RUNS_FOLDER = Path("runs")
CHANGEABLE = (RUNTIME_SETTINGS | {"data", "classes", "epochs", "precision"}) - {"out"}
"""What may differ when a run goes on: where and how exactly it computes, the images, its length."""

_PACKAGES = ("numpy", "pillow", "scikit-learn", "cupy-cuda12x", "cupy-cuda13x")


def train(
    settings: Settings, reporter: Reporter | None = None, *, stop_after: int | None = None
) -> Outcome:
    """Train a network as the settings say, in a new folder.

    Nothing is printed: what was measured is in `Outcome.metrics`, and a reporter hears of it at
    once.

    Parameters
    ----------
    settings : Settings
    reporter : Reporter, optional
        The run's progress callbacks.
    stop_after : int, optional
        Stop after so many batches, as a signal would have it.

    Returns
    -------
    Outcome
        Also of a run that a signal stopped; `resume` then goes on with it.

    Raises
    ------
    MinialexError
        If something is not as it must be: images, device, folder, memory, loss.
    """
    reporter, settings = reporter or Reporter(), with_absolute_path(settings)
    # before anything is written: a device or a folder that is not there leaves no trace
    arrays.device(settings.device)
    data = open_data(settings, reporter)
    out = settings.out or str(new_folder(settings))
    settings = replace(settings, out=out)
    with claim(out) as folder:
        trainer = Trainer(settings, data, folder.path)
        write_settings(folder.path, settings)
        return _run(trainer, data, reporter, stop_after)


def resume(
    folder: str | Path,
    reporter: Reporter | None = None,
    *,
    stop_after: int | None = None,
    **changes: Any,
) -> Outcome:
    """Go on with the run in a folder, from its last checkpoint.

    It ends with the bytes of a run that never stopped, on the same kind of processor and with as
    many cores; elsewhere, with the same but for rounding.

    Parameters
    ----------
    folder : str or Path
        The run's folder, or the last checkpoint in it.
    reporter : Reporter, optional
        The run's progress callbacks.
    stop_after : int, optional
        Stop again after so many batches.
    **changes
        Settings that differ from now on: those of `CHANGEABLE`. None counts as not given.

    Raises
    ------
    MinialexError
        If there is no run to go on with, its images changed, or as `train`.
    """
    reporter = reporter or Reporter()
    with claim(_run_folder(Path(folder)), resume=True) as claimed:
        saved = _load_last(claimed.path)
        settings = _settings_to_resume(claimed.path, saved, changes)
        check_data_is_there(
            settings, f"say where they are: minialex train --resume {claimed.path} DATA"
        )
        data = open_data(settings, reporter)
        trainer = Trainer(settings, data, claimed.path, saved=saved)
        _check_length(trainer.state)
        if trainer.state.position.epoch < settings.epochs:
            trainer.notes += engine_change(read_engine(claimed.path), engine(settings))
        write_settings(claimed.path, settings)
        return _run(trainer, data, reporter, stop_after)


def _run(trainer: Trainer, data: RunData, reporter: Reporter, stop_after: int | None) -> Outcome:
    if data.skipped:
        path = trainer.folder / SKIPPED_FILE
        names = enumerated([image.name for image in data.skipped])
        count = counted(len(data.skipped), "image")
        reporter.message(f"skipped {count} that cannot be read, listed in {path}: {names}")
        lines = [one_line(f"{image.name}: {image.reason}") + "\n" for image in data.skipped]
        atomic_write(path, "".join(lines).encode())
    outcome = trainer.run(reporter, stop_after=stop_after)
    if outcome.step:
        path = outcome.folder / CURVES_FILE
        try:
            draw_curves(read_metrics(outcome.folder), path, len(trainer.loader))
        except MinialexError as error:
            # the run is done, and its checkpoints are written
            reporter.message(f"the curves are not drawn: {error}")
    return outcome


def with_absolute_path(settings: Settings) -> Settings:
    """Return settings that name the same images and classes wherever they are read."""
    if settings.data == DIGITS:
        return settings
    classes = settings.classes and os.path.abspath(settings.classes)
    return replace(settings, data=os.path.abspath(settings.data), classes=classes)


def new_folder(settings: Settings, kind: str = "") -> Path:
    """Return a folder that does not exist yet: ``runs/digits``, ``runs/digits-2``, ...

    With a `kind` it is ``runs/digits-kfold``, and so on.
    """
    name = "-".join(filter(None, [Path(settings.data).resolve().name or "run", kind]))
    names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
    return next(RUNS_FOLDER / name for name in names if not (RUNS_FOLDER / name).exists())


def write_settings(folder: Path, settings: Settings) -> None:
    """Write ``settings.json``: the settings, and the versions and machine that they ran on."""
    table = {
        "settings": settings.to_json(),
        "seed": settings.seed,
        "device": str(arrays.device(settings.device)),
        "cores": threads.cores(),
        "engine": engine(settings),
        "versions": package_versions(),
    }
    atomic_write(folder / SETTINGS_FILE, (json.dumps(table, indent=1) + "\n").encode())


def engine(settings: Settings, cores: int | None = None) -> str:
    """Return what computes, as far as results are rounded otherwise by another one.

    Parameters
    ----------
    settings : Settings
    cores : int, optional
        Of how many, if not of all.
    """
    active = emulation()
    kernels = "" if active is None else f" by emulated CUDA kernels ({active.mode})"
    number = threads.cores() if cores is None else cores
    precision = () if settings.precision == FP32 else (f"precision {settings.precision}",)
    chosen = "".join(f", {name}" for name in (*precision, *named()))
    return f"{arrays.device(settings.device)} with {counted(number, 'core')}{kernels}{chosen}"


def engine_change(before: str, now: str) -> list[str]:
    """Return, as a sentence, that something goes on with another engine; none if it does not."""
    if before in ("", now):
        return []
    return [f"until now on {before}, from here on {now}: the last digits of results may differ"]


def package_versions() -> dict[str, str]:
    """Return the versions of this package, of Python, and of what the numbers depend on."""
    found = {"minialex": minialex.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_settings(path: Path) -> Settings:
    """Return the settings of a run, without its folder: of a ``settings.json``, or a checkpoint.

    Raises
    ------
    MinialexError
        If the file cannot be read, is neither, or has a setting that is unknown or not allowed.
    """
    if path.suffix == ".safetensors":
        table = checkpoint.load(path).manifest["settings"]
    else:
        try:
            table = dict(read_json(path)["settings"])
        except OSError as error:
            raise MinialexError(f"cannot read {path}: {error.strerror}: check the path") from error
        except (ValueError, LookupError, TypeError) as error:
            raise MinialexError(
                f"{path} is damaged, or holds no settings: give the {SETTINGS_FILE} of a run, or a "
                "checkpoint"
            ) from error
    return Settings.from_json({**table, "out": None}, path)


def read_runtime_settings(folder: Path) -> dict[str, Any]:
    """Return where and how the run in a folder was computed; empty if no file says so.

    Raises
    ------
    MinialexError
        If the file cannot be read, or one of them is not allowed.
    """
    path = folder / SETTINGS_FILE
    try:
        table = typed(dict[str, Any], read_json(path)["settings"])
        kept = {name: table[name] for name in RUNTIME_SETTINGS if name in table}
        Settings.from_json(kept, path)
        return kept
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MinialexError(
            f"{path} is damaged: remove it, and give --device and --workers if they were not "
            "the usual ones"
        ) from error


def read_engine(folder: Path) -> str:
    """Return what computed the run in a folder until now; empty if no file says so."""
    try:
        return str(read_json(folder / SETTINGS_FILE)["engine"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _run_folder(path: Path) -> Path:
    return path.parent if path.name == LAST_CHECKPOINT else path


def _load_last(folder: Path) -> checkpoint.Checkpoint:
    if not (folder / LAST_CHECKPOINT).exists():
        raise MinialexError(
            f"there is no checkpoint to go on from in {folder}: start again in another folder"
        )
    return checkpoint.load(folder / LAST_CHECKPOINT)


def _check_length(state: RunState) -> None:
    """Refuse fewer epochs than a run has begun: it cannot go back to the end of one."""
    begun = state.position.epoch + (state.position.batch > 0)
    if state.settings.epochs < begun:
        raise MinialexError(
            f"epochs is {state.settings.epochs}, but the run is in epoch {begun} already: "
            f"give {begun} or more"
        )


def _settings_to_resume(
    folder: Path, saved: checkpoint.Checkpoint, changes: Mapping[str, Any]
) -> Settings:
    given = {name: value for name, value in changes.items() if value is not None}
    fixed = sorted(set(given) - CHANGEABLE)
    if fixed:
        raise MinialexError(
            f"{fixed[0]} cannot change when a run goes on: leave it out, or start a new run"
        )
    table = {**saved.manifest["settings"], **read_runtime_settings(folder)}
    settings = Settings.from_json(table, saved.path).replace(**given, out=str(folder))
    return with_absolute_path(settings)
