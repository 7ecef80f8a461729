"""The rungs of a ladder: evaluations by fidelity, each kept as soon as it is known.

Prices and quantised networks cost milliseconds, short trainings seconds, full trainings more. What
an evaluation took in CPU seconds is kept with it, so that a search that is started again spends the
same budget on the same networks, and arrives at the same result.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    Fewer,
    Float,
    ForOne,
    Look,
    cut,
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
from .plan import Plan, short_rate
from .price import PRICES, TARGET, Sharing, price_of

Say = Callable[[str], None]
#: Trainings begin with these, and the search ends with one.
READ_AGAIN = (Fewer, Float, ForOne)
#: Least bits of input and classifier.
LEAST_BITS = 2
#: Parts of a checkpoint's units in which they are removed, and those that may go.
PARTS, MOST_CUT = 16, 12


@dataclass(frozen=True)
class Net:
    """A network to be looked at: one of the plan's checkpoints, a genome, and bits of input and
    classifier.

    cut : parts of the checkpoint's units that it has less (:data:`PARTS`)
    """

    size: int
    genome: Genome
    input_bits: int = 8
    classifier_bits: int = 8
    cut: int = 0

    def knobs(self, base: Knobs) -> Knobs:
        """The knobs that it is made with."""
        return replace(base, input_bits=self.input_bits, classifier_bits=self.classifier_bits)

    @property
    def key(self) -> str:
        fewer = f" less {self.cut}" if self.cut else ""
        return f"{self.size} {self.genome} {self.input_bits} {self.classifier_bits}{fewer}"


@dataclass(frozen=True)
class Result:
    """A network at a fidelity.

    judged : accuracy on the validation part, with its shifted copies where it is small; of
        quantised networks in folds without them
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
    return {"judged": scores[look.parts[0]], "seconds": time.process_time() - start}


def _timed_prices(
    job: tuple[str, Sharing, Sequence[tuple[str, Genome, Knobs]]],
) -> dict[str, Any]:
    start = time.process_time()
    target, sharing, cases = job
    rows = [price_of(case, target, sharing) for case in cases]
    return {"rows": rows, "seconds": time.process_time() - start}


