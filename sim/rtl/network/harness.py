"""A Verilog test bench around the emitted ``gru``: clock, transfer log, stream rules, watchdog.

Python that runs on every clock edge is what makes a cocotb regression slow, so the watching is done
in Verilog: every transfer of every operator goes to a file of three integers a line (stream,
cycle, value), which :mod:`.transcript` compares with the golden model, and the cocotb
bench wakes only when something has to be driven.
"""

from dataclasses import dataclass

from ....hdl.gru.shared.rows import ORDER
from ....model.integer import SCHEDULE, IntModel

#: Name of the transfer log, in the folder where the simulator runs.
LOG = "transfers.log"
#: Name of the environment variable that tells the cocotb bench its job file.
JOB_VARIABLE = "GENOGATE_JOB"
#: Events in the log are a stream's number plus one of these; a reset is stream -1.
HOLD_EVENT, UNKNOWN_EVENT, RESET = 1_000_000, 2_000_000, -1
#: Logged in place of a payload that holds x or z.
UNKNOWN = 1 << 62
#: Clock period, ns.
PERIOD = 10


@dataclass(frozen=True)
class Watched:
    """One watched stream: `layer` and `name` (a gene), or layer -1 and ``o_h o_logits o_class``."""

    layer: int
    name: str
    width: int

    @property
    def label(self) -> str:
        """``layer0.s_h``, ``o_logits``: the key in reports."""
        return self.name if self.layer < 0 else f"layer{self.layer}.{self.name}"


def watched_streams(model: IntModel) -> list[Watched]:
    """All streams that the bench logs, in dataflow order; a stream's number is its position."""
    streams = [
        Watched(number, name, layer.bits(name))
        for number, layer in enumerate(model.layers)
        for name in SCHEDULE
    ]
    return [
        *streams,
        Watched(-1, "o_h", model.layers[-1].bits("h") + 1),
        Watched(-1, "o_logits", model.classifier.acc_width + 1),
        Watched(-1, "o_class", class_width(model) + 1),
    ]


def class_width(model: IntModel) -> int:
    """Width of the ``o_class`` payload, bits."""
    return max(1, (model.classes - 1).bit_length())


_WATCH = f"""\
// Logs the transfers of one stream, and breaches of the rule that valid and payload hold.
module bench_watch #(parameter ID = 0, parameter WIDTH = 8) (
  input clk, input rst, input [31:0] cycle,
  input valid, input ready, input signed [WIDTH-1:0] payload);
  reg held = 0;
  reg signed [WIDTH-1:0] kept = 0;
  always @(posedge clk)
    if (rst) held <= 0;
    // Most streams are idle in most cycles: nothing is done then.
    else if (valid !== 1'b0 || held !== 1'b0) begin
      held <= valid & ~ready;
      kept <= payload;
      if (^valid === 1'bx)
        $fwrite(bench.log, "%0d %0d 0\\n", ID + {UNKNOWN_EVENT}, cycle);
      if (held === 1'b1 && (valid !== 1'b1 || payload !== kept))
        $fwrite(bench.log, "%0d %0d 0\\n", ID + {HOLD_EVENT}, cycle);
      if (valid === 1'b1 && ready === 1'b1) begin
        if (^payload === 1'bx) $fwrite(bench.log, "%0d %0d {UNKNOWN}\\n", ID, cycle);
        else $fwrite(bench.log, "%0d %0d %0d\\n", ID, cycle, payload);
      end
    end
endmodule
"""


#: Counts the results of a shared layer, so that each can be told from the others.
_SHARED = """\
  // Results of the shared adder of layer {layer}, in the order in which it makes them.
  reg [4:0] made_{layer} = 0;
  always @(posedge clk)
    if (rst) made_{layer} <= 0;
    else if (dut.layer{layer}.machine.written === 1'b1)
      made_{layer} <= made_{layer} == {last} ? 0 : made_{layer} + 1;
"""


def _made() -> list[str]:
    """Results of a shared unit in order: the operators', and a copy of the old state."""
    names = [name for name, _, _ in ORDER]
    names.insert(names.index("p_zh"), "copy")
    return names


