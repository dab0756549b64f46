"""Wrong solutions of the puzzles in Python: by puzzle, why each is wrong, and its lines."""

from tests.study.puzzles.wrong import Wrong

_LINES: dict[str, dict[str, str]] = {
    "relu": {
        "y is never below 0, so all passes": "return np.where(y >= 0, gy, 0)",
        "a comparison with NaN is false, so a NaN is hidden": "return np.where(y > 0, gy, 0)",
        "the sign of NaN is NaN, and so is the gradient": "return gy * np.sign(y)",
    },
    "clip": {
        "at the bounds nothing passes": """
            low, high = (-np.inf if min is None else min), (np.inf if max is None else max)
            return np.where((x > low) & (x < high), gy, 0)
        """,
        "NaN is on neither side, so it passes": """
            low, high = (-np.inf if min is None else min), (np.inf if max is None else max)
            return np.where((x < low) | (x > high), 0, gy)
        """,
        "a bound of 0 is taken for none": """
            low, high = min or -np.inf, max or np.inf
            return np.where((x >= low) & (x <= high), gy, 0)
        """,
    },
    "broadcast-add": {
        "a mean, where what was used n times adds up": """
            extra = g.ndim - len(shape)
            ones = tuple(extra + i for i, n in enumerate(shape) if n == 1)
            return g.mean(axis=(*range(extra), *ones), keepdims=True).reshape(shape)
        """,
        "axes of length 1 are not moved by those in front": """
            extra = g.ndim - len(shape)
            ones = tuple(i for i, n in enumerate(shape) if n == 1 and i >= extra)
            axes = tuple(sorted({*range(extra), *ones}))
            return g.sum(axis=axes, keepdims=True).reshape(shape)
        """,
        "only the axes in front are summed; of those of length 1 the first is taken": """
            g = g.sum(axis=tuple(range(g.ndim - len(shape))))
            return g[tuple(slice(0, n) for n in shape)]
        """,
    },
    "dropout": {
        "a word at the threshold stays": """
            scale = 1 / (1 - p) if p < 1 else 0.0
            return np.where(words > p * 2**32, gy * scale, 0)
        """,
        "a product with 0 keeps a NaN": """
            scale = 1 / (1 - p) if p < 1 else 0.0
            return gy * (words >= p * 2**32) * gy.dtype.type(scale)
        """,
        "what is kept is scaled by 1 / p": """
            scale = 1 / p if p > 0 else 1.0
            return np.where(words >= p * 2**32, gy * scale, 0)
        """,
    },
    "permute": {
        "that is the way back of a swap alone": "return gy.transpose(dims)",
        "the other way round is not the way back": "return gy.transpose(dims[::-1])",
        "the shape is right, the elements are elsewhere": """
            shape = [0] * gy.ndim
            for i, d in enumerate(dims):
                shape[d] = gy.shape[i]
            return gy.reshape(shape)
        """,
    },
    "concatenate": {
        "cut at the lengths": "return tuple(np.split(gy, lengths[:-1], axis=dim))",
        "one piece too many": "return tuple(np.split(gy, np.cumsum(lengths), axis=dim))",
        "always along the first axis": "return tuple(np.split(gy, np.cumsum(lengths)[:-1]))",
    },
    "getitem": {
        "of equal indices the last counts": "gx[index] += gy",
        "the last one, as often as it was named": """
            counts = np.zeros(shape, gy.dtype)
            np.add.at(counts, index, 1)
            gx[index] = gy * counts[index]
        """,
        "the mean of what the uses give": """
            counts = np.zeros(shape, gy.dtype)
            np.add.at(gx, index, gy)
            np.add.at(counts, index, 1)
            gx /= np.maximum(counts, 1)
        """,
    },
    "linear": {
        "the right shape, made by force": """
            gx = gy @ w
            gw = (x_rows.T @ gy_rows).reshape(w.shape)
            gb = gy_rows.sum(axis=0)
        """,
        "1 / N is in gy already": """
            gx = gy @ w
            gw = gy_rows.T @ x_rows / max(len(x_rows), 1)
            gb = gy_rows.sum(axis=0)
        """,
        "rows may have several axes": """
            gx = gy @ w
            gw = gy_rows.T @ x_rows
            gb = gy.sum(axis=0)
        """,
    },
    "matmul": {
        ".T turns the axes of the stack around as well": """
            ga = gy @ b.T
            gb = a.T @ gy
        """,
        "gb transposed": """
            ga = gy @ b.swapaxes(-1, -2)
            gb = gy.swapaxes(-1, -2) @ a
        """,
        "the matrix is not in the first two axes": """
            ga = gy @ np.swapaxes(b, 0, 1)
            gb = np.swapaxes(a, 0, 1) @ gy
        """,
    },
    "softmax": {
        "the sum is along the last axis always": """
            return y * (gy - (gy * y).sum(axis=-1, keepdims=True))
        """,
        "the sum of gy, not of gy y": "return y * (gy - gy.sum(axis=dim, keepdims=True))",
        "one sum for all rows": "return y * (gy - (gy * y).sum())",
    },
    "log-softmax": {
        "the sum is along the last axis always": """
            return gy - np.exp(y) * gy.sum(axis=-1, keepdims=True)
        """,
        "each class by itself": "return gy - np.exp(y) * gy",
        "the mean in place of the sum": """
            return gy - np.exp(y) * gy.mean(axis=dim, keepdims=True)
        """,
    },
    "log-softmax-forward": {
        "the softmax of an unlikely class is 0, and log(0) infinite": """
            e = np.exp(x - x.max(axis=dim, keepdims=True))
            return np.log(e / e.sum(axis=dim, keepdims=True))
        """,
        "a small number against log(0) is a wrong answer of another size": """
            e = np.exp(x - x.max(axis=dim, keepdims=True))
            return np.log(e / e.sum(axis=dim, keepdims=True) + 1e-12)
        """,
        "the mean taken off leaves exponents that overflow": """
            shifted = x - x.mean(axis=dim, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
        """,
    },
    "p-minus-y": {
        "s sums to 1 without weights alone": """
            counts = s.sum(axis=1, keepdims=True) != 0
            return np.where(counts, p - s, 0) * (gy * scale)[:, None]
        """,
        "0 times NaN is NaN in a row that does not count": """
            return (p * s.sum(axis=1, keepdims=True) - s) * (gy * scale)[:, None]
        """,
        "the mean is forgotten": """
            total = s.sum(axis=1, keepdims=True)
            return np.where(total == 0, 0, p * total - s) * gy[:, None]
        """,
    },
    "label-smoothing": {
        "what is given to the classes is not weighed": "return w * (1 - e) * q + e / C",
        "the right class has its part too": "return w * ((1 - e) * q + e / C * (1 - q))",
        "in C - 1 parts": "return w * ((1 - e) * q + e / max(C - 1, 1))",
    },
    "mean-loss": {
        "how many rows count, whatever they weigh": "return counts.sum() or 1",
        "the weights of rows that do not count": "return row_weights.sum() or 1",
        "0 / 0 where nothing counts": "return row_weights[counts].sum()",
    },
    "conv2d-bias": {
        "a mean over the images": "return gy.sum(axis=(2, 3)).sum(axis=0) / max(len(gy), 1)",
        "a mean over the places": "return gy.mean(axis=(2, 3)).sum(axis=0)",
        "the first image alone": "return gy[:1].sum(axis=(0, 2, 3))",
    },
    "conv2d-weights": {
        "the dilation is forgotten": """
            rows = slice(k, k + (OH - 1) * sh + 1, sh)
            columns = slice(l, l + (OW - 1) * sw + 1, sw)
            seen = padded[:, channels, rows, columns]
        """,
        "strides exchanged": """
            rows = slice(k * dh, k * dh + (OH - 1) * sw + 1, sw)
            columns = slice(l * dw, l * dw + (OW - 1) * sh + 1, sh)
            seen = padded[:, channels, rows, columns]
        """,
        "the filter flipped": """
            K, L = KH - 1 - k, KW - 1 - l
            rows = slice(K * dh, K * dh + (OH - 1) * sh + 1, sh)
            columns = slice(L * dw, L * dw + (OW - 1) * sw + 1, sw)
            seen = padded[:, channels, rows, columns]
        """,
    },
    "conv2d-patches": {
        "flipped by hand, where nothing is to be flipped": """
            return w[:, :, ::-1].swapaxes(1, 2) @ gy
        """,
        "the first group's filters for all": "return w[:1].swapaxes(1, 2) @ gy",
        "a mean over the filters": "return w.swapaxes(1, 2) @ gy / w.shape[1]",
    },
    "col2im": {
        "flipped": "padded[:, :, rows, columns] += patches[:, :, KH - 1 - k, KW - 1 - l]",
        "a mean, which is im2col's inverse and not its backward": """
            padded[:, :, rows, columns] += patches[:, :, k, l] / (KH * KW)
        """,
        "what came first stays": """
            before = padded[:, :, rows, columns]
            padded[:, :, rows, columns] = np.where(before == 0, patches[:, :, k, l], before)
        """,
    },
    "im2col": {
        "the dilation is forgotten": """
            rows = slice(k, k + (OH - 1) * sh + 1, sh)
            columns = slice(l, l + (OW - 1) * sw + 1, sw)
            patches[:, :, k, l] = padded[:, :, rows, columns]
        """,
        "strides exchanged": """
            rows = slice(k * dh, k * dh + (OH - 1) * sw + 1, sw)
            columns = slice(l * dw, l * dw + (OW - 1) * sh + 1, sh)
            patches[:, :, k, l] = padded[:, :, rows, columns]
        """,
        "rows that are left over are not cut off": """
            patches[:, :, k, l] = padded[:, :, k * dh :: sh, l * dw :: sw]
        """,
    },
    "max-pool-backward": {
        "a pixel that won two windows keeps the last": """
            element[...] = np.where(argmax == k, gy, element)
        """,
        "another array of the same name: the image stays 0": """
            element = element + np.where(argmax == k, gy, 0)
        """,
        "the elements counted from 1": "element += np.where(argmax == k + 1, gy, 0)",
    },
    "max-pool-ties": {
        "0 is larger than what is negative": "wins = inside[k] & (element > y)",
        "of equals the last wins": """
            wins = inside[k] & ((argmax < 0) | (element >= y) | np.isnan(element))
        """,
        "no comparison lets a NaN in": "wins = inside[k] & ((argmax < 0) | (element > y))",
    },
    "max-ties": {
        "one count for all rows": "return gy * largest / largest.sum()",
        "counted along the last axis always": """
            return gy * largest / largest.sum(axis=-1, keepdims=True)
        """,
        "shares that grow with the number of equals": """
            return gy * largest / np.sqrt(largest.sum(axis=dims, keepdims=True))
        """,
    },
    "avg-pool-border": {
        "beyond the padding counts": """
            if include_pad:
                return np.full(count, kernel)
            return np.minimum(begin + kernel, size) - np.maximum(begin, 0)
        """,
        "the padding behind never counts": """
            first = begin if include_pad else np.maximum(begin, 0)
            return np.minimum(begin + kernel, size) - first
        """,
        "the padding in front never counts": """
            end = np.minimum(begin + kernel, size + padding if include_pad else size)
            return end - np.maximum(begin, 0)
        """,
    },
    "adaptive-cells": {
        "ends rounded down": """
            return [(i * size // count, (i + 1) * size // count) for i in range(count)]
        """,
        "rounded to the nearest": """
            edges = [round(i * size / count) for i in range(count + 1)]
            return list(zip(edges, edges[1:]))
        """,
        "cells of one length": """
            length = -(-size // count)
            return [(i * size // count, i * size // count + length) for i in range(count)]
        """,
    },
    "lrn": {
        "the power is one too small": """
            nearby = window_sum(gy * x * s**-beta, size)
            return gy * s**-beta - 2 * alpha * beta * x * nearby
        """,
        "the 2 of the square": """
            nearby = window_sum(gy * x * s ** (-beta - 1), size)
            return gy * s**-beta - alpha * beta * x * nearby
        """,
        "the channel's own window alone": """
            own = gy * x * s ** (-beta - 1)
            return gy * s**-beta - 2 * alpha * beta * x * own
        """,
    },
    "rmsprop": {
        "not the variance where centered": """
            step = g / (np.sqrt(v) + eps)
            if b is not None:
                b[...] = momentum * b + step
                step = b
            p -= lr * step
        """,
        "the rate goes into the momentum": """
            step = lr * g / (np.sqrt(variance) + eps)
            if b is not None:
                b[...] = momentum * b + step
                step = b
            p -= step
        """,
        "a new array, and not in place": """
            step = g / (np.sqrt(variance) + eps)
            if b is not None:
                b[...] = momentum * b + step
                step = b
            p = p - lr * step
        """,
    },
    "adam": {
        "what is kept is corrected as well": """
            m /= 1 - b1**t
            v /= 1 - b2**t
            p -= lr * m / (np.sqrt(v) + eps)
        """,
        "eps beside the root that is not corrected": """
            rate = lr * np.sqrt(1 - b2**t) / (1 - b1**t)
            p -= rate * m / (np.sqrt(v) + eps)
        """,
        "the correction of m for both": """
            m_hat, v_hat = m / (1 - b1**t), v / (1 - b1**t)
            p -= lr * m_hat / (np.sqrt(v_hat) + eps)
        """,
    },
    "add-up": {
        "a leaf keeps the last": """
            if hasattr(target, "inputs"):
                waiting[target] = waiting[target] + g if target in waiting else g
            else:
                target.grad = g.copy()
        """,
        "in place, in an array that another branch holds too": """
            if hasattr(target, "inputs"):
                if target in waiting:
                    waiting[target] += g
                else:
                    waiting[target] = g
            else:
                target.grad = g if target.grad is None else target.grad + g
        """,
        "an op keeps what came first": """
            if hasattr(target, "inputs"):
                waiting.setdefault(target, g)
            else:
                target.grad = g if target.grad is None else target.grad + g
        """,
    },
    "order": {
        "written down before what is below: a long branch comes late": """
            found, seen = [], set()

            def visit(op):
                if op in seen or not hasattr(op, "inputs"):
                    return
                seen.add(op)
                found.append(op)
                for below in op.inputs:
                    visit(below)

            visit(root)
            return found
        """,
        "what is used twice is there twice": """
            found = []

            def visit(op):
                for below in op.inputs:
                    if hasattr(below, "inputs"):
                        visit(below)
                found.append(op)

            visit(root)
            return found[::-1]
        """,
        "the oldest first": """
            found, seen = [], set()

            def visit(op):
                if op in seen or not hasattr(op, "inputs"):
                    return
                seen.add(op)
                for below in op.inputs:
                    visit(below)
                found.append(op)

            visit(root)
            return found
        """,
    },
}

WRONG = [
    Wrong(puzzle, why, lines) for puzzle, these in _LINES.items() for why, lines in these.items()
]
