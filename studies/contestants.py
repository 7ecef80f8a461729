"""Contestants of the race in silicon (:mod:`.race`): who trains what at equal CPU time.

On every seed each contestant trains networks until the CPU time is gone that training all networks
by hand took; all are trained as long, from the same float networks, and the cheapest within half a
point of INT8 (trained as long, at the reference's size) on validation, a standard error of the
difference to spare, is its entry. The test part is looked at once, for the entries alone. The
cost is the estimated area in sky130.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model import zoo
from genogate.model.files import read_json, write_json
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.model.knobs import Knobs
from genogate.search.experiment.jobs import Fewer, Float, Look, cut, look_at, train_float
from genogate.search.genomes import sensitivity
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting, evaluate
from genogate.search.genomes.run import Run
from genogate.search.ladder.ladder import search
from genogate.search.ladder.marks import error
from genogate.search.ladder.plan import LOOK, SPARE, Plan, short_epochs
from genogate.search.ladder.price import price_of
from genogate.search.ladder.rungs import Net, Result, Rungs
from genogate.search.ladder.steps import steps_down
from genogate.search.pool.backends import Pool

from .baselines import FOLDER as FLOATS
from .baselines import shipped
from .registry import path_of

Say = Callable[[str], None]
KNOBS = Knobs(activation="table")
COST, LIMIT = "um2", 0.5
#: The part whose LUTs and block RAMs are told beside the area.
FPGA = "ice40-up5k"
HAND_NAME, NARROWED = "by hand", "by hand, narrowed"
SEARCHES = ("this search", "this search, full trainings only", "this search, units kept")
FULL_ONLY, UNITS_KEPT = SEARCHES[1:]


@dataclass(frozen=True)
class Rule:
    """What a contestant makes small, the standard errors that its networks have to spare, and
    whether they are trained once more before one is chosen."""

    cost: str = COST
    spare: float = SPARE
    confirm: bool = False

    def holds(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry is within the limit."""
        if self.confirm and entry.get("again", {"lost": np.inf})["lost"] > LIMIT + 1e-9:
            return False
        return bool(entry["lost"] + self.spare * entry["error"] <= LIMIT + 1e-9)


USUAL = Rule()
#: Searches that have another rule than the other contestants.
RULES = {
    "this search, two errors to spare": Rule(spare=2.0),
    "this search, for cells": Rule("cells"),
    "this search, for size": Rule("size"),
    "this search, confirmed": Rule(confirm=True),
}
CONTESTANTS = (
    HAND_NAME,
    NARROWED,
    *SEARCHES,
    "random",
    "greedy",
    "NSGA-II on size",
    *RULES,
)
#: Contestants by the usual rule.
BY_USUAL = tuple(name for name in CONTESTANTS if name not in RULES)


@dataclass(frozen=True)
class Race:
    """A race on a task.

    sizes : hidden units, the reference's first
    epochs : of every full training
    sequences : training sequences of an epoch, evenly spread; None: all
    folds : that judge in place of the validation part, by which a network is trained as often; 0:
        none
    """

    task: str
    sizes: tuple[int, ...]
    epochs: int
    seeds: tuple[int, ...] = (0, 1, 2)
    sequences: int | None = None
    contestants: tuple[str, ...] = CONTESTANTS
    folds: int = 0


