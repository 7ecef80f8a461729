"""What training with quantisation gains over quantising after training, and what one set of weights
for all genomes (any precision) keeps of it.

Homogeneous networks and weight-only ones of each task, with and without a teacher; then, on one
task, random genomes by three routes: quantised as they are, with the weights that were trained for
all genomes, and trained one by one. Every number is kept as soon as it is known, so that a study
that was stopped goes on.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.checkpoints.floating import accuracy as float_accuracy
from genogate.model.data.tasks import Task, load_task
from genogate.model.files import read_json, write_json
from genogate.model.genome import GENES, Genome
from genogate.model.integer import IntModel
from genogate.model.knobs import Knobs
from genogate.model.qat.any_precision import AnyTuning, random_genome, tune_any
from genogate.model.qat.recipe import Tuning
from genogate.model.qat.tune import tune
from genogate.model.quantize.calibrate import Calibration, calibrate
from genogate.model.quantize.quantize import quantize
from genogate.search.genomes.evaluate import accuracy

from .search import table
from .search_statistics import rank_correlation

Say = Callable[[str], None]
#: Tables, so that no figure depends on the choice of activation units.
KNOBS = Knobs(activation="table")
#: The 17 genes of a layer, by name.
SCHEMES = {
    **{f"int{bits}": (bits,) * 17 for bits in range(2, 9)},
    "weights 3, rest 8": (3,) * 6 + (8,) * 11,
    "weights 2, rest 8": (2,) * 6 + (8,) * 11,
    "weights 2, of n 3, rest 5": (2, 2, 3, 2, 2, 3) + (5,) * 11,
}

STATE = GENES.index("s_h")


@dataclass(frozen=True)
class Case:
    """A checkpoint whose homogeneous networks are trained.

    schemes : of :data:`SCHEMES`, quantised only where it is ``int8``
    untaught : schemes also trained without a teacher
    """

    checkpoint: str
    epochs: int
    schemes: tuple[str, ...]
    untaught: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnyCase:
    """A checkpoint whose weights are trained for all genomes.

    genomes : how many are trained one by one besides
    epochs, single_epochs : of training for all genomes, and for one of them
    """

    checkpoint: str = "digits-row"
    genomes: int = 40
    epochs: int = 50
    single_epochs: int = 15


@dataclass(frozen=True)
class Size:
    """What is trained.

    seed : of everything random
    """

    cases: tuple[Case, ...]
    any_cases: tuple[AnyCase, ...] = (AnyCase(),)
    seed: int = 0


_MAIN = ("int8", "int4", "int3", "int2", "weights 2, rest 8", "weights 2, of n 3, rest 5")
FULL = Size(
    (
        *(
            Case(name, 30, (*_MAIN, "weights 3, rest 8"), ("int3", "weights 2, rest 8"))
            for name in ("digits-row", "digits-row-seed1", "digits-row-seed2")
        ),
        *(
            Case(
                name,
                20,
                ("int8", "int4", "int3", "weights 2, rest 8"),
                ("int3", "weights 2, rest 8"),
            )
            for name in ("kws4", "kws4-seed1", "kws4-seed2")
        ),
        # As long as the float networks: in fewer epochs few bits lose more.
        *(
            Case(name, 60, ("int8", "weights 3, rest 8", "weights 2, rest 8"))
            for name in ("kws10", "kws10-seed1", "kws10-seed2")
        ),
        # A minute and more each on one core.
        Case("mnist-row", 5, _MAIN, ("weights 2, rest 8",)),
    ),
    (AnyCase(), AnyCase("kws4", epochs=24, single_epochs=10)),
)
QUICK = Size((Case("digits-row", 1, ("int8", "int3")),), (AnyCase("digits-row", 3, 1, 1),))
#: What others reach on a task, measured once beside this project.
RIVALS = {
    "mnist-row": "Beside it HGQ2 0.2.0, whose widths are learned by gradient for every element (64 "
    "units, 20 epochs, one seed): 98.79 with 46.5 kbit of weights, 98.45 with 37.8, 98.05 with "
    "27.6; its state takes 2 to 4 bits and its input 1 to 2, which are 8 here where `rest` is 8.",
}
FOLDER = Path("build/study-qat")


class _Source:
    """A checkpoint with its data and calibration, loaded when first asked for."""

    def __init__(self, name: str) -> None:
        self.name, self.checkpoint = name, zoo.load(name)
        self.task: Task = load_task(
            self.checkpoint.info.get("task", "digits-row"),
            self.checkpoint.info.get("split_seed", 0),
        )
        self.calibration: Calibration = calibrate(self.checkpoint, self.task.x_calibration)

    def scores(self, model: IntModel) -> dict[str, float]:
        task = self.task
        return {
            "val": accuracy(model, task.x_val, task.y_val),
            "test": accuracy(model, task.x_test, task.y_test),
        }

    def float_scores(self) -> dict[str, float]:
        task = self.task
        return {
            "val": float_accuracy(self.checkpoint, task.x_val, task.y_val),
            "test": float_accuracy(self.checkpoint, task.x_test, task.y_test),
        }


class _Kept:
    """Numbers by what they are of, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, about: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of `about`, else what `make` gives."""
        text = json.dumps(about, sort_keys=True)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        if path.exists():
            return dict(read_json(path)["found"])
        found = make()
        write_json(path, {"about": about, "found": found})
        return found


def scheme_genome(scheme: str, layers: int, dense: int = 0) -> Genome:
    """The genome of a scheme; dense layers have the bits of its weights, and of its state."""
    genes = SCHEMES[scheme]
    return Genome((genes,) * layers, ((genes[0], genes[STATE]),) * dense)


def _quantised(source: _Source, genome: Genome) -> dict[str, Any]:
    model = quantize(source.calibration, genome, KNOBS)
    return {**source.scores(model), "size_bits": model.size_bits, "weight_bits": model.weight_bits}


def _trained(source: _Source, genome: Genome, recipe: Tuning) -> dict[str, Any]:
    start = time.process_time()
    result = tune(
        source.task, source.checkpoint, genome, KNOBS, recipe, calibration=source.calibration
    )
    return {
        **source.scores(result.model),
        "seconds": round(time.process_time() - start, 1),
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
    }


def _homogeneous(size: Size, kept: _Kept, say: Say) -> Iterator[dict[str, Any]]:
    for case in size.cases:
        name, source = case.checkpoint, _Source(case.checkpoint)
        about = [name, source.checkpoint.hash, source.task.split_hash, KNOBS.identity]
        yield {
            "checkpoint": name,
            "scheme": "float",
            "float": source.float_scores(),
            "task": source.task.name,
        }
        for scheme in case.schemes:
            genome = scheme_genome(scheme, *source.checkpoint.counts)
            row: dict[str, Any] = {"checkpoint": name, "scheme": scheme, "task": source.task.name}
            say(f"{name}: {scheme}")
            row["ptq"] = kept.of([*about, scheme, "ptq"], partial(_quantised, source, genome))
            if scheme != "int8":
                taught = {"qat": Tuning(epochs=case.epochs, seed=size.seed)}
                if scheme in case.untaught:
                    taught["untaught"] = Tuning(epochs=case.epochs, seed=size.seed, distil=0.0)
                for kind, recipe in taught.items():
                    row[kind] = kept.of(
                        [*about, scheme, asdict(recipe)],
                        partial(_trained, source, genome, recipe),
                    )
            yield row


def _any_precision(case: AnyCase, seed: int, kept: _Kept, say: Say) -> dict[str, Any]:
    source = _Source(case.checkpoint)
    recipe = AnyTuning(epochs=case.epochs, seed=seed)
    about = [case.checkpoint, source.checkpoint.hash, source.task.split_hash, KNOBS.identity]
    path = kept.folder / f"any-{source.checkpoint.hash}-{case.epochs}-{seed}.safetensors"
    if not path.exists():
        say(f"{case.checkpoint}: training for all genomes")
        start = time.process_time()
        made = tune_any(
            source.task, source.checkpoint, KNOBS, recipe, state=path.with_suffix(".partial")
        )
        seconds = round(time.process_time() - start, 1)
        Checkpoint(made.tensors, {**made.info, "seconds": seconds}).save(path)
    anyone = _Source(str(path))
    about.append(anyone.checkpoint.hash)
    draw = np.random.default_rng([seed, 2])
    rows = []
    for k in range(case.genomes):
        genome = random_genome(draw, *source.checkpoint.counts)
        say(f"{case.checkpoint}: genome {k + 1} of {case.genomes}")
        single = Tuning(epochs=case.single_epochs, seed=seed)
        row: dict[str, Any] = {"genes": list(genome.genes)}
        genes = list(genome.genes)
        row["ptq"] = kept.of([*about, genes, "ptq"], partial(_quantised, source, genome))
        row["any"] = kept.of([*about, genes, "any"], partial(_quantised, anyone, genome))
        row["qat"] = kept.of(
            [*about[:4], genes, asdict(single)], partial(_trained, source, genome, single)
        )
        rows.append(row)
    return {
        "checkpoint": case.checkpoint,
        "recipe": asdict(recipe),
        "rows": rows,
        "float": source.float_scores(),
        "any_float": anyone.float_scores(),
        "seconds": anyone.checkpoint.info.get("seconds"),
    }


def measure_qat(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """All numbers of the study; what `folder` holds already is taken from there."""
    kept = _Kept(folder)
    return {
        "command": "python -m studies --only qat",
        "size": asdict(size),
        "knobs": KNOBS.to_json(),
        "homogeneous": list(_homogeneous(size, kept, say)),
        "any": [_any_precision(case, size.seed, kept, say) for case in size.any_cases],
    }


def _percent(values: Sequence[float]) -> str:
    """Mean, and the least and greatest where there are several."""
    text = f"{100 * float(np.mean(values)):.2f}"
    if len(values) > 1:
        text += f" ({100 * min(values):.2f} to {100 * max(values):.2f})"
    return text


def _outcome(rows: Sequence[dict[str, Any]], scheme: str = "weights 2, rest 8") -> str:
    """What training brings back of each task's accuracy, in a sentence."""
    words = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of = [row for row in rows if row["task"] == task]
        means = [
            100 * float(np.mean(scores))
            for which, kind in (("float", "float"), (scheme, "ptq"), (scheme, "qat"))
            if (scores := [r[kind]["test"] for r in of if r["scheme"] == which and kind in r])
        ]
        if len(means) == 3:
            words.append(f"{task} {means[1]:.1f} to {means[2]:.1f} % (float {means[0]:.1f})")
    return (
        "Result: with 2-bit weights and 8 bits elsewhere training raises test accuracy as follows: "
        f"{'; '.join(words)}."
    )


