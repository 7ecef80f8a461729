# amaranth: UnusedElaboratable=no
"""The classifier on its own: raw logits, the first greatest, states that it passes over."""

from types import SimpleNamespace

import numpy as np
import pytest
from genogate.hdl.gru.classifier import Classifier, classifier_chunks
from genogate.model import integer
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.integer import acc_bounds
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams
from transfers import state_memory

SEED = 2026


def random_op(seed, hidden=5, classes=3) -> integer.Classifier:
    """The classifier of a random network."""
    rng = np.random.default_rng([SEED, seed])
    bits = int(rng.integers(2, 9))
    return random_model(rng, Genome.uniform(bits), 2, hidden, classes).classifier


def changed(op, weight, bias) -> integer.Classifier:
    """`op` with other weights and biases."""
    low, high = acc_bounds(weight, bias, op.in_bits)
    parts = {"weight": weight, "bias": bias, "acc_min": low, "acc_max": high}
    return integer.Classifier(**{**op.__dict__, **parts})


def codes_of(op, sequences, seed):
    """Random state codes [sequences, hidden]."""
    rng = np.random.default_rng([SEED, seed, 1])
    top = 1 << op.in_bits - 1
    return rng.integers(-top, top, (sequences, op.weight.shape[1]))


def answers(op, states, *, chunks=1, lanes=1, pause=0.0):
    """Logits [sequences, classes] and classes of so many states, one after the other."""
    dut = Classifier(op, lanes, chunks)
    memory, released = state_memory(dut.state, states, op.in_bits, lanes, pause)

    count, classes = len(states), len(op.bias)
    got = run_streams(
        dut,
        {},
        {"o_logits": count * classes, "o_class": count},
        pause=pause,
        seed=SEED,
        cycles=60 * states.size * classes * chunks + 400,
        extra=memory,
    )
    logits = np.array([payload.logit for payload in got["o_logits"]]).reshape(count, classes)
    lasts = [payload.last for payload in got["o_logits"]]
    assert lasts == ([0] * (classes - 1) + [1]) * count
    # A state may be written over once its last logit is taken, and no earlier.
    assert len(released) == count
    return logits, got["o_class"]


@pytest.mark.parametrize("pause", [0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_logits_are_the_raw_sums_and_the_class_is_the_first_greatest(seed, pause):
    op = random_op(seed, hidden=3 + seed, classes=2 + seed)
    states = codes_of(op, 4, seed)
    expected = states @ op.weight.T.astype(np.int64) + op.bias
    for chunks, lanes in {(1, 1), (op.weight_bits, 1), (1, 2)}:
        logits, classes = answers(op, states, chunks=chunks, lanes=lanes, pause=pause)
        np.testing.assert_array_equal(logits, expected)
        assert classes == expected.argmax(1).tolist()


def test_of_equal_logits_the_first_wins():
    op = random_op(7)
    rows = np.repeat(op.weight[:1], len(op.bias), 0)
    same = changed(op, rows, np.repeat(op.bias[:1], len(op.bias)))
    _, classes = answers(same, codes_of(same, 3, 7))
    assert classes == [0, 0, 0]


def test_weights_come_in_as_many_digits_as_two_steps_allow():  # worked by hand
    op = random_op(3, hidden=5, classes=3)
    op = integer.Classifier(**{**op.__dict__, "weight_bits": 8})

    def digits(cycles, head=None):
        # Three classes of five codes: a digit of all weights takes 15 cycles, a class 2 besides.
        schedule = SimpleNamespace(cycles_per_step=cycles, drain=0, pipeline=0)
        return classifier_chunks(op, schedule, head or Head())

    assert [digits(cycles) for cycles in (22, 37, 38, 67, 68, 128)] == [1, 1, 2, 2, 4, 8]
    assert digits(128, Head(at="every")) == 1


def test_equal_identities_leave_weights_out_and_keep_sizes_apart():
    a, b = random_op(2, classes=3), random_op(2, classes=4)
    other = changed(a, a.weight[:, ::-1].copy(), a.bias)
    assert Classifier.part(a).identity == Classifier(a).identity
    assert Classifier.part(a).identity == Classifier.part(other).identity
    assert Classifier.part(a).identity != Classifier.part(b).identity
