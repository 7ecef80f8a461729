# amaranth: UnusedElaboratable=no
"""Networks in which one adder does everything, held to the golden model."""

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
    return draw([2026, seed], (2, 1, 1), *layers, **knobs)


@pytest.mark.parametrize(
    "about",
    [
        {"bits": 8, "activation": "pwl", "terms": 1},
        {"bits": 8, "activation": "table", "terms": 1, "sizes": (2, 2, 2)},
        {"bits": 2, "terms": 2, "dense_output": "gene"},
        {"channel": True, "terms": None},
        {"entries": 1, "activation": "pwl", "terms": 3},
        {"entries": 16, "activation": "pwl"},
        {"layers": 2, "sizes": (2, 3, 2)},
        {"sizes": (1, 1, 2), "input_bits": 1},
        {"sizes": (9, 2, 5)},
        {"sizes": (1, 2, 3), "classifier_bits": 3},
    ],
    ids=lambda about: " ".join(f"{k}={v}" for k, v in about.items()),
)
def test_random_networks_equal_golden_while_streams_pause(about):
    seed = len(about["sizes"]) if "sizes" in about else 5
    model, sequences = drawn(seed, **{"sizes": (2, 3, 2)} | about)
    check(Design.of(model, share="all"), sequences, 0.2, seed)


@pytest.mark.parametrize("lanes", [2, 4, 8])
@pytest.mark.parametrize(
    "about", [{"bits": 8, "terms": 1}, {"channel": True, "terms": None}, {"terms": 2, "bits": 3}]
)
def test_weights_in_digits_give_the_same_bits(lanes, about):
    model, sequences = drawn(lanes, sizes=(2, 3, 2), **about)
    check(Design.of(model, Lanes(lanes, lanes), "all"), sequences[:2], 0, lanes)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_cycles_per_step_are_as_stated(layers):
    model, _ = drawn(layers, layers, sizes=(2, 2 + (layers > 1), 2))
    design = Design.of(model, share="all")
    dut, ends, hidden = design.component(), [], model.layers[-1].hidden_size

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o_h.ready, 1)
        cycle = count = 0
        async for _, _, valid in ctx.tick().sample(dut.o_h.valid):
            cycle += 1
            count += valid
            if valid and count % hidden == 0:
                ends.append(cycle)
            if len(ends) == 5:
                break

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert set(np.diff(ends[2:]).tolist()) == {design.cycles_per_step}


def test_a_shared_layer_has_no_operators_and_says_whom_its_machine_serves():
    model, _ = drawn(1, 2)
    design = Design.of(model, share="all")
    names = {name for row in design.layers for name in row}
    assert not names & set(GENES)
    assert design.rest == {}
    assert design.serves["layer0.machine"] == GENES
    assert design.serves["layer1.machine"] == (*GENES, "classifier")


@pytest.mark.parametrize("lanes", [Lanes(2, 1), Lanes(3, 3)])
def test_lanes_that_a_shared_adder_cannot_have_are_refused_in_one_line(lanes):
    model, _ = drawn(1)
    message = (
        r"^share all: lanes are bits .* 1, 2, 4, 8, not \d,\d: give one of these, or --share none$"
    )
    with pytest.raises(InputError, match=message):
        Design.of(model, lanes, "all")
    with pytest.raises(InputError, match=message):
        Knobs(share="all", lanes_x=lanes.x, lanes_h=lanes.h)
    with pytest.raises(InputError, match=r"^share: 'most' is not one of"):
        Design.of(model, Lanes(), "most")
