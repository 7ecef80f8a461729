"""Ideas for training at few bits, each with and without: what helps, and what does not.

All variants of a network see the same data equally long, but for the longer schedule, which is
there to show what length alone buys. The last epoch is kept; accuracy is of the validation part
with its shifted copies, where nothing was chosen, and of the test part.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.data.tasks import load_task
from genogate.model.files import read_json, write_json
from genogate.model.genome import Genome
from genogate.model.knobs import Knobs
from genogate.model.qat.recipe import Tuning
from genogate.model.qat.tune import GenomeTrainer, tune
from genogate.search.budget import Budget
from genogate.search.experiment.jobs import ForOne, Look, look_at, train_for_one

from .baselines import FOLDER as FLOATS
from .contestants import Race, networks_of
from .search import table
from .spread import with_error

Say = Callable[[str], None]
KNOBS = Knobs(activation="table", input_bits=4, classifier_bits=4)
FOLDER = Path("runs/few_bits")
#: The 17 genes of a layer, by name.
NETWORKS = {
    "INT4": (4,) * 17,
    "INT3": (3,) * 17,
    "weights 3, state 4, rest 5": (3,) * 6 + (5, 5, 5, 5, 4) + (5,) * 3 + (4,) * 3,
}
#: Variants by name: what each changes.
VARIANTS = {
    "plain": "fixed scales, taught by the float network of its size",
    "bit by bit": "a third of the epochs each at 8 bits, halfway, and at its bits",
    "learned scales": "scales trained for 60 % of the epochs, from the first on",
    "larger teacher": "taught by the float network of the reference's size",
    "twice as long": "twice the epochs",
    "no teacher": "cross entropy alone",
    "taught by INT8": "taught by the network trained as INT8, for as many epochs more",
    "rounded by chance": "weights rounded up or down by chance for half of the epochs",
    "noise at first": "weights with noise of a step in place of rounding for half of the epochs",
}


@dataclass(frozen=True)
class Size:
    """What is trained: the reference's and the trained network's units, epochs, seeds."""

    sizes: tuple[int, int] = (32, 24)
    epochs: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)
    networks: tuple[str, ...] = tuple(NETWORKS)


FULL, QUICK = Size(), Size((32, 32), 3, (0,), ("INT3",))


class _Loose(GenomeTrainer):
    """Weights are not rounded to nearest for the first half of the epochs; gradients pass as they
    do through rounding."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.exact = self.network.codes
        self.torch.manual_seed(self.recipe.seed)

    def before_epoch(self) -> None:
        super().before_epoch()
        loose = self.epoch < self.recipe.epochs // 2
        self.network.codes = self._codes if loose else self.exact

    def _codes(self, real: Any, low: Any, high: Any) -> Any:
        nearest = self.exact(real, low, high)
        moved = self.moved(real, self.torch.rand_like(real))
        return nearest + (self.torch.clamp(moved, low, high) - nearest).detach()

    def moved(self, real: Any, drawn: Any) -> Any:
        """What a weight counts as, for a number from 0 to 1 that was drawn."""
        raise NotImplementedError


class ByChance(_Loose):
    """Rounded up as likely as the weight is near (arXiv 1502.02551)."""

    def moved(self, real: Any, drawn: Any) -> Any:
        return (real + drawn).floor()


class WithNoise(_Loose):
    """Moved by up to half a step (arXiv 2104.09987)."""

    def moved(self, real: Any, drawn: Any) -> Any:
        return real + drawn - 0.5


TRAINERS: dict[str, type[GenomeTrainer]] = {
    "rounded by chance": ByChance,
    "noise at first": WithNoise,
}


