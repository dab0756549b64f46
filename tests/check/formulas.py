"""Backward formulas that people get wrong, and ways to spoil right ones."""

import numpy as np

from minialex import philox
from minialex.autograd import OPS
from minialex.ops._arguments import unbroadcast


def right(op):
    """Return the backward of an op as it should be, for any gradients of its inputs."""
    implementation = OPS[op].implementations["plain"]

    def backward(gy, saved, **params):
        extras = {}
        if "needs" in implementation.takes:
            extras["needs"] = (True,) * 4
        return implementation.backward(gy, saved, **params, **extras)

    return backward


def spoiled(op, spoil):
    """Return a backward whose right gradients go through `spoil`, None left out."""

    def backward(gy, saved, **params):
        return tuple(None if g is None else spoil(g) for g in right(op)(gy, saved, **params))

    return backward


def only(op, k, spoil):
    """Return a backward that spoils the gradient of input `k` alone."""

    def backward(gy, saved, **params):
        grads = list(right(op)(gy, saved, **params))
        if grads[k] is not None:
            grads[k] = spoil(grads[k])
        return tuple(grads)

    return backward


# Convolution --------------------------------------------------------------------------------------


def conv_back(
    gy,
    saved,
    *,
    stride,
    padding,
    dilation,
    groups,
    assign=False,
    flip=False,
    swap=False,
    mixed=False,
    shift=0,
):
    """Return the gradients of a convolution, window by window."""
    x, w = saved
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    O, C, KH, KW = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    gp, gw = np.zeros_like(padded), np.zeros_like(w)
    filters = w[:, :, ::-1, ::-1] if flip else w
    if swap and KH == KW:
        filters = w.swapaxes(2, 3)
    each = O // groups
    for g in range(groups):
        channels = slice(g * C, (g + 1) * C)
        outputs = slice(g * each, (g + 1) * each)
        if mixed:
            outputs = slice((groups - 1 - g) * each, (groups - g) * each)
        for i in range(gy.shape[2]):
            for j in range(gy.shape[3]):
                rows = slice(i * sh, i * sh + dh * (KH - 1) + 1, dh)
                columns = slice(j * sw, j * sw + dw * (KW - 1) + 1, dw)
                grad = gy[:, outputs, i, j]
                part = np.einsum("no,ockl->nckl", grad, filters[outputs])
                if assign:
                    gp[:, channels, rows, columns] = part
                else:
                    gp[:, channels, rows, columns] += part
                seen = padded[:, channels, rows, columns]
                gw[outputs] += np.einsum("no,nckl->ockl", grad, seen)
    H, W = x.shape[2:]
    gp = np.pad(gp, ((0, 0), (0, 0), (0, shift), (0, shift)))
    gx = gp[:, :, ph + shift : ph + shift + H, pw + shift : pw + shift + W]
    return gx, gw, gy.sum((0, 2, 3))


def conv(**mistake):
    def backward(gy, saved, *, stride, padding, dilation, groups):
        params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return conv_back(gy, saved, **params, **mistake)

    return backward


def stride_ignored(gy, saved, *, stride, padding, dilation, groups):
    one = {"stride": (1, 1), "padding": padding, "dilation": dilation, "groups": groups}
    return conv_back(gy, saved, **one)


def stride_swapped(gy, saved, *, stride, padding, dilation, groups):
    x, w = saved
    swapped = {"padding": padding, "dilation": dilation, "groups": groups}
    try:
        return conv_back(gy, saved, stride=stride[::-1], **swapped)
    except ValueError:
        # it does not fit into the image at all: a fault that shows by itself
        return np.zeros_like(x), np.zeros_like(w), gy.sum((0, 2, 3))


def dilation_ignored(gy, saved, *, stride, padding, dilation, groups):
    return conv_back(gy, saved, stride=stride, padding=padding, dilation=(1, 1), groups=groups)


def kernel_swapped_in_gw(gw):
    return gw.swapaxes(2, 3) if gw.shape[2] == gw.shape[3] else gw


def first_image_only(gy, saved, **params):
    gx, gw, _ = right("conv2d")(gy, saved, **params)
    return gx, gw, gy[:1].sum((0, 2, 3))


def last_image_skipped(gy, saved, **params):
    x, w = saved
    gx, _, gb = right("conv2d")(gy, saved, **params)
    if len(x) < 2:
        return right("conv2d")(gy, saved, **params)
    return gx, right("conv2d")(gy[:-1], (x[:-1], w), **params)[1], gb


def bias_over_rows_only(gy, saved, **params):
    gx, gw, _ = right("conv2d")(gy, saved, **params)
    return gx, gw, gy.sum((0, 2))[:, 0]


