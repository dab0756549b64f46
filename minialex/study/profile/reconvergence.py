"""Which lanes of a warp go together, found from what each did on its own.

A warp executes what its lanes have next: lanes at the same instruction go together, and of those at
different ones some go first while the others wait, until all meet again. A GPU is told by the
compiler where they meet; here it is found from the order of the program. A lane waits

- that has begun a later iteration of a loop that another is still in, and
- that is at a later instruction of the same iteration.

Loops and order are those of the graph of instructions as they followed each other in any thread, in
reverse postorder: addresses are no order, as compilers move code out of line. That graph holds
accesses alone, not branches, so a loop may seem to begin in its middle. Where lanes part, two more
rules are tried, and the one that takes the fewest steps counts: a GPU meets as early as it can.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Site = int
"""An instruction, as any number."""
Group = tuple[Site, tuple[int, ...]]
"""An instruction and the lanes that execute it together."""


@dataclass(frozen=True)
class ProgramOrder:
    """The order of a program's instructions, and its loops.

    Attributes
    ----------
    rank : dict of int to int
        The place of each instruction in the program.
    loops : dict of int to tuple of int
        The loops that each instruction is in, by their first instructions, the outermost first.
    """

    rank: Mapping[Site, int]
    loops: Mapping[Site, tuple[Site, ...]]


def program_order(sites: Sequence[Site], edges: Iterable[tuple[Site, Site]]) -> ProgramOrder:
    """Return the order of the instructions in a graph.

    Parameters
    ----------
    sites : sequence of int
        All instructions, in the order in which a long run meets them; it decides between branches.
    edges : iterable of (int, int)
        Which instruction followed which.
    """
    seen_at = {site: n for n, site in enumerate(sites)}
    after: dict[Site, list[Site]] = {site: [] for site in sites}
    before: dict[Site, list[Site]] = {site: [] for site in sites}
    for a, b in sorted(edges, key=lambda edge: (seen_at[edge[0]], seen_at[edge[1]])):
        after[a].append(b)
        before[b].append(a)
    rank = {site: n for n, site in enumerate(_reverse_postorder(sites, after))}
    bodies: dict[Site, set[Site]] = {}
    for header in sites:
        ends = [end for end in before[header] if rank[end] >= rank[header]]
        if ends:
            bodies[header] = _natural_loop(header, ends, before)
    largest_first = sorted(bodies, key=lambda header: (-len(bodies[header]), rank[header]))
    loops = {s: tuple(h for h in largest_first if s in bodies[h]) for s in sites}
    return ProgramOrder(rank, loops)


def lockstep(lanes: Mapping[int, Sequence[Site]], order: ProgramOrder) -> list[Group]:
    """Return what a warp executes, in order: each lane's instructions in that lane's order.

    Parameters
    ----------
    lanes : dict of int to sequence of int
        The instructions of each lane.
    order : ProgramOrder
    """
    one, *others = lanes.values()
    if all(sequence == one for sequence in others):
        return [(site, tuple(lanes)) for site in one]
    runs = (list(_run(lanes, rule(lanes, order))) for rule in (_by_loops, _by_visits, _by_rest))
    return min(runs, key=len)


Priority = Callable[[int, int], object]
"""Of a lane and the index of its next instruction: the smallest goes first."""


def _run(lanes: Mapping[int, Sequence[Site]], first: Priority) -> Iterator[Group]:
    at = dict.fromkeys(lanes, 0)
    while ahead := [lane for lane, n in at.items() if n < len(lanes[lane])]:
        chosen = min(ahead, key=lambda lane: first(lane, at[lane]))  # type: ignore[arg-type, return-value]
        site = lanes[chosen][at[chosen]]
        together = tuple(lane for lane in ahead if lanes[lane][at[lane]] == site)
        yield site, together
        for lane in together:
            at[lane] += 1


def _by_visits(lanes: Mapping[int, Sequence[Site]], order: ProgramOrder) -> Priority:
    """Order by how often the lane was there, then by the program."""
    keys: dict[int, list[tuple[int, int]]] = {}
    for lane, sequence in lanes.items():
        seen: Counter[Site] = Counter()
        keys[lane] = []
        for site in sequence:
            seen[site] += 1
            keys[lane].append((seen[site], order.rank[site]))
    return lambda lane, n: keys[lane][n]


def _by_rest(lanes: Mapping[int, Sequence[Site]], order: ProgramOrder) -> Priority:
    """Let the lane go first that has most to do."""
    return lambda lane, n: (n - len(lanes[lane]), order.rank[lanes[lane][n]])


def _by_loops(lanes: Mapping[int, Sequence[Site]], order: ProgramOrder) -> Priority:
    """Order by iterations of the loops, the outermost first, then by the program.

    A key is that of a lexical order: for each loop its place in the program, then the iteration.
    """
    keys: dict[int, list[tuple[int, ...]]] = {}
    for lane, sequence in lanes.items():
        iteration: dict[Site, int] = defaultdict(int)
        keys[lane] = []
        previous: Site | None = None
        for site in sequence:
            inside = order.loops[site]
            again = previous is not None and order.rank[site] <= order.rank[previous]
            if again and site in inside:
                iteration[site] += 1
            outside = order.loops[previous] if previous is not None else ()
            for header in inside:
                entered = header not in outside
                nested = again and site in inside and inside.index(header) > inside.index(site)
                if entered or nested:
                    iteration[header] = 0
            key = [n for h in inside for n in (order.rank[h], iteration[h])]
            keys[lane].append((*key, order.rank[site]))
            previous = site
    return lambda lane, n: keys[lane][n]


def _reverse_postorder(
    sites: Sequence[Site], after: Mapping[Site, Sequence[Site]]
) -> Iterator[Site]:
    seen: set[Site] = set()
    done: list[Site] = []
    for root in sites:
        stack = [] if root in seen else [(root, iter(after[root]))]
        seen.add(root)
        while stack:
            site, rest = stack[-1]
            following = next((s for s in rest if s not in seen), None)
            if following is None:
                done.append(site)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(after[following])))
    return reversed(done)


def _natural_loop(
    header: Site, ends: Iterable[Site], before: Mapping[Site, Sequence[Site]]
) -> set[Site]:
    """Return the instructions from which one of `ends` is reached without passing `header`."""
    body, todo = {header}, list(ends)
    while todo:
        site = todo.pop()
        if site not in body:
            body.add(site)
            todo += before[site]
    return body