def halfway(genome: Genome) -> Genome:
    """The genome with every width halfway to 8 bits."""
    return Genome.from_genes([(bits + 9) // 2 for bits in genome.genes])


def _stages(
    variant: str, genome: Genome, epochs: int, seed: int
) -> list[tuple[Genome, Knobs, Tuning]]:
    """Trainings of a variant, one after the other."""
    recipe = Tuning(epochs=epochs, seed=seed, keep="last")
    if variant == "no teacher":
        recipe = replace(recipe, distil=0.0)
    elif variant == "learned scales":
        recipe = replace(recipe, scales="learned")
    elif variant == "twice as long":
        recipe = replace(recipe, epochs=2 * epochs)
    if variant != "bit by bit":
        return [(genome, KNOBS, recipe)]
    third = replace(recipe, epochs=max(1, epochs // 3))
    wide = Knobs(activation="table")
    between = replace(wide, input_bits=6, classifier_bits=6)
    return [
        (Genome.uniform(8), wide, third),
        (halfway(genome), between, third),
        (genome, KNOBS, third),
    ]


def _trained(
    variant: str, name: str, floats: tuple[str, ...], size: Size, seed: int, folder: Path
) -> dict[str, Any]:
    label = f"{variant}-{name}-{seed}".replace(" ", "-").replace(",", "")
    path = folder / f"{label}.json"
    if path.exists():
        return dict(read_json(path))
    start, teacher = floats[-1], floats[0] if variant == "larger teacher" else floats[-1]
    seconds = 0.0
    if variant == "taught by INT8":
        wide = Genome.uniform(8), Knobs(activation="table")
        place = str(folder / f"{label}-int8.safetensors")
        recipe = Tuning(epochs=size.epochs, seed=seed, keep="last")
        job = ForOne((("start", start),), teacher, *wide, recipe, None, place)
        seconds, teacher = train_for_one(job)["seconds"], place
    stages = _stages(variant, Genome.from_genes(NETWORKS[name]), size.epochs, seed)
    for number, (genome, knobs, recipe) in enumerate(stages):
        place = str(folder / f"{label}-{number}.safetensors")
        began = time.process_time()
        if (trainer := TRAINERS.get(variant)) is not None:
            task, source = load_task("digits-row", seed), zoo.load(start)
            tune(task, source, genome, knobs, recipe, trainer=trainer).checkpoint.save(place)
        else:
            job = ForOne((("start", start),), teacher, genome, knobs, recipe, None, place)
            train_for_one(job)
        seconds += time.process_time() - began
        start = place
    result = look_at(Look(start, None, KNOBS, ("judged", "val", "test")))
    document = {
        "variant": variant,
        "network": name,
        "seed": seed,
        "judged": result["judged"],
        "val": result["val"],
        "test": result["test"],
        "seconds": round(seconds, 1),
    }
    write_json(path, document)
    return document


def measure(
    say: Say, size: Size = FULL, folder: Path = FOLDER, budget: str | None = None
) -> dict[str, Any]:
    """Every variant of every network on every seed, as far as `budget` goes."""
    left, rows = Budget.of(budget), []
    folder.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        for seed in size.seeds:
            floats = networks_of(Race("digits-row", size.sizes, size.epochs), seed, FLOATS)
            for name in size.networks:
                label = f"{variant}-{name}-{seed}".replace(" ", "-").replace(",", "")
                if (folder / f"{label}.json").exists() or left.allows(0):
                    say(f"digits-row, seed {seed}: {name}, {variant}")
                    rows.append(_trained(variant, name, floats, size, seed, folder))
    return {"size": asdict(size), "rows": rows}


def gains(rows: Sequence[Mapping[str, Any]], variant: str, name: str, part: str) -> list[float]:
    """Points that a variant gains over the plain one, seed by seed."""
    of = {(r["variant"], r["seed"]): r[part] for r in rows if r["network"] == name}
    seeds = [s for v, s in of if v == variant and ("plain", s) in of]
    return [100 * (of[variant, s] - of["plain", s]) for s in seeds]


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    rows, size = data["rows"], data["size"]
    lines = [
        "## Training at few bits: what helps",
        "",
        f"digits-row with {size['sizes'][1]} units, input and classifier of 4 bits, "
        f"{size['epochs']} epochs, seeds {', '.join(map(str, size['seeds']))}. The last epoch is "
        "kept. Points gained over the plain variant, paired by seed, ± one standard error; "
        "validation is judged with its shifted copies. On validation only the longer schedule "
        "helps every network by more than its error, so of all this it alone is kept: a search "
        "within a budget has as many epochs as the budget allows, and networks that inherit have "
        "had more.",
        "",
    ]
    for name in size["networks"]:
        mine = [row for row in rows if row["network"] == name]
        body = []
        for variant, what in VARIANTS.items():
            of = [row for row in mine if row["variant"] == variant]
            if not of:
                continue
            plain = variant == "plain"
            body.append(
                (
                    variant,
                    what,
                    f"{100 * np.mean([row['judged'] for row in of]):.2f}",
                    "" if plain else with_error(gains(rows, variant, name, "judged")),
                    f"{100 * np.mean([row['test'] for row in of]):.2f}",
                    "" if plain else with_error(gains(rows, variant, name, "test")),
                    f"{np.mean([row['seconds'] for row in of]):.0f}",
                )
            )
        head = ("variant", "what", "validation, %", "gained", "test, %", "gained", "CPU seconds")
        lines += [f"**{name}** (`{''.join(map(str, NETWORKS[name]))}`):", "", *table(head, body)]
    return lines
