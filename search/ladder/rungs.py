"""The rungs of a ladder: evaluations by fidelity, each kept as soon as it is known.

Prices and quantised networks cost milliseconds, short trainings seconds, full trainings more. What
an evaluation took in CPU seconds is kept with it, so that a search that is started again spends the
same budget on the same networks, and arrives at the same result.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...model import zoo
from ...model.genome import Genome
from ...model.knobs import Knobs
from ...model.qat.recipe import Tuning
from ...model.qat.trainer import batch_of
from ...sim import fast
from ..experiment.jobs import (
    Float,
    ForOne,
    Look,
    is_gone,
    look_at,
    part_of,
    train_float,
    train_from,
)
from ..genomes.evaluate import Setting, load
from ..genomes.store import Store
from ..pool.backends import Pool
from . import marks
from .folds import check_floats, fold_floats, remove_others
from .plan import Plan
from .price import PRICES, TARGET, Sharing, price_of

Say = Callable[[str], None]
#: Trainings begin with these, and the search ends with one.
READ_AGAIN = (Float, ForOne)
#: Least bits of input and classifier.
LEAST_BITS = 2


@dataclass(frozen=True)
class Net:
    """A network to be looked at: one of the plan's checkpoints, a genome, and bits of input and
    classifier."""

    size: int
    genome: Genome
    input_bits: int = 8
    classifier_bits: int = 8

    def knobs(self, base: Knobs) -> Knobs:
        """The knobs that it is made with."""
        return replace(base, input_bits=self.input_bits, classifier_bits=self.classifier_bits)

    @property
    def key(self) -> str:
        return f"{self.size} {self.genome} {self.input_bits} {self.classifier_bits}"


@dataclass(frozen=True)
class Result:
    """A network at a fidelity.

    judged : accuracy on the validation part, with its shifted copies where it is small
    path : of the trained network; the float checkpoint of one that is only quantised
    others : of further folds, each as `path` is of the first
    chain : the networks whose weights it inherited, and itself, with the epochs of each
    seconds : CPU seconds that its training counted as, of all folds
    rung : ``quantised``, ``short`` or ``full``
    epochs : of its training, those of all networks that it inherited weights from among them
    marks : score of every validation sequence, one fold after the other, float64 [sequences]; None
        where it was not trained
    """

    net: Net
    judged: float
    path: str
    rung: str
    epochs: int = 0
    marks: np.ndarray | None = field(default=None, compare=False, repr=False)
    others: tuple[str, ...] = ()
    chain: tuple[tuple[Net, int], ...] = field(default=(), compare=False, repr=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """One for each fold."""
        return (self.path, *self.others)


def _timed_look(look: Look) -> dict[str, Any]:
    """A look, and what all of it took."""
    start = time.process_time()
    scores = look_at(look)
    return {"judged": scores["judged"], "seconds": time.process_time() - start}


def _timed_prices(
    job: tuple[str, Sharing, Sequence[tuple[str, Genome, Knobs]]],
) -> dict[str, Any]:
    start = time.process_time()
    target, sharing, cases = job
    rows = [price_of(case, target, sharing) for case in cases]
    return {"rows": rows, "seconds": time.process_time() - start}


def _timed_training(job: ForOne) -> dict[str, Any]:
    start = time.process_time()
    checkpoint = job.starts[0][1]
    info, model = train_from(checkpoint, job)
    scores = fast.scores(model, *part_of(checkpoint, "judged"))
    sequences = len(load(Setting(checkpoint, job.knobs, False)).task.y_val)
    # A training that was stopped and gone on with took more than this process has seen.
    return {
        "judged": float(scores.mean()),
        "marks": marks.packed(marks.of_sequences(scores, sequences)),
        "seconds": max(info["seconds"], time.process_time() - start),
    }


def _timed_float(job: Float) -> dict[str, Any]:
    return {"seconds": train_float(job)["seconds"]}


def _over_folds(judged: Sequence[float], sequences: Sequence[int]) -> float:
    """Mean accuracy over all sequences, of that in every fold; a single one stays as it is, to the
    last bit."""
    return judged[0] if len(judged) == 1 else float(np.average(judged, weights=sequences))


class Rungs:
    """Evaluations of a plan in a folder, and the CPU seconds that they took.

    spent : CPU seconds of all that was asked for so far, whoever computed it
    """

    def __init__(self, folder: Path, plan: Plan, pool: Pool, say: Say = lambda text: None) -> None:
        self.folder, self.plan, self.pool, self.say = folder, plan, pool, say
        self.store = Store(folder / "evaluations.sqlite")
        self.spent = 0.0
        self.fresh = 0
        self.prices: dict[Net, dict[str, Any]] = {}
        self.seconds_of_full: list[float] = []

    @cached_property
    def counts(self) -> tuple[int, int]:
        """GRU layers and dense layers of the plan's networks."""
        return load(Setting(self.plan.checkpoints[0], self.plan.knobs, False)).counts

    @cached_property
    def own_measure(self) -> bool:
        """Whether the task is judged by something else than accuracy."""
        task = load(Setting(self.plan.checkpoints[0], self.plan.knobs, False)).task
        return bool(task.own_measure)

    @cached_property
    def _about(self) -> list[Any]:
        hashes = [
            load(Setting(name, self.plan.knobs, False)).checkpoint_hash
            for name in self.plan.checkpoints
        ]
        return [hashes, self.plan.knobs.identity, self.plan.seed]

    @cached_property
    def sources(self) -> list[tuple[str, ...]]:
        """Float networks that trainings start from, by fold and size. Those of folds are trained
        where they are not there."""
        if not self.plan.folds:
            return [self.plan.checkpoints]
        rows = fold_floats(self.folder, self.plan)
        remove_others(rows, self.plan)
        check_floats(rows, self.plan)
        # By the file's name: two checkpoints may have as many units.
        jobs = [
            (self._key("float", job.task, Path(job.path).stem), job.path, job)
            for row in rows
            for job in row
        ]
        self._run("Training (float networks of the folds)", jobs, _timed_float)
        return [tuple(job.path for job in row) for row in rows]

    @cached_property
    def updates(self) -> int:
        """Updates of the weights in an epoch, of networks of the first size."""
        path = self.sources[0][0]
        task = load(Setting(path, self.plan.knobs, False)).task
        sequences = min(len(task.x_train), self.plan.sequences or len(task.x_train))
        return -(-sequences // batch_of(task, zoo.load(path)))

    def _key(self, *parts: Any) -> str:
        text = json.dumps([*self._about, *parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def left(self) -> float:
        """CPU seconds of the budget that are left."""
        return self.plan.budget - self.spent

    def _run(
        self,
        what: str,
        jobs: Sequence[tuple[str, str, Any]],
        function: Callable[[Any], dict[str, Any]],
        charges: Sequence[float] = (),
    ) -> list[dict[str, Any]]:
        """Results of jobs (key, text, argument), from the store where they are known.

        charges : CPU seconds that each counts as, in place of those that it took
        """
        records = self.store.load(key for key, _, _ in jobs)
        # A network that was trained and is gone is trained again, in the seconds of before.
        missing = list(
            {
                key: (key, text, job)
                for key, text, job in jobs
                if key not in records or is_gone(job, READ_AGAIN)
            }.values()
        )
        for done, (index, record) in enumerate(
            self.pool.map(function, [job for _, _, job in missing]), 1
        ):
            key, text, _ = missing[index]
            self.store.keep(key, text, record)
            records.setdefault(key, record)
            self.fresh += 1
            self.say(f"{what}: {done} of {len(missing)}, {self.left() / 60:.1f} CPU minutes left")
        seconds = {key: records[key]["seconds"] for key, _, _ in jobs}
        if charges:
            seconds |= dict(zip((key for key, _, _ in jobs), charges, strict=True))
        self.spent += sum(seconds.values())
        return [{**records[key], "seconds": seconds[key]} for key, _, _ in jobs]

    def _charges(self, nets: Iterable[Net], epochs: float) -> list[float]:
        """CPU seconds that so many epochs count as, of every network in every fold; none where the
        plan has no pace."""
        folds, pace = len(self.sources), self.plan.pace
        return (
            [epochs * pace[net.size] / folds for net in nets for _ in range(folds)] if pace else []
        )

    def priced(self, nets: Iterable[Net]) -> list[dict[str, Any]]:
        """Costs of networks, without running them; where the plan has shares, with the best."""
        nets = list(nets)
        new = [net for net in dict.fromkeys(nets) if net not in self.prices]
        if new:
            cases = [
                (self.plan.checkpoints[n.size], n.genome, n.knobs(self.plan.knobs)) for n in new
            ]
            plan, target = self.plan, self.plan.target
            elsewhere: list[Any] = [] if target == TARGET else [target]
            sharing = Sharing(plan.shares, plan.cost, plan.limits)
            if plan.shares:
                elsewhere.append(asdict(sharing))
            key = self._key("price", *elsewhere, PRICES, [net.key for net in new])
            job = (target, sharing, cases)
            free = [0.0] if plan.pace else []
            (costs,) = self._run("Costs", [(key, f"{len(new)} costs", job)], _timed_prices, free)
            self.prices.update(zip(new, costs["rows"], strict=True))
        return [self.prices[net] for net in nets]

    def quantised(self, nets: Sequence[Net], start: Result | None = None) -> list[Result]:
        """Networks quantised from the weights of `start`, or from the float ones."""
        jobs = []
        for net in nets:
            for path in start.paths if start else [row[net.size] for row in self.sources]:
                key = self._key("quantised", self._name(path), net.key)
                look = Look(path, net.genome, net.knobs(self.plan.knobs), ("judged",))
                jobs.append((key, net.key, look))
        rows = self._run("Quantising", jobs, _timed_look, self._charges(nets, self.plan.look))
        folds = len(self.sources)
        results = []
        for k, net in enumerate(nets):
            own = slice(k * folds, (k + 1) * folds)
            judged = _over_folds([row["judged"] for row in rows[own]], self._weights)
            path, *others = (look.checkpoint for _, _, look in jobs[own])
            results.append(Result(net, judged, path, "quantised", others=tuple(others)))
        return results

    @cached_property
    def _weights(self) -> list[int]:
        """Validation sequences of every fold."""
        return [
            len(load(Setting(row[0], self.plan.knobs, False)).task.y_val) for row in self.sources
        ]

    def _name(self, path: str) -> str:
        """A network in keys: a trained one by its own key, wherever the folder is."""
        for fold, row in enumerate(self.sources, 1):
            if path in row:
                return f"float {fold} of {self.plan.folds}" if self.plan.folds else "float"
        return Path(path).stem

    def _training(self, net: Net, begin: str, source: str, epochs: int) -> tuple[str, str, ForOne]:
        """Key, text and job of a training from the weights at `begin`, taught by `source`."""
        recipe = Tuning(epochs=epochs, seed=self.plan.seed, keep="last")
        fewer = [] if self.plan.sequences is None else [self.plan.sequences]
        key = self._key("trained", self._name(begin), net.key, epochs, *fewer)
        job = ForOne(
            (("start", begin),),
            source,
            net.genome,
            net.knobs(self.plan.knobs),
            recipe,
            self.plan.sequences,
            str(self.folder / "networks" / f"{key}.safetensors"),
        )
        return key, net.key, job

    def trained(
        self, nets: Sequence[tuple[Net, Result | None]], rung: str, epochs: int
    ) -> list[Result]:
        """Networks trained for so many epochs from the weights of a result, or the float ones; the
        last epoch is kept, so that nothing is chosen by the part that judges. Of a plan with folds
        every network is trained once for each."""
        jobs = []
        for net, start in nets:
            sources = [row[net.size] for row in self.sources]
            begins = start.paths if start is not None else sources
            jobs += [
                self._training(net, begin, source, epochs)
                for begin, source in zip(begins, sources, strict=True)
            ]
        folds, charges = len(self.sources), self._charges((net for net, _ in nets), epochs)
        rows = self._run(f"Training ({rung})", jobs, _timed_training, charges)
        seconds = [
            sum(row["seconds"] for row in rows[k : k + folds]) for k in range(0, len(rows), folds)
        ]
        results = []
        for k, (net, start) in enumerate(nets):
            own = slice(k * folds, (k + 1) * folds)
            if rung == "full":
                self.seconds_of_full.append(seconds[k])
            scores = [marks.unpacked(row["marks"]) for row in rows[own]]
            judged = [row["judged"] for row in rows[own]]
            path, *others = (job.path for _, _, job in jobs[own])
            results.append(
                Result(
                    net,
                    _over_folds(judged, self._weights),
                    path,
                    rung,
                    epochs + (start.epochs if start else 0),
                    np.concatenate(scores),
                    tuple(others),
                    (*(start.chain if start else ()), (net, epochs)),
                    seconds[k],
                )
            )
        return results

    def once_more(self, result: Result) -> tuple[str, dict[str, float]]:
        """A network of a plan with folds, trained as it was, on the whole training part and from
        the plan's checkpoint: its path, and by key the CPU seconds of each training, which are
        outside of the budget."""
        before, begin, seconds = self.spent, "", dict[str, float]()
        for net, epochs in result.chain:
            source = self.plan.checkpoints[net.size]
            begin = begin or source
            job = self._training(net, begin, source, epochs)
            (row,) = self._run("Training on all", [job], _timed_training)
            begin, seconds[job[0]] = job[2].path, row["seconds"]
        self.spent = before
        return begin, seconds

    def close(self) -> None:
        """Close the store."""
        self.store.close()
