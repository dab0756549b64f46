"""What a run measured: written as it goes, read back, and drawn.

`metrics.jsonl` holds one JSON object per line, so that it can be read while the run goes on and
survives its end at any moment. The same figures go to TensorBoard where tensorboardX is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minialex.errors import MinialexError
from minialex.files import atomic_write, write_errors
from minialex.plain_json import is_count, parse_json, typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS_FILE = "metrics.jsonl"
SPLITS = "train", "val"

# Told apart by people who see no difference between red and green, and in grey print.
_COLOURS = {"train": "#4477aa", "val": "#cc5533"}
_NUMBERS = "loss", "accuracy", "lr", "images_per_second"


@dataclass(frozen=True)
class MetricsRecord:
    """One line of metrics.

    Attributes
    ----------
    split : "train" or "val"
        What was measured: the batches since the last such line, or all validation images.
    epoch : int
        Counted from 1.
    step : int
        How many batches the run had trained on.
    loss : float
        Mean cross-entropy in nats.
    accuracy : float
        Top-1, in percent.
    lr : float
        The learning rate of the last batch.
    images_per_second : float
        How fast it went.
    """

    split: str
    epoch: int
    step: int
    loss: float
    accuracy: float
    lr: float
    images_per_second: float


class MetricsWriter:
    """Appends records to ``metrics.jsonl`` in a folder, and to TensorBoard's events.

    Parameters
    ----------
    folder : str or Path
        The run's folder.
    resume_at : int, optional
        The step of the checkpoint from which the run goes on. Lines after it are dropped, so that
        a resumed run's file ends up like that of a run never interrupted, but for the rates.
        Without it the file must not exist yet.
    tell : callable, optional
        Called with a sentence if TensorBoard's events cannot be written: the run does without.

    Raises
    ------
    MinialexError
        If the file exists, is damaged, or cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        resume_at: int | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._tell = tell
        self.path = Path(folder) / METRICS_FILE
        self._kept: set[tuple[str, int]] = set()
        if resume_at is not None and self.path.exists():
            self._keep_up_to(resume_at)
        elif self.path.exists():
            raise MinialexError(f"{self.path} exists: choose another folder or resume that run")
        with write_errors(self.path):
            # Unbuffered: a line is in the file, or its writing has failed, when `write` returns.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._events: _Events | None = None
        with self._or_no_events():
            self._events = _open_events(Path(folder), resume_at)

    def _keep_up_to(self, step: int) -> None:
        kept = [record for record in read_metrics(self.path) if record.step <= step]
        atomic_write(self.path, "".join(map(_to_line, kept)).encode())
        self._kept = {(record.split, record.step) for record in kept}

    def write(self, record: MetricsRecord) -> None:
        """Append a record; it is in the file when this returns.

        Raises
        ------
        MinialexError
            If it cannot be written, for instance to a full disk.
        """
        # A run killed between validation and checkpoint validates again when it goes on.
        if (record.split, record.step) in self._kept:
            return
        line = _to_line(record).encode()
        with write_errors(self.path):
            while line:
                line = line[self._file.write(line) :]
        with self._or_no_events():
            if self._events:
                self._events.write(record)

    def close(self) -> None:
        """Close the files. Nothing can be written afterwards."""
        with write_errors(self.path):
            self._file.close()
        with self._or_no_events():
            if self._events:
                self._events.close()

    @contextlib.contextmanager
    def _or_no_events(self) -> Iterator[None]:
        """Do without TensorBoard's events from now on, and say so, if they cannot be written."""
        try:
            with write_errors(self.path.with_name("events.out.tfevents")):
                yield
        except MinialexError as error:
            if self._events:
                self._events.abandon()
                self._events = None
            if self._tell:
                self._tell(f"TensorBoard's events are no longer written: {error}")

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _to_line(record: MetricsRecord) -> str:
    """Write a record as a line of JSON, which has no NaN and no infinity: they become null."""
    fields = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(record).items()
    }
    return json.dumps(fields) + "\n"


def read_metrics(path: str | Path) -> list[MetricsRecord]:
    """Read a metrics file, or a run's folder that has one.

    A last line that is not yet complete is left out, so that a running run's file can be read.

    Returns
    -------
    list of MetricsRecord
        In the order of writing. What was not finite is NaN.

    Raises
    ------
    MinialexError
        If the file is missing or a line is not a record.
    """
    path = Path(path)
    path = path / METRICS_FILE if path.is_dir() else path
    try:
        with open(path, "rb") as file:
            lines = enumerate(iter(file.readline, b""), 1)
            return [_from_line(path, n, line) for n, line in lines if line.endswith(b"\n")]
    except OSError as error:
        raise MinialexError(f"cannot read {path}: {error.strerror}: check the path") from error


def _from_line(path: Path, number: int, line: bytes) -> MetricsRecord:
    try:
        fields = parse_json(line)
        numbers = {key: math.nan for key in _NUMBERS if fields[key] is None}
        record: MetricsRecord = typed(MetricsRecord, {**fields, **numbers})
        if record.split not in SPLITS or not is_count(record.epoch) or not is_count(record.step):
            raise ValueError("it is of no epoch")
        if record.accuracy < 0 or record.accuracy > 100:  # a NaN is neither
            raise ValueError("it has an accuracy that cannot be")
        return record
    except (ValueError, LookupError, TypeError) as error:
        raise MinialexError(
            f"{path}, line {number} is not a record of metrics: remove that line"
        ) from error


