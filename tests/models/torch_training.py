"""PyTorch's training of one of our networks, from its weights and with its dropout's masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minialex import Tensor, models, ops, philox
from minialex.arrays import Array
from minialex.bench.peers.pytorch import LAYERS


def torch_losses(
    torch: Any, model: models.AlexNet, batches: Iterable[tuple[Array, Array]], **rmsprop: float
) -> Array:
    """Return the loss before each step, in the type of `model`, which is not changed."""
    net = _twin(torch, model)
    optimizer = torch.optim.RMSprop(net.parameters(), **rmsprop)
    losses = []
    for x, t in batches:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(t))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def _twin(torch: Any, model: models.AlexNet) -> Any:
    generator = philox.Generator(model.generator.seed, model.generator.offset)

    class Dropout(torch.nn.Module):  # type: ignore[misc]
        """Multiplies by the mask that our dropout draws next."""

        def __init__(self, p: float) -> None:
            super().__init__()
            self.p = p

        def forward(self, x: Any) -> Any:
            ones = Tensor(np.ones(x.shape, x.detach().numpy().dtype))
            return x * torch.tensor(ops.dropout(ones, self.p, **generator.draw()).data)

    layers = []
    for _, ours in model.named_modules():
        name = type(ours).__name__
        if name == "Dropout":
            layers.append(Dropout(ours.p))
        elif name in LAYERS:
            layers.append(LAYERS[name](torch.nn, ours))
    twin = torch.nn.Sequential(*layers).to(torch.tensor(next(model.parameters()).data).dtype)
    with torch.no_grad():
        for theirs, mine in zip(twin.parameters(), model.parameters(), strict=True):
            theirs.copy_(torch.tensor(mine.data))
    return twin
