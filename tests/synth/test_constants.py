# amaranth: UnusedElaboratable=no
"""Contents of constant memories, written as text: the same RTLIL as Amaranth's own."""

import numpy as np
import pytest
from amaranth.back import rtlil
from genogate.hdl.gru.design import Design
from genogate.hdl.memories import Rom
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim.random_model import random_model
from genogate.synth.constants import to_rtlil


@pytest.mark.parametrize(("lanes", "share"), [((3, 9), "none"), ((2, 2), "all")])
def test_a_network_has_the_text_that_amaranth_writes(lanes, share):
    rng = np.random.default_rng(2026)
    genome = Genome(Genome.uniform(7).layers, ((4, 5), (6, 7)))
    around = {"front": [("sigmoid", 1)], "back": [("relu", 4)], "initial_state": True}
    model = random_model(rng, genome, 5, 6, 3, **around)
    design = Design.of(model, Lanes(*lanes), share)
    expected = rtlil.convert(design.component(), name="gru", emit_src=False)
    assert to_rtlil(design.component(), "gru") == expected


@pytest.mark.parametrize("words", [[0], [5], [1, 2, 7], [0] * 4])
def test_a_memory_of_any_size_has_its_words(words):
    expected = rtlil.convert(Rom(words, 3), name="top", emit_src=False)
    assert to_rtlil(Rom(words, 3), "top") == expected
