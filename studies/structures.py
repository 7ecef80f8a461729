"""Networks with dense layers around the GRU layers, in Verilog: a campaign of structures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genogate.search.budget import Budget
from genogate.sim.rtl.network.campaign import (
    RESULTS,
    campaign,
    read_results,
    source_fingerprint,
)

Say = Callable[[str], None]
#: Networks, and the seed that they are drawn by.
CASES, SEED = 200, 2027
QUICK = 2
#: Networks after which a budget is looked at.
PIECE = 5
_KINDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "dense layers in front": lambda r: bool(r["front"]),
    "dense layers behind": lambda r: bool(r["back"]),
    "both": lambda r: bool(r["front"] and r["back"]),
    "two dense layers in a row": lambda r: max(len(r["front"]), len(r["back"])) > 1,
    "two GRU layers": lambda r: len(r["genes"]) > 1,
    "given initial states": lambda r: r["initial_state"],
    "answers at every step": lambda r: r["at"] == "every",
    "codes out": lambda r: r["output"] == "codes",
    "share gates": lambda r: r["share"] == "gates",
    "share all": lambda r: r["share"] == "all",
    "a pipeline": lambda r: r["pipeline"] > 0,
}


def by_kind(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Networks, codes compared and failures of each kind of structure."""
    rows = []
    for name, of_kind in _KINDS.items():
        some = [record for record in records if of_kind(record)]
        codes, failed = (sum(r.get("codes", 0) for r in some), sum(not r["passed"] for r in some))
        rows.append({"kind": name, "cases": len(some), "codes": codes, "failed": failed})
    return rows


def in_pieces(
    cases: int, folder: Path, seed: int, budget: str | None, *, structures: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and records of a campaign that resumes in `folder`. With a `budget` it ends with the
    piece of :data:`PIECE` networks, by one process, in which that is spent; at least one is run."""
    left = Budget.of(budget)
    size, workers = (cases, 2) if budget is None else (PIECE, 1)
    given: dict[str, Any] = {
        "out_dir": folder,
        "seed": seed,
        "progress": False,
        "structures": structures,
    }
    while True:
        records = _finished(cases, folder, seed, structures)
        missing = sorted({*range(cases)} - {record["index"] for record in records})
        if not missing or (records and left.left() <= 0):
            break
        campaign(cases, workers=workers, indices=missing[:size], **given)
    # All of these are there, so that this adds them up.
    indices = [record["index"] for record in records]
    return campaign(cases, indices=indices, **given) | {"planned": cases}, records


def _finished(cases: int, folder: Path, seed: int, structures: bool) -> list[dict[str, Any]]:
    """Records of such a campaign by today's sources."""
    asked = (seed, source_fingerprint(), structures)
    return [
        record
        for record in read_results(folder / RESULTS)
        if (record.get("seed"), record.get("sources"), record.get("structures", False)) == asked
        and record["index"] < cases
    ]


def measure(
    say: Say, cases: int = CASES, folder: Path | None = None, budget: str | None = None
) -> dict[str, Any]:
    """The campaign, which resumes in build/structures."""
    folder = folder or Path("build/structures")
    say(f"{cases} random structures in Icarus")
    summary, records = in_pieces(cases, folder, SEED, budget, structures=True)
    left_out = ("sources", "utilisation_16_units_and_more", "resumed", "seconds")
    return {k: v for k, v in summary.items() if k not in left_out} | {"kinds": by_kind(records)}


def of_planned(data: dict[str, Any]) -> str:
    """Where a campaign has not ended: of how many networks these are the first."""
    planned = data.get("planned", data["cases"])
    return f" (of {planned} planned)" if planned > data["cases"] else ""


def render(data: dict[str, Any]) -> list[str]:
    """The section as Markdown."""
    cycles, planned = data["cycles_per_step"], data.get("planned", data["cases"])
    return [
        f"## Dense layers around the GRU (`make campaign N={planned} ARGS=--structures "
        f"SEED={data['seed']}`)",
        "",
        f"{data['cases']} random networks{of_planned(data)} with up to two dense layers in front "
        "and up to two behind (no function, ReLU, sigmoid, tanh; 2 to 8 bits), one or two GRU "
        "layers, heads at the last and at every step, given initial states, each way to share "
        "hardware; emitted as Verilog and run in Icarus with stalls, resets, held outputs, and "
        "sequences back to back.",
        "",
        f"{data['failed_cases']} failed; {data['codes']:,} codes of {data['sequences']:,} "
        f"sequences compared, {data['mismatches']} mismatches. Cycles of a step and of a sequence "
        f"are as stated in {cycles['as_documented']} of {cycles['measured']}.",
        "",
        "| networks with | networks | codes compared | failed |",
        "|---|---|---|---|",
        *(
            f"| {row['kind']} | {row['cases']} | {row['codes']:,} | {row['failed']} |"
            for row in data["kinds"]
        ),
        "",
    ]
