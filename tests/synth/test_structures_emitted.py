# amaranth: UnusedElaboratable=no
"""Networks with dense layers and given states: benches, reports, wrappers."""

import subprocess
from functools import lru_cache

import numpy as np
import pytest
from genogate.hdl.gru.design import Design
from genogate.hdl.wrappers.byte_stream import LABEL, ByteNetwork
from genogate.model.genome import Genome
from genogate.model.head import Head
from genogate.model.integer import code_range
from genogate.sim import golden
from genogate.sim.random_model import random_model
from genogate.sim.rtl.streams import run_streams
from genogate.synth import estimate
from genogate.synth.integration.fusesoc import core_file
from genogate.synth.integration.plain_bench import plain_bench
from genogate.synth.integration.wrapper import wrapper_verilog
from genogate.synth.report import area_report
from genogate.synth.verilog import emit, header


@lru_cache
def design(share="none", head=None):
    """A small network with a layer in front and one behind."""
    genome = Genome(Genome.uniform(4).layers, ((4, 5), (6, 7)))
    around = {"front": [("sigmoid", 5)], "back": [("relu", 4)], "initial_state": True}
    rng = np.random.default_rng(2026)
    return Design.of(random_model(rng, genome, 3, 4, 3, head=head, **around), None, share)


def sequences(model, shape):
    rng = np.random.default_rng(1)
    return rng.integers(*code_range(model.in_bits), (*shape, model.input_size), endpoint=True)


@pytest.mark.parametrize(
    ("share", "head", "answers"),
    [("none", None, 4), ("gates", Head("every"), 16), ("all", Head("every", "codes"), 12)],
)
def test_the_plain_bench_passes_in_icarus(tmp_path, share, head, answers):
    network = design(share, head)
    codes = sequences(network.model, (2, 4))
    for name, text in {"gru.v": emit(network), **plain_bench(network, codes)}.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["iverilog", "-o", "tb", "gru.v", "gru_tb.v"], cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "-n", "tb"], cwd=tmp_path, capture_output=True, text=True)
    # 2 sequences: 4 steps of 4 units, and the answers.
    assert done.stdout.splitlines()[-1].startswith(f"PASS: {2 * (16 + answers)} transfers equal")


def test_the_area_report_has_a_row_for_every_part_and_all_memory():
    network = design()
    report = area_report(network)
    rows = {row.name: row for row in report.rows}
    assert rows["front0"].bits == 4
    assert rows["front0"].area.memory_bits > 5 * 3 * 4  # weights and biases
    assert rows["back0"].area.cells > 0
    assert rows["layer0.initial"].area.memory_bits == 4 * 4
    assert rows["front0.buffer"].area.memory_bits == 3 * 8
    assert {"front0.activation", "front0.control", "back0.control"} <= set(rows)
    # The whole network holds the same memories.
    assert report.flat.memory_bits == report.total.memory_bits
    estimated = estimate.total(network)
    assert estimated.memory_bits == report.total.memory_bits
    assert estimated.cells == pytest.approx(report.total.cells, rel=0.2)


def test_the_header_tells_of_dense_layers_and_the_given_state():
    text = header(design())
    assert "// front0: 3 to 5, sigmoid; weights 4 bits, output 5 bits; " in text
    assert "// back0: 4 to 4, relu; weights 6 bits, output 7 bits; " in text
    assert "starts from the given state" in text
    assert "3 inputs" in core_file(design(), ["gru_tb.v"])


def test_a_wrapper_takes_features_of_the_first_dense_layer():
    network = design()
    codes = sequences(network.model, (3, 2))
    labels = golden.run(network.model, codes).classes
    packets = [
        {"data": int(v) & 255, "last": k == row.size - 1}
        for row in codes
        for k, v in enumerate(row.ravel())
    ]
    got = run_streams(ByteNetwork(network), {"i": packets}, {"o": 6}, pause=0.3, cycles=20_000)
    words = [int(p.data) for p in got["o"]]
    assert words == [word for label in labels for word in (LABEL, int(label))]
    assert "3 features a step" in " ".join(wrapper_verilog(network, "axi").split())
