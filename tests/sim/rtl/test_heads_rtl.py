"""Heads other than a class at the last step, in Verilog: every code, and cycles as stated."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.campaign import run_case
from genogate.sim.rtl.network.cases import make_case
from genogate.sim.rtl.network.regression import simulate
from genogate.synth.verilog import emit


def simulated(head, folder, *, hidden=6, classes=3, layers=1, emitted=lambda model: model):
    rng = np.random.default_rng(11)
    model = random_model(rng, Genome.uniform(7, layers), 3, hidden, classes, head=head, head_bits=6)
    design = Design.of(model, Lanes(2, 3))
    codes = rng.integers(-128, 128, (3, 5, 3))
    text = emit(Design.of(emitted(model), Lanes(2, 3)))
    report = simulate(model, text, codes, out_dir=folder, waves_on_failure=False)
    return report, design


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (Head("every"), {"layers": 2}),
        (Head("every", "logits"), {"hidden": 1}),
        (Head("every", "codes", "sigmoid"), {"classes": 9}),
        (Head("last", "codes", "relu"), {}),
    ],
    ids=lambda value: str(value) if isinstance(value, Head) else "",
)
def test_every_answer_equals_golden_in_the_cycles_stated(head, more, tmp_path):
    report, design = simulated(head, tmp_path, **more)
    assert report.passed, report.mismatches[0]
    assert report.cycles_per_step == design.cycles_per_step
    port = {"class": "o_class", "logits": "o_logits", "codes": "o_codes"}[head.output]
    assert report.transfers[port] >= (15 if head.every else 3)


@pytest.mark.parametrize(
    ("share", "head", "hidden", "classes", "layers"),
    [
        ("all", Head("last", "codes", "tanh"), 3, 2, 1),
        ("all", Head("every", "codes"), 2, 4, 2),
        ("gates", Head("every"), 3, 3, 2),
        ("gates", Head("every", "codes", "sigmoid"), 2, 40, 1),
        ("gates", Head("every", "logits"), 1, 30, 1),
    ],
)
def test_shared_hardware_answers_every_head_in_the_cycles_stated(
    share, head, hidden, classes, layers, tmp_path
):
    rng = np.random.default_rng(12)
    model = random_model(rng, Genome.uniform(5, layers), 2, hidden, classes, head=head)
    design = Design.of(model, share=share)
    codes = rng.integers(-128, 128, (2, 4, 2))
    report = simulate(
        model, emit(design), codes, out_dir=tmp_path, share=share, waves_on_failure=False
    )
    assert report.passed, report.mismatches[0]
    assert report.cycles_per_step == design.cycles_per_step
    assert report.cycles_per_sequence == design.cycles_per_sequence(4)


def test_a_wrong_answer_is_told_with_its_step(tmp_path):
    def other(model):
        op = replace(model.stage.requantize, zero_point=model.stage.requantize.zero_point + 1)
        return replace(model, stage=replace(model.stage, requantize=op))

    report, _ = simulated(Head("every", "codes"), tmp_path, emitted=other)
    assert not report.passed
    assert report.mismatches[0].startswith("step 0: o_codes[0] rtl ")


def test_a_campaign_draws_all_heads():
    cases = [make_case(2026, index) for index in range(300)]
    assert {case.at for case in cases} == {"last", "every"}
    assert {case.output for case in cases} == {"class", "logits", "codes"}
    assert {case.function for case in cases} == {"none", "relu", "sigmoid", "tanh"}
    shared = [case for case in cases if case.share == "all"]
    assert {case.at for case in shared} == {"last", "every"}
    assert {case.output for case in shared} == {"class", "logits", "codes"}


@pytest.mark.parametrize("name", ["classes at every step", "logits"])
def test_one_adder_for_all_answers_at_every_step(name, tmp_path):
    cases = (make_case(2026, index) for index in range(90))
    index = next(case.index for case in cases if case.name == f"share all, {name}")
    # Of other seeds one that is soon simulated.
    several = [make_case(seed, index) for seed in range(2026, 2046)]
    case = min(
        (case for case in several if case.hidden_size > 1 and case.classes > 1),
        key=lambda c: c.batch * c.steps * c.hidden_size * (c.hidden_size + c.input_size),
    )
    record = run_case(replace(case, batch=1, steps=3), tmp_path)
    assert record["passed"], record["mismatches"]
    assert record["cycles_per_step"] == record["documented_cycles_per_step"]
