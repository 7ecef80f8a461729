# amaranth: UnusedElaboratable=no
"""Heads other than a class at the last step: golden, its compiled twin, and the model's file."""

import json

import numpy as np
import pytest
from genogate.hdl.boards.framed import FramedNetwork
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.files import read_tensors, write_tensors
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.integer import KIND, IntModel
from genogate.model.knobs import Lanes
from genogate.sim import fast, golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.cases import make_case

HEADS = [
    Head(at, output, function)
    for at in ("last", "every")
    for output, function in (
        ("class", "none"),
        ("logits", "none"),
        ("codes", "none"),
        ("codes", "relu"),
        ("codes", "sigmoid"),
        ("codes", "tanh"),
    )
]


def network(head, seed=3, layers=1):
    rng = np.random.default_rng(seed)
    model = random_model(rng, Genome.uniform(6, layers), 4, 7, 5, head=head, head_bits=5)
    return model, rng.integers(-128, 128, (6, 9, 4))


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_an_answer_at_every_step_is_that_of_the_sequence_cut_there(head):
    model, codes = network(head)
    result = golden.run(model, codes)
    for step in range(codes.shape[1]) if head.every else [codes.shape[1] - 1]:
        at_last = IntModel(**{**vars(model), "head": Head("last", head.output, head.activation)})
        cut = golden.run(at_last, codes[:, : step + 1])
        place = (slice(None), step) if head.every else slice(None)
        np.testing.assert_array_equal(result.logits[place], cut.logits)
        np.testing.assert_array_equal(result.classes[place], cut.classes)
        if head.output == "codes":
            np.testing.assert_array_equal(result.codes[place], cut.codes)
            assert np.abs(result.codes).max() <= 16
        else:
            assert result.codes is None


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_the_compiled_twin_gives_the_same_answers(head):
    model, codes = network(head, seed=5, layers=2)
    expected = golden.run(model, codes)
    for every in (True, False):
        got = fast.run(model, codes, every=every)
        for name in ("logits", "classes", "codes"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_a_file_keeps_the_head(head, tmp_path):
    model, codes = network(head)
    model.save(tmp_path / "model.safetensors")
    again = IntModel.load(tmp_path / "model.safetensors")
    assert again.hash == model.hash
    assert again.head == head
    np.testing.assert_array_equal(golden.run(again, codes).logits, golden.run(model, codes).logits)
    _, document = read_tensors(tmp_path / "model.safetensors", KIND)
    assert document["version"] == 3


def test_relu_codes_are_never_below_the_code_of_zero():
    model, codes = network(Head("every", "codes", "relu"))
    result = golden.run(model, codes)
    stage = model.stage.requantize
    below = result.logits * stage.multiplier < 0
    assert below.any()
    assert (result.codes[below] == stage.zero_point).all()


def test_a_damaged_head_is_refused(tmp_path):
    model, _ = network(Head("every", "codes", "sigmoid"))
    path = tmp_path / "model.safetensors"
    model.save(path)
    tensors, document = read_tensors(path, KIND)
    for change in (
        {"head": {"at": "first"}},
        {"head": {"at": "every", "output": "class"}},
        {"head": [1]},
        {"stage": {}},
        {"stage": 3},
        {"stage": {**document["stage"], "scale": -1.0}},
        {"stage": {**document["stage"], "activation": None}},
    ):
        changed = json.loads(json.dumps({**document, **change}))
        write_tensors(path, tensors, changed, KIND)
        with pytest.raises(InputError, match=r"^[^\n]+$"):
            IntModel.load(path)


@pytest.mark.parametrize(
    "record", [{"at": "always"}, {"output": "labels"}, {"activation": "tanh"}, {"steps": 3}, 7]
)
def test_a_head_that_cannot_be_is_refused(record):
    with pytest.raises(InputError, match=r"^head"):
        Head.of(record)


def test_what_cannot_answer_so_says_what_can():
    model, _ = network(Head("every", "codes"))
    with pytest.raises(InputError, match="board: its frames answer a class a sequence"):
        FramedNetwork(Design.of(model), timeout=100, pace=100)


def test_the_campaign_asks_for_nothing_that_shared_hardware_refuses():
    cases = [make_case(2026, index) for index in range(300)]
    shared = [case for case in cases if case.share != "none"]
    assert {case.share for case in shared} == {"gates", "all"}
    for case in shared[-25:]:
        Design.of(case.model(), Lanes(case.lanes_x, case.lanes_h), case.share, case.pipeline)
