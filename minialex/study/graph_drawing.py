"""A recorded graph as SVG: one row for each op, oldest at the top.

Ops stand below each other in one column, so that no two can overlap. An input from the op right
above is a straight arrow; one from further up goes round on the left, in a lane that no other such
arrow uses at that height. What is said of an op stands beside it, in columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from minialex.study.graph import (
    EXTRA,
    INPUT,
    OUTPUT,
    PARAMETER,
    GraphEdge,
    KeptArray,
    OpNode,
    RecordedGraph,
)
from minialex.study.summary import times

FONT_SIZE, CHAR_WIDTH, LINE_HEIGHT = 12, 7.3, 16
"""In pixels. A monospaced character is 0.6 of the font's size wide, and a little more in some."""

PADDING, GAP, MARGIN, TOP = 8, 24, 20, 120
LANE_WIDTH, REPEAT_WIDTH = 16, 14
"""How far apart the arrows are that go round, and those of inputs that one op made."""
MIN_BOX_CHARS = 24

INK, GREY, LINE = "#222222", "#666666", "#555555"
OP_FILL = "#e8eef6"
FILLS = {PARAMETER: "#fbe3d5", INPUT: "#e9e9e9", OUTPUT: "#dcefe3", EXTRA: "#efe2f3"}

LEGEND = (
    (PARAMETER, "parameter"),
    (INPUT, "given: no gradient goes there"),
    (OUTPUT, "output of an op"),
    (EXTRA, "made for backward"),
)


@dataclass(frozen=True)
class Label:
    """A line of text on a ground of its kind's colour."""

    text: str
    kind: str
    gradient: bool = False


@dataclass(frozen=True)
class GraphRow:
    """Where an op stands and what is said of it; `y` is its top, `height` that of its box."""

    lines: tuple[str, ...]
    leaves: tuple[Label, ...]
    kept: tuple[Label, ...]
    y: float
    height: float

    @property
    def middle(self) -> float:
        """The height of its middle."""
        return self.y + self.height / 2


def bytes_text(size: int) -> str:
    """Return a number of bytes as people read it: ``12 B``, ``3.5 KiB``, ``144.0 MiB``."""
    if size < 1 << 10:
        return f"{size} B"
    return f"{size / (1 << 10):,.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):,.1f} MiB"


