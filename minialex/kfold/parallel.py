"""Folds trained at the same time, by joblib: in processes here, or on the workers of Dask.

Processes on one machine share its cores; with several GPUs each fold has one to itself.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import joblib

from minialex import arrays
from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.kfold.fold import Fold, stop_file
from minialex.kfold.fold_records import FoldRecord
from minialex.train.signals import StopRequest

_DEVICE_LOCK = ".device-"
"""Folders of this name and a number, in that of all folds, say that a GPU is taken."""


def train_in_parallel(
    folds: Sequence[Fold],
    jobs: int,
    dask: str | None,
    stop: StopRequest,
    on_record: Callable[[FoldRecord], None],
) -> None:
    """Train folds in `jobs` processes, or on Dask's workers; calls `on_record` as each ends.

    Raises
    ------
    MinialexError
        If Dask is asked for but not there, a process is killed, or as `Fold.train`.
    """
    jobs = min(jobs, len(folds))
    devices = _devices(folds[0].settings.device)
    cores = max(1, threads.cores() // jobs) if dask is None else None
    with _backend(dask, cores):
        parallel = joblib.Parallel(
            n_jobs=jobs if dask is None else -1, return_as="generator_unordered"
        )
        calls = (joblib.delayed(_train_in_worker)(fold, cores, devices) for fold in folds)
        try:
            for record in parallel(calls):
                if record is not None:
                    on_record(record)
        except BrokenProcessPool as error:
            # a terminal's Ctrl-C reaches idle workers too, and ends them
            if not stop:
                raise MinialexError(
                    "a process that trained a fold was killed, perhaps for want of memory: "
                    "lower jobs or the batch size, and resume"
                ) from error


@contextlib.contextmanager
def _backend(dask: str | None, cores: int | None) -> Iterator[None]:
    """Have joblib run its calls in processes here or on Dask's workers."""
    if dask is None:
        with joblib.parallel_config("loky", inner_max_num_threads=cores):
            yield
        return
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise MinialexError(
            "Dask is not installed: pip install 'minialex[dask]', or give jobs instead"
        ) from error
    try:
        client = distributed.Client(dask)
    except (OSError, ValueError) as error:
        raise MinialexError(f"no Dask scheduler answers at {dask}: check the address") from error
    with client, joblib.parallel_config("dask"):
        yield


def _train_in_worker(fold: Fold, cores: int | None, devices: Sequence[str]) -> FoldRecord | None:
    """Train a fold in the process of a worker."""
    if stop_file(fold.out).exists():
        return None
    if cores is not None:
        os.environ[threads.VARIABLE] = str(cores)
    try:
        with _device_for(fold, devices) as device:
            return replace(fold, settings=replace(fold.settings, device=device)).train()
    except MinialexError as error:
        # pickled on its way back, which exceptions with constructors of their own do not survive
        raise MinialexError(f"fold {fold.number}: {error}") from None


# A GPU for each fold ------------------------------------------------------------------------------


def _devices(name: str) -> list[str]:
    """Return the devices to give out, one per fold: all GPUs, unless `name` is a certain device."""
    device = arrays.device(name)
    if device.kind == "cpu" or name == str(device):
        return [str(device)]
    return [f"cuda:{i}" for i in range(arrays.cuda_count())]


@contextlib.contextmanager
def _device_for(fold: Fold, devices: Sequence[str]) -> Iterator[str]:
    """Hold a device that no other fold holds, or share one where there are fewer than folds."""
    for i, device in enumerate(devices if len(devices) > 1 else ()):
        lock = fold.out / f"{_DEVICE_LOCK}{i}"
        try:
            lock.mkdir()
        except FileExistsError:
            continue
        try:
            yield device
        finally:
            lock.rmdir()
        return
    yield devices[fold.number % len(devices)]


def remove_device_locks(out: Path) -> None:
    """Remove the locks that a killed cross-validation left."""
    for lock in out.glob(f"{_DEVICE_LOCK}*"):
        lock.rmdir()
