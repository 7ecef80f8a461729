"""How long an experiment will take, told before it begins."""

import time
from dataclasses import dataclass

import numpy as np

from ...model.checkpoints.descent import import_torch
from ...model.data.tasks import Task
from .plan import Plan

#: Time of an update of quantised training against that of the float network, for one genome and for
#: all of them (CPU seconds of four epochs of digits-row: 0.33 float, 0.47 and 2.72).
FOR_ONE, FOR_ALL = 1.4, 8.3
#: Updates that are timed, after one that is not.
TIMED = 3


@dataclass(frozen=True)
class Work:
    """What a plan asks for.

    trainings, updates : networks trained for their genome, and updates of the weights of each
    for_all, for_all_updates : weights trained for all genomes, and updates of each
    floats, float_updates : float networks, and updates of each
    evaluations : genomes that the two searches look at, at most
    """

    trainings: int
    updates: int
    for_all: int
    for_all_updates: int
    floats: int
    float_updates: int
    evaluations: int

    def seconds(self, update: float, workers: int) -> float:
        """Of all trainings, where an update of the float network takes `update` seconds."""
        weighted = (
            FOR_ONE * self.trainings * self.updates
            + FOR_ALL * self.for_all * self.for_all_updates
            + self.floats * self.float_updates
        )
        return update * weighted / workers


def work_of(plan: Plan, sequences: int, batch: int, float_epochs: int) -> Work:
    """What `plan` asks for, on a training part of so many sequences."""
    seeds = max(1, len(plan.checkpoints))

    def updates(epochs: int, limit: int | None) -> int:
        return epochs * -(-min(sequences, limit or sequences) // batch)

    rounds = plan.rounds * plan.trained * (seeds if plan.every_seed else 1)
    first = 109 if plan.initial == "sensitivity" else 7
    trained_here = sum(name.startswith("seed") for name in plan.checkpoints)
    return Work(
        trainings=seeds * len(plan.baselines) + len(plan.hidden) * len(plan.small) + rounds,
        updates=updates(plan.epochs, plan.sequences),
        for_all=(seeds if plan.any_seeds else 1) + len(plan.hidden),
        for_all_updates=updates(plan.any_epochs, plan.any_sequences or plan.sequences),
        floats=trained_here + len(plan.hidden),
        float_updates=updates(plan.float_epochs or float_epochs, None),
        evaluations=2 * (first + plan.pop_size * (plan.generations + plan.exploit)),
    )


def seconds_of_update(task: Task, hidden: int, batch: int) -> float:
    """CPU seconds of one update of a float network of `task`, measured."""
    torch = import_torch()
    gru = torch.nn.GRU(task.features, hidden, batch_first=True)
    x = torch.from_numpy(np.ascontiguousarray(task.x_train[:batch]))
    for k in range(TIMED + 1):
        if k == 1:
            start = time.process_time()
        gru(x)[0][:, -1].sum().backward()
    return (time.process_time() - start) / TIMED
