"""What a run measured: written as it goes, and read back.

`metrics.jsonl` holds one JSON object per line, so that it can be read while the run goes on and
survives its end at any moment. The same figures go to TensorBoard where tensorboardX is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minialex.errors import MinialexError
from minialex.files import atomic_write, write_errors
from minialex.plain_json import is_count, parse_json, typed

METRICS_FILE = "metrics.jsonl"
SPLITS = "train", "val"

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
