"""Quantisation-aware training: the forward pass is the integer network itself.

Weights and biases are trained as real numbers; scales stay as calibration chose them, or are
trained too for a part of the epochs (:mod:`.learned_scales`), after which activation units are
chosen for them. The hardware's combined scales M follow from them, so its rules hold by
construction. A batch is computed by the codes of every operator exactly as
:mod:`genogate.sim.golden` computes them (:mod:`.network`), gradients pass straight through, and
what comes out is the integer model that was trained, not one made after it. The float network that
it starts from may teach it (distillation, arXiv 1503.02531).

Needs torch and Numba (the ``train`` and ``search`` extras), imported when a training starts.

One long file: what trains for one genome and what trains for all share the epoch and its record.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.floating import PLACES, RECORD, Checkpoint, accuracy, layer_names
from ..checkpoints.provenance import carried
from ..checkpoints.training import (
    RECIPES,
    Descent,
    augmented,
    batch_for,
    going_on_from,
    import_torch,
    in_torch,
    loss_of,
)
from ..data.measures import at_last, filled, lengths_of
from ..data.tasks import Task, changing, is_own
from ..errors import InputError, index_within, number_within, shown
from ..files import read_tensors, write_tensors
from ..genome import GENES, Genome
from ..integer import IntModel
from ..knobs import Knobs
from ..quantize.calibrate import Calibration, calibrate
from ..quantize.quantize import Cheapest, without_synthesis
from ..quantize.trained import record, without_record
from .network import LONG, Network, Structure, export, is_scale, real_weights, starting_model

#: Called after every epoch with: epochs done, epochs in all, mean loss, validation accuracy.
Progress = Callable[[int, int, float, float], None]

STATE_KIND = "genogate-tuning-state"
#: Which epoch a training ends with.
KEEP = ("best", "last")
#: Halvings of weight width for which the learning rate doubles: at 2 bits it is 4 times as high.
RATE_BITS = 3.0
#: Learning rate of scales (octaves), against that of weights, and the share of the epochs that they
#: learn for. Both were chosen by validation accuracy; faster, scales that jump by whole powers of
#: two do more harm than good.
SCALE_RATE, LEARNING_SHARE = 0.2, 0.6
#: Learning rates of longer sequences against those of shorter ones: with 2-bit weights and 3 epochs
#: of 8,000 sequences, mnist-pixel14 reaches 58 % on validation at the same rate, 97 % at this.
LONG_RATE = 0.2


@dataclass(frozen=True)
class Tuning:
    """How to train a quantised network. The defaults were chosen by validation accuracy.

    batch : sequences of a batch; None: as the float training had it, or the task's recipe has it
    distil : share of the loss that is the distance to the float network's answers, 0 to 1
    temperature : softens both answers for that
    narrow : whether 2-bit weights are ternary (-1, 0, 1) rather than -2 to 1, which was better
    tables : whether the entries of activation tables are trained too
    patience : epochs without a better validation accuracy after which training stops; 0: never
    scales : "fixed": they stay as calibration chose them; "learned": they are trained too, for the
        first part of the epochs (:mod:`.learned_scales`), which takes half as long again and was no
        better on validation of three networks of digits-row at INT4, INT3 and INT2
    keep : "best": the epoch of best validation accuracy, which flatters it; "last": the last epoch,
        so that validation accuracy is that of a network nothing of which it has chosen
    lr : of weights of 8 bits, in sequences of up to :data:`.network.LONG` steps; those of
        fewer bits have further to the next code, and learn faster; longer sequences have
        :data:`LONG_RATE` of it
    """

    epochs: int = 30
    seed: int = 0
    lr: float = 5e-3
    batch: int | None = None
    distil: float = 0.5
    temperature: float = 2.0
    narrow: bool = False
    tables: bool = False
    patience: int = 0
    scales: str = "fixed"
    keep: str = "best"

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise InputError(f"keep: {shown(self.keep)} is not {' or '.join(KEEP)}")
        if self.keep == "last" and self.patience:
            raise InputError("patience: it keeps the best epoch: leave it out, or keep the best")
        if self.scales not in ("learned", "fixed"):
            raise InputError(f"scales: {self.scales!r} is not learned or fixed")
        if self.tables and self.scales == "learned":
            raise InputError(
                "tables: entries are trained only where scales are fixed: add --scales fixed"
            )
        for name, most in (("epochs", 100_000), ("batch", 1 << 20)):
            value = getattr(self, name)
            if value is not None:
                index_within(name, value, 1, most)
        if not 0 < self.lr <= 1:
            raise InputError(f"lr: {self.lr} is not above 0 and at most 1")
        number_within("distil", self.distil, 0, 1)
        number_within("temperature", self.temperature, 0.1, 100)
        index_within("patience", self.patience, 0, 100_000)


#: Tensors of a linear layer.
PARTS = ("weight", "bias")
#: What a trained checkpoint has of the one it started from.
CARRIED = ("preprocessing", "head", "measure", *PLACES)


class Teacher:
    """The float network's answers."""

    def __init__(self, torch: Any, checkpoint: Checkpoint) -> None:
        self.torch, self.layers, self.every = torch, [], checkpoint.head.every
        self.dense = [
            (
                name,
                function,
                *(torch.from_numpy(checkpoint.tensors[f"{name}.{part}"]) for part in PARTS),
            )
            for name, function in checkpoint.functions.items()
        ]
        self.states = [
            torch.from_numpy(checkpoint.initial_state(k)) for k in range(checkpoint.layers)
        ]
        inputs = checkpoint.tensors["weight_ih_l0"].shape[1]
        for k in range(checkpoint.layers):
            gru = torch.nn.GRU(inputs, inputs := checkpoint.hidden_size(k), batch_first=True)
            with torch.no_grad():
                for own, name in zip(layer_names(0), layer_names(k), strict=True):
                    getattr(gru, own).copy_(torch.from_numpy(checkpoint.tensors[name]))
            self.layers.append(gru)
        self.weight, self.bias = (
            torch.from_numpy(checkpoint.tensors[f"classifier.{name}"])
            for name in ("weight", "bias")
        )

    def __call__(self, x: np.ndarray) -> Any:
        """Logits float64 [batch, (steps,) classes]."""
        with self.torch.no_grad():
            value = self._through("front", self.torch.from_numpy(filled(x)))
            for gru, state in zip(self.layers, self.states, strict=True):
                value = gru(value, state.expand(1, len(x), -1).contiguous())[0]
            if not self.every:
                value = at_last(value, lengths_of(x))
            value = self._through("back", value)
            return (value @ self.weight.T + self.bias).double()

    def _through(self, place: str, value: Any) -> Any:
        """Outputs of the dense layers at `place`."""
        for name, function, weight, bias in self.dense:
            if name.startswith(place):
                value = in_torch(self.torch, function)(value @ weight.T + bias)
        return value


