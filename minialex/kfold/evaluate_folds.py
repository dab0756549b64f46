"""The article's cross-validation (its section 3.5): given networks evaluated on folds of images.

Nothing is trained, so the figure says how the accuracy on fewer test images would scatter.
`minialex.kfold.folds.kfold` is cross-validation as the term is used elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minialex import arrays
from minialex.data import DataLoader
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import evaluate
from minialex.kfold.evaluation_set import evaluation_set
from minialex.kfold.fold_images import divide
from minialex.kfold.fold_records import KFoldResult, make_record
from minialex.persistence import load_trained
from minialex.train.factory import MessageCallback
from minialex.wording import counted


def evaluate_folds(
    checkpoints: Sequence[str | Path],
    k: int,
    *,
    data: str | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    tell: MessageCallback | None = None,
) -> KFoldResult:
    """Evaluate given networks fold by fold, the i-th on the i-th fold of images it has not seen.

    Parameters
    ----------
    checkpoints : sequence of str or Path
        One for each fold, or one for all. Folders of runs and files of weights are taken too.
    k : int
        How many folds.
    data : str, optional
        A folder of images, or "digits"; see `minialex.kfold.evaluation_set`.
    seed : int
        Of the folds.
    device : str
    batch_size, workers : int
    tell : callable, optional
        Called with a sentence about each kind of file that is ignored.

    Raises
    ------
    MinialexError
        If there are neither one nor `k` checkpoints, one cannot be read, or its classes are not
        those of the images.
    """
    if len(checkpoints) not in (1, k):
        raise MinialexError(
            f"{counted(len(checkpoints), 'checkpoint')} for {k} folds: give one for each, "
            "or one for all"
        )
    where = arrays.device(device)
    records = []
    for i in range(k):
        trained = load_trained(checkpoints[i % len(checkpoints)], device=where)
        _, images = divide(evaluation_set(trained, data, tell=tell).dataset, k, seed)[i]
        tell = None
        transform = trained.settings.eval_transform()
        loader = DataLoader(images, batch_size, transform, workers=workers, device=where)
        evaluation = evaluate(trained.model, loader)
        records.append(make_record(i + 1, k, str(trained.path), 0, evaluation))
    return KFoldResult(tuple(records), k)
