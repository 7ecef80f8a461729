"""Networks in real parts: what they take of two FPGAs and of sky130's cells, and how fast."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genogate.model.knobs import Knobs
from genogate.network import build_network
from genogate.targets import target_document

TASKS = ("digits-row", "kws10")
GENOMES = {"INT8": "int8", "INT4": "int4", "mixed": ",".join(["2"] * 6 + ["8"] * 11)}
TARGETS = ("ice40-up5k", "ecp5-25k", "sky130")
#: Seconds from one step to the next, of tasks whose steps are frames of sound.
STEP_SECONDS = {"kws10": 0.02}
_COLUMNS = (
    *("task", "genome", "target", "LUTs", "flip-flops", "block RAMs", "DSP", "fits"),
    *("MHz", "cycles a step", "real time"),
)

Say = Callable[[str], None]


def _fpga(document: Mapping[str, Any], task: str) -> dict[str, Any]:
    row = {name: document["whole"][name] for name in ("lut", "ff", "ram", "dsp")}
    row["fits"] = document["fits"]
    routed = document.get("routed")
    if routed:
        row["fmax_mhz"] = routed["fmax_mhz"]
        if task in STEP_SECONDS:
            cycles = STEP_SECONDS[task] * routed["fmax_mhz"] * 1e6
            row["real_time_factor"] = round(cycles / document["cycles_per_step"], 1)
    return row


def _cells(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("logic_um2", "rom_um2", "ram_um2", "total_um2")}


def measure(say: Say) -> dict[str, Any]:
    """Every network on every target. Raises :class:`InputError` without Yosys, nextpnr or cells."""
    rows: list[dict[str, Any]] = []
    versions: set[str] = set()
    for task in TASKS:
        for name, genome in GENOMES.items():
            network = build_network(
                genome=genome, task=task, checkpoint=None, knobs=Knobs(), say=say
            )
            for target in TARGETS:
                say(f"{task} {name} on {target}")
                document = target_document(network, target, target != "sky130", say)
                versions |= {document["yosys"], document.get("library", "")}
                versions.add(document.get("routed", {}).get("nextpnr", ""))
                figures = _cells(document) if target == "sky130" else _fpga(document, task)
                head = {"task": task, "genome": name, "target": target}
                head["cycles_per_step"] = document["cycles_per_step"]
                rows.append({**head, **figures})
    return {"rows": rows, "versions": sorted(versions - {""})}


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def render(data: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`measure`'s result."""
    rows = data["rows"]
    fpga = [
        (
            *(r[name] for name in ("task", "genome", "target", "lut", "ff", "ram", "dsp")),
            "yes" if r["fits"] else "no",
            r.get("fmax_mhz", "-"),
            r["cycles_per_step"],
            r.get("real_time_factor", "-"),
        )
        for r in rows
        if r["target"] != "sky130"
    ]
    cells = [
        (
            r["task"],
            r["genome"],
            *(f"{r[f'{part}_um2']:,.0f}" for part in ("logic", "rom", "ram", "total")),
        )
        for r in rows
        if r["target"] == "sky130"
    ]
    return [
        "## Networks in real parts",
        "",
        f"Measured by {'; '.join(data['versions'])}, one lane. Mixed: weights of 2 bits, all else "
        "8. The clock is nextpnr's estimate after place and route for one seed; a network that "
        "does not fit has none. Real time: how many times faster than one step every 20 ms the "
        "network runs at that clock. No board was measured. [Targets](../targets.md) says what "
        "the columns count.",
        "",
        *_table(
            _COLUMNS,
            fpga,
        ),
        "In sky130's cells, um^2: constants as logic, state as flip-flops, no wires.",
        "",
        *_table(("task", "genome", "logic", "constants", "state", "total"), cells),
    ]
