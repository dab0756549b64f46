"""``minialex profile``: what every line of a kernel asks of memory, and how long it would take."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from minialex.arrays import CPU, device
from minialex.bench.layers import Layer
from minialex.bench.profiles import (
    BLOCKS,
    find_layer,
    layer_labels,
    measure_step,
    profile_layer,
    profile_step,
)
from minialex.check import CASES
from minialex.cli.emulation import precision_option, running_on, use_option
from minialex.cli.options import (
    SectionCommand,
    checked_page,
    console,
    is_given,
    json_option,
    messages,
    number,
    print_table,
    refuse_beside,
    remark,
    table,
)
from minialex.cuda import kernel_files, source
from minialex.cuda.emulator.sampling import MAX_BLOCKS
from minialex.cuda.known_gpus import KNOWN_GPUS, known_gpu
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import LaunchPlan
from minialex.cuda.signature import signatures
from minialex.errors import MinialexError
from minialex.files import atomic_write
from minialex.models import VARIANTS
from minialex.study import tracing
from minialex.study.profile import Profile, text
from minialex.study.profile.cases import default_implementation, profile_case
from minialex.study.profile.measured import Measured
from minialex.study.profile.pages import page_of_case
from minialex.wording import unknown

LAYER_BATCH = 32


@dataclass(frozen=True)
class _How:
    """The options that a network and an op share."""

    gpu: str
    kernel: str | None
    batch: int | None
    blocks: str | None

    def taken(self, blocks: int) -> dict[str, Any]:
        """Return the arguments of a profile, which counts so many blocks unless it is said."""
        return {
            "gpu": self.gpu,
            "kernel": self.kernel,
            "max_blocks": _max_blocks(self.blocks, blocks),
        }


@click.command(
    cls=SectionCommand, short_help="What a kernel asks of memory, line by line, without a GPU."
)
@click.argument("what", required=False, metavar="[OP|NETWORK]")
@click.option("--emulate", is_flag=True, help="Run and count on the CPU: no GPU is needed.")
@click.option("--implementation", metavar="NAME", help="Of OP, such as tiled.  [what the GPU runs]")
@use_option(default="what the GPU runs")
@precision_option()
@click.option(
    "--case",
    metavar="NAME",
    help="What to run OP on: a case of gradcheck's, or a layer: 'alexnet conv2d 2'.  [the first]",
)
@click.option("--kernel", metavar="NAME", help="Profile this kernel only.  [all]")
@click.option(
    "--batch", type=number, metavar="N", help=f"Images.  [{LAYER_BATCH}; a case has its own]"
)
@click.option(
    "--gpu", default="H100", show_default=True, metavar="NAME", help=f"{', '.join(KNOWN_GPUS)}."
)
@click.option(
    "--blocks",
    metavar="N",
    help=f"Count N blocks of a launch, or 'all'.  [{MAX_BLOCKS}; of layers and networks {BLOCKS}]",
)
@click.option(
    "--page",
    "page_file",
    metavar="FILE",
    help="Also write an HTML page on which a block's warps can be stepped through OP's kernel.",
)
@click.option("--list", "listing", is_flag=True, help="List what can be profiled, or OP's cases.")
@json_option
def profile(
    what: str | None,
    emulate: bool,
    implementation: str | None,
    use: tuple[str, ...],
    precision: str,
    case: str | None,
    kernel: str | None,
    batch: int | None,
    gpu: str,
    blocks: str | None,
    page_file: str | None,
    listing: bool,
    as_json: bool,
) -> None:
    """Count what the warps of OP's CUDA kernels ask of memory, line by line of their text.

    \b
    requests    instructions of warps, and how many of the 32 lanes took part in one
    sectors     32-byte pieces of global memory per request, and the least that hold the bytes
    wavefronts  passes through the banks of shared memory per request, and the least: without
                bank conflicts
    in L1       the share of sectors that the block had read before and that L1 still has
    divergent   how often the lanes of a warp went different ways at a branch

    They are what NVIDIA's Nsight Compute calls so; --json has its metric of each. From them, the
    machine code and the documents of a GPU follows how long the launch would take, and what bounds
    it: a prediction, not a measurement. Accesses are counted as they are written; a compiler
    may join or move some. Of a large launch some blocks are run and counted, and the others are
    taken to be like these.

    What runs is what the GPU takes by default: on tensor cores from sm_80 on, on multiply-adds
    before; --implementation, --use or --precision chooses another, and the output names it.

    Of NETWORK, every launch of a training step is shown: predicted time, and floor: how long a
    kernel takes at least that reads and writes all of its arrays. Where there is a GPU, each launch
    is also measured on it, between CUDA events, whichever GPU times are predicted for.

    \b
    Examples:
      minialex profile conv2d --emulate --implementation tiled
      minialex profile conv2d --emulate --case 'alexnet conv2d 2' --batch 128 --gpu A100
      minialex profile conv2d --emulate --implementation tiled --page tiled.html
      minialex profile alexnet --emulate --batch 32
      minialex profile alexnet --emulate --gpu T4 --use conv2d=tiled
    """
    if listing:
        refuse_beside(
            "--list",
            ("use", "precision", "kernel", "batch", "blocks", "page_file", "as_json", "case"),
        )
        return _list(what)
    if what is None:
        raise click.UsageError("name an op or a network, such as conv2d; --list names them all")
    _check_name(what)
    if not emulate:
        raise click.UsageError("a profile counts under emulation: add --emulate")
    how = _How(known_gpu(gpu).name, kernel, batch, blocks)
    with running_on(None, use, precision):
        if what in VARIANTS:
            refuse_beside(f"a network, {what}", ("implementation", "case", "page_file"))
            _check_kernel(kernel)
            _network(what, how, as_json)
            return
        if is_given("implementation"):
            refuse_beside("--implementation", ("use", "precision"))
        for word in use:
            if "=" in word and word.partition("=")[0] != what:
                raise click.UsageError(f"--use {word}: of an op alone, {what}, it has no effect")
        page = None if page_file is None else checked_page(page_file)
        name = implementation or default_implementation(what, gpu)
        _op(what, name, case, how, page, as_json)


@contextlib.contextmanager
def _counting(what: str) -> Iterator[None]:
    """Show on a terminal which launch is being counted."""
    numbers = itertools.count(1)
    with messages.status(f"counting {what}") as status:

        def shown(launch: LaunchFunction) -> LaunchFunction:
            def run(plan: LaunchPlan, values: tuple[Any, ...]) -> Any:
                name = plan.signature.name
                status.update(f"counting {what}: launch {next(numbers)}, {name}")
                return launch(plan, values)

            return run

        with wrapped_launches(shown):
            yield


def _network(network: str, how: _How, as_json: bool) -> None:
    batch = how.batch or LAYER_BATCH
    taken = how.taken(BLOCKS)
    with _counting(f"a training step of {network}"):
        found = profile_step(network, batch, **taken)
    _check_launched(found)
    measured = _measured(network, batch, found)
    if as_json:
        click.echo(json.dumps(measured.to_json(found) if measured else found.to_json(), indent=2))
    else:
        _print_step(network, batch, found, measured)


def _op(
    op: str, implementation: str, case: str | None, how: _How, page: Path | None, as_json: bool
) -> None:
    layer = _layer(op, case)
    if layer is not None:
        if page is not None:
            raise click.UsageError("--page shows a small case: name one of --list, or leave it out")
        pair, _ = tracing.find(op, implementation, None, command="profile")
        batch = how.batch or LAYER_BATCH
        on = f"{layer.label}, batch {batch}"
        with _counting(on):
            found = profile_layer(layer, pair.name, batch, **how.taken(BLOCKS))
    else:
        if how.batch is not None:
            there = ", ".join(repr(label) for label in layer_labels(op)) or "none"
            raise click.UsageError(
                f"--batch is for a network or one of its layers: name one by --case: {there}"
            )
        pair, chosen = tracing.find(op, implementation, case, command="profile")
        found = profile_case(pair, chosen, **how.taken(MAX_BLOCKS))
        on = f"case {chosen.name!r}"
    _check_launched(found)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        console.print(f"{text.implementations(found)}; {on}\n")
        _print_launches(found)
    if page is not None:
        atomic_write(page, page_of_case(pair, chosen, how.kernel, gpu=how.gpu).encode())
        messages.print(f"wrote {page}: open it in a browser")


def _check_launched(found: Profile) -> None:
    if not found.launches:
        raise MinialexError(
            f"no kernel is launched; {text.implementations(found)}: name others by --use"
        )


def _layer(what: str, case: str | None) -> Layer | None:
    """Return the layer that --case names, if it is no case of the op's own."""
    # to find layers a network is run
    if case is None or what in VARIANTS or case in {one.name for one in CASES[what]}:
        return None
    return find_layer(case) if case in layer_labels(what) else None


