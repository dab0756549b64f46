"""The rung "plain": one page each, and nothing of the CPU's engine in it."""

import ast
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import minialex.optim
import minialex.train.step_state
from minialex import models, ops, optim, using
from minialex.autograd import OPS, ROUTINES, Tensor
from minialex.check.cases.routines import COLOURS, draw_jitter
from minialex.data import prepare
from minialex.nn.init import blank_weights

ROOT = Path(minialex.__file__).parent
MAX_LINES = 60
PAGES = sorted(ROOT.rglob("plain.py"))

ENGINE = "cpu.sharing", "cpu.threads", "cpu.memory"
ENGINE_FILES = "blocked.py", "patches.py", "winograd.py"
FOUNDATION = "autograd", "arrays"
"""What every rung stands on: not looked into."""


def module_of(path):
    """Return the name of a module within minialex: ops.relu.plain."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in ROOT.rglob("*.py")}


def imported(path):
    """Return the modules of minialex that the lines of a file import, by their names within it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    within = {name.removeprefix("minialex.") for name in names if name.startswith("minialex.")}
    found = within & MODULES.keys()
    # `from package import module` is an import of the module alone
    return {n for n in found if not any(m.rpartition(".")[0] == n for m in found)}


def reachable(module):
    """Return what a module imports, and what that imports."""
    found, waiting = set(), {module}
    while waiting:
        new = imported(MODULES[waiting.pop()]) - found
        found |= new
        waiting |= {name for name in new if name.split(".")[0] not in FOUNDATION}
    return found


def is_engine(module):
    return module in ENGINE or f"{module.rpartition('.')[2]}.py" in ENGINE_FILES


def test_there_is_a_page_beside_each_engine():
    there = {path.parent for path in PAGES}
    assert {path.parent for path in ROOT.rglob("blocked.py")} <= there
    assert len(there) >= 9


@pytest.mark.parametrize(
    "name", [name for name, r in ROUTINES.items() if "blocked" in r.implementations]
)
def test_what_is_called_plain_stands_on_its_page(name):
    one = ROUTINES[name].implementations["plain"]
    # an optimizer's update holds its function
    functions = (one.forward, one.backward) if name in OPS else (getattr(one, "function", one),)
    for function in functions:
        assert function.__module__.endswith(".plain")


@pytest.mark.parametrize("path", PAGES, ids=module_of)
def test_a_page_has_few_lines_and_imports_no_engine(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert {name for name in reachable(module_of(path)) if is_engine(name)} == set()


def test_an_engine_would_be_found():
    assert "ops.relu.blocked" in reachable("ops.relu")
    assert {"cpu.sharing", "cpu.threads"} <= reachable("ops.relu.blocked")


class Watch:
    """Notes which files of the engine functions of any thread are called in."""

    def __init__(self):
        self.entered = set()

    def __call__(self, frame, event, arg):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT) and is_engine(module_of(path)):
            self.entered.add(module_of(path))

    def __enter__(self):
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *failure):
        sys.setprofile(None)
        threading.setprofile(None)


SMALL_IMAGE = 67
"""The side of images from which something is left behind every pooling of AlexNet."""


def train_a_step(variant):
    """Prepare two images, train the network for one step, and return the files of the engine."""
    size = min(models.VARIANTS[variant].image_size, SMALL_IMAGE)
    model = models.alexnet(variant, num_classes=3, seed=1)
    optimizer = optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    bytes_ = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), np.uint8)
    with Watch() as watch:
        images = prepare(bytes_, draw_jitter(2, COLOURS))
        loss = ops.cross_entropy(model(Tensor(images)), np.array([0, 2]))
        loss.backward()
        optimizer.step()
    assert np.isfinite(loss.item())
    return watch.entered


@pytest.mark.parametrize("variant", models.VARIANTS)
def test_a_plain_training_step_enters_no_engine(variant):
    # which 60 million weights makes no difference
    with blank_weights(), using("plain"):
        assert train_a_step(variant) == set()


def test_an_entry_would_be_seen():
    entered = train_a_step("alexnet-mini")
    assert {
        "cpu.sharing",
        "ops.max_pool2d.blocked",
        "ops.relu.blocked",
        "data.prepare.blocked",
    } <= entered
