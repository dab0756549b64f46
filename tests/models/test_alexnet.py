"""The four networks: counts, shapes, names, recorded losses, agreement with PyTorch."""

import numpy as np
import pytest

from minialex import Tensor, no_grad, ops, optim
from minialex.models import VARIANTS, alexnet
from minialex.nn.init import blank_weights
from minialex.study import summarise
from tests.models.recorded import assert_recorded

# torchvision.models.alexnet().state_dict()
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216),
    "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096),
    "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096),
    "classifier.6.bias": (1000,),
}


def parameters(variant: str, num_classes: int) -> int:
    with blank_weights():
        return sum(p.size for p in alexnet(variant, num_classes).parameters())


def test_names_and_shapes_are_torchvisions():
    with blank_weights():
        state = alexnet().state_dict()
    assert {name: array.shape for name, array in state.items()} == TORCHVISION


@pytest.mark.parametrize(
    ("variant", "num_classes", "count"),
    [
        ("alexnet", 1000, 61_100_840),
        ("alexnet-2012", 1000, 60_965_224),
        # 10464 + 614656 + 885120 + 2 x 1327488 + 884992 + 885120, then
        # 1576960 + 16781312 + 4097000 + 10010
        ("alexnet-article", 10, 28_400_610),
        ("alexnet-mini", 10, 463_562),
    ],
)
def test_parameter_counts(variant, num_classes, count):
    assert parameters(variant, num_classes) == count


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_forward_pass_gives_one_logit_a_class(variant):
    model = alexnet(variant, 7).eval()
    size = VARIANTS[variant].image_size
    with no_grad():
        y = model(Tensor(np.zeros((2, 3, size, size), np.float32)))
    assert y.shape == (2, 7)
    assert np.isfinite(y.data).all()


def test_the_layers_of_the_2012_paper():
    with blank_weights():
        model = alexnet("alexnet-2012")
    shapes = {row.name: row.shape for row in summarise(model).rows}
    assert shapes["features.0"] == (96, 55, 55)
    assert shapes["features.4"] == (256, 27, 27)
    assert shapes["features.8"] == (384, 13, 13)
    assert shapes["features.14"] == (256, 6, 6)


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        (
            # of section 2.1: (227 - 6) / 4 + 1 = 56, (56 - 3) / 2 + 1 = 27, (27 - 3) / 2 + 1 = 13
            "alexnet-article",
            """
            features.0   Conv2d(3, 96, 6x6, stride=4)        (96, 56, 56)
            features.2   MaxPool2d(3, stride=2)              (96, 27, 27)
            features.3   Conv2d(96, 256, 5x5, padding=2)     (256, 27, 27)
            features.5   MaxPool2d(3, stride=2)              (256, 13, 13)
            features.6   Conv2d(256, 384, 3x3, padding=1)    (384, 13, 13)
            features.8   Conv2d(384, 384, 3x3, padding=1)    (384, 13, 13)
            features.10  Conv2d(384, 384, 3x3, padding=1)    (384, 13, 13)
            features.12  Conv2d(384, 256, 3x3, padding=1)    (256, 13, 13)
            features.14  Conv2d(256, 384, 3x3, padding=1)    (384, 13, 13)
            avgpool      AdaptiveAvgPool2d(1)                (384, 1, 1)
            flatten      Flatten()                           (384,)
            classifier.0 Dropout(0.5)                        (384,)
            classifier.1 Linear(384, 4096)                   (4096,)
            classifier.3 Dropout(0.5)                        (4096,)
            classifier.4 Linear(4096, 4096)                  (4096,)
            classifier.6 Linear(4096, 1000)                  (1000,)
            classifier.8 Linear(1000, 10)                    (10,)
            """,
        ),
        (
            # (64 + 2 x 2 - 5) / 2 + 1 = 32, (32 - 3) / 2 + 1 = 15, then 7, then 3
            "alexnet-mini",
            """
            features.0   Conv2d(3, 32, 5x5, stride=2, padding=2)  (32, 32, 32)
            features.2   MaxPool2d(3, stride=2)              (32, 15, 15)
            features.3   Conv2d(32, 64, 5x5, padding=2)      (64, 15, 15)
            features.5   MaxPool2d(3, stride=2)              (64, 7, 7)
            features.6   Conv2d(64, 96, 3x3, padding=1)      (96, 7, 7)
            features.8   Conv2d(96, 96, 3x3, padding=1)      (96, 7, 7)
            features.10  Conv2d(96, 64, 3x3, padding=1)      (64, 7, 7)
            features.12  MaxPool2d(3, stride=2)              (64, 3, 3)
            avgpool      AdaptiveAvgPool2d(3)                (64, 3, 3)
            flatten      Flatten()                           (576,)
            classifier.0 Dropout(0.5)                        (576,)
            classifier.1 Linear(576, 256)                    (256,)
            classifier.3 Dropout(0.5)                        (256,)
            classifier.4 Linear(256, 256)                    (256,)
            classifier.6 Linear(256, 10)                     (10,)
            """,
        ),
    ],
    ids=["article", "mini"],
)
def test_every_layer_of_the_networks_that_pytorch_does_not_have(variant, text):
    with blank_weights():
        model = alexnet(variant, 10)
    layers = summarise(model).rows
    rows = [row for row in layers if row.layer != "ReLU()"]
    shown = [f"{row.name} {row.layer} {row.shape}".split() for row in rows]
    assert shown == [line.split() for line in text.strip().splitlines()]
    # each convolution and each fully connected layer but the last is followed by ReLU
    followed = [row.layer.startswith(("Conv2d", "Linear")) for row in layers[:-1]]
    assert [row.layer == "ReLU()" for row in layers[1:]] == followed


