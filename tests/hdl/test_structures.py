# amaranth: UnusedElaboratable=no
"""Networks with dense layers in front and behind, and given states, against golden."""

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.model.genome import GENES, Genome
from genogate.model.head import Head
from genogate.model.integer import code_range
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams
from transfers import expected, features, received

FUNCTIONS = ("none", "relu", "sigmoid", "tanh")


def draw(seed, front, back, *, layers=1, head=None, initial_state=False, sizes=(5, 4, 3)):
    """A random network with so many dense layers, and sequences of 1 to 4 steps."""
    rng = np.random.default_rng([2026, seed])

    def stages(count):
        return [
            (FUNCTIONS[int(rng.integers(4))], int(rng.integers(1, sizes[0] + 1)))
            for _ in range(count)
        ]

    genome = Genome(
        tuple(tuple(map(int, rng.integers(2, 9, len(GENES)))) for _ in range(layers)),
        tuple(tuple(map(int, rng.integers(2, 9, 2))) for _ in range(front + back)),
    )
    inputs, hidden, classes = (int(rng.integers(1, top + 1)) for top in sizes)
    model = random_model(
        rng,
        genome,
        inputs,
        hidden,
        classes,
        channel=bool(seed & 1),
        head=head,
        front=stages(front),
        back=stages(back),
        initial_state=initial_state,
    )
    shapes = [(int(steps), inputs) for steps in rng.integers(1, 5, 4)]
    return model, [rng.integers(*code_range(8), shape, endpoint=True) for shape in shapes]


def check(model, sequences, pause, lanes=(1, 1), share="none", pipeline=0, seed=0):
    """Every transfer of every output equals golden's."""
    want = expected(model, sequences)
    dut = Design.of(model, Lanes(*lanes), share, pipeline).component()
    got = run_streams(
        dut,
        {"i": features(sequences)},
        {name: len(values) for name, values in want.items()},
        pause=pause,
        seed=seed,
        cycles=200000,
    )
    assert received(got) == want


@pytest.mark.parametrize(
    ("front", "back", "layers", "head", "lanes", "pipeline", "pause"),
    [
        (1, 0, 1, None, (1, 1), 0, 0.5),
        (0, 1, 1, None, (2, 3), 0, 0.5),
        (2, 2, 2, None, (1, 2), 1, 0),
        (1, 1, 1, Head("every"), (1, 1), 0, 0.5),
        (0, 2, 1, Head("every", "codes", "sigmoid"), (2, 1), 0, 0.5),
        (2, 0, 2, Head("last", "logits"), (3, 1), 2, 0.5),
        (0, 1, 2, Head("last", "codes", "relu"), (1, 1), 0, 0),
    ],
)
def test_dense_layers_around_the_gru_equal_golden(
    front, back, layers, head, lanes, pipeline, pause
):
    seed = front + 10 * back + layers
    model, sequences = draw(seed, front, back, layers=layers, head=head, initial_state=front == 1)
    check(model, sequences, pause, lanes, pipeline=pipeline)


@pytest.mark.parametrize(
    ("share", "lanes", "front", "back", "layers", "head"),
    [
        ("gates", 1, 1, 1, 1, None),
        ("gates", 2, 0, 1, 1, Head("every", "codes", "tanh")),
        ("all", 4, 1, 1, 2, None),
        ("all", 8, 0, 1, 1, Head("every", "codes")),
        ("all", 8, 1, 0, 1, Head("every")),
    ],
)
def test_they_stand_beside_layers_that_share_hardware(share, lanes, front, back, layers, head):
    seed, given = front + 3 * back, {"initial_state": True, "sizes": (3, 3, 2)}
    model, sequences = draw(seed, front, back, layers=layers, head=head, **given)
    check(model, [rows[:2] for rows in sequences[:2]], 0.3, (lanes, lanes), share)


@pytest.mark.parametrize(("lanes", "pipeline"), [((1, 3), 0), ((4, 2), 2)])
def test_a_sequence_starts_with_the_state_that_is_given(lanes, pipeline):
    model, sequences = draw(7, 0, 0, layers=2, initial_state=True, sizes=(6, 8, 4))
    zeros = [layer.state_zero_point for layer in model.layers]
    states = [layer.initial_state for layer in model.layers]
    assert any((state != zero).any() for state, zero in zip(states, zeros, strict=True))
    check(model, sequences, 0.3, lanes, pipeline=pipeline)