def harness_verilog(model: IntModel, share: str = "none") -> str:
    """The text of module ``bench``, which instantiates ``gru`` as ``dut``.

    The cocotb bench drives ``rst``, the input stream and the readies of the outputs, and waits on
    ``taken`` (toggles with every input transfer), ``marked`` (``mark`` states have come out),
    ``done`` (the expected numbers of transfers have come out) and ``stuck`` (nothing moved for
    ``limit`` cycles).
    """
    in_bits = model.layers[0].in_bits
    watched = watched_streams(model)
    top = {stream.name: stream.width - 1 for stream in watched if stream.layer < 0}
    watches = []
    for number, stream in enumerate(watched):
        if stream.layer >= 0 and share == "all":
            machine, place = f"dut.layer{stream.layer}.machine", _made().index(stream.name)
            valid = f"{machine}.written && made_{stream.layer} == {place}"
            signals = (valid, "1'b1", f"{machine}.code")
        elif stream.layer >= 0:
            path = f"dut.layer{stream.layer}.{stream.name}.o__"
            signals = (f"{path}valid", f"{path}ready", f"{path}payload")
        elif stream.name == "o_class":
            # A leading 0 keeps the class unsigned.
            signals = ("o_class_valid", "o_class_ready", "{1'b0, o_class_payload}")
        else:
            # The `last` flag goes below the code, so that the sign stays on top.
            name, high = stream.name, top[stream.name]
            payload = f"{{{name}_payload[{high - 1}:0], {name}_payload[{high}]}}"
            signals = (f"{name}_valid", f"{name}_ready", payload)
        watches.append(
            f"  bench_watch #(.ID({number}), .WIDTH({stream.width})) watch_{number} "
            f"(.clk(clk), .rst(rst), .cycle(cycle),\n    .valid({signals[0]}), "
            f".ready({signals[1]}),\n    .payload({signals[2]}));"
        )
    if share == "all":
        last = len(_made()) - 1
        watches += [_SHARED.format(layer=k, last=last) for k in range(len(model.layers))]
    newline = "\n"
    return f"""\
`timescale 1ns/1ps
{_WATCH}
module bench;
  integer log;
  initial log = $fopen("{LOG}", "w");
  reg clk = 0;
  always #{PERIOD // 2} clk = ~clk;
  // Driven from Python.
  reg rst = 1, i_valid = 0, o_h_ready = 0, o_logits_ready = 0, o_class_ready = 0, flush = 0;
  reg [{in_bits}:0] i_payload = 0;
  reg [31:0] mark = 32'hffffffff, limit = 32'hffffffff;
  reg [31:0] want_h = 32'hffffffff, want_logits = 0, want_class = 0;
  // Watched from Python.
  wire i_ready, o_h_valid, o_logits_valid, o_class_valid;
  wire [{top["o_h"]}:0] o_h_payload;
  wire [{top["o_logits"]}:0] o_logits_payload;
  wire [{top["o_class"] - 1}:0] o_class_payload;
  reg taken = 0;
  reg [31:0] cycle = 0, idle = 0, n_h = 0, n_logits = 0, n_class = 0;
  wire marked = n_h >= mark;
  wire done = n_h >= want_h && n_logits >= want_logits && n_class >= want_class;
  wire stuck = idle > limit;
  gru dut (.clk(clk), .rst(rst),
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
    .o_h__payload(o_h_payload), .o_h__valid(o_h_valid), .o_h__ready(o_h_ready),
    .o_logits__payload(o_logits_payload), .o_logits__valid(o_logits_valid),
    .o_logits__ready(o_logits_ready),
    .o_class__payload(o_class_payload), .o_class__valid(o_class_valid),
    .o_class__ready(o_class_ready));
  wire move_i = i_valid && i_ready === 1'b1;
  wire move_h = o_h_valid === 1'b1 && o_h_ready;
  wire move_logits = o_logits_valid === 1'b1 && o_logits_ready;
  wire move_class = o_class_valid === 1'b1 && o_class_ready;
  always @(posedge flush) $fflush(log);
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (rst) begin
      $fwrite(log, "{RESET} %0d 0\\n", cycle);
      idle <= 0; n_h <= 0; n_logits <= 0; n_class <= 0;
    end else begin
      idle <= move_i | move_h | move_logits | move_class ? 0 : idle + 1;
      taken <= taken ^ move_i;
      n_h <= n_h + move_h;
      n_logits <= n_logits + move_logits;
      n_class <= n_class + move_class;
    end
  end
{newline.join(watches)}
endmodule
"""