def _check_name(what: str) -> None:
    known = [*tracing.ops_in_kernels(), *VARIANTS]
    if what not in known:
        raise MinialexError(unknown("op or network", what, known))


def _check_kernel(name: str | None) -> None:
    """Refuse a name that no kernel has, before a step is run to find that none is launched."""
    known = [one for file in kernel_files() for one in signatures(source.read(file))]
    if name is not None and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "without --kernel all are shown"
        raise MinialexError(f"there is no kernel {name!r}: {hint}")


def _max_blocks(words: str | None, default: int) -> int | None:
    if words is None:
        return default
    if words == "all":
        return None
    if not words.isdecimal() or int(words) < 1:
        raise click.BadParameter(
            f"{words!r}: use a whole number from 1, or all", param_hint="--blocks"
        )
    return int(words)


def _list(what: str | None) -> None:
    if what is None:
        console.print(f"ops       {', '.join(tracing.ops_in_kernels())}")
        console.print(f"networks  {', '.join(VARIANTS)}")
        console.print(f"GPUs      {', '.join(KNOWN_GPUS)}")
        return
    _check_name(what)
    if what in VARIANTS:
        raise click.UsageError("--list is for ops: a network has no cases")
    console.print(f"implementations  {', '.join(tracing.kernels_of(what))}")
    console.print("layers")
    for label in layer_labels(what):
        console.print(f"  {label}")
    console.print("cases")
    for case in CASES[what]:
        console.print(f"  {case.name}")


