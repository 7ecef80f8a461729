"""What a network takes of a target: a row for every operator and memory, totals, and whether it
fits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...hdl.gru.design import Design as NetworkDesign
from ...hdl.operator import Part
from ...model.genome import GENES
from ..rtlil import Design
from ..verilog import emit_rtlil
from ..yosys import Progress
from ..yosys import find as find_yosys
from . import fpga
from .devices import DEVICES, Device
from .fpga import Resources
from .route import Routed, route

#: What a resource is called in a sentence.
NAMES = {"lut": "LUTs", "ff": "flip-flops", "ram": "block RAMs", "dsp": "DSP blocks"}


@dataclass(frozen=True)
class Row:
    """A module. name : ``layer0.w_ir``, ``layer0.w_ir_weights`` ..., ``classifier``; bits : its
    gene, None for what has none."""

    name: str
    bits: int | None
    figures: Resources


@dataclass(frozen=True)
class FpgaReport:
    """A network on an FPGA.

    rows : all modules, each synthesised alone; disjoint and complete
    whole : the network as one module, which is what has to fit
    routed : after place and route, where asked for
    """

    device: Device
    rows: tuple[Row, ...]
    whole: Resources
    yosys_version: str
    routed: Routed | None = None

    @property
    def total(self) -> Resources:
        """Sum of the rows."""
        return sum((row.figures for row in self.rows), Resources())

    @property
    def over(self) -> dict[str, int]:
        """Resource -> by how much the network exceeds the part; empty where it fits."""
        limits = self.device.limits
        excess = {name: getattr(self.whole, name) - limits[name] for name in limits}
        # nextpnr moves nothing from DSP blocks into logic, and Yosys uses no more than it needs.
        return {name: n for name, n in excess.items() if n > 0}

    @property
    def fits(self) -> bool:
        return not self.over

    def advice(self) -> list[str]:
        """A sentence for each resource that does not suffice: who takes most of it, and what
        would help."""
        return [self._sentence(name, excess) for name, excess in self.over.items()]

    def _sentence(self, name: str, excess: int) -> str:
        rows = sorted(self.rows, key=lambda row: -getattr(row.figures, name))[:4]
        most = ", ".join(f"{row.name} {getattr(row.figures, name)}" for row in rows)
        used, limit = getattr(self.whole, name), self.device.limits[name]
        genes = sorted({g for row in rows if (g := _gene(row.name))})
        help_ = {
            "ram": f"fewer bits for {' '.join(genes) or 'the dense genes'}, or fewer units",
            "lut": f"fewer bits for {' '.join(genes) or 'the genes'}, or fewer lanes",
            "ff": "fewer lanes, or fewer bits",
            "dsp": "weights of fewer bits, which need no DSP block",
        }[name]
        return f"{used} of {limit} {NAMES[name]}, {excess} too many; most are in {most}: {help_}"

    def to_json(self) -> dict[str, Any]:
        whole, limits = self.whole, self.device.limits
        rams = whole.ram * self.device.ram_bits
        return {
            "target": self.device.name,
            "part": self.device.part,
            "fits": self.fits,
            "over": self.over,
            "advice": self.advice(),
            "limits": dict(limits),
            "whole": vars(whole),
            "block_ram_full": round(self.total.memory_bits / rams, 4) if rams else None,
            "sum_of_modules": vars(self.total),
            "yosys": self.yosys_version,
            **({"routed": self.routed.to_json()} if self.routed else {}),
            "modules": [
                {"name": row.name, "bits": row.bits, **vars(row.figures)} for row in self.rows
            ],
        }


def _gene(name: str) -> str | None:
    """The gene that a module's size depends on, by the module's name."""
    part = name.split(".")[-1]
    return next((gene for gene in GENES if part == gene or part.startswith(f"{gene}_")), None)


def module_parts(network: NetworkDesign) -> list[tuple[str, int | None, Part]]:
    """Name, gene and part of every module of a network: operators, their memories, and the rest.
    Together they hold all of its logic and memories, each once."""
    rows: list[tuple[str, int | None, Part]] = []
    genomes = network.model.genome.layers
    for number, (parts, genes) in enumerate(zip(network.layers, genomes, strict=True)):
        bits: Mapping[str, int] = dict(zip(GENES, genes, strict=True))
        rows += [(f"layer{number}.{name}", bits.get(name), part) for name, part in parts.items()]
    return [*rows, *((name, None, part) for name, part in network.rest.items())]


def fpga_report(
    target: str,
    network: NetworkDesign,
    *,
    routed: bool = False,
    progress: Progress | None = None,
) -> FpgaReport:
    """Measure `network` for FPGA `target` (a key of :data:`DEVICES`).

    With `routed` it is placed and routed too, where it fits. Raises :class:`InputError` when
    a tool is missing or fails.
    """
    device = DEVICES[target]
    modules = module_parts(network)
    design = Design(emit_rtlil(network))
    whole_text = design.unit(design.top, contents=True)
    *figures, whole = fpga.measure(
        device,
        [*(part for _, _, part in modules), whole_text],
        [*(name for name, _, _ in modules), "the whole network"],
        progress,
    )
    rows = tuple(
        Row(name, bits, figure) for (name, bits, _), figure in zip(modules, figures, strict=True)
    )
    report = FpgaReport(device, rows, whole, find_yosys().version)
    if not routed or not report.fits:
        return report
    component = network.component()
    return replace(report, routed=route(device, component, "the network", progress))