#: About a CPU minute for each contestant, and a few of the tasks of MNIST; of mnist-pixel twenty.
FULL = (
    Race("digits-row", (32, 24), 12, contestants=BY_USUAL),
    Race("JapaneseVowels", (32, 24), 48, contestants=BY_USUAL),
    Race("ItalyPowerDemand", (32, 16), 20, contestants=BY_USUAL),
    Race("mnist-row", (64, 48), 4, sequences=24_000),
    Race("mnist-pixel14", (64, 48), 8, sequences=2_000, contestants=BY_USUAL),
    Race("mnist-pixel", (64, 48), 8, sequences=2_000, contestants=BY_USUAL),
)
QUICK = (Race("digits-row", (32,), 1, (0,)),)
#: Weights, the rest, input and classifier of what a person writes down.
HAND = {
    "INT8": (8, 8, 8, 8),
    "weights 3, rest 8": (3, 8, 8, 8),
    "weights 2, rest 8": (2, 8, 8, 8),
    "INT4": (4, 4, 8, 8),
    "INT4, input 4": (4, 4, 4, 8),
    "INT4, input and classifier 4": (4, 4, 4, 4),
    "INT3": (3, 3, 8, 8),
    "INT6, input and classifier 6": (6, 6, 6, 6),
    "INT5, input and classifier 5": (5, 5, 5, 5),
}
NARROWEST = "INT3, input and classifier 4"
#: Homogeneous networks by hand, wide to narrow, that inherit weights one from another.
CHAIN = (
    "INT6, input and classifier 6",
    "INT5, input and classifier 5",
    *list(HAND)[3:6],
    NARROWEST,
)
#: Share of the time that NSGA-II and greedy descent spend without training.
UNTRAINED = 0.4
#: The network from which single steps are looked at to learn what a look takes.
LOOKED_FROM = Genome.uniform(6)
#: Population of the paper's NSGA-II, and bits of homogeneous genomes that are timed, because an
#: evaluation takes ten times as long on one task as on another.
POPULATION, TIMED = 24, range(MIN_BITS, MAX_BITS)


def by_hand(scheme: str, size: int) -> Net:
    """A network of :data:`HAND`."""
    weights, rest, inputs, classifier = {**HAND, NARROWEST: (3, 3, 4, 4)}[scheme]
    return Net(size, Genome.from_genes([weights] * 6 + [rest] * 11), inputs, classifier)


class _Track:
    """One contestant on one seed: what it trained, and its time."""

    def __init__(self, rungs: Rungs, epochs: int) -> None:
        self.rungs, self.epochs = rungs, epochs
        self.finished: list[Result] = []
        self.train([Net(0, Genome.uniform(MAX_BITS))])

    def train(self, nets: Sequence[Net]) -> list[Result]:
        results = self.rungs.trained([(net, None) for net in nets], "full", self.epochs)
        self.finished += results
        return results

    def more(self) -> bool:
        """Whether another full training fits."""
        return self.rungs.left() >= float(np.mean(self.rungs.seconds_of_full))

    def error(self, result: Result) -> float:
        """Standard error of what it loses, in points."""
        return error(result.marks, self.finished[0].marks)

    def lost(self, result: Result) -> float:
        """Points below INT8, with the standard errors that there must be to spare."""
        below = 100 * (self.finished[0].judged - result.judged)
        return below + self.rungs.plan.spare * self.error(result)

    def bisect(self, nets: Sequence[Net]) -> None:
        """Train `nets`, dear ones first, where the last within the limit is looked for; then
        others next to it while there is time."""
        low, high, done = 0, len(nets) - 1, set[int]()
        while low <= high and self.more():
            middle = (low + high) // 2
            (result,) = self.train([nets[middle]])
            done.add(middle)
            if self.lost(result) <= LIMIT:
                low = middle + 1
            else:
                high = middle - 1
        rest = sorted(set(range(len(nets))) - done, key=lambda k: abs(k - low))
        for k in rest:
            if not self.more():
                return
            self.train([nets[k]])


def _hand(track: _Track, sizes: int) -> None:
    track.train([by_hand(scheme, size) for scheme in HAND for size in range(sizes)])


def _narrowed(track: _Track, sizes: int) -> None:
    """Networks by hand with this search's training: every size narrows along :data:`CHAIN`, then
    what lost least of those cheaper than the best is trained again and again."""
    short = short_epochs(track.epochs, track.rungs.updates)
    share = short / track.epochs
    last: dict[Net, Result] = {}

    def more(share: float) -> bool:
        return track.rungs.left() >= share * float(np.mean(track.rungs.seconds_of_full))

    for size in range(sizes):
        parent = None if size else track.finished[0]
        for scheme in CHAIN:
            net = by_hand(scheme, size)
            if not more(share if parent else 1):
                return
            if parent is None:
                (parent,) = track.train([net])
            else:
                (parent,) = track.rungs.trained([(net, parent)], "short", short)
                track.finished.append(parent)
            last[net] = parent
    while more(share):
        prices = {net: track.rungs.priced([net])[0][COST] for net in last}
        within = [prices[r.net] for r in track.finished[1:] if track.lost(r) <= LIMIT]
        cheaper = [net for net in last if prices[net] < min(within, default=np.inf)]
        if not cheaper:
            return
        net = min(cheaper, key=lambda net: track.lost(last[net]))
        (last[net],) = track.rungs.trained([(net, last[net])], "short", short)
        track.finished.append(last[net])


