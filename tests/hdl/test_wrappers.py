# amaranth: UnusedElaboratable=no
"""The network behind packets and bytes: answers equal golden, broken packets leave no trace."""

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.hdl.wrappers.byte_stream import BAD_LENGTH, LABEL, ByteNetwork
from genogate.hdl.wrappers.packets import Kind, PacketNetwork, Slice
from genogate.model.genome import Genome
from genogate.model.knobs import Lanes
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams

INPUTS = 3


def network(seed, classes=3, share="none"):
    """A design, and packets of codes: whole sequences, and three of a wrong length among them."""
    rng = np.random.default_rng(seed)
    genome = Genome((tuple(int(v) for v in rng.integers(2, 9, 17)),))
    model = random_model(rng, genome, INPUTS, 4, classes)
    design = Design.of(model, Lanes(2, 1) if share == "none" else None, share)
    lengths = [6, 3, 4, 3, 1, 2, 9] if share == "none" else [3, 4, 3]
    return design, [rng.integers(-128, 128, n) for n in lengths]


def answers(model, packets):
    """(logits, class) of each packet by golden, None for one of a wrong length."""
    for packet in packets:
        if len(packet) % INPUTS:
            yield None
        else:
            result = golden.run(model, packet.reshape(1, -1, INPUTS))
            yield result.logits[0].tolist(), int(result.classes[0])


def transfers(packets, name):
    return [
        {name: int(v) & 255 if name == "data" else int(v), "last": k == len(p) - 1}
        for p in packets
        for k, v in enumerate(p)
    ]


@pytest.mark.parametrize(("share", "pause"), [("none", 0), ("none", 0.4), ("all", 0.2)])
def test_packets_are_answered_in_order_and_broken_ones_by_an_error(share, pause):
    design, packets = network(2026, share=share)
    expected = []
    for answer in answers(design.model, packets):
        if answer is None:
            expected.append((1, Kind.ERROR, 1))
        else:
            expected += [(logit, Kind.LOGIT, 0) for logit in answer[0]]
            expected.append((answer[1], Kind.CLASS, 1))
    got = run_streams(
        PacketNetwork(design),
        {"i": transfers(packets, "code")},
        {"o": len(expected)},
        pause=pause,
        seed=1,
        cycles=60_000,
    )
    assert [(int(p.value), int(p.kind), int(p.last)) for p in got["o"]] == expected


@pytest.mark.parametrize(("classes", "pause"), [(3, 0), (3, 0.4), (2, 0.2)])
def test_bytes_are_answered_by_status_and_class(classes, pause):
    design, packets = network(7, classes)
    expected = []
    for answer in answers(design.model, packets):
        expected += [(BAD_LENGTH, 1)] if answer is None else [(LABEL, 0), (answer[1], 1)]
    got = run_streams(
        ByteNetwork(design),
        {"i": transfers(packets, "data")},
        {"o": len(expected)},
        pause=pause,
        seed=2,
        cycles=60_000,
    )
    assert [(int(p.data), int(p.last)) for p in got["o"]] == expected


def test_a_class_above_255_has_two_bytes():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        model = random_model(rng, Genome.uniform(2), INPUTS, 2, 300)
        packet = rng.integers(-128, 128, INPUTS)
        label = int(golden.run(model, packet.reshape(1, 1, INPUTS)).classes[0])
        if label > 255:
            break
    assert label > 255
    got = run_streams(
        ByteNetwork(Design.of(model)), {"i": transfers([packet], "data")}, {"o": 3}, cycles=20_000
    )
    assert [int(p.data) for p in got["o"]] == [LABEL, label & 255, label >> 8]


@pytest.mark.parametrize("pause", [0, 0.5])
def test_a_slice_passes_every_word_at_full_speed(pause):
    words = np.random.default_rng(3).integers(0, 256, 200).tolist()
    limit = 203 if not pause else 1500
    got = run_streams(Slice(8), {"i": words}, {"o": 200}, pause=pause, seed=4, cycles=limit)
    assert got["o"] == words
