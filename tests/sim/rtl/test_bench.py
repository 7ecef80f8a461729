"""The bench finds each kind of fault, in a design that only replays what it is told to say.

The replayed design has the hierarchy and the ports of the real one, so a fault can be placed in
one code of one operator and nowhere else.
"""

import json

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.model.integer import SCHEDULE
from genogate.sim.random_model import random_model
from genogate.sim.rtl.network.harness import watched_streams
from genogate.sim.rtl.network.regression import SCENARIOS, build_scenarios, simulate
from genogate.sim.rtl.network.transcript import Expectation, Segment

BATCH, STEPS, HIDDEN = 2, 3, 4
MODEL = random_model(np.random.default_rng(11), Genome.uniform(6, 2), 3, HIDDEN, 3)
CODES = np.random.default_rng(12).integers(-128, 128, (BATCH, STEPS, 3))
SEGMENT = Segment(tuple((k, STEPS) for k in range(BATCH)))
STREAMS = {stream.label: (number, stream) for number, stream in enumerate(watched_streams(MODEL))}
REPLAY = """
module replay_{name} (input clk, input rst, input o__ready, output o__valid,
                      output [{high}:0] o__payload);
  reg [{high}:0] memory [0:{last}];
  reg [31:0] index = 0;
  assign o__valid = index < {count};
  assign o__payload = memory[index]{glitch};
  always @(posedge clk) index <= rst ? 0 : index + (o__valid && o__ready);
  initial begin
{init}
  end
endmodule
"""


def replayed(faults=None, *, codes=CODES, drop=(), extra=(), glitch=(), stuck=False):
    """Verilog whose streams say what golden says, but for `faults` {(label, index): value}."""
    expectation, modules, instances = Expectation(MODEL, codes, ""), [], {0: [], 1: [], -1: []}
    for label, (number, stream) in STREAMS.items():
        values = expectation.expected(number, SEGMENT).tolist()
        for (where, index), value in (faults or {}).items():
            if where == label:
                values[index] = value
        if label in drop:
            del values[5]
        if label in extra:
            values.append(values[-1])
        if stuck and stream.layer < 0:
            values = values[:2]
        width = stream.width - (stream.name == "o_class")
        if stream.name in ("o_h", "o_logits"):
            # In the port `last` is on top; the log has it below the code.
            values = [
                v if v == "x" else (v >> 1 & (1 << width - 1) - 1) | (v & 1) << width - 1
                for v in values
            ]
        init = "\n".join(
            f"    memory[{k}] = "
            + (f"{{{width}{{1'bx}}}};" if v == "x" else f"{width}'h{v & (1 << width) - 1:x};")
            for k, v in enumerate(values)
        )
        name = label.replace(".", "_")
        modules.append(
            REPLAY.format(
                name=name,
                high=width - 1,
                last=len(values) - 1,
                count=len(values),
                init=init,
                glitch=" ^ ~o__ready" if label in glitch else "",
            )
        )
        instances[stream.layer].append((name, stream.name))
    # Operators are taken in two of three cycles, so that the hold rule has something to check.
    layers = "\n".join(
        f"module layer_{k} (input clk, input rst);\n  reg [1:0] phase = 0;\n"
        "  always @(posedge clk) phase <= phase == 2 ? 0 : phase + 1;\n"
        + "\n".join(
            f"  wire {gene}_valid; wire signed [{STREAMS[f'layer{k}.{gene}'][1].width - 1}"
            f":0] {gene}_payload;\n  replay_{name} {gene} (.clk(clk), .rst(rst), "
            f".o__ready(phase != 0), .o__valid({gene}_valid), "
            f".o__payload({gene}_payload));"
            for name, gene in instances[k]
        )
        + "\nendmodule"
        for k in (0, 1)
    )
    ports = ", ".join(
        f"input {name}__ready, output {name}__valid, output "
        f"[{STREAMS[name][1].width - 1 - (name == 'o_class')}:0] {name}__payload"
        for _, name in instances[-1]
    )
    outputs = "\n".join(
        f"  replay_{name} out_{name} (.clk(clk), .rst(rst), .o__ready({name}__ready), "
        f".o__valid({name}__valid), .o__payload({name}__payload));"
        for _, name in instances[-1]
    )
    return "\n".join(
        [
            *modules,
            layers,
            f"""
module gru (input clk, input rst, input [8:0] i__payload, input i__valid, output i__ready, {ports});
  assign i__ready = 1;
  layer_0 layer0 (.clk(clk), .rst(rst));
  layer_1 layer1 (.clk(clk), .rst(rst));
{outputs}
endmodule
""",
        ]
    )


