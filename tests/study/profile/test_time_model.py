"""Each bound binds on a kernel made up for it, at a time that was worked by hand."""

from __future__ import annotations

import pytest

from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile.resources import Code
from minialex.study.profile.time_model import LAUNCH_SECONDS, predict
from tests.study.profile.made_up import MIB, code, counts, resources, row

# on an A100: 108 multiprocessors at 1.41 GHz, 64 FP32 and 64 integer lanes, 4 schedulers
SECOND = 1.41e9
BLOCKS = 108 * 8
LOOP = 1000
RUNS = BLOCKS * 8 * LOOP
"""Passes through the loop of all 8 warps of all blocks, 8 blocks per multiprocessor."""


def loop(*body, registers=32):
    """Return code whose loop also loads a word from shared memory at line 1."""
    return code("1 again: LDS R4, [R2]", *body, "1 @P0 BRA `(again)", "9 EXIT", registers=registers)


def launch(*rows, per_pass=1, **others):
    shared = row(1, "read", "tile", "shared", requests=RUNS * per_pass)
    return counts(shared, *rows, blocks=BLOCKS, threads=256, **others)


def predicted(launched, machine, gpu="A100"):
    return predict(launched, resources(machine, gpu, threads=256))


def test_multiply_adds_bind():
    found = predicted(launch(), loop(*["2 FFMA R4, R5, R6, R4"] * 20))
    # 64 warps' passes of 20 on 64 lanes
    assert found.bounds["FMA"] == pytest.approx(64 * LOOP * 20 * 32 / 64 / SECOND)
    assert found.binding == "FMA"
    assert found.seconds == LAUNCH_SECONDS + found.bounds["FMA"]


def test_integers_bind():
    assert predicted(launch(), loop(*["2 LOP3 R4, R5, R6, R4"] * 20)).binding == "ALU"


def test_special_functions_bind():
    assert predicted(launch(), loop(*["2 MUFU.RCP R4, R5"] * 4)).binding == "XU"


