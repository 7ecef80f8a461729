"""Networks that share hardware: drawn at random, and what golden says of them."""

import numpy as np
from genogate.model.genome import Genome
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams


def draw(seed, steps, layers=1, sizes=(3, 4, 3), bits=None, **knobs):
    """A random network, and a sequence for it of each number of `steps`."""
    rng = np.random.default_rng(seed)
    rows = [(bits,) * 17 if bits else tuple(rng.integers(2, 9, 17).tolist()) for _ in range(layers)]
    model = random_model(rng, Genome(tuple(rows)), *sizes, **knobs)
    low, high = -(1 << (model.layers[0].in_bits - 1)), 1 << (model.layers[0].in_bits - 1)
    return model, [rng.integers(low, high, (int(t), sizes[0])) for t in steps]


def outputs(model, sequences):
    """What golden says of each sequence, as payloads."""
    expected = {"o_h": [], "o_logits": [], "o_class": []}
    for x in sequences:
        result = golden.run(model, x[None])
        states, logits = result.hidden[0].ravel().tolist(), result.logits[0].tolist()
        expected["o_h"] += [(v, int(k == len(states) - 1)) for k, v in enumerate(states)]
        expected["o_logits"] += [(v, int(k == len(logits) - 1)) for k, v in enumerate(logits)]
        expected["o_class"].append(int(result.classes[0]))
    return expected


def features(sequences):
    """Payloads of the input stream."""
    for x in sequences:
        flat = x.ravel().tolist()
        yield from ({"code": v, "last": int(k == len(flat) - 1)} for k, v in enumerate(flat))


def check(design, sequences, pause, seed):
    """Simulate `design` with streams that pause, and hold its outputs to golden."""
    expected = outputs(design.model, sequences)
    got = run_streams(
        design.component(),
        {"i": list(features(sequences))},
        {name: len(values) for name, values in expected.items()},
        pause=pause,
        seed=seed,
        cycles=60000,
    )
    plain = {
        "o_h": [(int(p.code), int(p.last)) for p in got["o_h"]],
        "o_logits": [(int(p.logit), int(p.last)) for p in got["o_logits"]],
        "o_class": [int(p) for p in got["o_class"]],
    }
    assert plain == expected