def test_equal_seeds_give_equal_networks_and_equal_dropout():
    def losses(seed):
        model = alexnet("alexnet-mini", 10, seed=seed)
        x = Tensor(np.ones((4, 3, 64, 64), np.float32))
        return [ops.cross_entropy(model(x), np.arange(4)).item() for _ in range(2)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)
    assert losses(1)[0] != losses(1)[1]


def test_a_fresh_network_finds_all_classes_about_equally_likely():
    model = alexnet("alexnet-mini", 10, seed=2).eval()
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((16, 3, 64, 64)).astype(np.float32))
    loss = ops.cross_entropy(model(x), rng.integers(0, 10, 16)).item()
    assert loss == pytest.approx(np.log(10), abs=0.5)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="unknown variant 'alexnet3': did you mean 'alexnet'"):
        alexnet("alexnet3")
    with pytest.raises(ValueError, match="unknown variant 'resnet'; known: alexnet, alexnet-2012"):
        alexnet("resnet")
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        alexnet(num_classes=0)


def test_the_first_steps_of_alexnet_in_float64_give_the_recorded_losses():
    # all ten stand in tests/campaigns
    assert_recorded(steps=2)


def torch_twin(torch, variant, model):
    """Return the same network in PyTorch, written out again, with the same weights."""
    t = torch.nn
    relu, pool = t.ReLU, lambda: t.MaxPool2d(3, 2)
    if variant == "alexnet":
        convs = [(3, 64, 11, 4, 2, 1), (64, 192, 5, 1, 2, 1), (192, 384, 3, 1, 1, 1)]
        convs += [(384, 256, 3, 1, 1, 1), (256, 256, 3, 1, 1, 1)]
    else:
        convs = [(3, 96, 11, 4, 0, 1), (96, 256, 5, 1, 2, 2), (256, 384, 3, 1, 1, 1)]
        convs += [(384, 384, 3, 1, 1, 2), (384, 256, 3, 1, 1, 2)]
    layers = []
    for i, (c, o, k, s, p, g) in enumerate(convs):
        layers += [t.Conv2d(c, o, k, s, p, groups=g), relu()]
        if variant == "alexnet-2012" and i < 2:
            # PyTorch divides alpha by the window's size
            layers.append(t.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
        if i in (0, 1, 4):
            layers.append(pool())
    layers += [t.Flatten(), t.Linear(9216, 4096), relu(), t.Linear(4096, 4096), relu()]
    twin = t.Sequential(*layers, t.Linear(4096, model.num_classes)).double()
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            theirs.copy_(torch.tensor(mine.data))
    return twin


@pytest.mark.parametrize("variant", ["alexnet", "alexnet-2012"])
def test_the_whole_network_trains_as_in_pytorch(torch, variant):
    model = alexnet(variant, 10, dropout=0.0, seed=4).to(dtype=np.float64)
    twin = torch_twin(torch, variant, model)
    settings = {"lr": 1e-5, "momentum": 0.9, "weight_decay": 5e-4}
    optimizer = optim.RMSprop(model.parameters(), **settings)
    peer = torch.optim.RMSprop(twin.parameters(), **settings)
    rng = np.random.default_rng(9)
    for _ in range(2):
        x, t = 0.5 * rng.standard_normal((2, 3, 227, 227)), rng.integers(0, 10, 2)
        optimizer.zero_grad()
        peer.zero_grad()
        loss = ops.cross_entropy(model(Tensor(x)), t)
        their_loss = torch.nn.functional.cross_entropy(twin(torch.tensor(x)), torch.tensor(t))
        loss.backward()
        their_loss.backward()
        assert loss.item() == pytest.approx(their_loss.item(), rel=1e-9)
        for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            want = theirs.grad.numpy()
            assert np.abs(mine.grad - want).max() <= 1e-9 * np.abs(want).max()
        optimizer.step()
        peer.step()
