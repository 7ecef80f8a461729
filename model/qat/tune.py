"""Quantisation-aware training: the forward pass is the integer network itself.

Weights and biases are trained as real numbers; scales stay as calibration chose them, or are
trained too for a part of the epochs (:mod:`.learned_scales`), after which activation units are
chosen for them. The hardware's combined scales M follow from them, so its rules hold by
construction. A batch is computed by the codes of every operator exactly as
:mod:`genogate.sim.golden` computes them (:mod:`.network`), gradients pass straight through, and
what comes out is the integer model that was trained, not one made after it. The float network that
it starts from may teach it (distillation, arXiv 1503.02531).

Needs torch and Numba (the ``train`` and ``search`` extras), imported when a training starts.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..checkpoints.floating import PLACES, PRUNED, RECORD, Checkpoint, accuracy
from ..checkpoints.provenance import carried
from ..data.tasks import Task
from ..errors import InputError
from ..genome import GENES, Genome
from ..integer import IntModel
from ..knobs import Knobs
from ..quantize.calibrate import Calibration, calibrate
from ..quantize.quantize import Cheapest, without_synthesis
from ..quantize.trained import record, without_record
from .export import export, real_weights
from .recipe import Tuning
from .starting import starting_model
from .structure import Structure, is_scale
from .trainer import RATE_BITS, Progress, Trainer

#: Learning rate of scales (octaves), against that of weights, and the share of the epochs that they
#: learn for. Both were chosen by validation accuracy; faster, scales that jump by whole powers of
#: two do more harm than good.
SCALE_RATE, LEARNING_SHARE = 0.2, 0.6
#: What a trained checkpoint has of the one it started from.
CARRIED = ("preprocessing", "head", "measure", PRUNED, *PLACES)


class GenomeTrainer(Trainer):
    """Trains for one genome."""

    def __init__(
        self,
        task: Task,
        checkpoint: Checkpoint,
        recipe: Tuning,
        genome: Genome,
        knobs: Knobs,
        cheapest: Cheapest | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        super().__init__(task, checkpoint, recipe)
        if calibration is None or calibration.input_shifts:
            calibration = calibrate(checkpoint, task.x_calibration, fold=False)
        model, scale = starting_model(
            calibration, genome, knobs, narrow=recipe.narrow, cheapest=cheapest, keep=True
        )
        learned = recipe.scales == "learned"
        self.structure = Structure(
            self.torch, model, scale, recipe.narrow, learned, calibration.initial
        )
        for name, value in self.structure.latents.items():
            self.latents[name] = self.torch.nn.Parameter(self.torch.from_numpy(value))
        self.structure.limit(self.latents)
        if recipe.tables:
            for key, values in self.structure.unit_values.items():
                self.latents[key] = self.torch.nn.Parameter(values.clone())
        self.knobs, self.calibration = knobs, calibration
        self.cheapest = cheapest or without_synthesis
        #: The first epoch, from 0, in which scales are settled.
        share = int(np.ceil(LEARNING_SHARE * recipe.epochs)) if learned else 0
        self.settled_at = min(share, recipe.epochs - 1)
        if learned and knobs.activation != "table":
            # Until then the units are tables.
            self.first = self.settled_at + 1
        self.kept = self.tensors()

    def rate(self, name: str) -> float:
        if is_scale(name):
            return SCALE_RATE
        if name.startswith("classifier"):
            return float(2 ** ((8 - self.structure.model.classifier.weight_bits) / RATE_BITS))
        if (dense := self.structure.dense.get(name.partition(".")[0])) is not None:
            return float(2 ** ((8 - dense.layer.dense.weight_bits) / RATE_BITS))
        if not name.startswith(("weight", "bias")):
            return 1.0
        layer = self.structure.model.layers[int(name.rpartition("l")[2])]
        names = GENES[:3] if "_ih_" in name else GENES[3:6]
        bits = np.mean([layer.dense(gene).weight_bits for gene in names])
        return float(2 ** ((8 - bits) / RATE_BITS))

    def before_epoch(self) -> None:
        """Settle the scales when their time is over: what they are they stay, and activation units
        are chosen for them."""
        if self.epoch < self.settled_at:
            return
        scales = [value for name, value in self.latents.items() if is_scale(name)]
        if not any(value.requires_grad for value in scales):
            return
        for value in scales:
            value.requires_grad_(False)
            value.grad = None
        if self.knobs.activation != "table":
            self.structure.choose_units(self.calibration, self.knobs, self.cheapest, self.tensors())

    def structures(self, draw: np.random.Generator) -> Sequence[Structure]:
        return (self.structure,)

    def judge(self) -> tuple[float, float]:
        score = self.network.score(self.structure, self.latents, *self.task.scored("val"))
        # Of equal ones the later.
        return score, float(self.epoch)

    def settle(self) -> None:
        self.structure.limit(self.latents)

    @property
    def about(self) -> list[Any]:
        return [*super().about, self.structure.model.hash]


@dataclass(frozen=True)
class Tuned:
    """What training for a genome gives.

    checkpoint : the trained weights as a float network, with the record that makes `model` again
    model : the integer model that was trained
    validation : its accuracy on the validation part
    epochs, best_epoch : done, and the one that was kept
    """

    checkpoint: Checkpoint
    model: IntModel
    validation: float
    epochs: int
    best_epoch: int


def tune(
    task: Task,
    checkpoint: Checkpoint,
    genome: Genome,
    knobs: Knobs | None = None,
    recipe: Tuning | None = None,
    *,
    cheapest: Cheapest | None = None,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
    state: str | os.PathLike[str] | None = None,
    teacher: Checkpoint | None = None,
    trainer: type[GenomeTrainer] = GenomeTrainer,
) -> Tuned:
    """Train the weights of `checkpoint` on for `genome` and `knobs`.

    Adam, one cosine from `lr` to zero, gradient norm clipped to 1; the epoch of best validation
    accuracy is kept (of equal ones the last). The same arguments on the same machine give the same
    result, also in pieces: after every epoch the training leaves all that it needs in the file
    `state`, and a call with the same arguments goes on from there.

    teacher : the float network whose answers count, if not `checkpoint`
    trainer : a subclass that trains in another way

    Raises :class:`InputError` where torch or Numba is missing, the loss is no longer a number, or
    `state` is damaged. A state of another training is overwritten.
    """
    knobs, recipe = knobs or Knobs(), recipe or Tuning()
    checkpoint = without_record(checkpoint)
    made = trainer(task, checkpoint, recipe, genome, knobs, cheapest, calibration)
    if teacher is not None:
        made.learn_from(teacher)
    made.run(progress, state)
    structure = made.structure
    model = export(made.network, structure, made.kept)
    classifier_scale = structure.scale_of_classifier(made.kept)
    tensors = real_weights(model, classifier_scale)
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"training diverged at lr {recipe.lr:g}: give a smaller --lr")
    carried_info = {key: checkpoint.info[key] for key in CARRIED if key in checkpoint.info}
    trained = Checkpoint(tensors, carried_info)
    info = {
        **carried_info,
        "task": task.name,
        "split_seed": task.split_seed,
        "split_hash": task.split_hash,
        "from": checkpoint.hash,
        **carried(task, checkpoint, *([] if teacher is None else [teacher])),
        "tuning": asdict(recipe),
        "batch": made.batch,
        **{key: value for key, value in checkpoint.info.items() if key == "augment"},
        "epochs_done": made.epoch,
        "best_epoch": made.best_epoch,
        "accuracy": {"val": round(accuracy(trained, *task.scored("val")), 6)},
        "torch": str(made.torch.__version__),
        RECORD: record(model, knobs, classifier_scale, recipe.narrow),
    }
    return Tuned(Checkpoint(tensors, info), model, made.best[0], made.epoch, made.best_epoch)
