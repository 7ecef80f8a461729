"""One set of weights for every genome (any-precision training).

Every batch is computed by the integer networks of a few genomes drawn at random, all with the same
latent weights; scales and clip ranges are each genome's own, chosen by the ordinary calibration of
the weights as they are, which is repeated as they move. What comes out is a float checkpoint: its
quantisation after training, for any genome, comes near to training for that genome, at no cost. So
a search may run on it, and only its winners need training of their own. After AnyPrecision
(arXiv 1911.07346) and the sandwich rule of slimmable networks (arXiv 1903.05134).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..checkpoints.floating import FOR_ALL, Checkpoint, accuracy
from ..checkpoints.provenance import carried
from ..data.measures import filled, lengths_of
from ..data.tasks import Task
from ..errors import InputError, index_within
from ..genome import DENSE_GENES, GENES, MAX_BITS, MIN_BITS, Genome
from ..knobs import Knobs
from ..quantize.calibrate import calibrate
from ..quantize.trained import without_record
from .layer_pass import LONG
from .recipe import Tuning
from .starting import starting_model
from .structure import Structure
from .trainer import Progress, Trainer
from .tune import CARRIED

#: Over more than :data:`.network.LONG` steps many genomes are at chance, where gradients say
#: nothing; a batch of three of them spoils what others have learned (mnist-pixel14: INT8 fell from
#: 98.6 to 53 %). There a genome is drawn anew unless it has this share of INT8's accuracy on so
#: many training sequences, until so many times the pool were drawn.
HOPE, JUDGED_BY, MOST_DRAWN = 0.4, 150, 6


@dataclass(frozen=True)
class AnyTuning(Tuning):
    """How to train for all genomes. The defaults were chosen by mean validation accuracy.

    pool : genomes drawn after each calibration; batches draw from them
    refresh : epochs between calibrations
    together : genomes that a batch is computed by
    sandwich : whether INT8 is one of them in every batch, and teaches the others (the inner
        teacher of the sandwich rule)
    """

    epochs: int = 50
    distil: float = 0.8
    scales: str = "fixed"
    pool: int = 24
    refresh: int = 2
    together: int = 3
    sandwich: bool = False
    keep: str = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("pool", 10_000), ("refresh", 100_000), ("together", 64)):
            index_within(name, getattr(self, name), 1, most)
        if self.sandwich and self.together < 2:
            raise InputError("sandwich: at least 2 genomes together, INT8 and one that it teaches")
        if self.scales != "fixed":
            raise InputError("scales: training for all genomes calibrates them for each genome")
        if self.patience:
            raise InputError("patience: training for all genomes does all its epochs")


def random_genome(draw: np.random.Generator, layers: int, dense: int = 0) -> Genome:
    """A genome as searches meet them: homogeneous, around one width, or anything.

    A quarter have all genes equal, half have genes up to 2 bits around a width, and the rest any.
    """
    count = len(GENES) * layers + len(DENSE_GENES) * dense
    kind = draw.integers(4)
    if kind == 0:
        genes = np.full(count, draw.integers(MIN_BITS, MAX_BITS + 1))
    elif kind == 3:
        genes = draw.integers(MIN_BITS, MAX_BITS + 1, count)
    else:
        genes = draw.integers(MIN_BITS, MAX_BITS + 1) + draw.integers(-2, 3, count)
    return Genome.from_genes(np.clip(genes, MIN_BITS, MAX_BITS))


class AnyTrainer(Trainer):
    """Trains for all genomes."""

    recipe: AnyTuning

    def __init__(self, task: Task, checkpoint: Checkpoint, recipe: AnyTuning, knobs: Knobs) -> None:
        super().__init__(task, checkpoint, recipe)
        self.knobs = knobs
        self.pool: list[Structure] = []
        self.widest: Structure | None = None
        self.inner: Any = None
        self.calibrated = self.tensors()

    @property
    def about(self) -> list[Any]:
        return [*super().about, self.knobs.to_json()]

    def around(self, weights: dict[str, np.ndarray]) -> Checkpoint:
        """The float network with these weights: its head, dense layers and initial states are those
        of the checkpoint."""
        tensors = {**self.checkpoint.tensors, **weights}
        carried_info = {key: value for key, value in self.checkpoint.info.items() if key in CARRIED}
        return Checkpoint(tensors, carried_info)

    def draw_pool(self, weights: dict[str, np.ndarray], epoch: int) -> None:
        """Genomes, and their networks by a calibration of latent weights."""
        self.calibrated = weights
        calibration = calibrate(self.around(weights), self.task.x_calibration, fold=False)
        draw = np.random.default_rng([self.recipe.seed, epoch, 1])
        self.pool = []
        # By `weights`, since going on after a stop must draw the same genomes again.
        latents = {name: self.torch.from_numpy(value) for name, value in weights.items()}
        x, y = self.task.x_train[:JUDGED_BY], self.task.y_train[:JUDGED_BY]

        def structure_of(genome: Genome) -> Structure:
            model, scale = starting_model(
                calibration, genome, self.knobs, narrow=self.recipe.narrow
            )
            return Structure(
                self.torch, model, scale, self.recipe.narrow, initial=calibration.initial
            )

        def right(structure: Structure) -> float:
            return self.network.score(structure, latents, x, y)

        counts, least = self.checkpoint.counts, 0.0
        if self.task.steps > LONG or self.recipe.sandwich:
            widest = structure_of(Genome.uniform(MAX_BITS, *counts))
            least = HOPE * right(widest) if self.task.steps > LONG else 0.0
            self.widest = widest if self.recipe.sandwich else None
        drawn = 0
        while len(self.pool) < self.recipe.pool:
            structure, drawn = structure_of(random_genome(draw, *counts)), drawn + 1
            if not least or drawn > MOST_DRAWN * self.recipe.pool or right(structure) >= least:
                self.pool.append(structure)

    def one_epoch(self) -> float:
        late = self.epoch % self.recipe.refresh
        if not late:
            self.draw_pool(self.tensors(), self.epoch)
        elif not self.pool:
            # Going on after a stop: the pool that was drawn then.
            self.draw_pool(self.calibrated, self.epoch - late)
        return super().one_epoch()

    def extra(self) -> dict[str, np.ndarray]:
        return {f"calibrated.{name}": value for name, value in self.calibrated.items()}

    def take_extra(self, tensors: Mapping[str, np.ndarray]) -> None:
        self.calibrated = {name: tensors[f"calibrated.{name}"] for name in self.latents}

    def structures(self, draw: np.random.Generator) -> Sequence[Structure]:
        widest = [] if self.widest is None else [self.widest]
        count = min(self.recipe.together - len(widest), len(self.pool))
        places = draw.choice(len(self.pool), count, replace=False)
        return [*widest, *(self.pool[k] for k in places)]

    def loss(self, structure: Structure, x: np.ndarray, y: Any, taught: Any) -> Any:
        if self.widest is None:
            return super().loss(structure, x, y, taught)
        codes = structure.input_codes(filled(x))
        logits = self.network.real_logits(structure, self.latents, codes, lengths_of(x))
        if structure is self.widest:
            self.inner = logits.detach()
            return self.loss_of(logits, y, taught)
        return self.loss_of(logits, y, None if taught is None else self.inner)

    def judge(self) -> tuple[float, float]:
        """Mean score of some of the pool, which differs from epoch to epoch with the pool."""
        scores = [
            self.network.score(structure, self.latents, *self.task.scored("val"))
            for structure in self.pool[:4]
        ]
        return float(np.mean(scores)), float(self.epoch)


def tune_any(
    task: Task,
    checkpoint: Checkpoint,
    knobs: Knobs | None = None,
    recipe: AnyTuning | None = None,
    *,
    progress: Progress | None = None,
    state: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Train the weights of `checkpoint` on for all genomes with `knobs`; the last epoch is kept.

    As :func:`.tune.tune` otherwise; activation units are tables while training lasts, which is what
    the others approximate.
    """
    knobs, recipe = replace(knobs or Knobs(), activation="table"), recipe or AnyTuning()
    trainer = AnyTrainer(task, without_record(checkpoint), recipe, knobs)
    trainer.run(progress, state)
    checkpoints_around = trainer.around(trainer.kept)
    info = {
        **checkpoints_around.info,
        "task": task.name,
        "split_seed": task.split_seed,
        "split_hash": task.split_hash,
        "from": checkpoint.hash,
        **carried(task, without_record(checkpoint)),
        "tuning": asdict(recipe),
        "batch": trainer.batch,
        **{key: value for key, value in checkpoint.info.items() if key == "augment"},
        "accuracy": {"val": round(accuracy(checkpoints_around, *task.scored("val")), 6)},
        "torch": str(trainer.torch.__version__),
        FOR_ALL: {"knobs": knobs.to_json()},
    }
    return Checkpoint(checkpoints_around.tensors, info)
