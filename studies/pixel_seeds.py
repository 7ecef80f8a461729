"""mnist-pixel on three seeds: the network that its experiment chose on one, trained on the others.

The experiment (:mod:`.experiments`) takes hours for a seed, so it searches on the first. Here INT8
of the reference and networks of 2-bit weights, chosen there, are looked at on every seed; they are
trained as the experiment trains them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.genome import Genome
from genogate.model.qat.recipe import Tuning
from genogate.search.experiment.jobs import ForOne, Look, look_at, train_for_one
from genogate.search.experiment.plan import plan_for

from .baselines import shipped
from .kept import Case, rows_of
from .search import table
from .spread import with_error

Say = Callable[[str], None]
FOLDER = Path("runs/pixel_seeds")
TASK, SEEDS = "mnist-pixel", (0, 1, 2)
PARTS = ("judged", "test")
#: Networks by name: units, and whether weights of 2 bits are trained; else INT8 is quantised.
NETWORKS = {
    "INT8, 64 units, quantised": (64, False),
    "weights 2, rest 8, 64 units": (64, True),
    "weights 2, rest 8, 48 units": (48, True),
}


def _row(name: str, seed: int, folder: Path) -> dict[str, Any]:
    plan = plan_for(TASK, "full", {})
    units, trained = NETWORKS[name]
    source, teacher = (shipped(TASK, seed, hidden) for hidden in (units, 64))
    assert source is not None
    assert teacher is not None
    genome = Genome.uniform(8)
    look = Look(source, genome, plan.knobs, PARTS)
    if trained:
        genome = Genome.from_genes([2] * 6 + [8] * 11)
        place = str(folder / f"{source}-weights2.safetensors")
        recipe = Tuning(epochs=plan.epochs, seed=plan.seed)
        starts = (("float", source),)
        train_for_one(ForOne(starts, teacher, genome, plan.knobs, recipe, plan.sequences, place))
        look = Look(place, None, plan.knobs, PARTS)
    found = look_at(look)
    return {"name": name, "seed": seed, **{k: found[k] for k in (*PARTS, "size", "weights")}}


def measure(say: Say, folder: Path = FOLDER, budget: str | None = None) -> dict[str, Any]:
    """Every network on every seed; after `budget` no other begins, and the next call goes on."""
    cases = (
        Case(
            folder / f"seed{seed}-h{units}-{'trained' if trained else 'quantised'}.json",
            f"{TASK}, seed {seed}: {name}",
            partial(_row, name, seed, folder),
            name,
        )
        for seed in SEEDS
        for name, (units, trained) in NETWORKS.items()
    )
    rows, missing = rows_of(cases, say, budget)
    return {"rows": rows, "missing": missing}


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows = data["rows"]
    lines = [
        "## mnist-pixel on three seeds",
        "",
        "The experiment on mnist-pixel searches on one seed, since one takes hours. Here what it "
        "found is trained on two more float networks, each of a seed of its own, as the experiment "
        "trains: 4 epochs of 8,000 of the sequences, from the float weights, taught by the float "
        "network of 64 units. INT8 is quantised without training, as that experiment tells savings "
        "against. Points lost against INT8 of the same seed, ± one standard error over the seeds.",
        "",
    ]
    if data["missing"]:
        lines += [f"Not measured: {data['missing']} networks.", ""]
    names = list(NETWORKS)
    base = {row["seed"]: row for row in rows if row["name"] == names[0]}
    body = []
    for name in names:
        of = [row for row in rows if row["name"] == name and row["seed"] in base]
        if not of:
            continue
        lost = {
            part: with_error([100 * (base[r["seed"]][part] - r[part]) for r in of])
            for part in PARTS
        }
        bits, whole = (np.mean([r["size"] for r in which]) for which in (of, base.values()))
        body.append(
            (
                name,
                str(len(of)),
                f"{bits:,.0f}",
                f"{100 * (1 - bits / whole):.1f} %",
                f"{100 * np.mean([r['judged'] for r in of]):.2f}",
                lost["judged"],
                ", ".join(f"{100 * r['test']:.2f}" for r in of),
                lost["test"],
            )
        )
    head = (
        "network",
        "seeds",
        "bits",
        "smaller",
        "validation, %",
        "points lost",
        "test by seed, %",
        "points lost",
    )
    return [*lines, *table(head, body)]
