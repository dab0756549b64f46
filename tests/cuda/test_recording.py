"""Recordings: what a launch did, as data."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.emulator import interface
from minialex.errors import MinialexError
from tests.cuda.tools import kernel

F32 = np.float32


def transposed(**settings):
    """Return the recording of a 4x4 transposition by 8x8 threads in one block, and its result."""
    x, y = np.arange(16, dtype=F32).reshape(4, 4), np.zeros((4, 4), F32)
    with cuda.emulated("traced", **settings) as emulation:
        kernel("features.cu", "transpose")(1, (8, 8), x, y, 4, 4)
    (found,) = emulation.recordings
    return found, y


def floats(column, events):
    """Return the first float of `value` or `result` of each event."""
    return np.frombuffer(events[column].tobytes(), F32)[::4]


def test_every_thread_of_a_block_is_recorded(capsys):
    found, y = transposed(every_thread=True)
    events, total = found.events, found.total
    assert (found.kernel, found.grid, found.block) == ("transpose<float>", (1, 1, 1), (8, 8, 1))
    assert [(a.name, a.shape, a.shared) for a in found.arrays] == [
        ("x", (4, 4), False),
        ("y", (4, 4), False),
        ("weights", (4,), False),
        ("tile", (8, 9), True),
    ]
    # 16 of the 64 threads have an element: they read it, write the tile, read it and write y
    kinds, counts = np.unique(events["kind"], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {
        interface.READ: 32,
        interface.WRITE: 32,
        interface.BARRIER: 64,
        interface.END: 64,
    }
    assert total == len(events) == 192
    assert len({tuple(t) for t in events["thread"].tolist()}) == 64
    written = events[(events["array"] == 1) & (events["kind"] == interface.WRITE)]
    assert (written["phase"] == 1).all()
    assert found.text(int(written["file"][0]), int(written["line"][0])).startswith("if (")
    out = np.zeros(16, F32)
    out[written["offset"] // 4] = floats("result", written)
    assert (out.reshape(4, 4) == y).all()
    # data, not text
    assert capsys.readouterr().out == ""


def test_lanes_that_went_together_have_one_request():
    found, _ = transposed(every_thread=True)
    events = found.events
    together = [events[events["request"] == n] for n in range(events["request"].max() + 1)]
    # two warps of four rows of threads; the second has no element
    assert [(e["kind"][0], e["phase"][0], len(e)) for e in together] == [
        (interface.READ, 0, 16),
        (interface.WRITE, 0, 16),
        (interface.READ, 1, 16),
        (interface.WRITE, 1, 16),
    ]
    assert all(len(np.unique(e[["pc", "kind"]])) == 1 for e in together)
    of_none = events[events["request"] < 0]["kind"]
    assert set(of_none.tolist()) == {interface.BARRIER, interface.END}


def test_only_a_whole_block_says_what_went_together():
    found, _ = transposed(thread=(1, 2), write=lambda line: None)
    watched, _ = transposed(watch="y")
    assert {-1} == set(found.events["request"].tolist()) == set(watched.events["request"].tolist())


def test_events_stand_in_the_order_of_a_thread_and_know_their_line():
    found, _ = transposed(every_thread=True)
    mine = found.events[(found.events["thread"] == (1, 2, 0)).all(axis=1)]
    assert mine["kind"].tolist() == [
        interface.READ, interface.WRITE, interface.BARRIER, interface.READ, interface.WRITE,
        interface.END,
    ]  # fmt: skip
    assert mine["phase"].tolist() == [0, 0, 0, 1, 1, 1]
    assert {found.files[n].rpartition("/")[2] for n in mine["file"][:5]} == {"features.cu"}
    assert found.text(int(mine["file"][2]), int(mine["line"][2])) == "__syncthreads();"
    assert floats("result", mine[1:2]) == 9.0


@pytest.mark.parametrize("index", [(2, 1), 9])
def test_who_touches_one_element_over_all_blocks(index):
    x = np.arange(16, dtype=F32).reshape(4, 4)
    y = np.zeros((4, 4), F32)
    with cuda.emulated("traced", watch=("y", index)) as emulation:
        kernel("elementwise.cu", "rectify")(4, 4, x, y, 16)
    (found,) = emulation.recordings
    (event,) = found.events
    assert (event["block"].tolist(), event["thread"].tolist()) == ([2, 0, 0], [1, 0, 0])
    assert (event["kind"], event["offset"], event["bytes"]) == (interface.WRITE, 36, 4)
    assert (floats("value", found.events), floats("result", found.events)) == (0, 9)
    assert found.arrays[event["array"]].name == "y"


def test_all_who_touch_an_array():
    x, y = np.arange(16, dtype=F32), np.zeros(16, F32)
    with cuda.emulated("traced", watch="y", seed=3) as emulation:
        kernel("elementwise.cu", "rectify")(4, 4, x, y, 16)
    events = emulation.recordings[0].events
    assert sorted(events["offset"].tolist()) == list(range(0, 64, 4))
    assert {tuple(b) for b in events["block"].tolist()} == {(b, 0, 0) for b in range(4)}


def test_an_atomic_is_recorded_with_its_line_before_and_after():
    x, out = np.array([3, 3, 3], np.int32), np.full(8, 10, F32)
    with cuda.emulated("traced", watch=("out", 3)) as emulation:
        kernel("features.cu", "histogram")(1, 8, x, out, 3)
    (found,) = emulation.recordings
    (event,) = found.events
    assert event["kind"] == interface.ATOMIC
    assert "atomicAdd(" in found.text(int(event["file"]), int(event["line"]))
    assert (floats("value", found.events), floats("result", found.events)) == (10, 13)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"watch": "tile"},
            "watch is 'tile', and no launch has an array of that name among its arguments and "
            "variables: transpose<float> has x, y, weights",
        ),
        (
            {"every_thread": True, "block": (0, 1)},
            "transpose<float> has no block (0, 1, 0): its grid is (1, 1, 1), a block (8, 8, 1)",
        ),
        (
            {"thread": (8,), "write": lambda line: None},
            "transpose<float> has no thread (8, 0, 0) of block (0, 0, 0): its grid is (1, 1, 1), a "
            "block (8, 8, 1)",
        ),
        ({"kernel": "transposed"}, "no kernel 'transposed' is launched, but: transpose"),
    ],
)
def test_what_no_launch_has_is_refused_at_the_end(settings, said):
    with pytest.raises(MinialexError) as error:
        transposed(**settings)
    assert str(error.value) == said


def test_one_launch_that_has_it_is_enough():
    x, y = np.arange(4, dtype=F32), np.zeros(4, F32)
    launches = (("constants", (1, 4, x)), ("transpose", (1, (8, 8), x, y, 2, 2)))
    for settings in {"watch": "y"}, {"thread": (0, 1), "write": lambda line: None}:
        with cuda.emulated("traced", **settings) as emulation:
            for name, arguments in launches:
                kernel("features.cu", name)(*arguments)
        assert [len(one.events) > 0 for one in emulation.recordings] == [False, True]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"watch": "y"}, "among its arguments and variables: no kernel is launched"),
        ({"thread": (1,)}, r"no kernel is launched, of which to trace thread \(1, 0, 0\) of block"),
        ({"kernel": "relu_forward"}, "no kernel 'relu_forward' is launched, but: none"),
    ],
)
def test_without_a_launch_nothing_is_there(settings, said):
    with pytest.raises(MinialexError, match=said), cuda.emulated("traced", **settings):
        pass


def test_the_error_of_the_block_is_told_first():
    with pytest.raises(ZeroDivisionError), cuda.emulated("traced", watch="y"):
        _ = 1 / 0


def test_a_kernel_that_is_not_launched_is_not_counted_either():
    with (
        pytest.raises(MinialexError, match="no kernel 'nope' is launched, but: transpose"),
        cuda.emulated("counted", kernel="nope"),
    ):
        kernel("features.cu", "transpose")(1, (8, 8), np.ones(16, F32), np.zeros(16, F32), 4, 4)


@pytest.mark.parametrize("given", [5, (), (1, 2, 3, 4), (0, -1), (0.5,), "5"])
@pytest.mark.parametrize("what", ["thread", "block"])
def test_what_is_no_index_is_refused(what, given):
    with (
        pytest.raises(MinialexError, match=rf"{what} is .*: use a tuple of up to three indices"),
        cuda.emulated("traced", **{what: given}),
    ):
        pass


def test_only_what_is_traced_is_watched():
    with pytest.raises(ValueError, match="watch are for 'traced'"), cuda.emulated(watch="y"):
        pass


def test_a_long_recording_is_cut_and_the_total_is_said(monkeypatch):
    monkeypatch.setattr("minialex.cuda.emulator.machine.MAX_EVENTS", 50)
    found, y = transposed(every_thread=True)
    assert (len(found.events), found.total) == (50, 192)
    assert (y == np.arange(16).reshape(4, 4).T).all()


@pytest.mark.parametrize("index", [(0, 4), (4,), 16, -1, (-1, 0)])
def test_an_element_that_is_not_there_is_refused(index):
    with pytest.raises(MinialexError, match=r"and y has shape \(4, 4\): name an element of it"):
        transposed(watch=("y", index))


@pytest.mark.parametrize("watch", [("y",), ("", 3), ("y", "3"), ("y", (0, 1.5)), 3, ["y", 3]])
def test_what_is_no_element_is_refused(watch):
    with (
        pytest.raises(ValueError, match="use the name of an array, or its name and the index"),
        cuda.emulated("traced", watch=watch),
    ):
        pass


def test_one_of_both_ways_to_record():
    with (
        pytest.raises(ValueError, match="every_thread and watch are both given"),
        cuda.emulated("traced", watch="y", every_thread=True),
    ):
        pass


def test_a_single_thread_has_a_recording_beside_its_trace():
    found, _ = transposed(thread=(1, 2), write=lambda line: None)
    assert found.events["kind"].tolist() == [0, 1, 3, 0, 1, 5]
