"""Networks in real parts: reports by target, and bitstreams for boards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model.errors import InputError
from .network import identity_of, loaded_document

if TYPE_CHECKING:
    from .model.aliases import Say
    from .network import Network


def check_route(target: str, route: bool) -> None:
    """Raises :class:`InputError` for a target that is none, or that cannot be routed."""
    from .synth.targets.devices import DEVICES, check_target

    check_target(target)
    if route and target not in DEVICES:
        raise InputError(f"--route: target {target} is no FPGA, only those are placed and routed")


def check_energy(target: str, energy: bool) -> None:
    """Raises :class:`InputError` where energy cannot be measured."""
    from .synth.cells.silicon import find_sta

    if not energy:
        return
    if target != "sky130":
        raise InputError(f"--energy: only sky130 has it, not {target}")
    find_sta()


def check_target_options(target: str, memories: str) -> None:
    """Raises :class:`InputError` for a target that is none, or memories that it cannot have."""
    from .synth.targets.cell_memories import check_memories
    from .synth.targets.devices import check_target

    check_target(target)
    check_memories(target, memories)


def target_document(
    network: Network, target: str, route: bool, say: Say, memories: str = "flops"
) -> dict[str, Any]:
    """Identity of the network, and what it takes of `target`."""
    from .synth.targets.cell_report import standard_cell_report
    from .synth.targets.report import fpga_report

    if target == "sky130":
        report = standard_cell_report(network.design, memories, progress=say).to_json()
    else:
        report = fpga_report(target, network.design, routed=route, progress=say).to_json()
    cycles = network.design.cycles_per_step
    return {**identity_of(network), "cycles_per_step": cycles, **report}


def write_target(
    network: Network,
    target: str,
    route: bool,
    out: str | os.PathLike[str] | None,
    say: Say,
    memories: str = "flops",
    energy: bool = False,
) -> dict[str, Any]:
    """``target.json`` of `network`, with its energy where that is asked for; returns what it
    holds."""
    from .asic import AsicOptions, energy_document
    from .model.files import staged, write_json

    with staged(out or network.folder) as stage:
        document = target_document(network, target, route, say, memories)
        if energy:
            document["energy"] = energy_document(network, AsicOptions(gated=False), say)
        write_json(stage / "target.json", document)
    return document


def print_target(document: dict[str, Any], folder: str | Path) -> None:
    """The report of ``genogate area --target``."""
    if document["target"] == "sky130":
        _print_cells(document)
        _print_energy(document.get("energy", {}))
    else:
        _print_fpga(document)
    print(f"{'written':<14}  {Path(folder) / 'target.json'}")


def _pairs(rows: list[tuple[str, str]]) -> None:
    for name, text in rows:
        print(f"{name:<14}  {text}")


def _print_energy(energy: dict[str, Any]) -> None:
    """Energy without and with clock gates."""
    from .asic import energy_rows

    titles = {"ungated": "without clock gates", "gated": "with clock gates"}
    for name, spent in energy.items():
        print(f"\n{titles[name]}: {spent['um2']:,.0f} um2, {spent['flip_flops']:,} flip-flops")
        _pairs(energy_rows(spent))


def _print_fpga(document: dict[str, Any]) -> None:
    columns = ("lut", "ff", "carry", "ram", "dsp")
    print(f"{'module':<26}{'bits':>5}" + "".join(f"{name:>8}" for name in columns))
    for row in document["modules"]:
        figures = "".join(f"{row[name] or '':>8}" for name in columns)
        print(f"{row['name']:<26}{row['bits'] or '':>5}{figures}")
    for name, key in (("sum of modules", "sum_of_modules"), ("whole network", "whole")):
        print(f"{name:<31}" + "".join(f"{document[key][c]:>8}" for c in columns))
    limits = document["limits"]
    print(f"{document['part'][:31]:<31}" + "".join(f"{limits.get(c, ''):>8}" for c in columns))
    print()
    full = document["block_ram_full"]
    rows = [("fits", "yes" if document["fits"] else "NO")]
    rows += [("too much", sentence) for sentence in document["advice"]]
    if full is not None:
        rows.append(("block RAMs", f"{100 * full:.0f} % of their bits are used"))
    routed = document.get("routed")
    if routed:
        path = sorted(routed["critical_path_ns"].items(), key=lambda item: -item[1])
        rows += [
            ("clock", f"{routed['fmax_mhz']:.1f} MHz at most"),
            ("critical path", ", ".join(f"{name} {ns:.1f} ns" for name, ns in path[:5])),
            ("routed by", routed["nextpnr"]),
        ]
    _pairs([*rows, ("measured by", document["yosys"])])


def _print_cells(document: dict[str, Any]) -> None:
    print(
        f"{'module':<26}{'bits':>5}{'um2':>10}{'flops um2':>11}{'cells':>7}{'plain':>9}{'booth':>9}"
    )
    for row in document["modules"]:
        print(
            f"{row['name']:<26}{row['bits'] or '':>5}{row['logic_um2']:>10,.0f}"
            f"{row['flip_flops_um2']:>11,.0f}{row['cells']:>7}"
            + "".join(
                f"{row[name]:>9,.0f}" if name in row else f"{'':>9}"
                for name in ("array_um2", "booth_um2")
            )
        )
    print()
    print(
        f"{'memory':<26}{'kind':>5}{'words':>7}{'width':>6}{'um2':>10}{'um2/bit':>9}"
        f"{'latches':>10}{'macros':>8}"
    )
    for row in document["memories"]:
        latches = f"{row['latches_um2']:,.0f}" if row["kind"] == "ram" else ""
        print(
            f"{row['name']:<26}{row['kind']:>5}{row['words']:>7}{row['width']:>6}"
            f"{row['um2']:>10,.0f}{row['um2_per_bit']:>9.2f}{latches:>10}{row['sram_macros']:>8}"
            + ("  estimated" if row.get("estimated") else "")
        )
    print()
    _pairs(
        [
            ("logic", f"{document['logic_um2']:,.0f} um2, module borders dissolved"),
            ("constants", f"{document['rom_um2']:,.0f} um2 as logic"),
            ("state", f"{document['ram_um2']:,.0f} um2 as flip-flops"),
            ("total", f"{document['total_um2']:,.0f} um2, memories as {document['memories_as']}"),
            (
                "with latches",
                f"{document['total_with_latches_um2']:,.0f} um2: state as latches",
            ),
            (
                "with SRAM",
                f"about {document['total_with_sram_macros_um2']:,.0f} um2: every memory in whole "
                "macros of VLSIDA/sky130_sram_macros, by the footprint in their LEF",
            ),
            ("measured by", f"{document['yosys']}, {document['library']}"),
        ]
    )


def write_bitstream(
    network: Network, board: str, out: str | os.PathLike[str] | None, say: Say
) -> tuple[dict[str, Any], Path]:
    """Bitstream, ``board.json`` and the integer model of `network` in one folder, all or none."""
    from .hdl.gru.loading import image
    from .model.files import staged, write_json, write_text
    from .synth.boards import build, check_board

    check_board(board)
    folder = Path(out) if out else network.folder / board
    with staged(folder) as stage:
        bitstream = build(network.design, board, progress=say)
        (stage / bitstream.name).write_bytes(bitstream.data)
        document = {**identity_of(network), "board": board, **bitstream.to_json()}
        document |= loaded_document(network)
        if network.design.weights == "load":
            write_text(stage / "gru_weights.hex", image(network.design).text)
        write_json(stage / "board.json", document)
        network.model.save(stage / "model.safetensors")
    return document, folder


def print_bitstream(document: dict[str, Any], folder: Path) -> None:
    """The outcome of ``genogate bitstream``."""
    used = ", ".join(
        f"{row['used']:,} of {row['available']:,} {name}"
        for name, row in document["utilisation"].items()
        if row["available"] > row["used"] > 4
    )
    _pairs(
        [
            ("bitstream", str(folder / document["bitstream"])),
            ("takes", used),
            ("clock", f"{document['clock_mhz']:g} MHz of {document['fmax_mhz']:.1f} MHz at most"),
            ("serial port", f"{document['baud']} bit/s, 8N1"),
            ("try it", f"genogate host --port PORT --model {folder}"),
            ("made by", "; ".join(document["tools"])),
        ]
    )
