"""A four-word keyword spotter in Tiny Tapeout tiles: how many, by genome and by what is shared."""

from collections.abc import Callable, Mapping
from typing import Any

from genogate.model.knobs import Knobs
from genogate.synth.integration.tiny_tapeout import DENSITY, SHAPES, TILE_UM, tiles_for
from genogate.tinytapeout import mapped_project

from .smallest import network_of

TASK = "kws4"
#: Name -> genes and bits of the input. `mixed` has few bits where they are dear: in the state and
#: in the input buffer; those of 2-bit weights lost no more than half a point against INT8 on
#: validation when they were trained (``docs/results/experiments.md``).
GENOMES = {
    "INT8": ("int8", 8),
    "INT4": ("int4", 8),
    "mixed": ("3,3,3,3,3,3,5,5,5,5,4,5,5,5,4,4,4", 4),
    "2-bit weights, rest 7": ("2,2,2,2,2,2,7,7,7,7,7,7,7,7,7,7,7", 8),
    "2-bit weights, state 5": ("2,2,2,2,2,2,8,8,8,7,5,8,8,8,8,8,8", 7),
}
#: Genome, what is shared, memories, units.
PROJECTS = (
    ("INT8", "none", "flops", 64),
    ("INT8", "all", "flops", 64),
    ("INT4", "none", "flops", 64),
    ("INT4", "all", "flops", 64),
    ("mixed", "none", "flops", 64),
    ("mixed", "all", "flops", 64),
    ("mixed", "all", "latches", 64),
    ("2-bit weights, rest 7", "all", "flops", 32),
    ("2-bit weights, rest 7", "all", "latches", 32),
    ("2-bit weights, state 5", "all", "flops", 32),
    ("2-bit weights, state 5", "all", "latches", 32),
    ("mixed", "all", "latches", 32),
    ("mixed", "all", "latches", 24),
)
#: Frames of sound a second.
FRAMES = 50

Say = Callable[[str], None]


def measure(say: Say) -> dict[str, Any]:
    """Area and tiles of each project. Raises :class:`InputError` without Yosys or cells."""
    rows, versions = [], set()
    for name, share, memories, units in PROJECTS:
        genome, bits = GENOMES[name]
        say(f"{TASK} {name}, share {share}, {memories}, {units} units")
        knobs = Knobs(share=share, input_bits=bits)
        network = network_of(TASK, genome, units, knobs, say)
        mapped = mapped_project(network, None, say, latches=memories == "latches")
        versions |= {mapped.yosys_version, mapped.library.name}
        rows.append(
            {
                "genome": name,
                "genes": genome,
                "input_bits": bits,
                "share": share,
                "memories": memories,
                "um2": round(mapped.area_um2),
                "flip_flops": mapped.flip_flops,
                "latches": mapped.latches,
                "tiles": tiles_for(mapped.area_um2),
                "cycles_per_step": network.design.cycles_per_step,
                "units": units,
            }
        )
    return {"rows": rows, "versions": sorted(versions)}


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    rows = data["rows"]
    most = max(int(a) * int(b) for a, b in (shape.split("x") for shape in SHAPES))
    judged = [row for row in rows if row["genome"].startswith("2-bit")]
    least = min(rows, key=lambda row: row["um2"])
    lines = [
        "## A keyword spotter in Tiny Tapeout tiles",
        "",
        f"A network of {TASK} (four words), behind the pins of a tile (`genogate tinytapeout`), in "
        f"sky130's cells. A tile is {TILE_UM[0]:g} by {TILE_UM[1]:g} um and takes cells on "
        f"{DENSITY:.0%} of it; a project has {most} tiles at most. An estimate from area: nothing "
        "was laid out. No network was trained for its bits here: 64 units are the shipped network, "
        "fewer its first units. The networks of 2-bit weights lost no more than half a point "
        "against INT8 of 64 units on validation, trained ([experiments](experiments.md)); of the "
        "other ones nothing is said. Latches: `genogate tinytapeout` writes Verilog whose state a "
        "flow makes flip-flops of; latches are those of the netlist, as `genogate asic --memories "
        f"latches` writes it. The clock is what real time needs: {FRAMES} frames a second.",
        "",
        "| genome | units | share | memories | um2 | flip-flops | latches | tiles | fits "
        "| cycles a step | clock, MHz |",
        "|" + "---|" * 11,
    ]
    for row in rows:
        clock = row["cycles_per_step"] * FRAMES / 1e6
        lines.append(
            f"| {row['genome']} | {row['units']} | {row['share']} | {row['memories']} | "
            f"{row['um2']:,} | {row['flip_flops']:,} | {row['latches']:,} | "
            f"{row['tiles']} | {'yes' if row['tiles'] <= most else 'no'} | "
            f"{row['cycles_per_step']:,} | {clock:.2f} |"
        )
    lines += [
        "",
        f"The smallest takes {least['tiles']} tiles ({least['genome']}, {least['units']} units); "
        f"of the networks with a known accuracy {min(row['tiles'] for row in judged)}, in "
        f"flip-flops {min(row['tiles'] for row in judged if row['memories'] == 'flops')}. "
        "Genes: "
        + "; ".join(
            f"{name}: {genes}, input {bits} bits"
            for name, (genes, bits) in GENOMES.items()
            if not genes.startswith("int")
        )
        + f". Measured by {', '.join(data['versions'])}.",
        "",
    ]
    return lines
