# amaranth: UnusedElaboratable=no
"""Everything that is emitted passes Verilator's lint as it stands, without options."""

import subprocess

import numpy as np
import pytest
from genogate.hdl.boards.top import SerialNetwork
from genogate.hdl.gru.design import Design
from genogate.hdl.piecewise_linear import PiecewiseLinear
from genogate.hdl.units.fixed_units import PipelinedUnit, SelectUnit
from genogate.hdl.units.float32 import FloatUnit, MultiplyAdd
from genogate.hdl.units.lut_unit import integer_unit
from genogate.hdl.units.shift_add_unit import build, forms
from genogate.model.genome import GENES, Genome
from genogate.model.head import Head
from genogate.model.knobs import Lanes
from genogate.model.tables.composites import layernorm_params, softmax_params
from genogate.model.tables.reduction import positive_unit, reduction
from genogate.model.tables.segments import Segments
from genogate.sim.random_model import random_model
from genogate.sim.rtl.simulators import missing_for_verilator, verilator_environment
from genogate.synth.composite_verilog import emit_composite, top_name
from genogate.synth.exact_widths import exact_widths
from genogate.synth.integration.tiny_tapeout import Project, project_files
from genogate.synth.integration.wrapper import wrapper_verilog
from genogate.synth.unit_verilog import emit_unit
from genogate.synth.verilog import emit, to_verilog

pytestmark = pytest.mark.skipif(bool(missing_for_verilator()), reason=str(missing_for_verilator()))


def lint(text, folder, *options):
    """What Verilator says of `text`."""
    source = folder / "source.v"
    source.write_text(text)
    command = ["verilator", "--lint-only", *options, str(source)]
    with verilator_environment():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = [line for line in done.stdout.splitlines() if not line.startswith("- ")]
    return "\n".join([*report, done.stderr]).strip()