# Pooling ------------------------------------------------------------------------------------------


def max_pool_back(gy, saved, *, kernel_size, stride, padding, assign=False, by_height=False):
    """Return the gradient of max-pooling, output by output."""
    argmax, shape = saved
    (KH, KW), (sh, sw), (ph, pw) = kernel_size, stride, padding
    gx = np.zeros((*shape[:2], shape[2] + 2 * ph + KW, shape[3] + 2 * pw + KH), gy.dtype)
    for n, c, i, j in np.ndindex(gy.shape):
        k, l = divmod(int(argmax[n, c, i, j]), KH if by_height else KW)
        if assign:
            gx[n, c, i * sh + k, j * sw + l] = gy[n, c, i, j]
        else:
            gx[n, c, i * sh + k, j * sw + l] += gy[n, c, i, j]
    return (gx[:, :, ph : ph + shape[2], pw : pw + shape[3]],)


def max_pool(**mistake):
    def backward(gy, saved, *, kernel_size, stride, padding, ceil_mode):
        params = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        return max_pool_back(gy, saved, **params, **mistake)

    return backward


def last_wins(x, *, kernel_size, stride, padding, ceil_mode):
    """Max-pooling that notes the last of equals: flipped, the first is the last."""
    forward = OPS["max_pool2d"].implementations["plain"].forward
    params = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    params["ceil_mode"] = ceil_mode
    y, (argmax, shape) = forward(x, **params)
    if stride != (1, 1) or padding != (0, 0) or ceil_mode:
        return y, (argmax, shape)
    _, (other, _) = forward(np.ascontiguousarray(x[:, :, ::-1, ::-1]), **params)
    last = kernel_size[0] * kernel_size[1] - 1
    return y, ((last - other[:, :, ::-1, ::-1]).astype(argmax.dtype), shape)


def average_of_whole_windows(gy, saved, *, count_include_pad, **params):
    return right("avg_pool2d")(gy, saved, **params, count_include_pad=True)


def average_without_count(gy, saved, *, kernel_size, **params):
    (gx,) = right("avg_pool2d")(gy, saved, kernel_size=kernel_size, **params)
    return (gx * (kernel_size[0] * kernel_size[1]),)