def _print_launches(found: Profile) -> None:
    for launch in found.launches:
        first, *others = text.summary(launch)
        console.print(first, style="bold")
        for line in others:
            console.print(f"  {line}")
        headings = text.LINE_HEADINGS
        rows = table("", headings[: text.LEFT_OF_LINES], headings[text.LEFT_OF_LINES :])
        for cells in text.line_rows(launch):
            rows.add_row(*cells)
        print_table(rows)
        for one in text.named(launch):
            console.print(one)
        console.print()


def _measured(network: str, batch: int, found: Profile) -> Measured | None:
    """Measure the launches where there is a GPU."""
    place = device("auto")
    if place == CPU:
        return None
    try:
        with console.status(f"measuring a training step of {network} on {place}"):
            return measure_step(network, batch, found, place)
    except MinialexError as error:
        # what was counted is not lost for that
        remark(f"not measured on {place}: {error}")
        return None


def _print_step(network: str, batch: int, found: Profile, measured: Measured | None) -> None:
    headings, how = list(text.LAUNCH_HEADINGS), "predicted, not measured"
    if measured:
        headings.append(text.MEASURED_HEADING)
        how = f"predicted for {found.gpu.name}, measured on {measured.gpu}"
    title = f"A training step of {network}, batch {batch}: {how}"
    rows = table(title, headings[: text.LEFT_OF_LAUNCHES], headings[text.LEFT_OF_LAUNCHES :])
    for cells in text.launch_rows(found, measured):
        rows.add_row(*cells)
    print_table(rows)
    if why := text.below_floor(found):
        console.print(why)
    console.print(text.implementations(found))
    console.print(text.total(found))
    if measured:
        console.print(text.measured_total(measured))
