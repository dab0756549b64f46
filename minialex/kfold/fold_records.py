"""What cross-validation leaves behind: its plan, and a record of each fold.

Both are JSON with a checksum, ``crc32``, of all that they say: whoever goes on with the folds
takes their figures from there.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np

from minialex.data import UnreadableImage
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import Evaluation
from minialex.files import atomic_write
from minialex.train.settings import Settings

PLAN, FOLD = "kfold.json", "fold.json"


@dataclass(frozen=True)
class FoldRecord:
    """How one fold went.

    Attributes
    ----------
    fold, k : int
        Which fold of how many, from 1.
    checkpoint : str
        The network, after its last epoch, as seen from the folder of all folds.
    train_images : int
        How many images it was trained on.
    images, correct : int
        How many images were held out, and how many of them it recognised.
    accuracy, top5_accuracy : float
        In percent.
    loss : float
    """

    fold: int
    k: int
    checkpoint: str
    train_images: int
    images: int
    correct: int
    accuracy: float
    top5_accuracy: float
    loss: float


@dataclass(frozen=True)
class Folds:
    """What cross-validation found.

    Attributes
    ----------
    records : tuple of FoldRecord
        Of the folds that are done, in order.
    k : int
        How many folds there are.
    signal : Signals or None
        What stopped it before its end.
    skipped : tuple of UnreadableImage
        Images that were left out because they cannot be read.
    folder : Path or None
        Where the folds were trained; None where given networks were judged.
    """

    records: tuple[FoldRecord, ...]
    k: int
    signal: Signals | None = None
    skipped: tuple[UnreadableImage, ...] = ()
    folder: Path | None = field(default=None, compare=False)

    @property
    def mean(self) -> float:
        """The mean accuracy of the folds that are done, in percent; NaN where none is."""
        return float(np.mean([r.accuracy for r in self.records])) if self.records else math.nan

    @property
    def std(self) -> float:
        """The standard deviation of the folds' accuracy, of the population, as in the article."""
        return float(np.std([r.accuracy for r in self.records])) if self.records else math.nan

    @property
    def summary(self) -> str:
        """The article's line: ``Mean Accuracy: 98.12 % +- 0.43 %``."""
        return f"Mean Accuracy: {self.mean:.2f} % +- {self.std:.2f} %"


# The folder ---------------------------------------------------------------------------------------


def fold_folder(out: Path, fold: int) -> Path:
    """Return where fold `fold`, from 1, writes."""
    return out / f"fold-{fold}"


def write_plan(out: Path, settings: Settings, k: int) -> None:
    """Write what the cross-validation in a folder is of, for whoever goes on with it."""
    atomic_write(out / PLAN, _checked({"k": k, "settings": settings.to_json()}))


def read_plan(out: str | Path) -> tuple[Settings, int]:
    """Return the settings and the number of folds of the cross-validation in a folder.

    Raises
    ------
    MinialexError
        If there is none, or its record is damaged.
    """
    path = Path(out) / PLAN
    try:
        table = _read(path)
        settings, k = Settings.from_json({**table["settings"], "out": str(out)}), int(table["k"])
    except OSError as error:
        raise MinialexError(
            f"there is no cross-validation to go on with in {out}: check the path"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MinialexError(f"{path} is damaged: start again in another folder") from error
    return settings, k


def check_same_plan(out: Path, settings: Settings, k: int) -> None:
    """Raise MinialexError if the cross-validation in a folder is of other settings."""
    before, k_before = read_plan(out)
    differences = settings.differences(before)
    if k != k_before:
        differences.append(f"k: {k}, not {k_before}")
    if differences:
        raise MinialexError(
            f"the folds in {out} were trained with other settings ({differences[0]}): "
            "give the same ones, or choose another folder"
        )


def read_record(out: Path, fold: int) -> FoldRecord | None:
    """Return the record of a fold; None if it is not done."""
    path = fold_folder(out, fold) / FOLD
    try:
        record = FoldRecord(**_read(path))
        if record.fold != fold:
            raise ValueError(f"read_record: it is of fold {record.fold}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise MinialexError(f"{path} is damaged: remove it to judge its fold again") from error
    return record


def write_record(out: Path, record: FoldRecord) -> None:
    """Write the record of a fold that is done, whole or not at all."""
    atomic_write(fold_folder(out, record.fold) / FOLD, _checked(asdict(record)))


def _checked(table: Mapping[str, Any]) -> bytes:
    """Return a table as JSON, with a checksum of what it would be without."""
    checksum = zlib.crc32(json.dumps(table).encode())
    return (json.dumps({**table, "crc32": checksum}, indent=1) + "\n").encode()


def _read(path: Path) -> dict[str, Any]:
    """Return a table that `_checked` wrote; raise ValueError if it is not to the last byte."""
    content = path.read_bytes()
    try:
        table = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds no table")
    table.pop("crc32", None)
    if _checked(table) != content:
        raise ValueError(f"{path} has another checksum")
    return table


def record_of(
    fold: int, k: int, checkpoint: str, train_images: int, evaluation: Evaluation
) -> FoldRecord:
    """Return the record of a fold that was judged."""
    return FoldRecord(
        fold=fold,
        k=k,
        checkpoint=checkpoint,
        train_images=train_images,
        images=evaluation.images,
        correct=evaluation.correct,
        accuracy=evaluation.accuracy,
        top5_accuracy=evaluation.top5_accuracy,
        loss=evaluation.loss,
    )
