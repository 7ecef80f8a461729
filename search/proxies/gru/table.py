"""Tables of shipped GRUs: genomes drawn, judged, and some of them trained for."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....model.aliases import Array, Say
from ....model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ....model.quantize.drafts import draft
from ....model.quantize.quantize import without_synthesis
from ...genomes.evaluate import accuracy
from ...pool.backends import Pool
from ..draws import SAME_SIZE, Draws, draw_any, draw_around, draw_weighted, interleaved
from ..tables import FOLDER, KINDS, Keeping, Table, empty, versions
from .material import KNOBS, Material, judge, material

#: Genomes that are judged by one calibration before the next one's turn.
TOGETHER = 50
#: Of training for a genome.
EPOCHS = 8


def _judge(case: tuple[str, int, tuple[int, ...]]) -> tuple[float, int]:
    from threadpoolctl import threadpool_limits

    # Small products on many threads wait for one another more than they work.
    with threadpool_limits(1):
        return judge(*case)


def _trained(epochs: int, case: tuple[str, tuple[int, ...]]) -> float:
    """Validation accuracy after a short training for the genome; the last epoch is kept where none
    was better, so this is a little above what the validation part would say of an unseen network.
    """
    from threadpoolctl import threadpool_limits

    from ....model.qat.recipe import Tuning
    from ....model.qat.tune import tune

    name, genes = case
    of = material(name, 0)
    with threadpool_limits(1):
        tuned = tune(
            of.task,
            of.checkpoint,
            Genome.from_genes(genes),
            KNOBS,
            Tuning(epochs=epochs),
            calibration=of.calibration,
        )
        return accuracy(tuned.model, of.x, of.y)


def draw_gru(name: str, draws: Draws) -> tuple[Array, list[str]]:
    """Genomes uint8 [N, 17 L] of the shipped GRU `name`, and their kinds."""
    of = material(name, 0)
    layers = of.checkpoint.layers
    items = layers * len(GENES)
    widths = np.arange(MIN_BITS, MAX_BITS + 1)
    weights = np.zeros(items, np.int64)
    for layer in range(layers):
        for place, gene in enumerate(GENES[:6]):
            matrix, _ = of.checkpoint.operator(layer, gene)
            weights[layer * len(GENES) + place] = matrix.size
    middle = (MIN_BITS + MAX_BITS) // 2
    # A layer's mean dense width is the middle one: as many bits as INT5 has.
    target = middle * int(weights.sum())
    size = _judge((name, 0, (middle,) * items))[1]
    kinds = interleaved(draws.counts)
    seen: set[tuple[int, ...]] = set()
    rows: list[Array] = []
    streams = {kind: np.random.default_rng([draws.seed, k]) for k, kind in enumerate(KINDS)}
    for kind in kinds:
        while True:
            draw = streams[kind]
            if kind == "any":
                row = draw_any(draw, widths, items)
            elif kind == "around":
                row = draw_around(draw, widths, items)
            elif kind == "equal-sum":
                row = draw_weighted(draw, widths, np.ones(items, np.int64), middle * items)
            else:
                row = draw_weighted(draw, widths, weights, target)
                drafted = draft(of.calibration, Genome.from_genes(row), KNOBS)
                actual = drafted.choose(without_synthesis(drafted.groups)).size_bits
                if abs(actual - size) > SAME_SIZE * size:
                    continue
            if tuple(row) not in seen:
                break
        seen.add(tuple(row))
        rows.append(row)
    return np.array(rows, np.uint8), kinds


def _judge_all(growing: Keeping, pool: Pool, name: str, say: Say) -> None:
    """Accuracy and size of every genome that has none yet."""
    table = growing.table
    missing = np.flatnonzero(np.isnan(table.accuracy))
    cases = [(name, 0, tuple(map(int, table.genomes[k]))) for k in missing]
    for done, (index, judged) in enumerate(pool.map(_judge, cases), 1):
        table.accuracy[missing[index]], table.sizes[missing[index]] = judged
        say(f"{name}: {done} of {len(cases)} genomes")
        growing.now_and_then()


def _judge_again(growing: Keeping, pool: Pool, name: str, repeats: int, say: Say) -> None:
    """Accuracies by other calibrations, where they are missing."""
    table = growing.table
    # All calibrations of some genomes before the next, so that a part of it is of use.
    places = [
        (row, k)
        for start in range(0, table.repeats.shape[1], TOGETHER)
        for row in range(repeats)
        for k in range(start, min(start + TOGETHER, table.repeats.shape[1]))
        if np.isnan(table.repeats[row, k])
    ]
    cases = [(name, row + 1, tuple(map(int, table.genomes[k]))) for row, k in places]
    for done, (index, judged) in enumerate(pool.map(_judge, cases), 1):
        table.repeats[places[index]] = judged[0]
        say(f"{name}: other calibrations: {done} of {len(cases)}")
        growing.now_and_then()


def _provenance(name: str, of: Material, draws: Draws, epochs: int) -> dict[str, Any]:
    """What a table is made of, so that another is not mixed with it."""
    return {
        "network": "gru",
        "checkpoint": name,
        "checkpoint_hash": of.checkpoint.hash,
        "task": of.task.name,
        "split_hash": of.task.split_hash,
        "draws": draws.counts,
        "seed": draws.seed,
        "knobs": KNOBS.to_json(),
        "judged_on": len(of.y),
        "versions": versions(),
        "epochs": epochs,
        "calibrations": "0: the task's; 1 ...: drawn from the training part with that seed",
    }


def make_gru(
    name: str,
    path: Path | None = None,
    *,
    draws: Draws | None = None,
    repeats: int = 3,
    repeated: int = 200,
    trained: int = 0,
    epochs: int | None = None,
    workers: int = 1,
    say: Say = lambda text: None,
) -> Table:
    """Make the table of a shipped GRU, or go on with one that was begun.

    repeats, repeated : other calibrations, and how many genomes are judged by each
    trained, epochs : how many genomes are also trained for, and for how long: what `path` has, or
        :data:`EPOCHS`

    Raises :class:`InputError` where `path` holds a table that was made otherwise.
    """
    draws = draws or Draws()
    path = path or FOLDER / f"{name}.npz"
    of = material(name, 0)
    layers = of.checkpoint.layers
    items = [
        gene if layers == 1 else f"{layer}.{gene}" for layer in range(layers) for gene in GENES
    ]
    provenance = _provenance(name, of, draws, EPOCHS if epochs is None else epochs)
    if path.exists():
        begun = Table.read(path, whole=False)
        genomes, kinds = begun.genomes, interleaved(draws.counts)
        if epochs is None:
            provenance["epochs"] = begun.about.get("epochs", EPOCHS)
    else:
        say(f"{name}: drawing genomes")
        genomes, kinds = draw_gru(name, draws)
    begin = empty(name, items, genomes, kinds, (repeats, min(repeated, len(genomes))), provenance)
    with (
        Keeping(path, begin) as growing,
        Pool("processes" if workers > 1 else "serial", workers, timeout=3600) as pool,
    ):
        _judge_all(growing, pool, name, say)
        _judge_again(growing, pool, name, repeats, say)
        table = growing.table
        missing = np.flatnonzero(np.isnan(table.trained[:trained]))
        jobs = [(name, tuple(map(int, table.genomes[k]))) for k in missing]
        train = partial(_trained, provenance["epochs"])
        for done, (index, share) in enumerate(pool.map(train, jobs), 1):
            table.trained[missing[index]] = share
            say(f"{name}: {done} of {len(jobs)} genomes trained for")
            growing.now_and_then()
    return growing.table