def cells_rounded_down(gy, saved, *, output_size):
    ((N, C, H, W),) = saved
    OH, OW = output_size
    gx = np.zeros((N, C, H, W), gy.dtype)
    for i in range(OH):
        for j in range(OW):
            rows = slice(i * H // OH, max(i * H // OH + 1, (i + 1) * H // OH))
            columns = slice(j * W // OW, max(j * W // OW + 1, (j + 1) * W // OW))
            count = (rows.stop - rows.start) * (columns.stop - columns.start)
            gx[:, :, rows, columns] += gy[:, :, i, j, None, None] / count
    return (gx,)


# Normalisation, dropout ---------------------------------------------------------------------------


def window_sum(v, before, after):
    total = np.zeros_like(v)
    C = v.shape[1]
    for c in range(C):
        total[:, c] = v[:, max(0, c - before) : min(C, c + after + 1)].sum(1)
    return total


def lrn_back(gy, saved, *, size, alpha, beta, k, reach=(0, 0), factor=2.0, power=1.0):
    x, s = saved
    before, after = (size // 2 + r for r in reach)
    nearby = window_sum(gy * x * s ** (-beta - power), before, after)
    return ((gy * s**-beta - factor * alpha * beta * x * nearby).astype(x.dtype),)


def lrn(**mistake):
    def backward(gy, saved, *, size, alpha, beta, k):
        params = {"size": size, "alpha": alpha, "beta": beta, "k": k}
        return lrn_back(gy, saved, **params, **mistake)

    return backward


def lrn_of_two_digits(gy, saved, *, size, alpha, beta, k):
    return lrn_back(gy, saved, size=size, alpha=alpha, beta=round(beta, 2), k=k)


def lrn_of_a_mean(gy, saved, *, size, alpha, beta, k):
    return lrn_back(gy, saved, size=size, alpha=alpha / size, beta=beta, k=k)


def lrn_saves_power(x, **params):
    y, (x, s) = OPS["local_response_norm"].implementations["plain"].forward(x, **params)
    return y, (x, s ** -params["beta"])


def another_mask(gy, saved, *, p, seed, offset):
    return right("dropout")(gy, saved, p=p, seed=seed, offset=offset + 1)


def mask_in_another_order(gy, saved, *, p, seed, offset):
    if p == 1 or gy.ndim < 2:
        return right("dropout")(gy, saved, p=p, seed=seed, offset=offset)
    words = philox.bits(np, gy.size, seed=seed, offset=offset).reshape(gy.shape, order="F")
    return (np.where(words >= round(p * 2**32), gy * gy.dtype.type(1 / (1 - p)), gy.dtype.type(0)),)


def scale_forgotten(gy, saved, *, p, seed, offset):
    (gx,) = right("dropout")(gy, saved, p=p, seed=seed, offset=offset)
    return (gx * gx.dtype.type(1 - p),)


# Arithmetic, shapes -------------------------------------------------------------------------------


def saves_input(x):
    return np.maximum(x, 0), (x,)


def saves_output(x):
    y = np.maximum(x, 0)
    return y, (y,)


def mask_of_zero_too(gy, saved):
    return (np.where(saved[0] >= 0, gy, gy.dtype.type(0)),)


def swapped(gy, saved):
    a, b = right("multiply")(gy, saved)
    return (b, a) if a.shape == b.shape else (a, b)


def divide_sign(gy, saved):
    ga, gb = right("divide")(gy, saved)
    return ga, -gb


def mean_instead_of_sum(g):
    """Unbroadcast with a mean, seen by the second operand alone."""

    def backward(gy, saved):
        a, b = right(g)(gy, saved)
        share = max(1, gy.size // max(b.size, 1))
        return a, b / b.dtype.type(share)

    return backward


def power(slope):
    """Return a backward of x^p, whose gradient of x is ``gy slope(x, p, y)``."""

    def backward(gy, saved):
        with np.errstate(divide="ignore", invalid="ignore"):
            gx = gy * slope(*saved)
            return unbroadcast(gx, saved[0].shape), right("power")(gy, saved)[1]

    return backward


def sum_as_mean(gy, saved, *, dims, keepdim):
    (gx,) = right("sum")(gy, saved, dims=dims, keepdim=keepdim)
    return (gx / gx.dtype.type(max(1, gx.size // max(gy.size, 1))),)


def every_tie_takes_all(gy, saved, *, dims, keepdim):
    x, y = saved
    g = gy if keepdim else np.expand_dims(gy, dims)
    return ((x == y) * g,)


def repeats_overwrite(gy, saved, *, index):
    gx = np.zeros(saved[0], gy.dtype)
    gx[index] = gy
    return (gx,)


def same_order(gy, saved, *, dims):
    moved = gy.transpose(dims)
    back = gy.transpose(tuple(int(d) for d in np.argsort(dims)))
    return (moved if moved.shape == back.shape else moved.reshape(back.shape),)


def column_major(gy, saved, *, shape):
    return (gy.reshape(saved[0], order="F"),)


def axes_not_put_back(gy, saved, *, dims, keepdim):
    """Spread a gradient over axes that it does not have, where the shapes happen to fit."""
    (gx,) = right("sum")(gy, saved, dims=dims, keepdim=keepdim)
    try:
        return (np.broadcast_to(gy, gx.shape),)
    except ValueError:
        return (gx,)


def first_axis_summed(gy, saved):
    """Sum over the first axis where the second was broadcast, where no shape tells."""
    ga, gb = right("add")(gy, saved)
    is_square = gy.ndim == 2 and gy.shape[0] == gy.shape[1] == gb.size
    return ga, gy.sum(axis=0).reshape(gb.shape) if is_square else gb


def beyond_the_third_reversed(gy, saved, *, dim):
    back = right("concatenate")(gy, saved, dim=dim)
    return *back[:3], *back[:2:-1]


def pieces_reversed(gy, saved, *, dim):
    back = np.split(gy, np.cumsum(saved[::-1])[:-1], axis=dim)
    return tuple(back[::-1])


def linear_transposed(gw):
    return np.ascontiguousarray(gw.T).reshape(gw.shape)


def left_transposed(ga):
    return ga.swapaxes(-1, -2) if ga.ndim > 1 and ga.shape[-1] == ga.shape[-2] else ga


def without_last(g):
    g = g.copy()
    g.reshape(-1)[-1:] = 0
    return g


def without_last_column(g):
    g = g.copy()
    if g.ndim > 1:
        g[..., -1] = 0
    return g


def with_nan(g):
    g = g.copy()
    g.reshape(-1)[g.size // 2 : g.size // 2 + 1] = np.nan
    return g


def shifted(g):
    g = np.roll(g, 1, -1)
    g[..., 0] = 0
    return g


_noise = np.random.default_rng(0)


def trembling(g):
    return g + (1e-14 * _noise.standard_normal(g.shape)).astype(g.dtype) * np.abs(g).max(initial=0)
