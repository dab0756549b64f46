"""Definition of learning-rate schedules."""

from math import cos, pi


def schedule(
    name: str, step: int, *, total: int, warmup: int, step_size: int, gamma: float
) -> float:
    """Return the factor of the rate of a step, counted from 0."""
    if step < warmup:
        return (step + 1) / warmup
    t, T = step - warmup, total - warmup
    if name == "cosine":
        return cos(pi / 2 * t / T) ** 2 if t < T else 0.0
    if name == "article":
        step_size, gamma = 256, 0.5
    factor = 1.0
    for _ in range(0 if name == "constant" else t // step_size):
        factor *= gamma
    return factor
