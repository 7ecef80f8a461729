"""Offspring that a training-free proxy finds worth an evaluation."""

from collections.abc import Callable

import numpy as np

from ..pareto import Array
from ..screening import ENOUGH, Forecast, plain, select, shortlist
from .algorithm import algorithm
from .context import Context

#: Populations of the search by a proxy's word within a generation, in those of the run.
GROWN = 4
#: Candidates whose costs are looked at closely, for each that is evaluated.
SHORTLIST = 4
#: From rows to numbers.
Values = Callable[[Array], Array]


def screened(context: Context, rng: np.random.Generator, rows: Array, count: int) -> Array:
    """At most `count` of `rows`, or of what NSGA-II makes of them by the proxy's word, that are
    worth an evaluation."""
    context.say("Prescreening")
    ledger, encoding, config = context.ledger, context.encoding, context.config
    early = len(ledger.points) < ENOUGH
    accuracy = _by_rank(context) if early else _translation(context)
    front = None if early else ledger.costs(ledger.front())
    column = config.objectives.index("accuracy")
    values = _values(context, accuracy)
    order = [column, *(k for k in range(len(config.objectives)) if k != column)]
    reference = ledger.reference[order]
    if front is not None:
        front = front[:, order]
    rows = _met_by_evolution(context, rng, rows, values, reference)
    rows = rows[[encoding.decode(row) not in ledger.points for row in rows]]
    if len(rows) > SHORTLIST * count:
        rows = rows[shortlist(rng, values(rows), front, reference, SHORTLIST * count)]
    if len(rows) <= count:
        return rows
    candidates = [encoding.decode(row) for row in rows]
    losses = 1 - accuracy(rows)
    useful = losses < reference[0] if not early else np.ones(len(rows), bool)
    costs, pool, say = context.costs, context.pool, context.say
    told = costs.told(candidates, plain(costs.setting, False), pool, say)
    for name, limit in config.bounds:
        useful &= [row.get(name, 0) <= limit for row in told]
    expected = costs.expected(candidates, pool, say)
    return rows[
        select(rng, losses, expected, count, useful=useful, front=front, reference=reference)
    ]


def _values(context: Context, accuracy: Values) -> Values:
    """From rows to losses and costs [n, objectives], accuracy first."""
    models = [
        context.costs.fitted(name) or context.costs.steps(name, context.pool, context.say)
        for name in context.config.objectives
        if name != "accuracy"
    ]
    return lambda rows: np.column_stack([1 - accuracy(rows), *(of(rows) for of in models)])


def _met_by_evolution(
    context: Context, rng: np.random.Generator, rows: Array, values: Values, reference: Array
) -> Array:
    """All rows that NSGA-II meets from `rows` and the front on, as many as the run looks at for a
    generation, when objectives are `values`."""
    from pymoo.problems.static import StaticProblem

    config, encoding = context.config, context.encoding
    size = max(len(rows), GROWN * config.pop_size)
    front = [encoding.encode(point.candidate) for point in context.ledger.front()]
    first = np.unique(np.vstack([*front, rows]), axis=0)
    seed = int(rng.integers(1 << 31))
    evolution, problem = algorithm(config, encoding.space, first, size, size, seed)
    met = [first]
    for _ in range(-(-config.pop_size * config.prescreen_factor // size)):
        asked = evolution.ask()
        if asked is None or not len(asked):
            break
        offspring = asked.get("X")
        met.append(offspring)
        told = values(offspring)
        beyond = np.zeros((len(offspring), problem.n_ieq_constr))
        beyond[:, 0] = (told / reference).max(1) - 1
        evolution.evaluator.eval(StaticProblem(problem, F=told, G=beyond), asked)
        evolution.tell(infills=asked)
    return np.unique(np.vstack(met), axis=0)


def _by_rank(context: Context) -> Values:
    """Stands for accuracies until enough are known."""
    proxy, genes = context.proxy, context.encoding.genes
    assert proxy is not None
    return lambda rows: 1 - proxy.loss(rows[:, :genes])


def _translation(context: Context) -> Values:
    """Accuracies that the proxy's scores of rows stand for, by all points."""
    points = context.ledger.points.values()
    assert context.proxy is not None
    told = Forecast(
        context.proxy,
        np.array([p.genome.genes for p in points]),
        np.array([p.result["accuracy"] for p in points]),
    )
    genes = context.encoding.genes
    return lambda rows: told(rows[:, :genes])
