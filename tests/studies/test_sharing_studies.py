"""Studies of small silicon: layouts hold the same integers, cut networks are of fewer units, and
pages say what was missed."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model import zoo
from genogate.model.genome import Genome
from genogate.sim import golden
from genogate.sim.random_model import random_model

from studies import constants, sharing, sharing_genomes, smallest, tinytapeout

#: The figures of the page of sharing.
BEFORE = Path(__file__).parents[2] / "docs/data/sharing.json"
LAYOUTS = [name for name in constants.LAYOUTS if name not in ("units sorted", "Gray")]


def model_of(bits=5):
    return random_model(np.random.default_rng(2026), Genome.uniform(bits), 4, 8, 3)


def bits_of(memories):
    return sum(len(words) * width for words, width in memories)


def ones_of(memories):
    return sum(word.bit_count() for words, _ in memories for word in map(int, words))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_holds_the_bits_of_the_weights(layout):
    layer = model_of().layers[0]
    memories = constants.LAYOUTS[layout][1](layer)
    before = constants.today(layer)
    if layout == "biases among weights":  # the last word of a bias is filled up
        assert 0 <= bits_of(memories) - bits_of(before) < 6 * 8 * 5
    else:
        assert bits_of(memories) == bits_of(before)
    if layout != "sign and magnitude":
        assert ones_of(memories) == ones_of(before)


def test_gray_addresses_differ_in_a_bit_from_word_to_word():
    layer = model_of().layers[0]
    plain, coded = constants.today(layer)[6], constants.gray(layer)[6]
    order = [k ^ (k >> 1) for k in range(len(plain[0]))]
    assert [coded[0][k] for k in order] == plain[0]
    assert all((a ^ b).bit_count() == 1 for a, b in pairwise(order))


def test_sorted_units_give_the_same_states_in_another_order():
    model = model_of()
    layer = model.layers[0]
    other = constants.sorted_units(layer)
    rows = np.concatenate([layer.dense("w_ir").weight, layer.dense("w_ir").bias[:, None]], 1)
    moved = np.concatenate([other.dense("w_ir").weight, other.dense("w_ir").bias[:, None]], 1)
    order = [next(k for k, row in enumerate(rows) if (row == r).all()) for r in moved]
    assert sorted(order) == list(range(8)) != order
    x = np.random.default_rng(1).integers(-128, 128, (3, 4, 4))
    linear = replace(
        model.classifier, weight=np.ascontiguousarray(model.classifier.weight[:, order])
    )
    changed = replace(model, layers=(other,), classifier=linear)
    a, b = golden.run(model, x), golden.run(changed, x)
    assert (a.logits == b.logits).all()


def test_fewer_codes_are_no_more_than_asked_for_and_near():
    model = model_of(8)
    fewer = constants.fewer_codes(model, 6)
    for name in constants.DENSE:
        before, after = (m.layers[0].dense(name).weight.astype(int) for m in (model, fewer))
        assert abs(before - after).max() < 60
    used = np.unique(np.concatenate([w.ravel() for w in constants._weights(fewer)]))
    assert len(used) <= 6
    assert constants.entropy(constants._weights(fewer)) <= np.log2(6)


def test_a_cut_network_is_the_first_units_of_the_shipped_one():
    shipped = zoo.load("digits-row")
    small = smallest.cut(shipped, 5)
    assert small.hidden_size(0) == 5
    hidden = shipped.hidden_size(0)
    for gate in range(3):
        theirs = shipped.tensors["weight_hh_l0"][gate * hidden : gate * hidden + 5, :5]
        assert (small.tensors["weight_hh_l0"][gate * 5 : gate * 5 + 5] == theirs).all()


def smallest_rows():
    row = {"input_bits": 8, "units": 8, "cycles": 100, "share": "all", "memories": "latches"}
    areas = {"digits-row": (80_000, 20_000), "kws10": (150_000, 90_000)}
    return [
        {**row, "task": task, "genes": genes, "um2": um2}
        for task, pair in areas.items()
        for genes, um2 in zip(("int8", "2,2"), pair, strict=True)
    ]


def test_the_page_says_which_task_missed_the_aim():
    text = "\n".join(smallest.render(smallest_rows()))
    assert "The aim was -75%: digits-row -80 %, kws10 -52 % (missed)." in text


def genomes_document():
    int8 = {"none": 100.0, "gates": 80.0, "all": 60.0}
    genomes = [{s: v * (10 - k) / 10 for s, v in int8.items()} for k in range(4)]
    front = [
        {"genes": [8] * 17, "accuracy": 0.95, "um2": int8},
        {"genes": [4] * 17, "accuracy": 0.945, "um2": {"none": 50.0, "gates": 45.0, "all": 40.0}},
        {"genes": [2] * 17, "accuracy": 0.5, "um2": {"none": 30.0, "gates": 25.0, "all": 20.0}},
    ]
    fronts = dict.fromkeys(sharing_genomes.SHARES, front)
    least = {share: sharing_genomes._least(fronts, share) for share in sharing_genomes.SHARES}
    return {"genomes": genomes, "int8": int8, "fronts": fronts, "least": least}


def test_the_page_of_genomes_takes_the_least_within_a_point():
    text = "\n".join(sharing_genomes.render(genomes_document()))
    assert "none and gates 1.000" in text
    assert f"| all | 3 | 3 | `{'4' * 17}` | 94.50 | 50 (-50 %) | 45 (-44 %) | 40 (-33 %) |" in text
    assert "| 40 (-33 %) | -60 % |" in text
    assert text.rstrip().endswith("the search for it found 40 (+0.0 %). One seed.")


def test_the_page_of_sharing_shows_what_was_measured_elsewhere():
    row = {"share": "all", "lut": 600, "ff": 200, "ebr": 13, "dsp": 0, "step_nj": 2000.0}
    netlist = {
        "mismatches": 0,
        "netlist_um2": 47_000.0,
        "slack_ns": 8.5,
        "pj_per_cycle": 12.0,
        "uj_per_inference": 3.8,
    }
    rows = [{"task": "digits-row", **row, **netlist}, {"task": "kws10", **row}]
    text = "\n".join(sharing._render_elsewhere(rows))
    assert "0 mismatches" in text
    assert "| all | 600 | 200 | 13 | 0 | 2,000 | 47,000 | 8.50 | 12.0 | 3.800 |" in text
    assert "| kws10 | all | 600 | 200 | 13 | 0 | 2,000 | - | - | - | - |" in text


def test_the_page_of_tiles_tells_what_the_judged_networks_take():
    row = {"share": "all", "units": 32, "flip_flops": 9, "latches": 0, "cycles_per_step": 9}
    rows = [
        {**row, "genome": name, "memories": memories, "um2": um2, "tiles": tiles}
        for name, memories, um2, tiles in (
            ("INT8", "flops", 90_000, 9),
            ("2-bit weights, rest 7", "flops", 50_000, 5),
            ("2-bit weights, rest 7", "latches", 40_000, 4),
            ("mixed", "latches", 30_000, 3),
        )
    ]
    text = "\n".join(tinytapeout.render({"rows": rows, "versions": ["x"]}))
    assert (
        "The smallest takes 3 tiles (mixed, 32 units); of the networks with a known accuracy 4, "
        in text
    )
    assert "in flip-flops 5." in text


def test_rows_that_a_budget_has_no_time_for_stay_those_of_the_page_and_are_marked(
    monkeypatch, tmp_path
):
    before = json.loads(BEFORE.read_text())

    def slow(*arguments):
        time.sleep(1.2)
        return before["smallest"][0] | {"um2": 1.0}

    monkeypatch.setattr(sharing, "FOLDER", tmp_path)
    monkeypatch.setattr(sharing, "PAGE", BEFORE)
    # The first piece that is measured takes the budget.
    names = [f"network {k}" for k in range(len(before["smallest"]))]
    monkeypatch.setattr(smallest, "cases", lambda say: dict.fromkeys(names, slow))
    said = []
    data = sharing.measure(said.append, budget="1s")
    assert len(said) == 1
    first, *rest = data["smallest"]
    assert first["um2"] == 1.0
    assert "older" not in first
    assert [row["um2"] for row in rest] == [row["um2"] for row in before["smallest"][1:]]
    assert [row["cells"] for row in data["rows"]] == [row["cells"] for row in before["rows"]]
    left_out = [*rest, *data["rows"], *data["elsewhere"], data["genomes"]]
    assert all("older" in row for row in left_out)
    page = "\n".join(sharing.render(data))
    assert "| digits-row | INT8 | gates | 1 * |" in page
    assert "\\* Measured before" in page
