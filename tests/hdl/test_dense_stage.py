# amaranth: UnusedElaboratable=no
"""A dense layer in hardware on its own: every code, cycle and handshake."""

from dataclasses import replace

import numpy as np
import pytest
from genogate.hdl.gru.stages.plan import StagePlan, front_plans
from genogate.hdl.gru.stages.stage import DenseStage, stage_parts
from genogate.model.genome import Genome
from genogate.model.integer import code_range
from genogate.model.knobs import Lanes
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams
from transfers import features, state_memory

SEED = 2026


def random_layer(seed, inputs, outputs, function="none", **knobs):
    """A dense layer in front of a random network."""
    rng = np.random.default_rng([SEED, seed])
    pair = tuple(int(v) for v in rng.integers(2, 9, 2))
    genome = Genome(Genome.uniform(8).layers, (pair,))
    model = random_model(rng, genome, inputs, 2, 2, front=[(function, outputs)], **knobs)
    return model.front[0]


def sequences_of(layer, seed, lengths=(2, 1)):
    """Random sequences of codes [steps, inputs]."""
    rng = np.random.default_rng([SEED, seed, 1])
    shape = layer.input_size
    return [rng.integers(*code_range(layer.in_bits), (n, shape), endpoint=True) for n in lengths]


def stage(layer, lanes=1, chunks=1, vectors=1, finals=False, pipeline=0, again=False):
    plan = StagePlan(layer, lanes, chunks, vectors, finals, pipeline, again)
    return DenseStage(plan, stage_parts(plan))


def check(dut, rows, pause):
    """All outputs for sequences `rows` equal golden's."""
    layer, finals = dut.plan.layer, dut.plan.finals
    expected = features([golden.dense_layer(layer, row[-1:] if finals else row) for row in rows])
    got = run_streams(
        dut, {"i": features(rows)}, {"o": len(expected)}, pause=pause, seed=SEED, cycles=40000
    )["o"]
    assert [{"code": int(p.code), "last": int(p.last)} for p in got] == expected


@pytest.mark.parametrize("pause", [0, 0.5])
@pytest.mark.parametrize(
    ("inputs", "outputs", "function", "lanes", "vectors", "pipeline", "knobs"),
    [
        (5, 4, "none", 1, 1, 0, {}),
        (5, 4, "relu", 2, 2, 0, {"channel": True}),
        (1, 1, "none", 1, 1, 0, {}),
        (1, 5, "sigmoid", 1, 2, 0, {"terms": None}),
        (8, 3, "tanh", 4, 1, 1, {"activation": "table"}),
        (7, 3, "sigmoid", 3, 2, 2, {"channel": True, "activation": "pwl"}),
        (3, 6, "none", 4, 1, 0, {}),
        (6, 1, "relu", 1, 2, 1, {}),
    ],
)
def test_every_code_equals_golden(
    inputs, outputs, function, lanes, vectors, pipeline, knobs, pause
):
    layer = random_layer(inputs, inputs, outputs, function, **knobs)
    rows = sequences_of(layer, outputs)
    for chunks in {1, layer.dense.weight_bits}:
        depth = min(pipeline, -(-inputs // lanes) * chunks - 1)
        check(stage(layer, lanes, chunks, vectors, pipeline=depth), rows, pause)


@pytest.mark.parametrize("pause", [0, 0.5])
@pytest.mark.parametrize("pipeline", [0, 1])
def test_a_unit_takes_its_time_where_an_output_gives_it(pipeline, pause):
    layer = random_layer(25, 20, 3, "sigmoid", activation="pwl")
    dut = stage(layer, pipeline=pipeline)
    assert dut.plan.digit == 1
    assert stage(layer, lanes=20).plan.digit == 0
    check(dut, sequences_of(layer, 25), pause)


@pytest.mark.parametrize("pause", [0, 0.5])
def test_of_a_copied_state_the_last_of_a_sequence_counts_alone(pause):
    layer = random_layer(3, 4, 3, "tanh")
    check(stage(layer, finals=True), sequences_of(layer, 3, (2, 1, 1, 4)), pause)


def test_a_last_that_comes_early_ends_the_sequence_and_the_next_is_right():
    layer = random_layer(4, 5, 3)
    rows = sequences_of(layer, 4, (1, 2))
    broken = [{"code": 1, "last": 0}, {"code": 2, "last": 1}]
    expected = features([golden.dense_layer(layer, row) for row in rows])
    for vectors in (1, 2):
        pushed = broken + features(rows)
        got = run_streams(
            stage(layer, 2, vectors=vectors), {"i": pushed}, {"o": 3 + len(expected)}
        )["o"]
        assert [int(p.last) for p in got[:3]] == [0, 0, 1]
        assert [{"code": int(p.code), "last": int(p.last)} for p in got[3:]] == expected


@pytest.mark.parametrize("pause", [0, 0.4])
@pytest.mark.parametrize(("lanes", "chunks", "pipeline"), [(1, 1, 0), (2, 1, 1), (3, 2, 2)])
@pytest.mark.parametrize("again", [False, True])
def test_a_state_in_a_layers_memory_is_read_where_it_is(lanes, chunks, pipeline, pause, again):
    # `again`: the memory reads in every cycle, whether it is asked or not.
    layer = random_layer(6, 6, 4, "sigmoid")
    chunks = chunks if layer.dense.weight_bits % chunks == 0 else 1
    depth = min(pipeline, -(-6 // lanes) * chunks - 1)
    dut = stage(layer, lanes, chunks, vectors=0, pipeline=depth, again=again)
    states = np.concatenate(sequences_of(layer, 6, (4,)))
    memory, released = state_memory(dut.state, states, layer.in_bits, lanes, pause, always=again)

    expected = golden.dense_layer(layer, states).ravel().tolist()
    got = run_streams(
        dut, {}, {"o": len(expected)}, pause=pause, seed=SEED, cycles=9000, extra=memory
    )["o"]
    assert [int(p.code) for p in got] == expected
    assert [int(p.last) for p in got] == [0, 0, 0, 1] * len(states)
    assert released == list(range(len(states)))


def test_cycles_of_a_vector_are_those_of_its_words():  # worked by hand
    layer = random_layer(1, 10, 6)
    digits = layer.dense.weight_bits
    # 6 outputs of 5 words of two codes.
    assert StagePlan(layer, 2, 1, 1).cycles_per_step == 10 + 30
    assert StagePlan(layer, 2, 1, 2).cycles_per_step == 30
    assert StagePlan(layer, 10, 1, 2).cycles_per_step == 10
    assert StagePlan(layer, 2, digits, 1).cycles_per_step == 10 + 30 * digits
    assert StagePlan(layer, 2, 1, 0).cycles_per_step == 31


@pytest.mark.parametrize(
    ("step", "expected"),
    # 60 cycles in whole weights: half a step is less than that, or enough for 1, or for 8 digits.
    [(60, (1, 2)), (70, (1, 1)), (120, (1, 1)), (960, (8, 1)), (959, (4, 1))],
)
def test_weights_come_in_digits_and_vectors_are_held_as_a_step_allows(step, expected):
    layer = random_layer(1, 10, 6)
    wide = replace(layer, dense=replace(layer.dense, weight_bits=8))
    (plan,) = front_plans([wide], Lanes(), 0, step, "none")
    assert (plan.chunks, plan.vectors) == expected
    # Where hardware is shared a second vector is never worth its bits.
    (shared,) = front_plans([wide], Lanes(), 0, step, "all")
    assert shared.vectors == 1