def _random(track: _Track, sizes: int, seed: int) -> None:
    rng = np.random.default_rng([seed, 21])
    while track.more():
        bits = [int(b) for b in rng.integers(MIN_BITS, MAX_BITS + 1, len(GENES) + 2)]
        net = Net(int(rng.integers(sizes)), Genome.from_genes(bits[:-2]), *bits[-2:])
        track.train([net])


def _greedy(track: _Track, sizes: int) -> None:
    size, rungs = sizes - 1, track.rungs
    before = rungs.spent
    rungs.quantised([Net(size, Genome.uniform(bits)) for bits in TIMED])
    seconds = (rungs.spent - before) / len(TIMED)
    budget = int(UNTRAINED * rungs.plan.budget / seconds)

    def judge(genomes: list[Genome]) -> list[dict[str, float]]:
        nets = [Net(size, genome) for genome in genomes]
        prices = rungs.priced(nets)
        return [
            {"accuracy": r.judged, COST: p[COST]}
            for r, p in zip(rungs.quantised(nets), prices, strict=True)
        ]

    path = sensitivity.descent(judge, 1, costs=[COST], drop=0.15, budget=budget).path
    nets = [Net(size, genome) for genome in path]
    prices = [p[COST] for p in rungs.priced(nets)]
    track.bisect([nets[k] for k in np.argsort(prices)[::-1]])


def _seconds_of(setting: Setting, path: Path) -> float:
    """CPU seconds of an evaluation of the paper's search; from `path` where a run before this one
    has measured them, because a search is resumed with as many generations as it began with."""
    if not path.exists():
        # The first one loads, calibrates and compiles.
        dict(evaluate(setting, [Genome.uniform(MAX_BITS)]))
        start = time.process_time()
        dict(evaluate(setting, [Genome.uniform(bits) for bits in TIMED]))
        write_json(path, (time.process_time() - start) / len(TIMED))
    return float(read_json(path))


def _nsga2(track: _Track, folder: Path, seed: int) -> None:
    """The paper's search, on accuracy after quantisation and size; its front is trained."""
    plan = track.rungs.plan
    setting = Setting(plan.checkpoints[0], KNOBS, False)
    seconds = _seconds_of(setting, folder / "nsga2-evaluation.json")
    generations = max(2, int(UNTRAINED * plan.budget / (POPULATION * seconds)))
    config = Config(
        ("accuracy", "size"),
        pop_size=POPULATION,
        generations=generations,
        seed=seed,
        initial="homogeneous",
        checkpoints=plan.checkpoints[1:],
    )
    path, start = folder / "nsga2-seconds.json", time.process_time()
    run = Run(folder / "nsga2", setting, config, resume=True)
    front = run.go()
    if not path.exists():
        write_json(path, time.process_time() - start)
    track.rungs.spent += read_json(path)
    ordered = sorted(front, key=lambda point: -point.result["size"])
    places = {name: k for k, name in enumerate(plan.checkpoints)}
    track.bisect(
        [Net(places[p.candidate.checkpoint or plan.checkpoints[0]], p.genome) for p in ordered]
    )


def networks_of(race: Race, seed: int, floats: Path) -> tuple[str, ...]:
    """Float networks of a seed, trained where they are not shipped."""
    found = []
    for hidden in race.sizes:
        name = shipped(race.task, seed, hidden)
        if name is None:
            name = str(floats / f"{race.task}-h{hidden}-seed{seed}.safetensors")
            train_float(Float(path_of(race.task), seed, hidden, None, name))
        found.append(name)
    return tuple(found)


