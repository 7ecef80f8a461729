"""Error against cells: multiplier-free units by NSGA-II with Yosys in the loop, and an exact rival.

What a unit costs is no sum over its segments: a digit that one slope needs is an adder for all,
equal slopes share their logic, and what logic optimisation makes of constants is known only when it
has been done. So a genetic search looks at whole units and asks Yosys for each
(:func:`~genogate.synth.area.measure`). Its rival (:func:`rival`) is dynamic programming, exact on
the rounded and saturated integer outputs, with a price for every segment, digit and bit of a break
point; its tables are also what the search starts from.

A unit may be computed of one half: ``odd``, ``o(~i) = ~o(i)``, or ``even``, the same but for a ramp
(see :mod:`~genogate.hdl.units.shift_add_unit`); then genes describe that half alone. Codes stand
for the middle between their own value and that of their neighbour there, which costs half a code of
error. ``negated`` and ``mirrored`` are the same about 0, which costs a few cells and no error.

The rounding mutation of arXiv 2403.19591 rounds break points to a scale's codes. Here break points,
intercepts and slopes are rounded to ever coarser grids, because round numbers are less logic.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import ElementwiseDuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling
from pymoo.problems.static import StaticProblem

from ...model.aliases import Array, Say
from ...model.errors import InputError, shown
from ...model.tables.functions import Function
from .editor import Editor
from .genes import Candidate, Genes
from .meter import Meter, Screen, deepened, front
from .rival import exact_genes
from .target import Target


class _Start(Sampling):
    def __init__(self, genes: Sequence[Genes]) -> None:
        super().__init__()
        self.genes = genes

    def _do(self, problem: Problem, n_samples: int, **kwargs: Any) -> Array:
        return _column(self.genes[:n_samples])


class _Cross(Crossover):
    def __init__(self, editor: Editor) -> None:
        super().__init__(2, 2, prob=1.0)
        self.editor = editor

    def _do(self, problem: Problem, X: Array, **kwargs: Any) -> Array:
        children = np.empty_like(X)
        for k in range(X.shape[1]):
            a, b = X[0, k, 0], X[1, k, 0]
            children[0, k, 0] = self.editor.cross(a, b)
            children[1, k, 0] = self.editor.cross(b, a)
        return children


class _Mutate(Mutation):
    def __init__(self, editor: Editor) -> None:
        super().__init__(prob=1.0)
        self.editor = editor

    def _do(self, problem: Problem, X: Array, **kwargs: Any) -> Array:
        return _column([self.editor.mutate(genes) for genes in X[:, 0]])


class _Equal(ElementwiseDuplicateElimination):
    def is_equal(self, a: Any, b: Any) -> bool:
        return bool(a.X[0] == b.X[0])


def _column(genes: Sequence[Genes]) -> Array:
    column = np.empty((len(genes), 1), object)
    column[:, 0] = genes
    return column


#: How many times the front's cells at its error a unit may have that is synthesised again.
NEAR = 1.05
#: Offspring that are looked at for each that is measured.
_OFFSPRING = 8


def pareto(
    function: Function,
    *,
    scale: int,
    in_bits: int = 8,
    out_bits: int = 8,
    generations: int = 12,
    pop_size: int = 36,
    seed: int = 0,
    start: Sequence[Genes] | None = None,
    deep: bool = False,
    progress: Say | None = None,
) -> list[Candidate]:
    """The front of error against cells of fixed units of a function, by NSGA-II.

    Objectives: log10 of the mean squared error of the output codes over protocol R, and cells by
    Yosys. `pop_size` evaluations at the start, a third of that in each of `generations`; offspring
    whose guard breaks are dropped, the others screened by predicted cells. Deterministic by `seed`.

    Parameters
    ----------
    start : genes to choose the first generation from, the rest of which competes with offspring
        later; by default :func:`exact_genes`; an empty list for a random first generation
    deep : synthesise what is within `NEAR` of the front again with more effort

    Returns the front of all that was measured, fewest cells first. Raises :class:`InputError` for
    widths, a scale, a population that cannot be, or when Yosys is missing.
    """
    for name, value, least in (("generations", generations, 0), ("pop_size", pop_size, 4)):
        if value < least:
            raise InputError(f"{name}: {shown(value)} is not at least {least}")
    target = Target.of(function, scale, in_bits, out_bits)
    meter = explore(target, generations, pop_size, seed, start, progress)
    best = front(meter.known.values())
    if not deep:
        return best
    near = [
        each
        for each in meter.known.values()
        if each.cells <= NEAR * min(c.cells for c in best if c.mse <= each.mse)
    ]
    return deepened(near, progress)


def explore(
    target: Target,
    generations: int,
    pop_size: int,
    seed: int,
    start: Sequence[Genes] | None = None,
    progress: Say | None = None,
) -> Meter:
    """:func:`pareto`, with all that it measured."""
    rng, batch = np.random.default_rng([seed, 3]), max(1, pop_size // 3)
    editor, screen, meter = Editor(target, rng), Screen(target), Meter(target, progress)
    pool = list(exact_genes(target, progress) if start is None else start)
    first = [genes for genes, _ in screen.choose(pool, pop_size)]
    tries = 0
    while len(set(first)) < pop_size and tries < 50 * pop_size:
        tries += 1
        if screen.look(genes := editor.random()) is not None:
            first.append(genes)
    first = list(dict.fromkeys(first))
    algorithm = NSGA2(
        pop_size=pop_size,
        n_offsprings=_OFFSPRING * batch,
        sampling=_Start(first),
        crossover=_Cross(editor),
        mutation=_Mutate(editor),
        eliminate_duplicates=_Equal(),
    )
    problem = Problem(n_var=1, n_obj=2, vtype=object)
    algorithm.setup(problem, seed=seed, verbose=False, termination=("n_gen", generations + 1))
    for generation in range(generations + 1):
        if progress:
            done = front(meter.known.values())
            progress(
                f"{target.function.name}: generation {generation}, {meter.count} measured, "
                f"front of {len(done)}"
            )
        offspring = [row[0] for row in algorithm.ask().get("X")]
        # What the exact method has left competes with the offspring all the time.
        count = batch if generation else pop_size
        pairs = screen.choose([*offspring, *pool], count, meter.known.values(), meter.known)
        cells: dict[Genes, Candidate] = {}
        for (one, _), candidate in zip(pairs, meter.measure(pairs), strict=True):
            if one not in cells or candidate.cells < cells[one].cells:
                cells[one] = candidate
        if not cells:
            break
        taken = Population.new(X=_column(list(cells)))
        values = np.array([(np.log10(max(c.mse, 1e-300)), c.cells) for c in cells.values()])
        algorithm.evaluator.eval(StaticProblem(problem, F=values), taken)
        algorithm.tell(infills=taken)
    return meter