def flops_text(flops: int) -> str:
    """Return a number of operations as people read it: ``96 FLOPs``, ``448.1 MFLOPs``."""
    if flops < 1e3:
        return f"{flops} FLOPs"
    return f"{flops / 1e3:,.1f} kFLOPs" if flops < 1e6 else f"{flops / 1e6:,.1f} MFLOPs"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as text; of a single number that."""
    return times(shape) or "one number"


def array_text(shape: tuple[int, ...], dtype: str) -> str:
    """Return a shape, and the type of the elements where it is not the usual one."""
    return shape_text(shape) + (f" {dtype}" if dtype != "float32" else "")


def graph_rows(graph: RecordedGraph) -> list[GraphRow]:
    """Return a row for each op, below each other."""
    found, y = [], float(TOP)
    for i, op in enumerate(graph.ops):
        lines, leaves, kept = _op_lines(op), _leaf_labels(graph, i), _kept_labels(op)
        height = LINE_HEIGHT * max(len(lines), len(leaves), len(kept)) + 2 * PADDING
        found.append(GraphRow(lines, leaves, kept, y, height))
        y += height + GAP
    return found


def lanes(edges: tuple[GraphEdge, ...]) -> dict[GraphEdge, int]:
    """Return a lane for each edge between ops that are not next to each other.

    Two edges that share a height have lanes of their own; shorter ones are nearer to the ops.
    """
    result: dict[GraphEdge, int] = {}
    long = [e for e in edges if not e.from_leaf and e.op - e.source > 1]
    for edge in sorted(long, key=lambda e: (e.op - e.source, e.op)):
        taken = {lane for e, lane in result.items() if e.source < edge.op and edge.source < e.op}
        result[edge] = next(n for n in range(len(long)) if n not in taken)
    return result


def graph_svg(graph: RecordedGraph) -> str:
    """Return the picture of a graph, as an SVG file's text."""
    rows, round_about = graph_rows(graph), lanes(graph.edges)
    box_width = _width([line for row in rows for line in row.lines], MIN_BOX_CHARS)
    leaf_width = _width([label.text for row in rows for label in row.leaves], MIN_BOX_CHARS)
    kept_width = _width([label.text for row in rows for label in row.kept], MIN_BOX_CHARS)
    lane_count = 1 + max(round_about.values(), default=-1)
    box_x = MARGIN + LANE_WIDTH * lane_count + (GAP if round_about else 0)
    leaf_x = box_x + box_width + 2 * GAP
    kept_x = leaf_x + leaf_width + GAP
    width, height = kept_x + kept_width + MARGIN, rows[-1].y + rows[-1].height + MARGIN
    svg = _root(graph, width, height)
    _heading(svg, graph, (box_x, leaf_x, kept_x))
    for edge in graph.edges:
        if not edge.from_leaf:
            ends = rows[edge.op], rows[edge.source]
            path = (
                _lane_path(*ends, box_x, round_about[edge], lane_count)
                if edge in round_about
                else _straight_path(*ends, box_x + box_width / 2 + REPEAT_WIDTH * edge.position)
            )
            _path(svg, path, {"marker-end": "url(#arrow)", "class": "gradient"})
    for op, row in zip(graph.ops, rows, strict=True):
        group = ET.SubElement(svg, "g", {"class": "op"})
        ET.SubElement(group, "title").text = _sentence(op)
        _box(group, (box_x, row.y, box_width, row.height), OP_FILL)
        for n, line in enumerate(row.lines):
            _text(group, box_x + PADDING, row.y + PADDING, n, line, bold=n == 0)
        for n, label in enumerate(row.leaves):
            _pill(group, leaf_x, leaf_width, row, n, label)
            _leaf_line(group, box_x + box_width, leaf_x, row, n, label)
        for n, label in enumerate(row.kept):
            _pill(group, kept_x, kept_width, row, n, label)
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _op_lines(op: OpNode) -> tuple[str, ...]:
    lines = [op.title, op.implementation, f"y {array_text(op.shape, op.dtype)}"]
    if op.flops:
        lines.append(flops_text(op.flops))
    if op.backward_flops:
        lines.append(f"backward {flops_text(op.backward_flops)}")
    return tuple(filter(None, lines))


def _leaf_labels(graph: RecordedGraph, i: int) -> tuple[Label, ...]:
    """Return what stands beside op `i` for each leaf that it takes."""
    found = []
    for edge in graph.edges:
        if edge.op == i and edge.from_leaf:
            leaf = graph.leaves[edge.source]
            text = f"{leaf.name} {array_text(leaf.shape, leaf.dtype)}"
            kind = PARAMETER if leaf.parameter else INPUT
            found.append(Label(text, kind, leaf.requires_grad))
    return tuple(found)


def _kept_labels(op: OpNode) -> tuple[Label, ...]:
    return tuple(Label(kept_text(a), a.kind) for a in op.kept)


def kept_text(a: KeptArray) -> str:
    """Return what a kept array is, and how large, in a line."""
    again = "" if a.counted else ", counted above"
    return f"{a.what}, {array_text(a.shape, a.dtype)}: {bytes_text(a.bytes)}{again}"


def _sentence(op: OpNode) -> str:
    """Return what a picture's reader is told of an op that is pointed at."""
    ran = f", {op.implementation}" if op.implementation else ""
    kept = f"keeps {bytes_text(op.counted)} more than the ops above" if op.kept else "keeps nothing"
    return f"{op.title}{ran}: output {shape_text(op.shape)}, {kept}"


def _width(texts: list[str], least: int) -> float:
    return CHAR_WIDTH * max([least, *map(len, texts)]) + 2 * PADDING


