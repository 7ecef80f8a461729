"""Tables of the small CNNs."""

from pathlib import Path

import numpy as np

from ....model.aliases import Array, Say
from ....model.checkpoints.descent import import_torch
from ..draws import SAME_SIZE, Draws, draw_any, draw_around, draw_weighted, interleaved
from ..tables import FOLDER, KINDS, Keeping, Table, empty, versions
from .layers import WIDTHS, layers
from .network import load
from .quantisation import CALIBRATED, judged, quantised, size_bits

DRAWS = Draws(any=200, around=80, equal_sum=110, equal_size=110)


def _judge(case: tuple[str, int, tuple[int, ...]]) -> float:
    name, calibration, genome = case
    torch = import_torch()
    torch.set_num_threads(1)
    return quantised(name, calibration).accuracy(genome, *judged(name))


def draw_genomes(name: str, draws: Draws = DRAWS) -> tuple[Array, list[str]]:
    """Configurations uint8 [N, L] and their kinds, all different."""
    shapes = layers(name)
    widths = np.array(WIDTHS)
    weights = np.array([np.prod(s.weight_shape) for s in shapes], np.int64)
    kinds = interleaved(draws.counts)
    total = round(float(widths.mean()) * len(shapes))
    # The size of a network with half of its weights at 3 bits and half at 4.
    target = round(3.5 * int(weights.sum()))
    streams = {kind: np.random.default_rng([draws.seed, k]) for k, kind in enumerate(KINDS)}
    rows: list[Array] = []
    seen: set[tuple[int, ...]] = set()
    for kind in kinds:
        while True:
            draw = streams[kind]
            if kind == "any":
                row = draw_any(draw, widths, len(shapes))
            elif kind == "around":
                row = draw_around(draw, widths, len(shapes), 1)
            elif kind == "equal-sum":
                ones = np.ones(len(shapes), np.int64)
                row = draw_weighted(draw, widths, ones, total)
            else:
                row = draw_weighted(draw, widths, weights, target, SAME_SIZE)
            if tuple(row) not in seen:
                break
        seen.add(tuple(row))
        rows.append(row)
    return np.array(rows, np.uint8), kinds


def make_cnn(
    name: str,
    path: Path | None = None,
    *,
    draws: Draws = DRAWS,
    repeats: int = 3,
    repeated: int = 100,
    workers: int = 1,
    say: Say = lambda text: None,
) -> Table:
    """Make the table of a shipped network, or go on with one that was begun; as
    :func:`~..gru.table.make_gru`."""
    from ...pool.backends import Pool

    path = path or FOLDER / f"{name}.npz"
    net = load(name)
    genomes, kinds = draw_genomes(name, draws)
    provenance = {
        "network": "cnn",
        "checkpoint": name,
        "checkpoint_hash": net.hash,
        "task": net.about["task"],
        "split_hash": net.about["split_hash"],
        "draws": draws.counts,
        "seed": draws.seed,
        "judged_on": len(judged(name)[1]),
        "versions": versions(),
        "calibrations": f"{CALIBRATED} training images drawn with seed 0; 1 ...: with that seed",
    }
    shape = repeats, min(repeated, len(genomes))
    begin = empty(name, [s.name for s in layers(name)], genomes, kinds, shape, provenance)
    with (
        Keeping(path, begin) as growing,
        Pool("processes" if workers > 1 else "serial", workers) as pool,
    ):
        table = growing.table
        table.sizes[:] = [size_bits(name, row) for row in genomes]
        for row, shares in enumerate([table.accuracy, *table.repeats]):
            missing = np.flatnonzero(np.isnan(shares))
            cases = [(name, row, tuple(map(int, genomes[k]))) for k in missing]
            for done, (index, share) in enumerate(pool.map(_judge, cases), 1):
                shares[missing[index]] = share
                say(f"{name}: calibration {row}: {done} of {len(cases)} configurations")
                growing.now_and_then()
    return growing.table
