"""The files of a cross-validation: its plan, and a record of each fold.

Both are JSON with a format number and a checksum, ``crc32``, of the rest: a resumed
cross-validation takes its figures from them.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from signal import Signals
from typing import Any

import numpy as np

from minialex.data import UnreadableImage
from minialex.data.fingerprint import Fingerprint, parse_fingerprint, split_difference
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import Evaluation
from minialex.files import atomic_write
from minialex.plain_json import is_count, parse_json, read_text_file, typed
from minialex.train.settings import Settings

PLAN, FOLD = "kfold.json", "fold.json"
FORMAT = 4


@dataclass(frozen=True)
class FoldRecord:
    """The result of one fold.

    Attributes
    ----------
    fold, k : int
        Which fold of how many, from 1.
    checkpoint : str
        The network after its last epoch, relative to the folder of all folds.
    train_images : int
        The number of training images.
    images, correct : int
        The number of validation images, and of those classified correctly.
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
class KFoldResult:
    """The result of a cross-validation.

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
        Where the folds were trained; None where given networks were evaluated.
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
        """The standard deviation of the folds' accuracy with their number as divisor, as `np.std`.

        The article has the same. That of the sample, with one less, is larger by the square root
        of ``n / (n - 1)``: 12 % for 5 folds.
        """
        return float(np.std([r.accuracy for r in self.records])) if self.records else math.nan

    @property
    def summary(self) -> str:
        """The article's line: ``Mean Accuracy: 98.12 % +- 0.43 %``."""
        return f"Mean Accuracy: {self.mean:.2f} % +- {self.std:.2f} %"


# The folder ---------------------------------------------------------------------------------------


def fold_folder(out: Path, fold: int) -> Path:
    """Return where fold `fold`, from 1, writes."""
    return out / f"fold-{fold}"


def write_plan(out: Path, settings: Settings, k: int, images: Fingerprint, engine: str) -> None:
    """Write what a cross-validation is resumed with, and on what engine it computes."""
    table = {"k": k, "settings": settings.to_json(), "images": images, "engine": engine}
    _write(out / PLAN, table)


def read_plan(out: str | Path) -> tuple[Settings, int]:
    """Return the settings and the number of folds of the cross-validation in a folder.

    Raises
    ------
    MinialexError
        If there is none, or its plan is damaged or of another format.
    """
    return _read_plan(out)[:2]


def read_engine(out: Path) -> str:
    """Return what computed the cross-validation in a folder until now.

    Raises
    ------
    MinialexError
        As `read_plan`.
    """
    return _read_plan(out)[3]


def _read_plan(out: str | Path) -> tuple[Settings, int, Fingerprint, str]:
    path = Path(out) / PLAN
    try:
        table = _read(path)
        settings = Settings.from_json({**table["settings"], "out": str(out)}, path)
        k = table["k"]
        if not is_count(k) or k < 2:
            raise ValueError(f"k is {k!r}")
        images = parse_fingerprint(table["images"], "all")
        engine = typed(str, table["engine"])
    except OSError as error:
        raise MinialexError(
            f"there is no cross-validation to go on with in {out}: check the path"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MinialexError(f"{path} is damaged: start again in another folder") from error
    return settings, k, images, engine


def check_same_plan(
    out: Path, settings: Settings, k: int, images: Fingerprint, classes: Sequence[str]
) -> None:
    """Raise MinialexError if the cross-validation in a folder is of other settings or images.

    The folder of the images may be another.
    """
    before, k_before, images_before, _ = _read_plan(out)
    differences = settings.differences(before.replace(data=settings.data))
    if k != k_before:
        differences.append(f"k: {k}, not {k_before}")
    if differences:
        raise MinialexError(
            f"the folds in {out} were trained with other settings ({differences[0]}): "
            "give the same ones, or choose another folder"
        )
    if change := split_difference(images_before, images, classes):
        raise MinialexError(
            f"the folds in {out} are of other images ({change}): "
            "give the folder as it was, or choose another folder"
        )


def read_record(out: Path, fold: int) -> FoldRecord | None:
    """Return the record of a fold; None if it is not done."""
    path = fold_folder(out, fold) / FOLD
    try:
        record: FoldRecord = typed(FoldRecord, _read(path))
        _check(record, fold)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MinialexError(f"{path} is damaged: remove it to evaluate its fold again") from error
    return record


def _check(record: FoldRecord, fold: int) -> None:
    """Raise ValueError unless these figures can be those of a fold, and agree."""
    path = PurePath(record.checkpoint)
    rules = (
        record.fold == fold <= record.k,
        # looked for in the folder of all folds, not elsewhere
        not path.is_absolute() and ".." not in path.parts,
        is_count(record.train_images) and record.train_images > 0,
        0 <= record.correct <= record.images > 0,
        record.accuracy == 100 * record.correct / max(1, record.images),
        record.accuracy <= record.top5_accuracy <= 100,
        record.loss >= 0,
    )
    if not all(rules):
        raise ValueError("its figures do not agree")


def write_record(out: Path, record: FoldRecord) -> None:
    """Write the record of a fold that is done, whole or not at all."""
    _write(fold_folder(out, record.fold) / FOLD, asdict(record))


def _write(path: Path, table: Mapping[str, Any]) -> None:
    atomic_write(path, _with_checksum({"format": FORMAT, **table}))


def _with_checksum(table: Mapping[str, Any]) -> bytes:
    """Return a table as JSON, with a checksum of the JSON without it."""
    checksum = zlib.crc32(json.dumps(table).encode())
    return (json.dumps({**table, "crc32": checksum}, indent=1) + "\n").encode()


def _read(path: Path) -> dict[str, Any]:
    """Return a table of this format; raise ValueError if any byte of its file was changed."""
    content = read_text_file(path)
    table = parse_json(content)
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds no table")
    table.pop("crc32", None)
    if _with_checksum(table) != content:
        raise ValueError(f"{path} has another checksum")
    # those of format 1 did not say so
    number = table.pop("format", 1)
    if number != FORMAT:
        raise MinialexError(
            f"{path} has format {number!r:.60}, of another minialex; this one reads format "
            f"{FORMAT} alone: start again in another folder"
        )
    return table


def make_record(
    fold: int, k: int, checkpoint: str, train_images: int, evaluation: Evaluation
) -> FoldRecord:
    """Return the record of a fold from its evaluation."""
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
