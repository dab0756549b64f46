import pytest

from minialex.autograd import Cost, Implementation, Op


@pytest.fixture
def make_op():
    """Return a function that builds ops for one test."""

    def make(name, forward, backward, **others):
        implementations = {"plain": Implementation(forward, backward), **others}
        return Op(
            name, implementations, lambda shapes, **_: Cost(1, 4), kernel=list(implementations)[-1]
        )

    return make
