"""Tools that describe networks and kernels: layer summaries, traces, machine code."""

from minialex.study.summary import LayerSummary, Summary, summarise

__all__ = ["LayerSummary", "Summary", "summarise"]