#: inputs, units, classes, layers, lanes_x, lanes_h, and bits of all genes (None: random).
SHAPES = [
    (8, 32, 10, 1, 1, 1, 8),
    (1, 1, 1, 1, 1, 1, None),
    (9, 1, 2, 1, 16, 16, None),
    (2, 4, 2, 2, 3, 5, None),
    (3, 17, 1, 1, 1, 2, None),
    (8, 8, 6, 2, 2, 16, 4),
    (24, 16, 1, 1, 1, 1, 2),
    (20, 2, 3, 1, 8, 1, 8),
    (5, 9, 4, 1, 3, 7, None),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def test_networks_of_every_shape_are_clean(shape, tmp_path):
    inputs, hidden, classes, layers, lanes_x, lanes_h, bits = shape
    rng = np.random.default_rng(hidden)
    rows = rng.integers(2, 9, (layers, len(GENES))) if bits is None else np.full((layers, 17), bits)
    genome = Genome(tuple(tuple(map(int, row)) for row in rows))
    terms = [1, 2, None][hidden % 3]
    model = random_model(rng, genome, inputs, hidden, classes, channel=hidden > 4, terms=terms)
    assert lint(emit(Design.of(model, Lanes(lanes_x, lanes_h))), tmp_path) == ""


def test_a_network_that_shares_everything_is_clean(tmp_path):
    model = random_model(np.random.default_rng(7), Genome.uniform(5, 2), 3, 5, 2, terms=2)
    assert lint(emit(Design.of(model, share="all")), tmp_path) == ""


@pytest.mark.parametrize(
    ("share", "front", "back"),
    [("none", (("relu", 3),), (("tanh", 2),)), ("gates", (), ()), ("all", (("none", 2),), ())],
)
def test_networks_whose_weights_are_loaded_are_clean(share, front, back, tmp_path):
    genome = Genome(Genome.uniform(5).layers, ((4, 5),) * len(front + back))
    around = {"front": front, "back": back, "initial_state": bool(front)}
    model = random_model(np.random.default_rng(7), genome, 3, 5, 2, channel=True, **around)
    assert lint(emit(Design.of(model, share=share, weights="load")), tmp_path) == ""


def tiny(head=None, front=(), back=(), initial_state=False):
    """A network of 4 units."""
    genome = Genome(Genome.uniform(4).layers, ((4, 4),) * len(front + back))
    rng = np.random.default_rng(7)
    return random_model(
        rng, genome, 3, 4, 3, head=head, front=front, back=back, initial_state=initial_state
    )


@pytest.mark.parametrize(
    ("head", "share", "pipeline"),
    [
        (Head("every"), "none", 1),
        (Head("every", "logits"), "gates", 0),
        (Head("last", "codes", "sigmoid"), "gates", 0),
        (Head("every", "codes", "tanh"), "all", 0),
    ],
    ids=str,
)
def test_heads_dense_layers_given_states_and_pipelines_are_clean(head, share, pipeline, tmp_path):
    around = {"front": (("relu", 3),), "back": (("tanh", 2),), "initial_state": True}
    lanes = Lanes(2, 2) if pipeline else None
    text = emit(Design.of(tiny(head, **around), lanes, share, pipeline))
    assert lint(text, tmp_path) == ""


@pytest.mark.parametrize("weights", ["rom", "load"])
def test_what_lies_around_a_network_is_clean(weights, tmp_path):
    design = Design.of(tiny(), share="all", weights=weights)
    network = emit(design)
    board = SerialNetwork(design, divisor=10, timeout=1000)
    texts = {name: wrapper_verilog(design, name) + network for name in ("axi", "bytes")}
    texts["board"] = to_verilog(board, "board")
    if weights == "rom":
        project = Project("tt_um_genogate_small", "A network", "An author", 20.0)
        files = project_files(project, design, "1x2", np.zeros((1, 2, 3), int))
        texts["tinytapeout"] = files["src/project.v"]
    complaints = {name: lint(text, tmp_path) for name, text in texts.items()}
    assert {name: text for name, text in complaints.items() if text} == {}


def test_table_units_are_clean(tmp_path):
    rng = np.random.default_rng(5)
    points, slopes = np.array([-60, -9, 4]), rng.integers(-90, 90, 4)
    rows = [Segments(k, points, slopes, [6] * 4, slopes[::-1], [6] * 4) for k in range(3)]
    units = [row.unit(8, 8, k, 3) for k, row in enumerate(rows)]
    parts = {
        "pipelined": PipelinedUnit(units[0], 2),
        "select": SelectUnit(units, 1),
        "loadable": integer_unit(8, 8, 1),
        "wide": integer_unit(32, 8, 3),
        "single": FloatUnit(8, 2),
        "multiply_add": MultiplyAdd(1),
        "serial": PiecewiseLinear(units[1], 2, "register"),
        **{f"form_{k}": build(units[0], form) for k, form in enumerate(forms(units[0]))},
    }
    complaints = {name: lint(emit_unit(part, name), tmp_path) for name, part in parts.items()}
    assert {name: text for name, text in complaints.items() if text} == {}


@pytest.mark.parametrize(
    "op",
    [
        softmax_params(4, 8, 64),
        softmax_params(1, 4, 5, in_bits=4, out_bits=6),
        layernorm_params(64, gamma=np.linspace(0.5, 1.5, 64), beta=np.linspace(-1, 1, 64)),
        layernorm_params(20, rms=True, in_zero_point=-9),
        reduction("reciprocal", 16, 8, 9, 11),
        positive_unit("rsqrt", 32, 16, 16),
    ],
    ids=lambda op: top_name(op),
)
def test_composites_are_clean(op, tmp_path):
    assert lint(emit_composite(op), tmp_path) == ""


def test_the_lint_finds_a_width_that_is_not_exact(tmp_path):
    text = "module m(input [3:0] a, output [7:0] o); assign o = a; endmodule\n"
    assert "WIDTHEXPAND" in lint(text, tmp_path)


CELL = """module \\top
  wire width 0 \\kept
  wire width 4 input 1 \\a
  wire width {width} output 2 \\o
  cell {kind} $1
    parameter \\A_SIGNED {signed}
    parameter \\B_SIGNED {signed}
    parameter \\A_WIDTH 4
    parameter \\B_WIDTH 2
    parameter \\Y_WIDTH {width}
    connect \\A \\a
    connect \\B 2'10
    connect \\Y \\o
  end
  connect \\kept {{  }}
end
"""


def test_operands_are_extended_by_their_sign():
    text = exact_widths(CELL.format(kind="$add", signed=1, width=5))
    assert "connect \\A { \\a [3] \\a }" in text
    assert "connect \\B { 2'10 [1] 2'10 [1] 2'10 [1] 2'10 }" in text
    assert "\\kept" not in text
    text = exact_widths(CELL.format(kind="$eq", signed=0, width=1))
    assert "connect \\B { 1'0 1'0 2'10 }" in text
    assert "parameter \\B_WIDTH 4" in text


def test_a_shift_is_cut_after_it_not_in_it():
    text = exact_widths(CELL.format(kind="$shift", signed=0, width=1))
    assert "wire width 4 $exact$0" in text
    assert "connect \\o $exact$0 [0:0]" in text