def render_qat(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    rows = data["homogeneous"]
    lines = [
        "## Quantisation-aware training",
        "",
        "Asked: how much of the accuracy that narrow widths lose does training with the quantised "
        "network bring back?",
        "",
        _outcome(rows),
        "",
        "Test accuracy in percent, mean and range over the shipped checkpoints of a task. The "
        "forward pass of training is the integer network itself, so these are figures of the "
        "golden model that hardware is held to. `quantised`: without training. `trained`: with the "
        "float network as teacher. `size`: of all stored parameters, INT8 is 1. `weights`: those "
        "of the GRU. `validation`: of the trained network, or of the quantised one where none was "
        "trained; with keywords its speakers are others than those of the test part.",
        "",
    ]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for task in tasks:
        mine = [row for row in rows if row["task"] == task]
        floats = [row["float"]["test"] for row in mine if row["scheme"] == "float"]
        int8 = {r["checkpoint"]: r["ptq"]["size_bits"] for r in mine if r["scheme"] == "int8"}
        body: list[tuple[str, ...]] = []
        for scheme in dict.fromkeys(row["scheme"] for row in mine if row["scheme"] != "float"):
            of = [row for row in mine if row["scheme"] == scheme]
            first = of[0]

            def part(kind: str, of: list[dict[str, Any]] = of, on: str = "test") -> str:
                values = [row[kind][on] for row in of if kind in row]
                return _percent(values) if values else ""

            relative = first["ptq"]["size_bits"] / int8[first["checkpoint"]]
            seconds = [row["qat"]["seconds"] for row in of if "qat" in row]
            body.append(
                (
                    scheme,
                    f"{relative:.2f}",
                    f"{first['ptq']['weight_bits'] / 1000:.1f}",
                    part("ptq"),
                    part("qat"),
                    part("untaught"),
                    part("qat", on="val") or part("ptq", on="val"),
                    str(first["qat"]["epochs"]) if "qat" in first else "",
                    f"{np.mean(seconds):.0f}" if seconds else "",
                )
            )
        lines += [f"**{task}**, {len(floats)} checkpoint(s), float {_percent(floats)}:", ""]
        lines += table(
            (
                "scheme",
                "size",
                "weights, kbit",
                "quantised",
                "trained",
                "trained, no teacher",
                "validation",
                "epochs",
                "CPU seconds",
            ),
            body,
        )
        if task in RIVALS:
            lines += [RIVALS[task], ""]
    # What was stored before there were several.
    several = data["any"] if isinstance(data["any"], list) else [data["any"]]
    for found in several:
        rows = found["rows"]
        body = []
        for which, name in (("val", "validation"), ("test", "test")):
            score = {kind: [row[kind][which] for row in rows] for kind in ("ptq", "any", "qat")}
            body.append(
                (
                    name,
                    *(_percent(score[kind]) for kind in ("ptq", "any", "qat")),
                    f"{rank_correlation(score['ptq'], score['qat']):.3f}",
                    f"{rank_correlation(score['any'], score['qat']):.3f}",
                )
            )
        lines += [
            f"**One set of weights for all genomes**, {found['checkpoint']}. Can weights that are "
            "trained once serve every genome in a search? Each of "
            f"{len(rows)} random genomes is quantised from the float weights, quantised from the "
            f"weights that were trained for all ({found['recipe']['epochs']} epochs, "
            f"{found['seconds']:.0f} CPU seconds, once), and trained by itself. Mean accuracy and "
            "range, and Spearman's rank correlation with the genomes trained by themselves:",
            "",
            *table(
                (
                    "accuracy",
                    "float weights",
                    "weights for all",
                    "trained each",
                    "rank, float weights",
                    "rank, weights for all",
                ),
                body,
            ),
        ]
    return [*lines, f"`{data['command']}`.", ""]
