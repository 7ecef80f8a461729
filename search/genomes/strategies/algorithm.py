"""NSGA-II of pymoo over rows of integers."""

from typing import Any

from ..config import Config
from ..exploit import Space
from ..pareto import Array

#: Chance that mutation draws a category anew: steps along its values would mean nothing.
CATEGORY_MUTATION = 0.1


def algorithm(
    config: Config, space: Space, first: Array, size: int, offspring: int, seed: int
) -> tuple[Any, Any]:
    """NSGA-II with a first population, and its problem."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    class Mutation(PM):
        """Moves by small steps, and a category to any of its values."""

        def _do(
            self, problem: Any, X: Array, *args: Any, random_state: Any = None, **kwargs: Any
        ) -> Array:
            moved = super()._do(problem, X, *args, random_state=random_state, **kwargs)
            for k in space.categories:
                changed = random_state.random(len(moved)) < CATEGORY_MUTATION
                drawn = random_state.integers(space.low[k], space.high[k] + 1, len(moved))
                moved[changed, k] = drawn[changed]
            return moved

    problem = Problem(
        n_var=len(space.low),
        n_obj=len(config.objectives),
        n_ieq_constr=1 + len(config.bounds),
        xl=space.low,
        xu=space.high,
        vtype=int,
    )
    algorithm = NSGA2(
        pop_size=size,
        sampling=first,
        n_offsprings=offspring,
        crossover=SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
        mutation=Mutation(eta=20, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", 10**9), seed=seed, verbose=False)
    return algorithm, problem
