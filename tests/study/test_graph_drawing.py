"""The picture of a graph: parsed, and measured: nothing overlaps, every arrow ends at its op."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from minialex import nn, ops
from minialex.models import alexnet
from minialex.nn.init import blank_weights
from minialex.study.graph import GraphEdge
from minialex.study.graph_drawing import (
    CHAR_WIDTH,
    FILLS,
    FONT_SIZE,
    OP_FILL,
    bytes_text,
    flops_text,
    graph_rows,
    graph_svg,
    lanes,
)
from minialex.study.graph_recording import record_graph

SVG = "{http://www.w3.org/2000/svg}"


class Residual(nn.Module):
    """Skips over each other, an op that takes one output twice, one that takes many leaves."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.scale = nn.Parameter(np.ones(6, np.float32))
        self.more = [nn.Parameter(np.ones((2, 6), np.float32)) for _ in range(9)]

    def forward(self, x):
        h = self.first(x)
        y = self.first(h) + h
        return ops.concatenate([(y * y) * self.scale + h, *self.more])


@pytest.fixture(scope="module", params=["alexnet-2012", "<residual> & co"])
def graph(request):
    if request.param != "alexnet-2012":
        return record_graph(Residual(), np.ones((2, 6), np.float32), name=request.param)
    with blank_weights():
        model = alexnet("alexnet-2012")
    return record_graph(
        model, np.zeros((1, 3, 227, 227), "f4"), np.zeros(1, int), name=request.param
    )


@pytest.fixture(scope="module")
def svg(graph):
    return ET.fromstring(graph_svg(graph))


def number(element, name):
    return float(element.get(name))


def box(rect):
    x, y = number(rect, "x"), number(rect, "y")
    return x, y, x + number(rect, "width"), y + number(rect, "height")


def op_boxes(svg):
    return [box(r) for r in svg.iter(f"{SVG}rect") if r.get("fill") == OP_FILL]


def text_box(text):
    x, y = number(text, "x"), number(text, "y")
    return x, y - 0.8 * FONT_SIZE, x + CHAR_WIDTH * len(text.text), y + 0.2 * FONT_SIZE


def apart(a, b):
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_every_op_stands_there_with_all_that_is_said_of_it(graph, svg):
    groups = [g for g in svg.iter(f"{SVG}g") if g.get("class") == "op"]
    assert len(groups) == len(graph.ops)
    for i, (op, group) in enumerate(zip(graph.ops, groups, strict=True)):
        texts = [t.text for t in group.iter(f"{SVG}text")]
        assert texts[0] == op.title
        assert op.implementation in texts
        shape = "x".join(map(str, op.shape)) or "one number"
        assert f"y {shape}" in texts
        for kept in op.kept:
            assert any(
                t.startswith(f"{kept.what}, ") and bytes_text(kept.bytes) in t for t in texts
            )
        for edge in graph.edges:
            if edge.op == i and edge.from_leaf:
                assert any(t.startswith(f"{graph.leaves[edge.source].name} ") for t in texts)


def test_no_two_texts_overlap_and_all_is_within_the_frame(svg):
    _, _, width, height = map(float, svg.get("viewBox").split())
    texts = [text_box(t) for t in svg.iter(f"{SVG}text")]
    assert all(apart(a, b) for a, b in combinations(texts, 2))
    rects = [box(r) for r in svg.iter(f"{SVG}rect") if r.get("x")]
    for left, top, right, bottom in (*texts, *rects):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_texts_end_within_the_box_that_they_begin_in(svg):
    for group in svg.iter(f"{SVG}g"):
        boxes = [box(r) for r in group.iter(f"{SVG}rect")]
        for text in map(text_box, group.iter(f"{SVG}text")):
            around = [b for b in boxes if b[0] <= text[0] <= b[2] and b[1] <= text[1] <= b[3]]
            assert around
            assert all(text[2] <= b[2] and text[3] <= b[3] for b in around)


def test_arrows_lead_from_each_op_up_to_what_made_its_inputs(graph, svg):
    boxes = op_boxes(svg)

    def touched(x, y):
        (i,) = [
            i
            for i, (left, top, right, bottom) in enumerate(boxes)
            if left <= x <= right and top <= y <= bottom
        ]
        return i

    found = []
    for path in svg.iter(f"{SVG}path"):
        if path.get("class") != "gradient":
            continue
        assert path.get("marker-end") == "url(#arrow)"
        start = re.match(r"M([\d.]+) ([\d.]+)", path.get("d"))
        x, y = map(float, start.groups())
        (height,) = re.findall(r"V([\d.]+)", path.get("d"))
        assert float(height) < y
        found.append((touched(x, y), touched(x, float(height))))
    wanted = [(e.op, e.source) for e in graph.edges if not e.from_leaf]
    assert sorted(found) == sorted(wanted)
    # and no two are drawn over each other
    paths = [p.get("d") for p in svg.iter(f"{SVG}path")]
    assert len(set(paths)) == len(paths)


def test_what_gets_no_gradient_has_a_broken_line_without_a_head(graph, svg):
    broken = [p for p in svg.iter(f"{SVG}path") if p.get("stroke-dasharray")]
    wanted = [e for e in graph.edges if e.from_leaf and not graph.leaves[e.source].requires_grad]
    assert len(broken) == len(wanted) >= 1
    assert not any(p.get("marker-end") for p in broken)


def test_edges_that_share_a_height_have_lanes_of_their_own():
    def edge(op, source):
        return GraphEdge(op, 0, source, False)

    inner, outer, crossing, later, next_to = (
        edge(3, 1),
        edge(5, 0),
        edge(4, 2),
        edge(8, 5),
        edge(2, 1),
    )
    found = lanes((outer, inner, crossing, later, next_to))
    assert next_to not in found
    assert found[inner] != found[crossing]
    assert found[outer] not in (found[inner], found[crossing])
    # the shorter ones are nearer, and what does not meet shares a lane
    assert max(found[inner], found[crossing]) < found[outer]
    assert found[later] == 0


def test_rows_follow_each_other_from_the_top(graph):
    rows = graph_rows(graph)
    for above, below in pairwise(rows):
        assert above.y + above.height < below.y


def test_words_stand_beside_the_picture(graph, svg):
    title, desc = svg.find(f"{SVG}title").text, svg.find(f"{SVG}desc").text
    assert graph.name in title
    assert len(desc.split("; ")) == len(graph.ops)
    texts = " ".join(t.text for t in svg.iter(f"{SVG}text"))
    assert f"{bytes_text(graph.kept_bytes)} kept for backward" in texts
    assert "Arrows show where gradients go" in texts
    fills = {r.get("fill") for r in svg.iter(f"{SVG}rect")}
    assert set(FILLS.values()) <= fills


def test_sizes_and_operations_as_people_read_them():
    sizes = [bytes_text(n) for n in (0, 1023, 1024, 1536, 1 << 20, 151 << 20)]
    assert sizes == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "151.0 MiB"]
    counts = [flops_text(n) for n in (999, 1000, 999_900, 448_123_456)]
    assert counts == ["999 FLOPs", "1.0 kFLOPs", "999.9 kFLOPs", "448.1 MFLOPs"]
