"""The first population."""

import numpy as np

from ....model.genome import MAX_BITS, MIN_BITS, Genome
from .. import sensitivity
from ..candidate import Candidate
from ..pareto import Array
from ..patterns import patterns
from .context import Context
from .screening import GROWN, screened


def first_population(context: Context) -> Array:
    """The first population [pop_size, variables]; evaluates what it needs to know."""
    config, space = context.config, context.encoding.space
    rng = np.random.default_rng([config.seed, 1])
    size = config.pop_size * (GROWN if context.screening else 1)
    rows = rng.integers(space.low, space.high + 1, (size, len(space.low)))
    genomes: list[Genome] = []
    if config.initial != "random":
        counts = context.encoding.layers, context.encoding.dense
        genomes = [Genome.uniform(b, *counts) for b in range(MIN_BITS, MAX_BITS + 1)]
        context.evaluate([Candidate(genome) for genome in genomes])
    if config.initial == "sensitivity":
        genomes += _by_sensitivity(context, rng, rows, genomes)
    if config.seed_patterns:
        by_hand = sensitivity.spread(
            patterns(context.encoding.layers, context.encoding.dense), config.pop_size // 2
        )
        genomes = [*by_hand, *(genome for genome in genomes if genome not in by_hand)]
    for k, genome in enumerate(genomes[: config.pop_size]):
        rows[k] = context.encoding.encode(Candidate(genome))
        for variable in space.categories:
            # What is a good genome with one checkpoint may be one with each of them.
            rows[k, variable] = k % (space.high[variable] + 1)
    if context.screening:
        count = min(len(genomes), config.pop_size)
        rng = np.random.default_rng([config.seed, 4])
        rest = screened(context, rng, rows[count:], config.pop_size - count)
        rows = np.vstack([rows[:count], rest])
    return rows


def _by_sensitivity(
    context: Context, rng: np.random.Generator, rows: Array, genomes: list[Genome]
) -> list[Genome]:
    """Genomes ordered by the sensitivity of every operator, besides `genomes`; the rows that
    they do not fill become neighbours of theirs."""
    config = context.config
    judge = context.judge if config.prescreen is None else context.judge_by_proxy
    profile = sensitivity.profile(judge, context.encoding.layers, context.encoding.dense)
    costs = [n for n in config.objectives if n in profile.costs] or ["size"]
    room = config.pop_size // 2 - len(genomes)
    chain = sensitivity.ordered(profile, costs, count=config.pop_size)
    more = sensitivity.spread([g for g in chain if g not in genomes], max(1, room))
    # The others are the chain's genomes with a third of the genes a bit off: as spread as random
    # ones, but near to where good ones are.
    for k in range(min(len(genomes) + len(more), config.pop_size), len(rows)):
        near = chain[int(rng.integers(len(chain)))].genes
        off = rng.choice([-1, 0, 1], len(near), p=(0.2, 0.6, 0.2))
        rows[k, : len(near)] = np.clip(np.add(near, off), MIN_BITS, MAX_BITS)
    return more
