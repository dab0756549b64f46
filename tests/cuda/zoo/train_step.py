"""Faults of what a training step counts on a GPU."""

from functools import partial

from tests.cuda.zoo import Fault, routine_fault
from tests.optim.replay_inputs import check_replay_inputs

tally = partial(routine_fault, "tally", file="train_step.cu")
advance = partial(routine_fault, "advance", file="train_step.cu")


def counted(name: str, old: str, new: str, file: str = "arena.cuh", op: str = "rmsprop") -> Fault:
    """Return a mistake in how an optimizer takes its rate from memory, or is held back."""
    return Fault(name, file, old, new, op, "kernel", check=partial(check_replay_inputs, op))


FAULTS = [
    tally("no number is no maximum", "a > b || (a != a && b == b)", "a > b"),
    tally(
        "the last of equals", "const bool first = !larger", "const bool first = false && !larger"
    ),
    tally("a lane without a logit", "if (there < C && (at", "if ((at"),
    tally("loss of one image", "totals[0] += double(*loss) * N;", "totals[0] += double(*loss);"),
    tally("infinity taken for finite", "*loss - *loss != T(0)", "*loss != *loss"),
    tally("begun anew", "totals[1] += correct;", "totals[1] = correct;"),
    advance("counted all the same", "threadIdx.x != 0 || *failed != 0", "threadIdx.x != 0"),
    advance(
        "the row before",
        "const int row = (long long)counts[0] % R;",
        "const int row = ((long long)counts[0] + R - 1) % R;",
    ),
    advance("one stream per step", "counts[1] += streams;", "counts[1] += 1;"),
    counted("not held back", "failed && *failed != 0", "false"),
    counted("rate by value", "rates ? T(rates[index]) : argument", "argument"),
    counted("root by value", "step_rate(rates, 1, correction)", "correction", "adam.cu", "adam"),
]
