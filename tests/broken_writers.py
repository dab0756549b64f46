"""Ways of writing that a kill or a full disk finds: campaigns must report them."""

import builtins

from minialex import files
from minialex.train.metrics import MetricsWriter


def write_in_place():
    """Write files under their own names, as if nothing could happen meanwhile."""
    files._part_path = lambda target: target
    files.open = _open_in_place


def need_events():
    """End a run where TensorBoard's events cannot be written."""
    MetricsWriter._or_no_events = lambda writer: files.write_errors(
        writer.path.with_name("events.out.tfevents")
    )


def _open_in_place(path, mode):
    return builtins.open(path, mode.replace("x", "w"))
