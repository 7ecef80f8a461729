"""A Verilog test bench around the emitted ``gru``: clock, transfer log, stream rules, watchdog.

Python that runs on every clock edge is what makes a cocotb regression slow, so the watching is done
in Verilog: every transfer of every operator goes to a file of three integers a line (stream,
cycle, value), which :mod:`.transcript` compares with the golden model, and the cocotb
bench wakes only when something has to be driven.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ....hdl.gru.shared.order import ORDER
from ....model.integer import SCHEDULE, DenseLayer, IntModel

if TYPE_CHECKING:
    from ....hdl.gru.loading import Image

#: Name of the transfer log, in the folder where the simulator runs.
LOG = "transfers.log"
#: Name of the environment variable that tells the cocotb bench its job file.
JOB_VARIABLE = "GENOGATE_JOB"
#: Events in the log are a stream's number plus one of these; a reset is stream -1.
HOLD_EVENT, UNKNOWN_EVENT, RESET = 1_000_000, 2_000_000, -1
#: Logged in place of a payload that holds x or z.
UNKNOWN = 1 << 62
#: A number that no counter of the bench reaches, as Verilog writes it.
NEVER = "32'hffffffff"
#: Clock period, ns.
PERIOD = 10


@dataclass(frozen=True)
class Watched:
    """One watched stream: `layer` and `name` (a gene), or layer -1 and a port of
    :func:`output_ports`, or of a dense layer `place` and ``o``, its output, or ``w``, its
    requantised sums."""

    layer: int
    name: str
    width: int
    place: str = ""

    @property
    def label(self) -> str:
        """``layer0.s_h``, ``front0.o``, ``o_logits``: the key in reports."""
        if self.place:
            return f"{self.place}.{self.name}"
        return self.name if self.layer < 0 else f"layer{self.layer}.{self.name}"


def watched_streams(model: IntModel) -> list[Watched]:
    """All streams that the bench logs, in dataflow order; a stream's number is its position."""
    streams = [
        *_dense_streams("front", model.front),
        *(
            Watched(number, name, layer.bits(name))
            for number, layer in enumerate(model.layers)
            for name in SCHEDULE
        ),
        *_dense_streams("back", model.back),
    ]
    widths = {
        "o_h": model.layers[-1].bits("h") + 1,
        "o_logits": model.classifier.acc_width + 1,
        # A leading 0 keeps the class unsigned.
        "o_class": class_width(model) + 1,
        "o_codes": 0 if model.stage is None else model.stage.out_bits + 1,
    }
    return [*streams, *(Watched(-1, name, widths[name]) for name in output_ports(model))]


def _dense_streams(place: str, layers: Sequence[DenseLayer]) -> list[Watched]:
    """Those of dense layers; the `last` beside an output is not watched."""
    streams = []
    for number, layer in enumerate(layers):
        if layer.activation is not None:
            streams.append(Watched(-1, "w", layer.dense.out_bits, f"{place}{number}"))
        streams.append(Watched(-1, "o", layer.out_bits, f"{place}{number}"))
    return streams


def output_ports(model: IntModel) -> tuple[str, ...]:
    """The output streams of ``gru``, in dataflow order."""
    answers = {
        "class": ("o_logits", "o_class"),
        "logits": ("o_logits",),
        "codes": ("o_codes",),
    }
    return ("o_h", *answers[model.head.output])


def flagged(model: IntModel, name: str) -> bool:
    """Whether transfers of port `name` carry a `last`."""
    return name != "o_class" or model.head.every


def answers(model: IntModel, steps: int) -> int:
    """Answers to a sequence of `steps`."""
    return steps if model.head.every else 1


def transfers(model: IntModel, name: str, steps: int) -> int:
    """Transfers on output port `name` of a sequence of `steps`."""
    if name == "o_h":
        return steps * model.layers[-1].hidden_size
    return answers(model, steps) * (1 if name == "o_class" else model.classes)


def class_width(model: IntModel) -> int:
    """Width of the ``o_class`` payload, bits."""
    return max(1, (model.classes - 1).bit_length()) + model.head.every


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


#: Loads the weights after each reset, before any feature is taken.
_LOAD = """\
  reg [{high}:0] weight_words [0:{last}];
  initial $readmemh("gru_weights.hex", weight_words);
  reg [31:0] n_weights = 0;
  wire weights_ready, loaded;
  wire weights_valid = !rst && n_weights < {count};
  wire move_weights = weights_valid && weights_ready === 1'b1;
  always @(posedge clk) n_weights <= rst ? 0 : n_weights + move_weights;
"""


def _watches(model: IntModel, watched: Sequence[Watched], share: str) -> list[str]:
    """A ``bench_watch`` for each stream, and the counters of results of shared layers."""
    watches = []
    for number, stream in enumerate(watched):
        valid, ready, payload = _signals(model, stream, watched, share)
        watches.append(
            f"  bench_watch #(.ID({number}), .WIDTH({stream.width})) watch_{number} "
            f"(.clk(clk), .rst(rst), .cycle(cycle),\n    .valid({valid}), "
            f".ready({ready}),\n    .payload({payload}));"
        )
    if share != "none":
        last = len(_made()) - 1
        watches += [_SHARED.format(layer=k, last=last) for k in range(len(model.layers))]
    return watches


