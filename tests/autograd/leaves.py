"""Leaves in float64, and how close numbers must be."""

import numpy as np

from minialex import Tensor


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def number(value):
    return Tensor(np.array(value, np.float64), requires_grad=True)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
