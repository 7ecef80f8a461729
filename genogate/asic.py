"""A network as a netlist of standard cells: mapped, timed, simulated, with its energy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model.errors import InputError
from .network import identity_of, loaded_document

if TYPE_CHECKING:
    from .model.aliases import Say
    from .network import Network
    from .synth.asic.mapping import Mapped
    from .synth.cells.liberty import Library
    from .synth.cells.silicon import Sta


@dataclass(frozen=True)
class AsicOptions:
    """What a user chooses.

    liberty : a Liberty file, or None to look for sky130's
    clock_ns : the period
    gated : whether registers with an enable get clock gates
    memories : what holds the state, and weights that are loaded: ``flops`` or ``latches``
    sequences : of the test part, through the netlist
    whole : all steps of them, however long that takes
    """

    liberty: str | None = None
    clock_ns: float = 20.0
    gated: bool = True
    sequences: int = 64
    whole: bool = False
    memories: str = "flops"

    def check(self) -> Library:
        """The library. Raises :class:`InputError` for what is wrong or missing, before any work."""
        from .synth.asic.simulation import compiler
        from .synth.asic.timing import check_clock
        from .synth.cells import liberty
        from .synth.cells.latches import latch_cells
        from .synth.cells.liberty import CLOCK_GATE
        from .synth.yosys import find as find_yosys

        check_clock(self.clock_ns)
        if self.sequences < 1:
            raise InputError(f"sequences: {self.sequences} is not 1 or more")
        library = liberty.find(self.liberty)
        if self.gated and CLOCK_GATE not in library.text:
            raise InputError(f"{library.source}: it has no clock gate; give --clock-gating off")
        if self.memories not in ("flops", "latches"):
            raise InputError(f"memories: {self.memories!r:.40} is not flops or latches")
        if self.memories == "latches":
            latch_cells(library)
        find_yosys()
        if compiler() is None:
            raise InputError(
                "no C compiler found to simulate the netlist with: install one (Debian: apt-get "
                "install gcc), or set CC"
            )
        return library


def _sta() -> Sta | None:
    from .synth.cells.silicon import find_sta

    try:
        return find_sta()
    except InputError:
        return None


def measured(network: Network, mapped: Mapped, options: AsicOptions, say: Say) -> dict[str, Any]:
    """Netlist of `network`: size, comparison with golden, and with OpenSTA slack and energy."""
    from .synth.asic.gate_level import gate_level, steps_for
    from .synth.asic.timing import energy, timing

    x = network.task.x_test
    steps = x.shape[1] if options.whole else steps_for(network.design, x.shape[1])
    codes = network.model.quantize_input(x[: min(len(x), options.sequences), :steps])
    outcome = gate_level(mapped, network.design, codes, say)
    document: dict[str, Any] = {
        "netlist": {
            "um2": round(mapped.area_um2, 1),
            "sequential_um2": round(mapped.sequential_um2, 1),
            "cells": mapped.cells,
            "flip_flops": mapped.flip_flops,
            "latches": mapped.latches,
            "clock_gates": mapped.clock_gates,
            "yosys": mapped.yosys_version,
        },
        "gate_level": outcome.to_json(),
        "timing": None,
        "energy": None,
    }
    sta = _sta()
    if sta:
        say("Timing and energy")
        document["timing"] = timing(mapped, sta, options.clock_ns).to_json()
        spent = energy(mapped, sta, outcome.activity, options.clock_ns).to_json()
        document["energy"] = whole_sequence(network, spent, steps)
    return document


def energy_document(network: Network, options: AsicOptions, say: Say) -> dict[str, Any]:
    """Energy of `network` over test sequences, without clock gates and, where the library has one,
    with them: ``ungated`` and ``gated``, each with the area of its netlist.

    Raises :class:`InputError` without OpenSTA, or where the netlist differs from golden.
    """
    from .synth.asic.mapping import map_design
    from .synth.cells.liberty import CLOCK_GATE
    from .synth.cells.silicon import find_sta
    from .synth.verilog import TOP, emit_rtlil

    find_sta()
    library = options.check()
    document: dict[str, Any] = {}
    for name, gated in (("ungated", False), ("gated", True)):
        if gated and CLOCK_GATE not in library.text:
            continue
        mapped = map_design(emit_rtlil(network.design), TOP, library, gated=gated, progress=say)
        outcome = measured(network, mapped, options, say)
        if outcome["gate_level"]["mismatches"]:
            raise InputError("the netlist differs from the golden model: please report this")
        document[name] = {
            "um2": outcome["netlist"]["um2"],
            "flip_flops": outcome["netlist"]["flip_flops"],
            "clock_gates": outcome["netlist"]["clock_gates"],
            **outcome["energy"],
        }
    return document


def whole_sequence(network: Network, spent: dict[str, Any], steps: int) -> dict[str, Any]:
    """Energy of a whole inference where only the first `steps` were simulated: the mean a cycle of
    these, times the cycles of all."""
    total = network.task.x_test.shape[1]
    cycles = spent["cycles_per_inference"] + (total - steps) * network.design.cycles_per_step
    energy = spent["pj_per_cycle"] * cycles * 1e-6
    return spent | {
        "cycles_per_inference": cycles,
        "uj_per_inference": round(energy, 6),
        "measured_steps": steps,
    }


def write_asic(
    network: Network, options: AsicOptions, out: str | os.PathLike[str] | None, say: Say
) -> tuple[dict[str, Any], Path]:
    """Netlist, constraints, cell models, bench and report of `network` in a folder, all or none;
    and the words of weights that are loaded.

    Returns the report and the folder.
    """
    from .integration import integration_files
    from .model.files import staged, write_json, write_text
    from .synth.asic.mapping import map_design
    from .synth.asic.models import cell_models
    from .synth.asic.timing import constraints
    from .synth.integration.plain_bench import WEIGHTS_FILE
    from .synth.targets.cell_report import standard_cell_report
    from .synth.verilog import TOP, emit, emit_rtlil

    library = options.check()
    folder = Path(out) if out else network.folder / "asic"
    with staged(folder) as stage:
        mapped = map_design(
            emit_rtlil(network.design),
            TOP,
            library,
            gated=options.gated,
            latches=options.memories == "latches",
            progress=say,
        )
        document = {
            **identity_of(network),
            **loaded_document(network),
            "library": library.name,
            "clock_gating": options.gated,
            "memories_as": options.memories,
            "clock_ns": options.clock_ns,
            **measured(network, mapped, options, say),
        }
        say("Measuring operators")
        report = standard_cell_report(network.design, progress=say, library=library).to_json()
        document |= {key: report[key] for key in ("modules", "memories")}
        write_text(stage / "gru.v", emit(network.design, network.task.steps))
        write_text(stage / "gru_netlist.v", mapped.verilog)
        write_text(stage / "cells.v", cell_models(library, mapped.types))
        write_text(stage / "gru.sdc", constraints(mapped, options.clock_ns))
        for name, text in integration_files(network).items():
            if name.startswith("gru_tb") or name == WEIGHTS_FILE:
                write_text(stage / name, text)
        network.model.save(stage / "model.safetensors")
        write_json(stage / "asic.json", document)
    return document, folder


def print_asic(document: dict[str, Any], folder: Path) -> None:
    """The report of ``genogate asic``."""
    from .pace import clock_text

    print(f"{'module':<26}{'bits':>5}{'um2':>10}{'flops um2':>11}{'cells':>7}")
    for row in document["modules"]:
        print(
            f"{row['name']:<26}{row['bits'] or '':>5}{row['logic_um2']:>10,.0f}"
            f"{row['flip_flops_um2']:>11,.0f}{row['cells']:>7}"
        )
    for row in document["memories"]:
        shape = f"{row['kind']} {row['words']}x{row['width']}"
        print(f"{row['name']:<26}{'':>5}{row['um2']:>10,.0f}{'':>11}{'':>7}  {shape}")
    print()
    net, check = document["netlist"], document["gate_level"]
    gates = f", {net['latches']:,} latches" if net["latches"] else ""
    gates += f", {net['clock_gates']} clock gates" if net["clock_gates"] else ""
    rows = [
        (
            "netlist",
            f"{net['um2']:,.0f} um2, {net['cells']:,} cells, of these "
            f"{net['flip_flops']:,} flip-flops{gates}",
        ),
        (
            "gate level",
            f"{check['mismatches']} mismatches in {check['transfers']:,} words of "
            f"{check['sequences']} sequences, {check['steps']} steps each",
        ),
        ("clock", clock_text(document["clock_ns"])),
        *_timing_rows(document),
        ("measured by", f"{net['yosys']}, {document['library']}"),
        ("not measured", "layout: no wires, no clock tree, no glitches"),
        ("written", str(folder / "{gru_netlist.v,cells.v,gru.sdc,asic.json,...}")),
    ]
    for name, text in rows:
        print(f"{name:<14}  {text}")


def _timing_rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    timing, energy = document["timing"], document["energy"]
    if timing is None:
        return [
            ("slack, energy", "not measured: OpenSTA is not installed (apt-get install opensta)")
        ]
    slack = timing["slack_ns"]
    late = f", too late by {-slack:.2f} ns: give a lower --clock" if slack < 0 else ""
    return [
        (
            "slack",
            f"{slack:.2f} ns{late}; longest path {' to '.join(timing['longest_path'])}",
        ),
        *energy_rows(energy),
    ]


def energy_rows(energy: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            "energy",
            f"{energy['pj_per_cycle']:.1f} pJ a cycle, {100 * energy['clocking_share']:.0f} % of "
            f"it clocking; {energy['uj_per_inference']:.3f} uJ an inference of "
            f"{energy['cycles_per_inference']:,} cycles",
        ),
        ("power by", f"{energy['opensta']}, activity of the netlist's simulation"),
    ]
