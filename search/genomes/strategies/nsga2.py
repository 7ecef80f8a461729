"""NSGA-II: a generation between any two yields."""

from collections.abc import Iterator

import numpy as np

from .algorithm import algorithm
from .context import Context
from .first import first_population
from .screening import GROWN, screened


def explore(context: Context) -> Iterator[None]:
    """A generation of NSGA-II between any two yields."""
    from pymoo.core.population import Population
    from pymoo.problems.static import StaticProblem

    config, ledger, decode = context.config, context.ledger, context.encoding.decode
    size = config.pop_size
    evolution, problem = algorithm(
        config,
        context.encoding.space,
        first_population(context),
        size,
        size * (GROWN if context.screening else 1),
        config.seed,
    )
    rng = np.random.default_rng([config.seed, 5])
    while True:
        asked = evolution.ask()
        if asked is None or not len(asked):
            # Nothing new can be made of this population.
            yield
            continue
        if len(asked) > size:
            asked = Population.new("X", screened(context, rng, asked.get("X"), size))
            if not len(asked):
                yield
                continue
        points = context.evaluate([decode(row) for row in asked.get("X")])
        costs, excess = ledger.seen_by_nsga2(points)
        evolution.evaluator.eval(StaticProblem(problem, F=costs, G=excess), asked)
        evolution.tell(infills=asked)
        if context.light_beacon():
            # What a beacon changed, the population has to know.
            population = evolution.pop
            rows = population.get("X")
            costs, excess = ledger.seen_by_nsga2([ledger.points[decode(row)] for row in rows])
            population.set("F", costs, "G", excess)
        yield