def _root(graph: RecordedGraph, width: float, height: float) -> ET.Element:
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "font-family": "DejaVu Sans Mono, Menlo, Consolas, monospace",
            "font-size": str(FONT_SIZE),
            "role": "img",
        },
    )
    ET.SubElement(svg, "title").text = f"What a forward pass of {graph.name} records"
    ET.SubElement(svg, "desc").text = "; ".join(map(_sentence, graph.ops))
    ends = {"refX": "8", "refY": "4", "markerWidth": "8", "markerHeight": "8"}
    marker = {"id": "arrow", "orient": "auto", "markerUnits": "userSpaceOnUse", **ends}
    head = ET.SubElement(ET.SubElement(svg, "defs"), "marker", marker)
    ET.SubElement(head, "path", {"d": "M0 0L8 4L0 8z", "fill": LINE})
    ET.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    return svg


def _heading(svg: ET.Element, graph: RecordedGraph, columns: tuple[float, float, float]) -> None:
    """Write what the picture shows, the legend, and the heads of the columns."""
    kept = f"{bytes_text(graph.kept_bytes)} kept for backward, each array counted once"
    _text(svg, MARGIN, 10, 0, f"{graph.name}: {len(graph.ops)} ops ran, {kept}", bold=True)
    how = "Arrows show where gradients go, from the last op up. Values went the other way."
    _text(svg, MARGIN, 10, 1, how)
    x = float(MARGIN)
    for kind, words in LEGEND:
        _box(svg, (x, 52, 14, 14), FILLS[kind])
        _text(svg, x + 20, 48, 0, words)
        x += 20 + CHAR_WIDTH * (len(words) + 3)
    for x, words in zip(columns, ("op", "leaves it takes", "kept for backward"), strict=True):
        _text(svg, x, 92, 0, words, bold=True)


def _text(
    parent: ET.Element, x: float, top: float, line: int, text: str, *, bold: bool = False
) -> None:
    """Write line number `line` of what begins at `top`."""
    y = top + LINE_HEIGHT * line + FONT_SIZE
    attributes = {"x": f"{x:g}", "y": f"{y:g}", "fill": INK}
    if bold:
        attributes["font-weight"] = "bold"
    ET.SubElement(parent, "text", attributes).text = text


def _box(
    parent: ET.Element, box: tuple[float, float, float, float], fill: str, stroke: str = LINE
) -> None:
    sides = zip(("x", "y", "width", "height"), box, strict=True)
    ET.SubElement(
        parent,
        "rect",
        {**{name: f"{n:g}" for name, n in sides}, "rx": "3", "fill": fill, "stroke": stroke},
    )


def _pill(parent: ET.Element, x: float, width: float, row: GraphRow, n: int, label: Label) -> None:
    """Write label number `n` of a row on its ground."""
    top = row.y + PADDING + LINE_HEIGHT * n
    _box(parent, (x, top, width, LINE_HEIGHT - 1), FILLS[label.kind], "none")
    _text(parent, x + PADDING, top - 1, 0, label.text)


def _leaf_line(
    parent: ET.Element, start: float, stop: float, row: GraphRow, n: int, label: Label
) -> None:
    """Draw an arrow to a leaf that gets a gradient, a broken line to one that does not."""
    y = row.y + PADDING + LINE_HEIGHT * (n + 0.5)
    style = {"marker-end": "url(#arrow)"} if label.gradient else {"stroke-dasharray": "4 3"}
    _path(parent, f"M{start:g} {y:g}H{stop - 2:g}", style)


def _straight_path(op: GraphRow, source: GraphRow, x: float) -> str:
    return f"M{x:g} {op.y:g}V{source.y + source.height:g}"


def _lane_path(op: GraphRow, source: GraphRow, x: float, lane: int, count: int) -> str:
    """Return the way from the left of an op up a lane to the left of another.

    Each lane meets the boxes at a height of its own.
    """
    left, part = x - GAP - LANE_WIDTH * lane, (lane + 1) / (count + 1)
    y, top = op.y + op.height * part, source.y + source.height * part
    return f"M{x:g} {y:g}H{left:g}V{top:g}H{x:g}"


def _path(parent: ET.Element, path: str, more: dict[str, str]) -> None:
    ET.SubElement(parent, "path", {"d": path, "fill": "none", "stroke": LINE, **more})
