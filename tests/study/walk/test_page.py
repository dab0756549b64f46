"""The page of a pass: its data compared with the lesson, and that nothing gets out of it."""

import dataclasses
import json
import re

import pytest

from minialex.study.walk import BREAKS, NETWORKS
from minialex.study.walk.narration import states
from minialex.study.walk.page import SCHEMA, page, page_data
from minialex.study.walk.steps import number
from tests.study.walk.told import given

MAX_BYTES = 2_000_000
MAX_STATES = 3_000


def data_of(html):
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(data)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_page_is_small_and_asks_for_nothing(network):
    html = page(given(network))
    assert len(html.encode()) < MAX_BYTES
    assert len(data_of(html)["states"]) < MAX_STATES
    assert "default-src 'none'" in html
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|https?://|@import|fetch\(""", html)


def test_the_last_state_of_each_gradient_is_what_stands_in_grad():
    found = given("skip")
    data = page_data(found)
    assert data["schema"] == SCHEMA
    last = {state["at"]: state for state in data["states"] if state["changes"]}
    for name, g in found.right.grads.items():
        assert last[name]["changes"]["shape"] == list(g.shape)
        assert last[name]["changes"]["numbers"] == [number(v) for v in g.reshape(-1).tolist()]
        assert last[name]["right"] is None
    for value in data["values"]:
        assert len(value["data"]["numbers"]) == found.value(value["name"]).data.size


@pytest.mark.parametrize("mistake", BREAKS)
def test_what_is_wrong_has_the_right_number_beside_it(mistake):
    found = given("conv" if mistake == "col2im" else "skip", mistake)
    data = page_data(found)
    last = {state["at"]: state for state in data["states"] if state["changes"]}
    for one in found.wrong():
        right = found.right.grads[one.name]
        assert last[one.name]["right"]["numbers"] == [number(v) for v in right.reshape(-1).tolist()]
    assert data["broken"]["why"] in data["states"][-1]["sentence"]
    assert any(line.startswith("  FAIL gradient of ") for line in data["checker"])


def test_every_state_has_a_sentence_of_its_own_and_elements_for_its_cells():
    for network in NETWORKS:
        found = list(states(given(network)))
        told = [state.sentence for state in found]
        # z z gives z two gradients alike
        assert len(set(told)) >= len(told) - 1
        gives = [state for state in found if state.kind == "give"]
        assert gives
        for state in gives:
            assert len(state.elements) == state.given.size
            assert 0 <= state.shown < len(state.elements)


def test_text_cannot_end_the_data():
    found = given("skip")
    net = dataclasses.replace(found.network, about="</script><script>alert(1)</script>")
    html = page(dataclasses.replace(found, network=net))
    assert "alert(1)</script>" not in html
    assert data_of(html)["about"] == net.about


def test_the_page_can_be_read_without_colours_mouse_or_eyes():
    html = page(given("skip"))
    assert 'id="say" role="status" aria-live="polite"' in html
    for key in ("ArrowRight", "ArrowLeft", "Home", "End", "PageDown", "PageUp"):
        assert key in html
    assert "prefers-color-scheme:dark" in html
    assert not re.findall("smooth|transition|animation", html)
    assert "forced-colors" in html
    assert "≠ " in html