def found(folder, verilog, **options):
    options = {"scenarios": ["back-to-back"], "waves_on_failure": False} | options
    return simulate(MODEL, verilog, CODES, out_dir=folder, **options)


def golden_code(label, index):
    number, _ = STREAMS[label]
    return int(Expectation(MODEL, CODES, "").expected(number, SEGMENT)[index])


def test_a_right_replay_passes_and_is_counted(tmp_path):
    report = found(tmp_path / "with space", replayed())
    assert report.mismatches == []
    assert report.passed
    assert (report.sequences, report.steps) == (BATCH, BATCH * STEPS)
    codes = BATCH * STEPS * HIDDEN
    expected = dict.fromkeys((f"layer{k}.{name}" for k in (0, 1) for name in SCHEDULE), codes)
    assert report.transfers == {**expected, "o_h": codes, "o_logits": BATCH * 3, "o_class": BATCH}
    assert report.codes == sum(report.transfers.values())
    assert report.versions["cocotb"].startswith("2.")
    # Four units at two transfers in three cycles.
    assert report.cycles_per_step == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize(
    ("label", "index", "where"),
    [
        ("layer0.w_ir", 0, "layer 0 step 0: w_ir[0]"),
        ("layer1.p_rn", 2 * HIDDEN + 3, "layer 1 step 2: p_rn[3]"),
        ("layer0.s_h", STEPS * HIDDEN + 5, "layer 0 step 1: s_h[1]"),
    ],
)
def test_one_wrong_code_is_named(tmp_path, label, index, where):
    golden = golden_code(label, index)
    report = found(tmp_path, replayed({(label, index): golden ^ 1}), seed=7)
    sequence = index // (STEPS * HIDDEN)
    assert report.mismatches == [
        f"{where} rtl {golden ^ 1} != golden {golden} "
        f"(sequence {sequence}, back-to-back, genome int6, seed 7)"
    ]
    assert not report.passed


def test_the_earliest_step_and_then_dataflow_order_come_first(tmp_path):
    faults = {
        (label, index): golden_code(label, index) ^ 1
        for label, index in [
            ("layer0.w_ir", HIDDEN),
            ("layer1.w_iz", 1),
            ("layer0.s_h", 2),
            ("layer0.a_n", 2),
            ("layer0.w_iz", 3),
        ]
    }
    report = found(tmp_path, replayed(faults))
    assert [m.split(" rtl")[0] for m in report.mismatches] == [
        "layer 0 step 0: a_n[2]",
        "layer 0 step 0: s_h[2]",
        "layer 0 step 0: w_iz[3]",
        "layer 1 step 0: w_iz[1]",
        "layer 0 step 1: w_ir[0]",
    ]


def test_wrong_outputs_are_named(tmp_path):
    state, logit = golden_code("o_h", 1), golden_code("o_logits", 4)
    kind = golden_code("o_class", 1)
    report = found(
        tmp_path,
        replayed(
            {("o_h", 1): state ^ 1, ("o_logits", 4): logit ^ 2, ("o_class", 1): (kind + 1) % 3}
        ),
    )
    texts = [message.split(" (sequence")[0] for message in report.mismatches]
    assert texts == [
        f"step 0: o_h[1] rtl {state >> 1} (last 1) != golden {state >> 1} (last 0)",
        f"o_class rtl {(kind + 1) % 3} != golden {kind}",
        f"o_logits[1] rtl {(logit ^ 2) >> 1} != golden {logit >> 1}",
    ]


