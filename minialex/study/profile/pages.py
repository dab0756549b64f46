"""Pages of what runs: a kernel of one's own, or an op on a case that it is checked on."""

from __future__ import annotations

from collections.abc import Callable

from minialex.autograd import using
from minialex.check import Case, Pair
from minialex.cuda import emulated
from minialex.cuda.plan import Dim3
from minialex.errors import MinialexError
from minialex.study.profile.page import page
from minialex.study.profile.profiler import profiled
from minialex.study.tracing import passes


def page_of(
    run: Callable[[], object],
    kernel: str | None = None,
    *,
    gpu: str = "H100",
    block: Dim3 = (0, 0, 0),
) -> str:
    """Return a page, as HTML, on which the warps of one block can be stepped through a kernel.

        scale = minialex.cuda.kernel("scale.cu", "scale")
        html = page_of(lambda: scale(4, 256, x, y, 1024))
        Path("scale.html").write_text(html, encoding="utf-8")

    Parameters
    ----------
    run : callable
        Launches the kernel on NumPy arrays. It is called twice: once its launches are counted,
        and once every access is checked and written down. A small launch is enough.
    kernel : str, optional
        Which kernel, by default the one that is launched first; of several such launches, the
        first.
    gpu : str
        Which GPU to be, as of `profiled`.
    block : tuple of three ints
        Which block.

    Raises
    ------
    MinialexError
        If no such kernel is launched, or it has no such block, or there is no such GPU.
    """
    with profiled(gpu, kernel=kernel) as profile:
        run()
    if not profile.launches:
        raise MinialexError("no kernel is launched, of which to make a page")
    launch = profile.launches[0]
    counts = launch.counts
    tracing = emulated(
        "traced",
        architecture=profile.gpu.architecture,
        every_thread=True,
        block=block,
        kernel=counts.plan.signature.name,
    )
    # what only computes would take other implementations than what counts
    with tracing as emulation, using(**dict(list(profile.choices))):
        run()
    recording = next(one for one in emulation.recordings if one.kernel == counts.kernel)
    return page(recording, launch=launch)


def page_of_case(pair: Pair, case: Case, kernel: str | None = None, *, gpu: str = "H100") -> str:
    """Return the page of a kernel of an op, the first that forward launches by default.

    Parameters
    ----------
    gpu : str
        Which GPU to be, as of `page_of`.

    Raises
    ------
    MinialexError
        If no such kernel is launched.
    """

    def run() -> None:
        forward, backward = passes(pair, case)
        forward()
        if kernel is not None:
            backward()

    return page_of(run, kernel, gpu=gpu)
