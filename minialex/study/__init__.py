"""Tools that describe networks and kernels: layer summaries, feature maps, graphs, traces."""

from minialex.study.difference import Difference, difference_of
from minialex.study.explanation import Explanation, explain_run
from minialex.study.features import FeatureMaps, feature_maps, find_maps
from minialex.study.filters import Filters, filters_of
from minialex.study.graph import RecordedGraph
from minialex.study.graph_recording import record_graph
from minialex.study.network_run import NetworkRun, explain
from minialex.study.op_run import OpRun, run_op
from minialex.study.receptive_field import ReceptiveField, receptive_field, receptive_fields
from minialex.study.summary import LayerSummary, Summary, summarise
from minialex.study.writing_thread import WritingThread, writing_thread

__all__ = [
    "Difference",
    "Explanation",
    "FeatureMaps",
    "Filters",
    "LayerSummary",
    "NetworkRun",
    "OpRun",
    "ReceptiveField",
    "RecordedGraph",
    "Summary",
    "WritingThread",
    "difference_of",
    "explain",
    "explain_run",
    "feature_maps",
    "filters_of",
    "find_maps",
    "receptive_field",
    "receptive_fields",
    "record_graph",
    "run_op",
    "summarise",
    "writing_thread",
]
