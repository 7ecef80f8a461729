"""The hardware of what shipped networks have not: shared units, dense heads, pipelines, loads.

Those that are shipped are held by tests/synth/test_same_verilog.py, as Verilog by Yosys; here it is
RTLIL, which takes no synthesis.
"""

import hashlib

import numpy as np
import pytest
from amaranth.back import rtlil
from genogate.hdl.gru.design import Design
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model

#: First digits of SHA-256 by Amaranth 0.5.10: bits, sizes (inputs, units, classes, layers), options
#: of the network, and of the design. A change that means to change the hardware replaces them, and
#: says so in CHANGELOG.md.
EXPECTED = {
    "lanes and pipeline": (
        (4, (5, 6, 3, 2), {"channel": True, "activation": "pwl"}, (Lanes(2, 3), "none", 2)),
        "fd74bed1616c",
    ),
    "classes at every step": (
        (6, (3, 16, 3, 1), {"activation": "table", "head": Head(at="every")}, (Lanes(1, 2),)),
        "673d0b941bc6",
    ),
    "codes from a given state": (
        (6, (3, 5, 3, 1), {"initial_state": True, "head": Head(output="codes")}, (Lanes(),)),
        "0797cf68cc14",
    ),
    "shared gates": ((6, (3, 5, 3, 1), {"channel": True}, (Lanes(), "gates")), "f37b1dbd45f3"),
    "all shared": ((8, (3, 5, 3, 1), {}, (Lanes(), "all")), "1dddca3b3605"),
    "loaded weights": ((8, (3, 5, 3, 1), {}, (Lanes(), "none", 0, "load")), "f9ebae2301d8"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_circuit_is_the_same_bytes(name):
    (bits, (inputs, hidden, classes, layers), network, options), expected = EXPECTED[name]
    genome = Genome.uniform(bits, layers)
    model = random_model(np.random.default_rng(5), genome, inputs, hidden, classes, **network)
    text = rtlil.convert(Design.of(model, *options).component(), name="top", emit_src=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == expected