def slug(contestant: str) -> str:
    return contestant.replace(",", "").replace(" ", "-")


def _entry(track: _Track, result: Result, sizes: Sequence[int]) -> dict[str, Any]:
    net = result.net
    return {
        "hidden": sizes[net.size],
        "genes": list(net.genome.genes),
        "input_bits": net.input_bits,
        "classifier_bits": net.classifier_bits,
        "judged": result.judged,
        "lost": round(100 * (track.finished[0].judged - result.judged), 4),
        "error": round(track.error(result), 4),
        "epochs": result.epochs,
        "seconds": result.seconds,
        "networks": list(result.paths),
        **track.rungs.priced([net])[0],
    }


def pace_of(entries: Sequence[Mapping[str, Any]], race: Race) -> tuple[float, ...]:
    """CPU seconds of an epoch by size, of the trainings of a contestant. All are charged by
    it, so that none has less because the machine was busier."""
    by_size = [
        [entry["seconds"] / entry["epochs"] for entry in entries if entry["hidden"] == size]
        for size in race.sizes
    ]
    return tuple(float(np.mean(seconds)) for seconds in by_size)


def look_of(rungs: Rungs, pace: Sequence[float], trained: Sequence[Result]) -> float:
    """Epochs that a look at a network takes, measured: the mean over the sizes, of all single steps
    from a trained network, which is calibrated for them."""
    shares = []
    for size, seconds in enumerate(pace):
        start = next(r for r in trained if (r.net.size, r.net.genome) == (size, LOOKED_FROM))
        nets, before = [start.net, *steps_down(start.net)], rungs.spent
        rungs.quantised(nets, start)
        shares.append((rungs.spent - before) / len(nets) / seconds)
    return float(np.mean(shares))


def _floats_pace(race: Race, rival: Mapping[str, Any]) -> float:
    """CPU seconds that the float networks of folds took the race by hand: all but its trainings."""
    pace = dict(zip(race.sizes, rival["pace"], strict=True))
    trained = sum(entry["epochs"] * pace[entry["hidden"]] for entry in rival["all"])
    return max(0.0, float(rival["spent"]) - trained)


def _plan(
    race: Race,
    seed: int,
    budget: float,
    rival: Mapping[str, Any],
    rule: Rule,
    fewer: bool = True,
) -> Plan:
    """What a contestant is given.

    rival : the race by hand, of which it has the pace
    fewer : whether units are a gene
    """
    return Plan(
        networks_of(race, seed, FLOATS),
        cost=rule.cost,
        drop=LIMIT,
        budget=budget,
        seed=seed,
        epochs=race.epochs,
        sequences=race.sequences,
        folds=race.folds,
        spare=rule.spare,
        confirm=rule.confirm,
        pace=tuple(rival.get("pace", ())),
        look=rival.get("look", LOOK),
        fewer=fewer,
        floats_pace=_floats_pace(race, rival) if race.folds and "pace" in rival else None,
        floats=str(FLOATS / f"{race.task}-seed{seed}-folds{race.folds}") if race.folds else None,
        knobs=KNOBS,
    )


