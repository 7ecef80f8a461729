"""A denoiser narrowed further: from the network trained with 2-bit weights, by what each operator
loses, with short trainings that inherit the weights.

A training of this task takes minutes, so a search that trains every network from float weights
(``genogate search --budget``) sees few of them in an hour. Here the weights of one trained network
are quantised for every narrower operator alone; steps are ordered by the decibels that they lose
for the area that they save; and along this order the narrowest network that a short training keeps
within the limit is found by bisection, each training beginning with the trained weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.files import read_json, write_json
from genogate.model.genome import MIN_BITS, Genome
from genogate.network import Network, build_network
from genogate.search.ladder.plan import Plan
from genogate.search.ladder.rungs import Net, Result, Rungs
from genogate.search.ladder.steps import net_of, row_of
from genogate.search.pool.backends import Pool

from .denoise import FOLDER, GENOMES, KNOBS, LAYERS, NAME, float_network, trained_network

Say = Callable[[str], None]
#: The network that narrowing begins with: trained for its genome already.
START = "weights 2, rest 8"
#: Epochs of a training along the order, decibels below float that validation may lose, decibels
#: that a step counts as at least, and trainings.
EPOCHS, DROP, SLIGHT, TRAININGS = 4, 0.1, 0.003, 3
#: Least bits of sums, products and activations that are looked at.
LEAST = 3


def _genome() -> Genome:
    return Genome((GENOMES[START],) * LAYERS)


def _rungs(seed: int, folder: Path, say: Say, pool: Pool) -> Rungs:
    place = folder / f"narrowed-seed{seed}"
    place.mkdir(parents=True, exist_ok=True)
    plan = Plan((float_network(seed, folder),), drop=DROP, seed=seed, knobs=KNOBS, budget=1e6)
    return Rungs(place, plan, pool, say)


def _begin(rungs: Rungs, seed: int, folder: Path) -> Result:
    """The trained network, as its own weights quantise it."""
    path = trained_network(START, seed, folder)
    net = Net(0, _genome())
    (result,) = rungs.quantised([net], Result(net, 0.0, path, "full"))
    return Result(net, result.judged, path, "full")


def ordered(rungs: Rungs, start: Result) -> list[Net]:
    """Networks from `start` downwards, each a bit narrower than the one before: that of the
    operator that loses least for the area that it saves, by looks at single operators."""
    row = row_of(start.net)
    singles: dict[tuple[int, int], Net] = {}
    for k, bits in enumerate(row[:-1]):
        least = MIN_BITS if bits <= LEAST else LEAST
        for narrower in range(least, bits):
            singles[k, narrower] = net_of(np.array([*row[:k], narrower, *row[k + 1 :]]))
    results = rungs.quantised(list(singles.values()), start)
    (base,) = rungs.priced([start.net])
    prices = rungs.priced(list(singles.values()))
    loss = {
        key: max(0.0, 100 * (start.judged - r.judged))
        for key, r in zip(singles, results, strict=True)
    }
    saved = {key: base["um2"] - p["um2"] for key, p in zip(singles, prices, strict=True)}
    chain, at = [start.net], row.copy()
    while True:
        steps = []
        for k in range(len(row) - 1):
            here = (k, int(at[k]))
            # As many bits at once as are worth most together.
            for narrower in range(LEAST, int(at[k])):
                there = (k, narrower)
                more = saved.get(there, 0.0) - saved.get(here, 0.0)
                lost = loss.get(there, np.inf) - loss.get(here, 0.0)
                if more > 0 and np.isfinite(lost):
                    price = (max(0.0, lost) + SLIGHT * (at[k] - narrower)) / more
                    steps.append((price, k, narrower))
        if not steps:
            return chain
        _, k, narrower = min(steps)
        at[k] = narrower
        chain.append(net_of(at.copy()))


def narrowed(folder: Path, say: Say = lambda text: None) -> dict[str, Any]:
    """The narrowest network of seed 0 within the limit: ``net``, and what was tried.

    The limit is :data:`DROP` below the float network on the validation part, which no choice of
    weights sees: every training keeps its last epoch.
    """
    file = folder / "narrowed.json"
    if file.exists():
        return dict(read_json(file))
    from genogate.search.experiment.jobs import Look, look_at

    with Pool("serial", 1, timeout=24 * 3600.0) as pool:
        rungs = _rungs(0, folder, say, pool)
        start = _begin(rungs, 0, folder)
        floating = look_at(Look(float_network(0, folder), None, KNOBS, ("judged",)))["judged"]
        chain = ordered(rungs, start)
        say(f"{len(chain)} networks in order, float {100 * floating:.3f} dB")
        tried: list[dict[str, Any]] = []
        # Where quantisation alone loses about half a decibel training is worth a try.
        low, high = 0, len(chain)
        at = _guess(rungs, chain, start)
        best = start
        for _ in range(TRAININGS):
            if not low < at < high:
                break
            (result,) = rungs.trained([(chain[at], start)], "short", EPOCHS, 1.0)
            lost = 100 * (floating - result.judged)
            (price,) = rungs.priced([chain[at]])
            tried.append({"place": at, "lost": round(lost, 4), "um2": price["um2"]})
            say(f"place {at} of {len(chain)}: {lost:+.3f} dB, {price['um2']:,.0f} um^2")
            if lost <= DROP:
                low, best = at, result
            else:
                high = at
            at = (low + high) // 2
        document = {
            "row": [int(v) for v in row_of(best.net)],
            "tried": tried,
            "chain": len(chain),
            "seconds": round(rungs.spent, 1),
            "epochs": EPOCHS,
            "drop": DROP,
        }
        rungs.close()
    write_json(file, document)
    return document


def _guess(rungs: Rungs, chain: Sequence[Net], start: Result) -> int:
    """The last place of the order at which quantisation alone loses less than five times the limit,
    by bisection."""
    low, high = 0, len(chain)
    while high - low > 1:
        middle = (low + high) // 2
        (result,) = rungs.quantised([chain[middle]], start)
        lost = 100 * (start.judged - result.judged)
        low, high = (middle, high) if lost <= 5 * DROP else (low, middle)
    return max(1, low)


def narrowed_network(seed: int, folder: Path = FOLDER, say: Say = lambda text: None) -> Network:
    """That network of a seed, trained from this seed's weights."""
    net = net_of(np.array(narrowed(folder, say)["row"]))
    with Pool("serial", 1, timeout=24 * 3600.0) as pool:
        rungs = _rungs(seed, folder, say, pool)
        start = Result(Net(0, _genome()), 0.0, trained_network(START, seed, folder), "full")
        (result,) = rungs.trained([(net, start)], "short", EPOCHS, 1.0)
        rungs.close()
    knobs = replace(KNOBS, input_bits=net.input_bits, classifier_bits=net.classifier_bits)
    return build_network(
        genome=str(net.genome),
        task=NAME,
        checkpoint=result.path,
        knobs=knobs,
        say=lambda text: None,
    )
