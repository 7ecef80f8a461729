"""Simulating a mapped netlist, many cases at once, to count how often each cell's output changes.

A bit of a net is a Python integer with one binary digit per case (lane). Delays are zero, so that
glitches are not seen.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...model.errors import InputError, number_within
from .liberty import Library

#: Cases side by side, cycles that fill pipelines, and cycles that are counted.
LANES, WARM, CYCLES = 64, 12, 64
SEED = 2026


@dataclass(frozen=True)
class Stimulus:
    """What a unit's input ports see.

    Reset is low. ``X__valid`` and ``X__ready`` are high, and ``X__payload`` waits while the unit's
    ``X__ready`` is low. Whatever is not named below toggles at random.

    setup : cycle by cycle, ports that are not at their values of `hold` before counting begins
    hold : port -> value while counting
    codes : port -> values it draws from, each as likely; two units with equally long lists under
        the same name draw the same positions
    activity : chance of any other input bit to change in a cycle; 0.5 are random codes
    """

    setup: Sequence[Mapping[str, int]] = ()
    hold: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    activity: float = 0.5

    def __post_init__(self) -> None:
        number_within("activity", self.activity, 0, 1)

    def to_json(self) -> str:
        """Equal texts for equal stimuli."""
        return json.dumps(
            [
                [dict(row) for row in self.setup],
                dict(self.hold),
                {port: [int(code) for code in codes] for port, codes in self.codes.items()},
                self.activity,
            ],
            sort_keys=True,
        )


@dataclass(frozen=True)
class Rates:
    """Per instance of a netlist.

    toggles : changes of its output a cycle, 0 to 1; 0 of clock gates
    clocked : share of cycles in which its clock arrives, or comes out of it; 1 where it has none
    """

    toggles: dict[str, float]
    clocked: dict[str, float]


class Netlist:
    """A mapped module as Yosys' ``write_json`` gives it, with state: settle, look, clock.

    Parameters
    ----------
    document : the JSON text; its only module is taken
    library : what the cells are
    names : port -> its name in the document
    lanes : cases side by side
    """

    def __init__(
        self, document: str, library: Library, names: Mapping[str, str], lanes: int = LANES
    ) -> None:
        (module,) = json.loads(document)["modules"].values()
        self.lanes, self.mask = lanes, (1 << lanes) - 1
        ports = module["ports"]
        self.ports = {name: ports[there] for name, there in names.items() if there in ports}
        bits: dict[int | str, int] = {"0": 0, "1": 1, "x": 0}

        def net(bit: int | str) -> int:
            return bits.setdefault(bit, len(bits) - 1)

        self._nets = {name: [net(bit) for bit in port["bits"]] for name, port in self.ports.items()}
        instances = {}
        for name, cell in module["cells"].items():
            kind = library.cell(cell["type"])
            pins = {pin: net(bit) for pin, (bit,) in cell["connections"].items()}
            instances[name] = kind, pins
        #: Gated clock net -> the clock gate that drives it.
        self._gates = {
            pins[kind.gated]: name for name, (kind, pins) in instances.items() if kind.gated
        }
        #: Clock gate -> the net that opens it; the same of the gates that pulse latches.
        self._opens: dict[str, int] = {}
        for gate in self._gates.values():
            kind, pins = instances[gate]
            self._opens[gate] = pins[kind.enable]
        self._flops = [name for name, (kind, _) in instances.items() if kind.clock]
        #: Open in the low phase of the clock, in which everything settles.
        self._latches = [name for name, (kind, _) in instances.items() if kind.latch]
        drivers = {pins[p]: n for n, (k, pins) in instances.items() for p in k.outputs if p in pins}
        #: Flip-flop -> its clock gate, if any; latch -> the gate that opens it.
        self.gate_of: dict[str, str | None] = {}
        for name in self._latches:
            kind, pins = instances[name]
            net_of = pins[(kind.latch or ("", ""))[0]]
            if net_of in drivers:
                self.gate_of[name] = drivers[net_of]
                self._opens[drivers[net_of]] = net_of
        self.gates = frozenset(self._opens)
        self._instances = instances
        self.outputs = {
            name: [pins[pin] for pin in kind.outputs if pin in pins]
            for name, (kind, pins) in instances.items()
        }
        #: Nets in all, and of each port; nets 0 and 1 are the constants.
        self.net_count, self.port_nets = len(bits), self._nets
        self._values = [0] * len(bits)
        self._values[1] = self.mask
        self._state = [0] * (len(self._flops) + len(self._latches))
        self._settle, self._next = self._compile(_order_of(self))

    def _gate_of(self, net: int) -> str | None:
        """The clock gate that drives `net`; None for the clock itself."""
        if net in self._gates:
            gate = self._gates[net]
            kind, pins = self._instances[gate]
            others = [n for p, n in pins.items() if p not in (kind.enable, kind.gated)]
            if not any(n in self._nets.get("clk", ()) for n in others):
                raise InputError("a netlist with clock gates in a row cannot be simulated")
            return gate
        if net not in self._nets.get("clk", ()):
            raise InputError("a netlist with logic in its clock cannot be simulated")
        return None

    def _compile(self, order: Sequence[str]):
        def text(expression: str, pins: Mapping[str, int], state: str = "") -> str:
            class Names(dict):
                def __missing__(self, name: str) -> str:
                    return f"v[{pins[name]}]"

            return expression.format_map(Names(M="M", state=state))

        #: Assignments, in order, that let everything settle; they are Python and C.
        lines: list[Any] = []
        self.settle_lines = lines
        for k, name in enumerate(self._flops):
            kind, pins = self._instances[name]
            for pin, function in kind.outputs.items():
                if pin in pins:
                    lines.append(f" v[{pins[pin]}]={text(function, pins, f's[{k}]')}")
        held: dict[str, str] = {}
        for k, name in enumerate(self._latches, len(self._flops)):
            kind, pins = self._instances[name]
            gate, data = (f"v[{pins[pin]}]" for pin in kind.latch or ())
            held[name] = f"(({gate}&{data})|(s[{k}]&(M^{gate})))"
        for name in order:
            kind, pins = self._instances[name]
            for pin, function in kind.outputs.items():
                if pin in pins:
                    state = held.get(name, "")
                    lines.append(f" v[{pins[pin]}]={text(function, pins, state)}")
        #: What each flip-flop takes at the next edge.
        self.following_lines: list[str] = []
        for k, name in enumerate(self._flops):
            kind, pins = self._instances[name]
            value = text(kind.next_state or "", pins, f"s[{k}]")
            source = self.gate_of[name] = self._gate_of(pins[kind.clock])
            if source:
                gated, there = self._instances[source]
                enable = f"v[{there[gated.enable]}]"
                value = f"(s[{k}]&(M^{enable}))|({value}&{enable})"
            self.following_lines.append(f"  {value},")
        # Closed by the clock's rise, with what they showed.
        self.following_lines += [f"  {value}," for value in held.values()]
        text_ = ["def settle(v, s, M):", *lines, " return v"]
        text_ += ["def following(v, s, M):", " return [", *self.following_lines, " ]"]
        space: dict = {}
        exec("\n".join(text_), space)  # our own text, from functions that were parsed
        return space["settle"], space["following"]

    def set(self, port: str, values: int | np.ndarray) -> None:
        """Drive input `port` with an integer in all lanes, or with bits, 0 or 1, [lanes, width]."""
        for k, net in enumerate(self._nets[port]):
            if isinstance(values, int):
                self._values[net] = -(values >> k & 1) & self.mask
            else:
                digits = np.packbits(values[:, k].astype(np.uint8), bitorder="little")
                self._values[net] = int.from_bytes(digits.tobytes(), "little")

    def bits(self, port: str, values: Sequence[int] | np.ndarray) -> np.ndarray:
        """Integers of up to 64 bits as bits for :meth:`set`, bool [len, width]."""
        digits = np.arange(len(self._nets[port]))
        return (np.asarray(values).astype(np.int64)[:, None] >> digits & 1).astype(bool)

    def get(self, port: str) -> np.ndarray:
        """Values of `port`, unsigned, int64 [lanes]."""
        total = np.zeros(self.lanes, np.int64)
        for k, net in enumerate(self._nets[port]):
            raw = self._values[net].to_bytes(-(-self.lanes // 8), "little")
            digits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[: self.lanes]
            total |= digits.astype(np.int64) << k
        return total

    def settle(self) -> None:
        """Let inputs and registers reach every net."""
        self._settle(self._values, self._state, self.mask)

    def clock(self) -> None:
        """A rising edge: registers take what has settled."""
        self._state = self._next(self._values, self._state, self.mask)

    def rates(self, stimulus: Stimulus, cycles: int = CYCLES, seed: int = SEED) -> Rates:
        """Activity under `stimulus`. Raises :class:`InputError` for a port that is not there."""
        inputs = [p for p, port in self.ports.items() if port["direction"] == "input"]
        for port in {*stimulus.hold, *stimulus.codes}.union(*stimulus.setup):
            if port not in inputs:
                raise InputError(f"stimulus: {port} is no input of this unit")
        still = {
            port: int(port.endswith(("__valid", "__ready")))
            for port in inputs
            if port in ("clk", "rst") or port.endswith(("__valid", "__ready"))
        } | dict(stimulus.hold)
        moving = [port for port in inputs if port not in still]
        rngs = {port: np.random.default_rng([seed, *port.encode()]) for port in moving}
        lists = {port: self.bits(port, codes) for port, codes in stimulus.codes.items()}
        values = {
            port: rngs[port].choice(lists[port], self.lanes)
            if port in lists
            else rngs[port].random((self.lanes, len(self._nets[port]))) < 0.5
            for port in moving
        }
        for port, value in still.items():
            self.set(port, value)
        self._set_up(stimulus, still, values)
        changes = dict.fromkeys(self.outputs, 0)
        enabled = dict.fromkeys(self._opens, 0)
        watched = [(name, nets) for name, nets in self.outputs.items() if nets]
        before: list[int] = []
        for cycle in range(WARM + cycles):
            for port in moving:
                self.set(port, values[port])
            self.settle()
            now = self._values
            if cycle >= WARM:
                for name, nets in watched:
                    changes[name] += max((now[n] ^ before[n]).bit_count() for n in nets)
                for gate, opens in self._opens.items():
                    enabled[gate] += now[opens].bit_count()
            for port in moving:
                if port in lists:
                    new = rngs[port].choice(lists[port], self.lanes)
                else:
                    flips = rngs[port].random(values[port].shape) < stimulus.activity
                    new = values[port] ^ flips
                values[port] = self._held_back(port, new, values[port])
            before = list(now)
            self.clock()
        total = cycles * self.lanes
        shares = {gate: count / total for gate, count in enabled.items()}
        return Rates(
            {name: count / total for name, count in changes.items()}, self._clocked(shares)
        )

    def _set_up(
        self,
        stimulus: Stimulus,
        still: Mapping[str, int],
        values: Mapping[str, np.ndarray],
    ) -> None:
        """Reset, and the cycles that come before those which count."""
        for row in [{"rst": 1} if "rst" in still else {}, *stimulus.setup]:
            for port, bits in values.items():
                self.set(port, bits)
            for port, value in row.items():
                self.set(port, value)
            self.settle()
            self.clock()
            for port in row:
                if port in still:
                    self.set(port, still[port])

    def _held_back(self, port: str, new: np.ndarray, old: np.ndarray) -> np.ndarray:
        """The next bits of `port`: the `old` in lanes in which its stream is not ready."""
        ready = port.removesuffix("payload") + "ready"
        if port.endswith("__payload") and ready in self.ports:
            return np.where(self.get(ready)[:, None] == 1, new, old)
        return new

    def _clocked(self, shares: Mapping[str, float]) -> dict[str, float]:
        """Share of cycles with a clock, per instance, from that of each clock gate."""
        return {name: shares.get(self.gate_of.get(name) or name, 1.0) for name in self._instances}

    def rates_of(
        self, toggles: np.ndarray, ones: np.ndarray
    ) -> tuple[dict[str, float], dict[str, float]]:
        """The fields of :class:`Rates` from changes a cycle of each net, and from the share of
        cycles in which it is 1."""
        shares = {gate: float(ones[opens]) for gate, opens in self._opens.items()}
        changes = {
            name: max((float(toggles[net]) for net in nets), default=0.0)
            for name, nets in self.outputs.items()
        }
        return changes, self._clocked(shares)


def _order_of(netlist: "Netlist") -> list[str]:
    """Combinational instances, each after those it depends on."""
    comb = {n: v for n, v in netlist._instances.items() if not v[0].clock and not v[0].gated}
    driver = {net: name for name in comb for net in netlist.outputs[name]}
    order: list[str] = []
    mark: dict[str, bool] = {}
    for root in comb:
        todo = [root]
        while todo:
            name = todo[-1]
            if name in mark:
                if not mark[name]:
                    mark[name] = True
                    order.append(name)
                todo.pop()
                continue
            mark[name] = False
            kind, pins = comb[name]
            before = {driver[pins[p]] for p in pins if p not in kind.outputs and pins[p] in driver}
            if any(mark.get(b) is False for b in before):
                raise InputError("a netlist with a combinational loop cannot be simulated")
            todo += [b for b in before if b not in mark]
    return order