def _searched(
    own: Path, plan: Plan, inherit: bool, say: Say
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What this search trained, the CPU seconds that it took, and what it trained twice."""
    place = own / "ladder"
    document = search(place, plan, resume=True, inherit=inherit, finish=False, say=say)
    entries = [
        {**row, "networks": [str(place / name) for name in row.get("folds", [row["network"]])]}
        for row in document["finished"]
    ]
    about = {"spent": document["spent_seconds"]}
    tried = [
        {name: entry[name] for name in ("hidden", COST, "lost", "error", "again")}
        for entry in document["finished"]
        if "again" in entry
    ]
    return entries, about | ({"tried": tried} if tried else {})


def _tracked(
    contestant: str, race: Race, own: Path, plan: Plan, say: Say
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What any other contestant trained, and the CPU seconds that it took; by hand, the pace of all
    contestants too."""
    with Pool("serial", 1) as pool:
        rungs = Rungs(own, plan, pool, say)
        track, sizes = _Track(rungs, race.epochs), len(race.sizes)
        if contestant == HAND_NAME:
            _hand(track, sizes)
        elif contestant == NARROWED:
            _narrowed(track, sizes)
        elif contestant == "random":
            _random(track, sizes, plan.seed)
        elif contestant == "greedy":
            _greedy(track, sizes)
        else:
            _nsga2(track, own, plan.seed)
        entries = [_entry(track, result, race.sizes) for result in track.finished]
        about: dict[str, Any] = {"spent": round(rungs.spent, 1)}
        if contestant == HAND_NAME:
            pace = pace_of(entries, race)
            about |= {"pace": pace, "look": look_of(rungs, pace, track.finished)}
        return entries, about


def cheapest(entries: Sequence[Mapping[str, Any]], rule: Rule = USUAL) -> dict[str, Any]:
    """The entry of a contestant: the cheapest within the limit, standard errors to spare; of equal
    ones the more accurate. INT8, the first, always is."""
    able = filter(rule.holds, entries)
    return dict(min(able, key=lambda entry: (entry[rule.cost], -entry["judged"])))


def _shown(race: Race, seed: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its test score, the mean over the networks of folds, and what it takes of an
    FPGA."""
    case = case_of(race, seed, entry)
    looks = [Look(path, None, case[2], ("test",)) for path in entry["networks"]]
    about = {k: v for k, v in entry.items() if k not in ("network", "networks", "folds", "seconds")}
    test = float(np.mean([look_at(look)["test"] for look in looks]))
    return {**about, "test": test, **prices_of(case)}


def case_of(race: Race, seed: int, entry: Mapping[str, Any]) -> tuple[str, Genome, Knobs]:
    """Checkpoint, genome and knobs of an entry."""
    place = race.sizes.index(entry.get("cut_from", entry["hidden"]))
    checkpoint = networks_of(race, seed, FLOATS)[place]
    if "cut_from" in entry:
        path = str(FLOATS / f"{zoo.load(checkpoint).hash}-{entry['hidden']}-units.safetensors")
        cut(Fewer(checkpoint, (entry["hidden"],), path))
        checkpoint = path
    bits = {name: entry[name] for name in ("input_bits", "classifier_bits")}
    return checkpoint, Genome.from_genes(entry["genes"]), replace(KNOBS, **bits)


def prices_of(case: tuple[str, Genome, Knobs]) -> dict[str, float]:
    """Costs in sky130, and LUTs and block RAMs of the FPGA; by estimate."""
    part = price_of(case, FPGA)
    return {**price_of(case), "fpga_lut": part["lut"], "fpga_ebr": part["ebr"]}


def run_one(race: Race, seed: int, contestant: str, folder: Path, say: Say) -> dict[str, Any]:
    """A contestant's race on a seed; from the folder where it has been run."""
    place = folder / race.task / f"seed{seed}"
    path = place / f"{slug(contestant)}.json"
    if path.exists():
        return dict(read_json(path))
    rival: Mapping[str, Any] = {}
    if not (hand := contestant == HAND_NAME):
        rival = run_one(race, seed, HAND_NAME, folder, say)
    rule = RULES.get(contestant, USUAL)
    budget = rival.get("spent", 1e9)
    plan = _plan(race, seed, budget, rival, rule, fewer=contestant != UNITS_KEPT)
    own = place / slug(contestant)

    def told(text: str) -> None:
        say(f"seed {seed}, {contestant}: {text}")

    if contestant in (*SEARCHES, *RULES):
        entries, about = _searched(own, plan, contestant != FULL_ONLY, told)
    else:
        entries, about = _tracked(contestant, race, own, plan, told)
    document = {
        "contestant": contestant,
        "seed": seed,
        **about,
        "fewer": plan.fewer,
        "trainings": len(entries),
        "int8": _shown(race, seed, entries[0]),
        "best": _shown(race, seed, cheapest(entries, rule)),
        "all": [_shown(race, seed, entry) for entry in entries] if hand else [],
    }
    write_json(path, document)
    return document
