"""Looking at a network: what each layer gives and takes."""

from minialex.study.summary import Row, Summary, summarise

__all__ = ["Row", "Summary", "summarise"]
