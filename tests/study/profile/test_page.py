"""The page: its data compared with the events, its limits, and that nothing gets out of it."""

from __future__ import annotations

import json
import re
from pathlib import PurePath

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.source import Source
from minialex.errors import MinialexError
from minialex.study.profile import page as module
from minialex.study.profile.page import KINDS, SCHEMA, STEP_FIELDS, page, page_data
from minialex.study.profile.steps import warp_steps
from tests.cuda.tools import kernel
from tests.study.profile import made_recordings as made

TEXT = (
    "// made\n__global__ void made(const float* x) {\n    f(x); // </script><script>alert(1)\n}\n"
)
SOURCE = Source("made.cu", "made.cu", TEXT, {"made.cu": TEXT})


def transposed():
    x, y = np.arange(16, dtype=np.float32).reshape(4, 4) + 0.5, np.zeros((4, 4), np.float32)
    with cuda.emulated("traced", every_thread=True) as emulation:
        kernel("features.cu", "transpose")(1, (8, 8), x, y, 4, 4)
    (recording,) = emulation.recordings
    return recording, recording.lines.source


def rows(data):
    assert data["fields"] == list(STEP_FIELDS)
    return [dict(zip(STEP_FIELDS, row, strict=True)) for row in data["steps"]]


def kind_of(row):
    return KINDS[row["kind"]]


def offsets_of(row):
    """Return the offset of each lane of a row, -1 where it takes no part."""
    found = [-1] * 32
    for at in range(0, len(row["lanes"]), 4):
        lane, count, first, step = row["lanes"][at : at + 4]
        for n in range(count):
            assert found[lane + n] == -1
            found[lane + n] = first + n * step
    return found


def loops(count, phases=1, warps=1):
    """Return a recording of so many reads and a write to shared memory per warp and phase."""
    events, request = [], 0
    for phase in range(phases):
        for warp in range(warps):
            lanes = {warp * 32 + n: n * 4 for n in range(32)}
            for n in range(count):
                kind, array = (made.WRITE, 1) if n == 0 else (made.READ, 0)
                events += made.accesses(request, kind, array, lanes, phase=phase, line=n + 1)
                request += 1
        if phase < phases - 1:
            events += [made.event(n, made.BARRIER, phase=phase) for n in range(32 * warps)]
    return made.recorded(events, threads=32 * warps)


def test_steps_of_the_data_are_those_of_the_recording():
    recording, source = transposed()
    steps, data = warp_steps(recording), page_data(recording, source)
    assert (data["schema"], data["all_steps"]) == (SCHEMA, len(steps))
    for step, row in zip(steps, rows(data), strict=True):
        assert (kind_of(row), row["phase"], row["warp"]) == (step.kind, step.phase, step.warp)
        file = data["files"][row["file"]]
        assert (file, row["line"]) == (PurePath(step.file).name, step.line)
        if step.array >= 0:
            assert offsets_of(row) == step.offsets.tolist()
            assert (row["array"], row["width"]) == (step.array, step.width)
            assert (row["cost"], row["least"]) == (step.cost, step.least)
            assert row["states"] in (0, step.states)
    sums = {(line[0], line[1], line[2], line[3]): line[6:] for line in data["lines"]}
    assert sorted(len(v) for v in sums.values()) == [4] * 4
    assert sum(v[0] for v in sums.values()) == sum(step.array >= 0 for step in steps)