@pytest.mark.parametrize(("gpu", "lanes"), [("RTX 4090", 2), ("A100", 32)])
def test_doubles_bind_by_their_lanes(gpu, lanes):
    found = predicted(launch(), loop(*["2 DFMA R4, R5, R6, R4"] * 4), gpu)
    known = known_gpu(gpu)
    warps = -(-BLOCKS // known.multiprocessors) * 8
    assert found.bounds["FP64"] == pytest.approx(warps * LOOP * 4 * 32 / lanes / known.clock)
    assert found.binding == "FP64"


def test_the_schedulers_bind_where_instructions_are_mixed():
    mixed = ["2 FFMA R4, R5, R6, R4", "2 LOP3 R4, R5, R6, R4"] * 10 + ["2 ULDC UR4, c[0x0]"] * 10
    found = predicted(launch(), loop(*mixed))
    # and LDS, BRA; EXIT once per warp
    assert found.bounds["issue"] == pytest.approx((64 * LOOP * 32 + 64) / 4 / SECOND)
    assert found.binding == "issue"


@pytest.mark.parametrize(
    ("blocks", "warps", "schedulers"), [(1, 1, 1), (108, 3, 3), (1, 8, 4), (216, 1, 2)]
)
def test_a_warp_stays_with_one_scheduler_and_its_lanes(blocks, warps, schedulers):
    machine = loop(*["2 FFMA R4, R5, R6, R4"] * 20)
    read = row(1, "read", "tile", "shared", requests=blocks * warps * LOOP)
    launched = counts(read, blocks=blocks, threads=32 * warps)
    found = predict(launched, resources(machine, threads=32 * warps))
    of_busiest = warps * -(-blocks // 108)
    # each scheduler has 16 of the 64 lanes
    assert found.bounds["FMA"] == pytest.approx(of_busiest * LOOP * 20 * 2 / schedulers / SECOND)
    assert found.bounds["issue"] == pytest.approx(
        of_busiest * (LOOP * 22 + 1) / schedulers / SECOND
    )


def test_two_lanes_for_doubles_are_those_of_all_schedulers():
    read = row(1, "read", "tile", "shared", requests=LOOP)
    found = predict(counts(read), resources(loop("2 DFMA R4, R5, R6, R4"), "RTX 4090"))
    clock = known_gpu("RTX 4090").clock
    assert found.bounds["FP64"] == pytest.approx(LOOP * 32 / 2 / clock)


def test_tensor_cores_bind():
    machine = loop(*["2 HMMA.1688.F32.TF32 R4, R8, R12, R4"] * 8)
    found = predicted(launch(), machine)
    assert found.bounds["tensor core"] == pytest.approx(64 * LOOP * 8 * 1024 / 512 / SECOND)
    assert found.binding == "tensor core"


def test_bank_conflicts_bind():
    conflicts = row(1, "read", "tile", "shared", requests=RUNS, wavefronts=8)
    found = predict(counts(conflicts, blocks=BLOCKS, threads=256), resources(loop(), threads=256))
    assert found.shared_seconds == pytest.approx(64 * LOOP * 8 / SECOND)
    assert found.binding == "shared memory"


@pytest.mark.parametrize(
    ("gpu", "cycles"), [("A100", 1), ("RTX A6000", 2)], ids=["32 load units", "16 load units"]
)
def test_a_load_takes_as_long_as_lanes_are_given_their_words(gpu, cycles):
    known = known_gpu(gpu)
    found = predicted(launch(), loop(), gpu)
    blocks = -(-BLOCKS // known.multiprocessors)
    assert found.shared_seconds == pytest.approx(blocks * 8 * LOOP * cycles / known.clock)


def strided(lines, wavefronts):
    return row(
        *(2, "read", "x"),
        requests=RUNS,
        sectors=lines,
        lines=lines,
        wavefronts=wavefronts,
        l1_hits=lines,
        first=0,
    )


@pytest.mark.parametrize(
    ("lines", "wavefronts", "cycles"),
    # by its banks three times; then by 32 tags, 4 per cycle, rounded up by 3/8 on average
    [(1, 1, 1), (2, 2, 2), (32, 32, 32), (32, 1, 8.375)],
)
def test_a_strided_load_takes_as_long_as_its_banks_or_its_tags(lines, wavefronts, cycles):
    machine = loop("2 LDG.E R8, [R2.64]")
    found = predicted(launch(strided(lines, wavefronts), arrays=[("x", MIB)]), machine)
    assert found.l1_seconds == pytest.approx(64 * LOOP * cycles / SECOND)


def test_an_uncoalesced_load_binds_l1():
    found = predicted(launch(strided(32, 32), arrays=[("x", MIB)]), loop("2 LDG.E R8, [R2.64]"))
    assert found.binding == "L1"
    parts = found.l1_seconds + found.shared_seconds
    assert found.bounds["L1 and shared memory"] == pytest.approx(parts)


def test_what_the_compiler_made_wider_is_counted_as_it_is():
    # as written, 4 reads of a word 16 bytes apart each: 4 passes; the code reads a vector: 4
    written = row(1, "read", "tile", "shared", requests=4 * RUNS, wavefronts=4)
    machine = code("1 again: LDS.128 R4, [R2]", "1 @P0 BRA `(again)", "9 EXIT")
    launched = counts(written, blocks=BLOCKS, threads=256)
    assert predicted(launched, machine).shared_seconds == pytest.approx(64 * LOOP * 4 / SECOND)
    # where all lanes read one word, a vector takes two passes
    broadcast = row(1, "read", "tile", "shared", requests=4 * RUNS)
    launched = counts(broadcast, blocks=BLOCKS, threads=256)
    assert predicted(launched, machine).shared_seconds == pytest.approx(64 * LOOP * 2 / SECOND)


def test_of_two_arrays_on_a_line_that_which_is_read_in_succession_was_made_wider():
    # a product of two tiles, four at a time: one is read by a vector that all lanes share (2
    # passes), the other word by word with conflicts (4 times 8)
    machine = code(
        "1 again: LDS.128 R4, [R2]", *["1 LDS R8, [R3]"] * 4, "1 @P0 BRA `(again)", "9 EXIT"
    )
    together = row(1, "read", "a", "shared", requests=4 * RUNS, successive=0.75)
    apart = row(1, "read", "b", "shared", requests=4 * RUNS, wavefronts=8)
    found = predicted(counts(together, apart, blocks=BLOCKS, threads=256), machine)
    assert found.shared_seconds == pytest.approx(64 * LOOP * (2 + 4 * 8) / SECOND)


def streaming(width, blocks, size):
    """Return a copy of an array by single words or by vectors, each thread once."""
    letters = {4: "", 16: ".128"}[width]
    machine = code(f"1 LDG.E{letters} R4, [R2.64]", f"2 STG.E{letters} [R2.64], R4", "3 EXIT")
    requests = size / width / 32
    return machine, counts(
        row(1, "read", "x", width=width, requests=requests),
        row(2, "write", "y", width=width, requests=requests),
        blocks=blocks,
        threads=256,
        arrays=[("x", size), ("y", size)],
    )


def test_memory_binds_a_large_copy():
    size = 256 * MIB
    machine, launched = streaming(16, size // 4096, size)
    found = predicted(launched, machine)
    assert found.binding == "memory"
    assert found.bounds["memory"] == pytest.approx(2 * size / 1.737e12)
    assert found.levels.l2 == found.levels.memory == 2 * size


def test_latency_binds_a_copy_by_few_threads():
    # one block per multiprocessor, each thread one word at a time, a thousand times
    machine = code(
        "1 again: LDG.E R4, [R2.64]", "2 STG.E [R2.64], R4", "1 @P0 BRA `(again)", "3 EXIT"
    )
    requests = 108 * LOOP
    size = requests * 128
    launched = counts(
        row(1, "read", "x", requests=requests),
        row(2, "write", "y", requests=requests),
        blocks=108,
        arrays=[("x", size), ("y", size)],
    )
    found = predict(launched, resources(machine))
    assert found.binding == "latency"
    # 3 instructions and memory's latency, and EXIT
    assert found.bounds["latency"] == pytest.approx((LOOP * (3 + 552) + 1) / SECOND)


@pytest.mark.parametrize(("pending", "each_pass"), [(0, 552), (2, 552 / 3), (200, 4)])
def test_asynchronous_copies_have_the_passes_of_pending_groups_to_arrive(pending, each_pass):
    machine = code(
        "1 again: LDGSTS.E.BYPASS.128 [R5], [R2.64]",
        "1 LDGDEPBAR",
        f"1 DEPBAR.LE SB0, {pending:#x}",
        "1 @P0 BRA `(again)",
        "3 EXIT",
    )
    requests = 108 * LOOP
    launched = counts(
        row(1, "read", "x", requests=requests, width=16),
        blocks=108,
        arrays=[("x", requests * 512)],
    )
    found = predict(launched, resources(machine))
    assert found.bounds["latency"] == pytest.approx((LOOP * each_pass + 1) / SECOND)


def test_a_launch_lasts_as_long_as_its_busiest_block():
    # in no loop EXIT, by the 4 warps of each block; the mean warp goes 10 times through the loop
    machine = code("1 again: LDG.E R4, [R2.64]", "1 @P0 BRA `(again)", "3 EXIT")
    read = row(1, "read", "x", requests=4 * 540 * 10)
    shape = {"blocks": 540, "threads": 128, "arrays": [("x", 540 * 5120)]}
    alike = predict(counts(read, **shape), resources(machine, threads=128))
    unequal = predict(counts(read, busiest=50.0, **shape), resources(machine, threads=128))
    each_pass = 2 + 552  # instructions, and memory's latency
    assert alike.bounds["latency"] == pytest.approx((10 * each_pass + 1) / SECOND)
    assert unequal.bounds["latency"] == pytest.approx((50 * 10 * each_pass + 1) / SECOND)
    # 5 blocks of a multiprocessor, or that one by itself, on 4 schedulers
    assert alike.bounds["issue"] == pytest.approx(5 * (10 * 2 + 1) / SECOND)
    assert unequal.bounds["issue"] == pytest.approx((50 * 10 * 2 + 1) / SECOND)
    pipe = "L1 and shared memory"
    assert unequal.bounds[pipe] == pytest.approx(10 * alike.bounds[pipe])


def test_l2_binds_where_blocks_read_the_same_and_l1_does_not_hold_it():
    size = 8 * MIB
    machine = code("1 again: LDG.E.128 R4, [R2.64]", "1 @P0 BRA `(again)", "3 EXIT")
    requests = 108 * 16 * size / 512
    launched = counts(
        row(1, "read", "x", width=16, requests=requests),
        blocks=108 * 16,
        threads=256,
        arrays=[("x", size)],
    )
    found = predicted(launched, machine)
    assert found.binding == "L2"
    assert found.bounds["L2"] == pytest.approx(108 * 16 * size / 5.4e12)
    assert found.levels.memory == pytest.approx(size)


def test_a_small_launch_is_bound_by_being_launched():
    machine, launched = streaming(4, 1, 1024)
    assert predicted(launched, machine).binding == "launch"


@pytest.mark.parametrize(("blocks", "busiest"), [(108, 1), (109, 2), (216, 2), (217, 3)])
def test_the_busiest_multiprocessor_is_waited_for(blocks, busiest):
    machine = loop(*["2 FFMA R4, R5, R6, R4"] * 20)
    each = row(1, "read", "tile", "shared", requests=blocks * 8 * LOOP)
    found = predicted(counts(each, blocks=blocks, threads=256), machine)
    assert found.bounds["FMA"] == pytest.approx(busiest * 8 * LOOP * 20 * 32 / 64 / SECOND)


def test_without_machine_code_the_bounds_of_memory_are_left():
    _, launched = streaming(16, MIB // 4, 1024 * MIB)
    found = predict(launched, resources(Code(missing="no compiler"), threads=256))
    assert found.missing == "no compiler"
    assert set(found.bounds) == {"L1 and shared memory", "L2", "memory", "latency"}
    assert found.binding == "memory"
