"""Tools that describe networks and kernels: layer summaries, feature maps, graphs, traces."""

from minialex.study.features import FeatureMaps, feature_maps, find_maps
from minialex.study.filters import Filters, filters_of
from minialex.study.graph import RecordedGraph
from minialex.study.graph_recording import record_graph
from minialex.study.summary import LayerSummary, Summary, summarise

__all__ = [
    "FeatureMaps",
    "Filters",
    "LayerSummary",
    "RecordedGraph",
    "Summary",
    "feature_maps",
    "filters_of",
    "find_maps",
    "record_graph",
    "summarise",
]