class _Events:
    """TensorBoard's event file.

    tensorboardX's usual writer hands events to a thread, and blocks for ever when that thread has
    died of a full disk. Its lower floor, used here, writes at once and raises.
    """

    def __init__(self, folder: Path, resume_at: int | None) -> None:
        writer = importlib.import_module("tensorboardX.event_file_writer")
        self._summary = importlib.import_module("tensorboardX.summary")
        self._proto = importlib.import_module("tensorboardX.proto.event_pb2")
        # Names hold the second of their making: a run resumed at once must not overwrite.
        self._file = writer.EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        if resume_at is not None:
            # Tells TensorBoard to forget what an earlier file has from this step on.
            start = self._proto.SessionLog(status=self._proto.SessionLog.START)
            self._add(step=resume_at + 1, session_log=start)

    def write(self, record: MetricsRecord) -> None:
        """Add a record's figures."""
        for name in ("loss", "accuracy"):
            self._scalar(f"{name}/{record.split}", getattr(record, name), record.step)
        if record.split == "train":
            self._scalar("lr", record.lr, record.step)
            self._scalar("images_per_second", record.images_per_second, record.step)
        else:
            self._file.flush()

    def _scalar(self, tag: str, value: float, step: int) -> None:
        self._add(step=step, summary=self._summary.scalar(tag, value))

    def _add(self, **fields: Any) -> None:
        self._file.write_event(self._proto.Event(wall_time=time.time(), **fields))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file without what cannot be written, which `close` would try in vain."""
        with contextlib.suppress(OSError):
            self._file._py_recordio_writer.close()


def _open_events(folder: Path, resume_at: int | None) -> _Events | None:
    try:
        return _Events(folder, resume_at)
    except ImportError:
        return None


def validation_rank(accuracy: float, loss: float) -> tuple[float, float]:
    """Return what is higher of the better epoch: that of higher accuracy, then of lower loss."""
    return accuracy, -loss


def draw_curves(metrics: Sequence[MetricsRecord], path: str | Path, batches: int) -> None:
    """Draw loss and accuracy over the epochs into a PNG file, whole or not at all.

    Parameters
    ----------
    metrics : sequence of MetricsRecord
        As `read_metrics` returns them; may be empty.
    path : str or Path
        The picture.
    batches : int
        Batches per epoch.

    Raises
    ------
    MinialexError
        If the picture cannot be written.
    """
    # 0.5 s to import, which a process that trains a fold does without; not pyplot: it keeps
    # figures alive and may look for a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), dpi=120, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    for axes, field, corner in (
        (loss, "loss", "upper right"),
        (accuracy, "accuracy", "lower right"),
    ):
        shown = [record for record in metrics if math.isfinite(getattr(record, field))]
        _draw_training(axes, *_points(shown, "train", field, batches))
        _draw_validation(axes, *_points(shown, "val", field, batches), field, _best_epoch(metrics))
        axes.set_xlim(0, 1.02 * max([1.0, *(record.step / batches for record in metrics)]))
        _dress(axes)
        if axes.get_lines():
            axes.legend(frameon=False, fontsize=9, loc=corner)
    loss.set_title("Loss (nats)", loc="left", fontsize=11)
    accuracy.set_title("Accuracy (%)", loc="left", fontsize=11)
    _spread_low_values(loss)
    accuracy.set_ylim(0, 101)
    atomic_write(path, canvas.print_png)


def _best_epoch(metrics: Sequence[MetricsRecord]) -> int:
    """Return the epoch, from 1, whose checkpoint is the best one; 0 where there is none."""
    ends = [r for r in metrics if r.split == "val" and math.isfinite(r.loss + r.accuracy)]
    best = max(ends, key=lambda r: validation_rank(r.accuracy, r.loss), default=None)
    return 0 if best is None else best.epoch


def _points(
    metrics: Sequence[MetricsRecord], split: str, field: str, batches: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the finished epochs, fractions included, and a field's values of one split."""
    chosen = [record for record in metrics if record.split == split]
    epochs = np.array([record.step / batches for record in chosen])
    return epochs, np.array([getattr(record, field) for record in chosen])


def _dress(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_training(axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
    """Draw every figure faintly, and their running mean over them where there are many."""
    if not len(y):
        return
    colour = _COLOURS["train"]
    if len(y) < 30:
        marker = "o" if len(y) == 1 else ""
        axes.plot(x, y, color=colour, linewidth=2, marker=marker, markersize=4, label="training")
        return
    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3)
    weights = np.ones(max(5, len(y) // 30))
    # Divided by how many figures the window meets, so that the ends do not sag.
    mean = np.convolve(y, weights, "same") / np.convolve(np.ones(len(y)), weights, "same")
    axes.plot(x, mean, color=colour, linewidth=2, label="training (running mean)")


def _draw_validation(
    axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], field: str, best: int
) -> None:
    """Draw a figure per epoch, with a ring around that of the best epoch."""
    if not len(y):
        return
    at = x == best
    values = [f"{v:.3g}" if field == "loss" else f"{v:.2f} %" for v in y[at]]
    label = "".join(["validation", *(f" (best: epoch {best}, {value})" for value in values)])
    marker = "o" if len(y) <= 60 else ""
    axes.plot(x, y, color=_COLOURS["val"], linewidth=2, marker=marker, markersize=4, label=label)
    axes.plot(x[at], y[at], "o", color=_COLOURS["val"], markersize=8, markerfacecolor="white")


def _spread_low_values(axes: Axes) -> None:
    """Use a logarithmic scale where a linear one would press most of the curve to the floor."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    heights = [line.get_ydata() for line in axes.get_lines()]
    values = np.concatenate([np.asarray(y, dtype=np.float64) for y in heights] or [np.ones(1)])
    if values.size and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