def _timed_cut(job: Fewer) -> dict[str, Any]:
    start = time.process_time()
    return {"seconds": max(cut(job)["seconds"], time.process_time() - start)}


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
        self.cuts: dict[tuple[str, tuple[int, ...]], str] = {}
        self.seconds_of_full: list[float] = []
        self.seconds_of_epoch: dict[int, list[float]] = {}

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
        paced = self.plan.floats_pace
        charges = [] if paced is None else [paced / len(jobs)] * len(jobs)
        self._run("Training (float networks of the folds)", jobs, _timed_float, charges)
        return [tuple(job.path for job in row) for row in rows]

    @cached_property
    def updates(self) -> int:
        """Updates of the weights in an epoch, of networks of the first size."""
        path = self.sources[0][0]
        task = load(Setting(path, self.plan.knobs, False)).task
        sequences = min(len(task.x_train), self.plan.sequences or len(task.x_train))
        return -(-sequences // batch_of(task, zoo.load(path)))

    @cached_property
    def short_rate(self) -> float:
        """Share of the learning rate that a training from inherited weights has."""
        setting = Setting(self.plan.checkpoints[0], self.plan.knobs, False)
        return short_rate(load(setting).task.steps)

    @cached_property
    def _units(self) -> list[tuple[int, ...]]:
        """Units of the GRU layers of the plan's checkpoints."""
        networks = [zoo.load(name) for name in self.plan.checkpoints]
        return [tuple(n.hidden_size(k) for k in range(n.layers)) for n in networks]

    def units(self, net: Net) -> tuple[int, ...]:
        """Units of the GRU layers of a network."""
        return tuple(u - net.cut * max(1, u // PARTS) for u in self._units[net.size])

    def most_cut(self, size: int) -> int:
        """Parts of its units that may be removed from a checkpoint."""
        if not self.plan.fewer:
            return 0
        # Weights that are loaded are of two units or more (:mod:`genogate.hdl.gru.loading`).
        least = 2 if self.plan.knobs.weights == "load" else 1
        return min(MOST_CUT, *((u - least) // max(1, u // PARTS) for u in self._units[size]))

    def _cut(
        self, networks: Mapping[str, str], net: Net, charges: Sequence[float]
    ) -> tuple[str, ...]:
        """Networks with the units that `net` has, of some that have more: path and name in keys.
        Each is cut, and counts, once."""
        units = self.units(net)
        jobs = []
        for path, name in networks.items():
            key = self._key("fewer units", name, net.size, units)
            place = str(self.folder / "networks" / f"{key}.safetensors")
            jobs.append((key, f"{net.size} {units}", Fewer(path, units, place)))
        if any((path, units) not in self.cuts for path in networks):
            self._run("Removing units", jobs, _timed_cut, charges)
            self.cuts |= {(job.checkpoint, units): job.path for _, _, job in jobs}
        return tuple(self.cuts[path, units] for path in networks)

    def begins(self, net: Net, start: Result | None) -> tuple[str, ...]:
        """What a network begins with in every fold: the weights of a result, or float ones, without
        the units that it does not have."""
        paths = start.paths if start else tuple(row[net.size] for row in self.sources)
        if net.cut == (start.net.cut if start else 0):
            return paths
        named = {path: self._name(path) for path in paths}
        return self._cut(named, net, self._charges([net], self.plan.look))

    def _like(self, net: Net) -> str:
        """A float network of its units, for its price."""
        name = self.plan.checkpoints[net.size]
        free = [0.0] if self.plan.pace else []
        # Not by its name in folds, whose float networks may not be there yet.
        return self._cut({name: "plan"}, net, free)[0] if net.cut else name

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
            minutes = max(0.0, self.left()) / 60
            self.say(f"{what}: {done} of {len(missing)}, {minutes:.1f} CPU minutes left")
        seconds = {key: records[key]["seconds"] for key, _, _ in jobs}
        if charges:
            seconds |= dict(zip((key for key, _, _ in jobs), charges, strict=True))
        self.spent += sum(seconds.values())
        return [{**records[key], "seconds": seconds[key]} for key, _, _ in jobs]

    def _charges(self, nets: Iterable[Net], epochs: float) -> list[float]:
        """CPU seconds that so many epochs count as, of every network in every fold; none where the
        plan has no pace."""
        if not self.plan.pace:
            return []
        folds = len(self.sources)
        return [epochs * self.pace(net) / folds for net in nets for _ in range(folds)]

    def pace(self, net: Net) -> float:
        """CPU seconds of an epoch over all folds: the plan's, or those of the trainings so far; of
        units between those of two checkpoints what lies between, of fewer as of the smallest."""
        paces = dict(enumerate(self.plan.pace)) or {
            # The first training of a process compiles, and would count in a mean.
            size: float(np.median(seconds))
            for size, seconds in self.seconds_of_epoch.items()
        }
        if not net.cut and net.size in paces:
            return paces[net.size]
        known = sorted((sum(self._units[size]), pace) for size, pace in paces.items())
        units, seconds = [count for count, _ in known], [pace for _, pace in known]
        return float(np.interp(sum(self.units(net)), units, seconds))

    def priced(self, nets: Iterable[Net]) -> list[dict[str, Any]]:
        """Costs of networks, without running them; where the plan has shares, with the best."""
        nets = list(nets)
        new = [net for net in dict.fromkeys(nets) if net not in self.prices]
        if new:
            cases = [(self._like(n), n.genome, n.knobs(self.plan.knobs)) for n in new]
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
        # All sequences of the folds are many; shifted copies would take most of a look's time.
        part = ("val",) if self.plan.folds else ()
        for net in nets:
            for path in self.begins(net, start):
                key = self._key("quantised", self._name(path), net.key, *part)
                look = Look(path, net.genome, net.knobs(self.plan.knobs), part or ("judged",))
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

    def _training(
        self,
        net: Net,
        begin: str,
        source: str,
        epochs: int,
        rate: float,
        seed: int | None = None,
    ) -> tuple[str, str, ForOne]:
        """Key, text and job of a training from the weights at `begin`, taught by `source`, with so
        much of the usual learning rate."""
        recipe = Tuning(epochs=epochs, seed=self.plan.seed if seed is None else seed, keep="last")
        about: list[Any] = [] if self.plan.sequences is None else [self.plan.sequences]
        if rate != 1:
            recipe = replace(recipe, lr=rate * recipe.lr)
            about.append({"lr": recipe.lr})
        if seed is not None:
            about.append({"seed": seed})
        key = self._key("trained", self._name(begin), net.key, epochs, *about)
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
        self,
        nets: Sequence[tuple[Net, Result | None]],
        rung: str,
        epochs: int,
        rate: float | None = None,
        seed: int | None = None,
    ) -> list[Result]:
        """Networks trained for so many epochs from the weights of a result, or the float ones; the
        last epoch is kept, so that nothing is chosen by the part that judges. Of a plan with folds
        every network is trained once for each.

        rate : share of the usual learning rate, from the weights of a result; None: as
            :func:`.plan.short_rate` has it
        seed : of the random numbers; None: the plan's
        """
        rate = self.short_rate if rate is None else rate
        jobs = []
        for net, start in nets:
            sources = [row[net.size] for row in self.sources]
            begins = self.begins(net, start)
            jobs += [
                self._training(net, begin, source, epochs, rate if start is not None else 1.0, seed)
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
            if not net.cut:
                self.seconds_of_epoch.setdefault(net.size, []).append(seconds[k] / epochs)
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
        before, begin, seconds, cut_before = self.spent, "", dict[str, float](), 0
        for k, (net, epochs) in enumerate(result.chain):
            source = self.plan.checkpoints[net.size]
            begin = begin or source
            if net.cut != cut_before:
                (begin,), cut_before = self._cut({begin: self._name(begin)}, net, ()), net.cut
            job = self._training(net, begin, source, epochs, self.short_rate if k else 1.0)
            (row,) = self._run("Training on all", [job], _timed_training)
            begin, seconds[job[0]] = job[2].path, row["seconds"]
        self.spent = before
        return begin, seconds

    def close(self) -> None:
        """Close the store."""
        self.store.close()