def test_missing_extra_and_unknown_codes_are_named(tmp_path):
    verilog = replayed({("layer1.a_z", 0): "x"}, drop=["layer0.p_zh"], extra=["layer1.s_r"])
    report = found(tmp_path, verilog)
    golden = golden_code("layer1.a_z", 0)
    assert f"layer 1 step 0: a_z[0] rtl x != golden {golden} " in report.mismatches[0]
    assert any("p_zh[" in message for message in report.mismatches)
    assert any("s_r[3] is followed by 1 codes too many" in m for m in report.mismatches)


def test_a_payload_that_moves_before_it_is_taken_is_named(tmp_path):
    report = found(tmp_path, replayed(glitch=["layer1.p_zn"]))
    assert any(
        m.startswith("layer1.p_zn: valid or payload changed before it was taken in cycle ")
        for m in report.mismatches
    )


def test_a_deadlock_ends_and_names_the_first_missing_code(tmp_path):
    report = found(tmp_path, replayed(stuck=True))
    assert report.mismatches[0].startswith("deadlock: no port moved for ")
    assert "; step 0: o_h[2] rtl nothing != golden " in report.mismatches[0]


def test_a_failure_keeps_a_waveform_and_a_later_success_removes_it(tmp_path):
    fault = {("layer0.s_n", 3): golden_code("layer0.s_n", 3) ^ 1}
    report = found(tmp_path, replayed(fault), waves_on_failure=True)
    assert report.waveform == str(tmp_path / "failure.fst")
    assert (tmp_path / "failure.fst").stat().st_size > 500
    assert found(tmp_path, replayed()).waveform is None
    assert not (tmp_path / "failure.fst").exists()


def test_verilog_that_does_not_compile_is_a_failure(tmp_path):
    report = found(tmp_path, "module gru (\ninput clk\n;\nendmodule\n")
    assert report.mismatches[0].startswith("the Verilog does not compile: ")
    assert not report.passed
    without = replayed().replace("replay_layer1_s_z s_z ", "replay_layer1_s_z hidden ")
    assert "layer1.s_z" in found(tmp_path, without).mismatches[0]


def test_a_simulator_that_dies_or_hangs_is_a_failure(tmp_path):
    dies = replayed().replace("assign i__ready = 1;", "assign i__ready = 1;\ninitial #500 $finish;")
    report = found(tmp_path, dies)
    assert len(report.mismatches) == 1
    assert not report.passed
    loop = "\nreg a = 0; always @(posedge clk) while (1) a = ~a;\n"
    report = found(
        tmp_path,
        replayed().replace("assign i__ready = 1;", "assign i__ready = 1;" + loop),
        timeout_s=3,
    )
    assert report.mismatches[0].startswith("the bench broke: ")


def test_no_simulator_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^iverilog: .*apt-get install iverilog\)$"):
        found(tmp_path / "out", replayed())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenarios": ["everything"]}, "^scenario 'everything': the names are back-to-back "),
        ({"stall": 1.0}, "^stall: 1.0 is not within 0 to less than 1$"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        found(tmp_path, replayed(), **options)


def test_a_missing_verilog_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^cannot read .*gru\.v: No such file"):
        found(tmp_path, tmp_path / "gru.v")


def test_scenarios_are_a_function_of_the_seed():
    jobs = [build_scenarios(5, 7, 4, seed=seed) for seed in (1, 1, 2)]
    assert json.dumps(jobs[0]) == json.dumps(jobs[1]) != json.dumps(jobs[2])
    assert [scenario["name"] for scenario in jobs[0]] == list(SCENARIOS)
    assert all(s["stall"] > 0 for s in jobs[0][1:])
    assert jobs[0][0]["stall"] == 0