def trained_with(checkpoint: Checkpoint, name: str, kind: type) -> Any:
    """What a checkpoint says of how it was trained; None where it does not say it."""
    value = checkpoint.info.get(name)
    return value if type(value) is kind and value else None


class Trainer:
    """Latent weights, their optimizer and the best of them so far.

    checkpoint : where the weights start, and the teacher unless it is another
    """

    taught_by: str | None = None

    def __init__(self, task: Task, checkpoint: Checkpoint, recipe: Tuning) -> None:
        self.torch = torch = import_torch()
        self.task, self.checkpoint, self.recipe = task, checkpoint, recipe
        self.network, self.teacher = Network(torch), Teacher(torch, checkpoint)
        self.latents = {
            name: torch.nn.Parameter(torch.from_numpy(value.copy()))
            for name, value in checkpoint.tensors.items()
            # States that sequences start with stay as they are.
            if not name.startswith("initial_state")
        }
        own = RECIPES.get(task.name, {})
        self.smoothing = own.get("label_smoothing", 0.0)
        # As the float training had it, for data of one's own; the augmentation likewise.
        usual = batch_for(len(task.x_train)) if is_own(task.name) else own.get("batch", 32)
        self.batch = recipe.batch or trained_with(checkpoint, "batch", int) or usual
        self.batches = -(-len(task.x_train) // self.batch)
        self.task = changing(task, trained_with(checkpoint, "augment", str) or "")
        self.epoch = self.best_epoch = 0
        self.best: tuple[float, float] = (-1.0, 0.0)
        self.kept: dict[str, np.ndarray] = self.tensors()

    def prepare(self) -> None:
        """The optimizer, when all that is trained is there."""
        torch = self.torch
        groups: dict[float, list[Any]] = {}
        for name, value in self.latents.items():
            groups.setdefault(self.rate(name), []).append(value)
        steps = self.recipe.epochs * self.batches
        lr = self.recipe.lr * (LONG_RATE if self.task.steps > LONG else 1)
        self.optimizer = torch.optim.Adam(
            [{"params": values, "lr": lr * rate} for rate, values in groups.items()]
        )
        self.descent = Descent(torch, self.optimizer, steps, self.latents, "latent")

    def learn_from(self, teacher: Checkpoint) -> None:
        """Have another teacher."""
        self.teacher, self.taught_by = Teacher(self.torch, teacher), teacher.hash

    # What differs between one genome and many.

    #: The first epoch after which weights may be kept.
    first = 1

    def rate(self, name: str) -> float:
        """Learning rate of a latent against the recipe's."""
        return 1.0

    def before_epoch(self) -> None:
        """What an epoch begins with."""

    def structures(self, draw: np.random.Generator) -> Sequence[Structure]:
        """The networks that the next batch is computed by; the mean of their losses counts."""
        raise NotImplementedError

    def judge(self) -> tuple[float, float]:
        """Accuracy on the validation part, and what decides between equal ones (greatest)."""
        raise NotImplementedError

    def settle(self) -> None:
        """After a step."""

    def extra(self) -> dict[str, np.ndarray]:
        """What a state must hold besides the weights."""
        return {}

    def take_extra(self, tensors: Mapping[str, np.ndarray]) -> None:
        """The other way."""

    @property
    def about(self) -> list[Any]:
        """JSON-able: what a state must have been made for to be gone on with."""
        recipe = asdict(self.recipe)
        if recipe["keep"] == type(self.recipe).keep:
            # States of before there was a choice can still be gone on with.
            del recipe["keep"]
        return [
            recipe,
            self.checkpoint.hash,
            self.task.split_hash,
            str(self.torch.__version__),
            *filter(None, [self.taught_by]),
        ]

    def tensors(self) -> dict[str, np.ndarray]:
        """The latent weights."""
        return {name: value.detach().numpy().copy() for name, value in self.latents.items()}

    def loss(self, structure: Structure, x: np.ndarray, y: Any, taught: Any) -> Any:
        """Cross entropy, and the distance to the teacher's softened answers."""
        codes = structure.input_codes(filled(x))
        logits = self.network.real_logits(structure, self.latents, codes, lengths_of(x))
        return self.loss_of(logits, y, taught)

    def loss_of(self, logits: Any, y: Any, taught: Any) -> Any:
        """The same of logits in real units."""
        recipe, torch = self.recipe, self.torch
        head, functional = self.checkpoint.head, torch.nn.functional
        loss = loss_of(torch, head, logits, y, self.smoothing)
        if taught is None:
            return loss
        if head.output == "codes":
            # The teacher's answers are targets; none where the task has none.
            given = in_torch(torch, head.activation)(taught)
            given = torch.where(torch.isnan(y), torch.nan, given)
            return (1 - recipe.distil) * loss + recipe.distil * loss_of(torch, head, logits, given)
        wide = recipe.temperature
        if head.every:
            counts = y.flatten() >= 0
            logits, taught = (v.flatten(0, -2)[counts] for v in (logits, taught))
        distance = functional.kl_div(
            functional.log_softmax(logits / wide, 1),
            functional.log_softmax(taught / wide, 1),
            log_target=True,
            reduction="batchmean",
        )
        return (1 - recipe.distil) * loss + recipe.distil * wide**2 * distance

    def check(self, name: str, value: float) -> None:
        """Raises :class:`InputError` for a value that is not a number."""
        if not np.isfinite(value):
            raise InputError(
                f"training diverged in epoch {self.epoch + 1} (the {name} is {value}) at lr "
                f"{self.recipe.lr:g}: give a smaller --lr"
            )

    def one_epoch(self) -> float:
        """Train on every sequence once; the mean loss. Raises :class:`InputError` for a loss that
        is not a number."""
        task, torch = self.task, self.torch
        # By epoch, so that a training that goes on draws what it would have drawn.
        draw = np.random.default_rng([self.recipe.seed, self.epoch])
        total = 0.0
        for index in np.array_split(draw.permutation(len(task.x_train)), self.batches):
            x = augmented(task, index, draw)
            y = torch.from_numpy(task.y_train[index])
            taught = self.teacher(x) if self.recipe.distil else None
            self.optimizer.zero_grad()
            chosen = self.structures(draw)
            for structure in chosen:
                loss = self.loss(structure, x, y, taught) / len(chosen)
                self.check("loss", value := loss.item())
                loss.backward()
                total += value * len(index)
            weights = [value for name, value in self.latents.items() if not is_scale(name)]
            norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
            self.check("gradient", float(norm))
            self.descent.step()
            self.settle()
        self.epoch += 1
        return total / len(task.x_train)

    def run(self, progress: Progress | None, state: str | os.PathLike[str] | None) -> None:
        """All epochs; afterwards :attr:`kept` are the best weights."""
        path = None if state is None else Path(state)
        self.prepare()
        if path is not None:
            self._resume(path)
        while self.epoch < self.recipe.epochs:
            self.before_epoch()
            loss = self.one_epoch()
            score = self.judge()
            better = score > self.best or self.recipe.keep == "last"
            if self.epoch >= self.first and better:
                self.best, self.best_epoch, self.kept = score, self.epoch, self.tensors()
            if path is not None:
                self._save(path)
            if progress is not None:
                progress(self.epoch, self.recipe.epochs, loss, score[0])
            since = self.epoch - max(self.best_epoch, self.first - 1)
            if self.recipe.patience and since >= self.recipe.patience:
                break

    @property
    def _key(self) -> str:
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    def _save(self, path: Path) -> None:
        tensors, clock = self.descent.state()
        tensors |= {f"kept.{name}": value for name, value in self.kept.items()} | self.extra()
        write_tensors(
            path,
            tensors,
            {
                "key": self._key,
                "epoch": self.epoch,
                "best": self.best,
                "best_epoch": self.best_epoch,
                **clock,
            },
            STATE_KIND,
        )

    def _resume(self, path: Path) -> None:
        if not path.exists():
            return
        with going_on_from(path):
            tensors, document = read_tensors(path, STATE_KIND)
            if document["key"] != self._key:
                return
            self.descent.take(tensors, document)
            self.kept = {name[5:]: v for name, v in tensors.items() if name.startswith("kept.")}
            self.take_extra(tensors)
            self.epoch, self.best_epoch = document["epoch"], document["best_epoch"]
            self.best = tuple(document["best"])


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
) -> Tuned:
    """Train the weights of `checkpoint` on for `genome` and `knobs`.

    Adam, one cosine from `lr` to zero, gradient norm clipped to 1; the epoch of best validation
    accuracy is kept (of equal ones the last). The same arguments on the same machine give the same
    result, also in pieces: after every epoch the training leaves all that it needs in the file
    `state`, and a call with the same arguments goes on from there.

    teacher : the float network whose answers count, if not `checkpoint`

    Raises :class:`InputError` where torch or Numba is missing, the loss is no longer a number, or
    `state` is damaged. A state of another training is overwritten.
    """
    knobs, recipe = knobs or Knobs(), recipe or Tuning()
    checkpoint = without_record(checkpoint)
    trainer = GenomeTrainer(task, checkpoint, recipe, genome, knobs, cheapest, calibration)
    if teacher is not None:
        trainer.learn_from(teacher)
    trainer.run(progress, state)
    structure = trainer.structure
    model = export(trainer.network, structure, trainer.kept)
    classifier_scale = structure.scale_of_classifier(trainer.kept)
    tensors = real_weights(model, classifier_scale)
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"training diverged at lr {recipe.lr:g}: give a smaller --lr")
    kept = {key: checkpoint.info[key] for key in CARRIED if key in checkpoint.info}
    made = Checkpoint(tensors, kept)
    info = {
        **kept,
        "task": task.name,
        "split_seed": task.split_seed,
        "split_hash": task.split_hash,
        "from": checkpoint.hash,
        **carried(task, checkpoint, *([] if teacher is None else [teacher])),
        "tuning": asdict(recipe),
        "batch": trainer.batch,
        **{key: value for key, value in checkpoint.info.items() if key == "augment"},
        "epochs_done": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "accuracy": {"val": round(accuracy(made, *task.scored("val")), 6)},
        "torch": str(trainer.torch.__version__),
        RECORD: record(model, knobs, classifier_scale, recipe.narrow),
    }
    return Tuned(
        Checkpoint(tensors, info), model, trainer.best[0], trainer.epoch, trainer.best_epoch
    )
