# amaranth: UnusedElaboratable=no
"""Networks whose gates share one of each unit, held to the golden model."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from genogate.hdl.gru.design import Design
from genogate.model.errors import InputError
from genogate.model.genome import GENES
from genogate.model.knobs import Knobs, Lanes
from shared_networks import check, draw


def drawn(seed, *layers, **knobs):
    """A random network, and a few short sequences for it."""
    return draw([2027, seed], (2, 1, 2), *layers, **knobs)


KNOBS = [
    {"bits": 8, "activation": "pwl", "terms": 1},
    {"bits": 8, "activation": "table", "terms": 1, "sizes": (2, 2, 2)},
    {"bits": 2, "terms": 2, "dense_output": "gene"},
    {"channel": True, "terms": None, "sizes": (5, 5, 3)},
    {"entries": 16, "activation": "pwl", "terms": 3},
    {"layers": 2, "sizes": (2, 3, 2)},
    {"sizes": (1, 1, 2), "input_bits": 1},
    {"sizes": (9, 2, 5)},
]


# All with one lane, and by turns with two or three.
@pytest.mark.parametrize(
    ("about", "lanes"),
    [(about, lanes) for k, about in enumerate(KNOBS) for lanes in (1, 2 + k % 2)],
    ids=lambda value: (
        " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None
    ),
)
def test_random_networks_equal_golden_while_streams_pause(about, lanes):
    seed = len(about) + lanes
    model, sequences = drawn(seed, **{"sizes": (3, 4, 3)} | about)
    design = Design.of(model, Lanes(lanes, lanes), "gates")
    check(design, sequences, 0.3 * (lanes != 2), seed)


def cycles_between(design, port, count, steps=1 << 30):
    """Cycles between transfers of `port`, every `count` of them, in the steady state."""
    dut, ends = design.component(), []
    length = steps * design.model.layers[0].input_size

    async def bench(ctx):
        for name in ("o_h", "o_logits", "o_class"):
            ctx.set(getattr(dut, name).ready, 1)
        ctx.set(dut.i.valid, 1)
        cycle = sent = seen = 0
        ctx.set(dut.i.payload, {"code": 1, "last": int(length == 1)})
        async for _, _, ready, valid in ctx.tick().sample(dut.i.ready, getattr(dut, port).valid):
            cycle, sent, seen = cycle + 1, sent + ready, seen + valid
            if ready:
                ctx.set(dut.i.payload, {"code": 1, "last": int(sent % length == length - 1)})
            if valid and seen % count == 0:
                ends.append(cycle)
            if len(ends) == 4:
                break

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return set(np.diff(ends[1:]).tolist())


@pytest.mark.parametrize("layers", [1, 2])
def test_cycles_per_step_are_as_stated(layers):
    model, _ = drawn(layers, layers, sizes=(3, 2 + layers, 2))
    design = Design.of(model, share="gates")
    hidden = model.layers[-1].hidden_size
    assert cycles_between(design, "o_h", hidden) == {design.cycles_per_step}


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("sizes", [(3, 4, 3), (9, 1, 2)])
def test_cycles_per_sequence_are_as_stated(sizes, steps):
    model, _ = drawn(3, sizes=sizes)
    design = Design.of(model, share="gates")
    assert cycles_between(design, "o_class", 1, steps) == {design.cycles_per_sequence(steps)}


def test_the_machine_says_whom_it_serves_and_equal_identities_are_equal_circuits():
    model, _ = drawn(1, 2)
    design = Design.of(model, share="gates")
    names = {name for row in design.layers for name in row}
    assert not names & set(GENES)
    assert {"machine", "weights", "biases", "state"} <= names
    assert design.serves == {"layer0.machine": GENES, "layer1.machine": GENES}
    assert "classifier" in design.rest
    part = design.layers[0]["machine"]
    assert part.build().identity == part.identity


def test_what_shared_gates_cannot_have_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^share gates: one multiply-accumulate .* 2,3: give one"):
        Knobs(share="gates", lanes_x=2, lanes_h=3)
    with pytest.raises(InputError, match=r"^pipeline 1: with share gates .* or --share none$"):
        Knobs(share="gates", pipeline=1)
