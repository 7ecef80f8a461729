"""Networks with dense layers around the GRU layers, in Verilog: a campaign of structures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genogate.sim.rtl.network.campaign import RESULTS, campaign, read_results

Say = Callable[[str], None]
#: Networks, and the seed that they are drawn by.
CASES, SEED = 200, 2027
QUICK = 2
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


def measure(say: Say, cases: int = CASES, folder: Path | None = None) -> dict[str, Any]:
    """The campaign, which resumes in build/structures."""
    folder = folder or Path("build/structures")
    say(f"{cases} random structures in Icarus")
    summary = campaign(cases, out_dir=folder, seed=SEED, progress=False, structures=True)
    records = [
        record
        for record in read_results(folder / RESULTS)
        if (record["seed"], record["sources"], record["index"] < cases)
        == (SEED, summary["sources"], True)
    ]
    left_out = ("sources", "utilisation_16_units_and_more", "resumed", "seconds")
    return {k: v for k, v in summary.items() if k not in left_out} | {"kinds": by_kind(records)}


def render(data: dict[str, Any]) -> list[str]:
    """The section as Markdown."""
    cycles = data["cycles_per_step"]
    return [
        f"## Dense layers around the GRU (`make campaign N={data['cases']} ARGS=--structures "
        f"SEED={data['seed']}`)",
        "",
        f"{data['cases']} random networks with up to two dense layers in front and up to two "
        "behind (no function, ReLU, sigmoid, tanh; 2 to 8 bits), one or two GRU layers, heads at "
        "the last and at every step, given initial states, each way to share hardware; emitted as "
        "Verilog and run in Icarus with stalls, resets, held outputs, and sequences back to back.",
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
