"""A four-word keyword spotter in Tiny Tapeout tiles: how many, by genome and by what is shared."""

from collections.abc import Callable, Mapping
from typing import Any

from genogate.model.knobs import Knobs
from genogate.network import build_network
from genogate.synth.integration.tiny_tapeout import DENSITY, SHAPES, TILE_UM, tiles_for
from genogate.tinytapeout import mapped_project

TASK = "kws4"
#: Name -> genes and bits of the input. `mixed` has few bits where they are
#: dear: in the state and in the input buffer.
GENOMES = {
    "INT8": ("int8", 8),
    "INT4": ("int4", 8),
    "mixed": ("3,3,3,3,3,3,5,5,5,5,4,5,5,5,4,4,4", 4),
}
SHARES = ("none", "all")
#: Frames of sound a second.
FRAMES = 50

Say = Callable[[str], None]


def measure(say: Say) -> dict[str, Any]:
    """Area and tiles of each project. Raises :class:`InputError` without Yosys or cells."""
    rows, versions = [], set()
    for name, (genome, bits) in GENOMES.items():
        for share in SHARES:
            say(f"{TASK} {name}, share {share}")
            network = build_network(
                genome=genome,
                task=TASK,
                checkpoint=None,
                knobs=Knobs(share=share, input_bits=bits),
                say=say,
            )
            mapped = mapped_project(network, None, say)
            versions |= {mapped.yosys_version, mapped.library.name}
            rows.append(
                {
                    "genome": name,
                    "genes": genome,
                    "input_bits": bits,
                    "share": share,
                    "um2": round(mapped.area_um2),
                    "flip_flops": mapped.flip_flops,
                    "tiles": tiles_for(mapped.area_um2),
                    "cycles_per_step": network.design.cycles_per_step,
                    "units": network.model.layers[-1].hidden_size,
                }
            )
    return {"rows": rows, "versions": sorted(versions)}


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    rows = data["rows"]
    most = max(int(a) * int(b) for a, b in (shape.split("x") for shape in SHAPES))
    least = min(rows, key=lambda row: row["um2"])
    lines = [
        "## A keyword spotter in Tiny Tapeout tiles",
        "",
        f"The shipped {TASK} network ({rows[0]['units']} units, four words), behind the pins of a "
        f"tile (`genogate tinytapeout`), in sky130's cells. A tile is {TILE_UM[0]:g} by "
        f"{TILE_UM[1]:g} um and takes cells on {DENSITY:.0%} of it; a project has {most} tiles at "
        "most. An estimate from area: nothing was laid out. No network was trained for its bits "
        "here, so the table says nothing of accuracy. The clock is what real time needs: "
        f"{FRAMES} frames a second.",
        "",
        "| genome | share | um2 | flip-flops | tiles | fits | cycles a step | clock, MHz |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        clock = row["cycles_per_step"] * FRAMES / 1e6
        lines.append(
            f"| {row['genome']} | {row['share']} | {row['um2']:,} | {row['flip_flops']:,} | "
            f"{row['tiles']} | {'yes' if row['tiles'] <= most else 'no'} | "
            f"{row['cycles_per_step']:,} | {clock:.2f} |"
        )
    lines += [
        "",
        f"The smallest takes {least['tiles']} tiles ({least['genome']}, share {least['share']}). "
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