def _signals(
    model: IntModel, stream: Watched, watched: Sequence[Watched], share: str
) -> tuple[str, str, str]:
    """Valid, ready and payload of a stream, as expressions of the bench."""
    if stream.place:
        # The layer's own output has a name that signals of its parts have as well.
        units = {w.place for w in watched if w.name == "w"}
        part = "activation" if stream.name == "o" and stream.place in units else "dense"
        path = f"dut.{stream.place}.{part}.o__"
        return f"{path}valid", f"{path}ready", f"{path}payload"
    if stream.layer >= 0 and share != "none":
        machine, place = f"dut.layer{stream.layer}.machine", _made().index(stream.name)
        valid = f"{machine}.written && made_{stream.layer} == {place}"
        return valid, "1'b1", f"{machine}.code"
    if stream.layer >= 0:
        path = f"dut.layer{stream.layer}.{stream.name}.o__"
        return f"{path}valid", f"{path}ready", f"{path}payload"
    # The `last` flag goes below the code, so that the sign stays on top.
    name, high = stream.name, stream.width - 1
    sign = "1'b0, " if name == "o_class" else ""
    payload = f"{{{sign}{name}_payload}}"
    if flagged(model, name):
        high -= name == "o_class"
        payload = f"{{{sign}{name}_payload[{high - 1}:0], {name}_payload[{high}]}}"
    return f"{name}_valid", f"{name}_ready", payload


def _port_lines(ports: Sequence[str], watched: Sequence[Watched]) -> dict[str, list[str]]:
    """What the bench says of each output port: wires, pins of ``dut``, transfers."""
    bits = {name: stream.width for stream in watched if (name := stream.name) in ports}
    if "o_class" in bits:
        bits["o_class"] -= 1
    short = [name.removeprefix("o_") for name in ports]
    return {
        "wires": [f"  wire [{bits[name] - 1}:0] {name}_payload;" for name in ports],
        "pins": [
            f"    .{name}__payload({name}_payload), .{name}__valid({name}_valid),\n"
            f"    .{name}__ready({name}_ready)"
            for name in ports
        ],
        "moves": [
            f"  wire move_{name} = o_{name}_valid === 1'b1 && o_{name}_ready;" for name in short
        ],
    }


def _counting(short: Sequence[str], load_moves: str) -> str:
    """What the bench counts: transfers of each output, and cycles in which nothing moved."""
    clears = " ".join(f"n_{name} <= 0;" for name in short)
    moves = " | ".join(f"move_{name}" for name in short)
    counted = "\n".join(f"      n_{name} <= n_{name} + move_{name};" for name in short)
    return f"""\
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (rst) begin
      $fwrite(log, "{RESET} %0d 0\\n", cycle);
      idle <= 0; {clears}
    end else begin
      idle <= move_i{load_moves} | {moves} ? 0 : idle + 1;
      taken <= taken ^ move_i;
{counted}
    end
  end"""


def _loading(image: "Image") -> tuple[str, str, str]:
    """Declarations that load the weights, the pins of ``dut`` for them, and their transfers."""
    count = len(image.words)
    pins = (
        "\n    .i_weights__payload(weight_words[n_weights]), "
        ".i_weights__valid(weights_valid),\n    .i_weights__ready(weights_ready), "
        ".loaded(loaded),"
    )
    declarations = _LOAD.format(high=image.width - 1, last=count - 1, count=count)
    return declarations, pins, " | move_weights"


def harness_verilog(
    model: IntModel, share: str = "none", *, loaded: "Image | None" = None, logit_bits: int = 0
) -> str:
    """The text of module ``bench``, which instantiates ``gru`` as ``dut``. `loaded` : the weights
    that it loads after each reset; `logit_bits` : of a network whose logits are wider than those of
    `model`

    The cocotb bench drives ``rst``, the input stream and the readies of the outputs, and waits on
    ``taken`` (toggles with every input transfer), ``marked`` (``mark`` states have come out),
    ``done`` (the expected numbers of transfers have come out) and ``stuck`` (nothing moved for
    ``limit`` cycles).
    """
    in_bits = model.in_bits
    watched = [
        replace(s, width=max(s.width, logit_bits + 1)) if s.name == "o_logits" else s
        for s in watched_streams(model)
    ]
    watches = _watches(model, watched, share)
    ports = output_ports(model)
    readies = ", ".join(f"{name}_ready = 0" for name in ports)
    short = [name.removeprefix("o_") for name in ports]
    wants = ", ".join(f"want_{name} = {NEVER if name == 'h' else 0}" for name in short)
    counts = [f"n_{name}" for name in short]
    lines = _port_lines(ports, watched)
    newline = "\n"
    load, load_pins, load_moves = ("", "", "") if loaded is None else _loading(loaded)
    return f"""\
`timescale 1ns/1ps
{_WATCH}
module bench;
  integer log;
  initial log = $fopen("{LOG}", "w");
  reg clk = 0;
  always #{PERIOD // 2} clk = ~clk;
  // Driven from Python.
  reg rst = 1, i_valid = 0, {readies}, flush = 0;
  reg [{in_bits}:0] i_payload = 0;
  reg [31:0] mark = {NEVER}, limit = {NEVER};
  reg [31:0] {wants};
  // Watched from Python.
  wire i_ready, {", ".join(f"{name}_valid" for name in ports)};
{newline.join(lines["wires"])}
  reg taken = 0;
  reg [31:0] cycle = 0, idle = 0, {", ".join(f"{name} = 0" for name in counts)};
  wire marked = n_h >= mark;
  wire done = {" && ".join(f"n_{name} >= want_{name}" for name in short)};
  wire stuck = idle > limit;
{load}  gru dut (.clk(clk), .rst(rst),{load_pins}
    .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
{("," + newline).join(lines["pins"])});
  wire move_i = i_valid && i_ready === 1'b1;
{newline.join(lines["moves"])}
  always @(posedge flush) $fflush(log);
{_counting(short, load_moves)}
{newline.join(watches)}
endmodule
"""
