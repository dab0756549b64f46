import numpy as np

from minialex.bench.cached_networks import clear_cache, network


def test_a_network_is_drawn_once_and_each_of_them_trains_alone():
    clear_cache()
    one, two = (network("alexnet-mini", p, lambda a: a.copy()) for p in (0.0, 0.25))
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    for a, b in pairs:
        np.testing.assert_array_equal(a.data, b.data)
    pairs[0][0].data[...] = 0
    assert pairs[0][1].data.any()
    assert {m.p for _, m in two.named_modules() if type(m).__name__ == "Dropout"} == {0.25}
    assert {m.p for _, m in one.named_modules() if type(m).__name__ == "Dropout"} == {0.0}
    # shared where nothing is written to: the very weights that are cached
    same = [network("alexnet-mini", 0.5, lambda a: a) for _ in range(2)]
    assert next(iter(same[0].parameters())).data is next(iter(same[1].parameters())).data