def test_values_played_from_the_first_step_are_what_lanes_read_and_wrote():
    recording, source = transposed()
    steps, data = warp_steps(recording), page_data(recording, source)
    held = [{} for _ in data["arrays"]]
    checked = 0
    for step, row in zip(steps, rows(data), strict=True):
        if step.array < 0:
            continue
        elements = sorted({offset // 4 for offset in offsets_of(row) if offset >= 0})
        if row["values"]:
            held[row["array"]].update(zip(elements, row["values"], strict=True))
        for event in recording.events[step.events[step.events >= 0]]:
            raw = event["value"] if step.kind == "read" else event["result"]
            value = float(np.frombuffer(raw.tobytes()[:4], np.float32)[0])
            assert held[row["array"]][int(event["offset"]) // 4] == value
            checked += 1
    assert checked == 64


def test_what_is_known_already_is_not_said_again():
    lanes = made.strided(32, 4)
    events = [
        *made.accesses(0, made.WRITE, 1, lanes, result=np.float32(3)),
        *made.accesses(1, made.READ, 1, lanes, value=np.float32(3)),
        *made.accesses(2, made.READ, 1, lanes, value=np.float32(4)),
    ]
    values = [row["values"] for row in rows(page_data(made.recorded(events), SOURCE))]
    assert values == [[3] * 32, 0, [4] * 32]


def test_of_several_writes_to_one_element_the_last_stays():
    lanes = dict.fromkeys(range(4), 8)
    (events,) = made.accesses(0, made.ATOMIC, 0, lanes)
    for n in range(4):
        events["result"][n] = np.void(np.float32(n).tobytes().ljust(16, b"\0"))
    (row,) = rows(page_data(made.recorded([events]), SOURCE))
    assert (kind_of(row), row["values"]) == ("atomic", [3])


def test_a_barrier_says_what_it_lets_be_read_and_overwritten():
    lanes = made.strided(32, 4)
    events = [
        *made.accesses(0, made.WRITE, 1, lanes),
        *[made.event(n, made.BARRIER) for n in range(32)],
        *made.accesses(1, made.READ, 1, lanes, phase=1),
        *[made.event(n, made.BARRIER, phase=1) for n in range(32)],
        *made.accesses(2, made.WRITE, 1, lanes, phase=2),
    ]
    _, first, _, second, _ = rows(page_data(made.recorded(events), SOURCE))
    assert (kind_of(first), first["width"], first["lanes"], first["values"]) == (
        *("barrier", 32, [1], []),
    )
    assert (second["lanes"], second["values"]) == ([], [1])


def test_what_lanes_exchange():
    events = [
        made.event(
            n, made.WARP, request=0, bytes=4, code="f", width=4, line=2,
            value=np.float32(n), result=np.float32(n ^ 1),
        )
        for n in range(32)
    ]  # fmt: skip
    (row,) = rows(page_data(made.recorded(events), SOURCE))
    given, got = row["values"]
    assert kind_of(row) == "warp"
    assert (given[:3], got[:3]) == ([[0], [1], [2]], [[1], [0], [3]])


def test_every_step_has_what_its_sentence_says():
    recording, source = transposed()
    data = page_data(recording, source)
    shown = {(text["file"], n) for text in data["texts"] for n in range(text["first"], 10**4)}
    for row in rows(data):
        assert (data["files"][row["file"]], row["line"]) in shown
        if kind_of(row) in ("read", "write", "atomic"):
            assert data["arrays"][row["array"]]["name"]
            assert row["cost"] >= row["least"] > 0
            assert row["lanes"]
        elif kind_of(row) == "barrier":
            assert row["width"] == 64


def embedded(text):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


def test_the_page_holds_the_data_and_asks_no_network_for_anything():
    recording, source = transposed()
    text = page(recording, source)
    assert embedded(text) == page_data(recording, source)
    for reference in (r"https?:", r"\bsrc=", r"@import", r"url\(", r"//\w+\.\w+/", r"\bfetch\("):
        assert not re.search(reference, text), reference
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]
    assert "default-src 'none'" in text


def test_text_of_a_kernel_cannot_end_the_element_that_it_is_in():
    recording = made.recorded(made.accesses(0, made.READ, 0, {0: 0}, line=3))
    plain = module._TEMPLATE.read_text("utf-8")
    text = page(recording, SOURCE)
    assert text.lower().count("</script") == plain.lower().count("</script")
    (part,) = embedded(text)["texts"]
    assert "\n".join(part["lines"]) == TEXT.strip()


def test_numbers_that_json_does_not_have():
    kinds = np.float32(np.nan), np.float32(np.inf), np.float32(1e30)
    events = [
        made.accesses(0, made.READ, 0, {n: 4 * n}, value=value)[0] for n, value in enumerate(kinds)
    ]
    text = page(made.recorded(events), SOURCE)
    (row,) = rows(embedded(text))
    assert row["values"] == ["nan", "inf", 1e30]


# ---- limits --------------------------------------------------------------------------------------


def test_a_short_recording_is_whole():
    data = page_data(loops(9, phases=2, warps=2), SOURCE)
    assert (len(data["steps"]), data["all_steps"], data["omitted"]) == (37, 37, [])


@pytest.mark.parametrize(
    ("count", "phases", "warps", "limit", "shown"),
    [
        (9, 10, 2, 100, 18 * 6 - 18 + 4),  # the first phases and the last
        (15, 1, 4, 50, 45),  # the first warps
        (120, 1, 2, 50, 50),  # the first and the last steps of one warp
    ],
)
def test_of_a_long_one_is_said_how_much_is_here(count, phases, warps, limit, shown):
    recording = loops(count, phases, warps)
    data = page_data(recording, SOURCE, limit)
    there, total = rows(data), count * phases * warps + phases - 1
    steps = [row for row in there if kind_of(row) != "gap"]
    assert len(steps) <= limit
    assert len(steps) == pytest.approx(shown, abs=12)
    assert data["all_steps"] == total
    (said,) = data["omitted"]
    assert f"shows {len(steps):,} of {total:,} steps" in said
    assert there[-1]["phase"] == phases - 1
    if warps == 2 and phases > 1:
        assert sum(row["cost"] for row in there if kind_of(row) == "gap") == total - len(steps)
    # the table counts all of them
    assert sum(line[6] for line in data["lines"]) == count * phases * warps


def test_a_page_that_is_too_large_has_fewer_steps():
    recording = loops(200)
    whole = page(recording, SOURCE)
    most = len(whole.encode()) - 2000
    text = page(recording, SOURCE, max_bytes=most)
    data = embedded(text)
    assert len(text.encode()) <= most
    assert 100 < len(data["steps"]) < 200
    assert "of 200 steps" in data["omitted"][0]


def test_a_cut_recording_says_so():
    recording = made.recorded(made.accesses(0, made.READ, 0, made.strided(32, 4)), total=5000)
    assert page_data(recording, SOURCE)["omitted"] == [
        "The recording holds 32 of 5,000 events: what came after them is not on this page."
    ]


def test_nothing_recorded_is_an_error_with_the_remedy():
    with pytest.raises(MinialexError, match=r"made<float>: no access is recorded: .*every_thread"):
        page(made.recorded([]), SOURCE)
