"""The race in silicon: networks by hand, and searches, at equal CPU time.

On every seed each contestant trains networks until the CPU time is gone that training all networks
by hand took; all are trained as long, from the same float networks, and the cheapest within half a
point of INT8 (trained as long, at the reference's size) on validation is its entry. The test part
is looked at once, for the entries alone. The cost is the estimated area in sky130.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.files import read_json, write_json
from genogate.model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from genogate.model.knobs import Knobs
from genogate.search.budget import Budget
from genogate.search.experiment.jobs import Float, Look, look_at, train_float
from genogate.search.genomes import sensitivity
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Setting
from genogate.search.genomes.run import Run
from genogate.search.ladder.ladder import search
from genogate.search.ladder.plan import SHORT, Plan
from genogate.search.ladder.price import price_of
from genogate.search.ladder.rungs import Net, Result, Rungs
from genogate.search.pool.backends import Pool

from .baselines import FOLDER as FLOATS
from .baselines import _shipped, upper
from .registry import path_of
from .search import table
from .spread import with_error

Say = Callable[[str], None]
KNOBS = Knobs(activation="table")
FOLDER = Path("runs/race")
COST, LIMIT = "um2", 0.5


@dataclass(frozen=True)
class Race:
    """A race on a task.

    sizes : hidden units, the reference's first
    epochs : of every full training
    """

    task: str
    sizes: tuple[int, ...]
    epochs: int
    seeds: tuple[int, ...] = (0, 1, 2)


FULL = (
    Race("digits-row", (32, 24), 24),
    Race("JapaneseVowels", (32, 24), 60),
    Race("ItalyPowerDemand", (32, 16), 30),
    Race("kws4", (64, 32), 16, (0,)),
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
#: Population of the paper's NSGA-II, and CPU seconds of one of its evaluations, about.
POPULATION, SECONDS = 24, 0.03


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

    def lost(self, result: Result) -> float:
        return 100 * (self.finished[0].judged - result.judged)

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
    short = max(1, round(SHORT * track.epochs))
    last: dict[Net, Result] = {}

    def more(share: float) -> bool:
        return track.rungs.left() >= share * float(np.mean(track.rungs.seconds_of_full))

    for size in range(sizes):
        parent = None if size else track.finished[0]
        for scheme in CHAIN:
            net = by_hand(scheme, size)
            if not more(SHORT if parent else 1):
                return
            if parent is None:
                (parent,) = track.train([net])
            else:
                (parent,) = track.rungs.trained([(net, parent)], "short", short)
                track.finished.append(parent)
            last[net] = parent
    while more(SHORT):
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
    budget = int(UNTRAINED * rungs.plan.budget / (2 * SECONDS))

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


def _nsga2(track: _Track, folder: Path, seed: int) -> None:
    """The paper's search, on accuracy after quantisation and size; its front is trained."""
    plan = track.rungs.plan
    generations = max(2, int(UNTRAINED * plan.budget / (POPULATION * SECONDS)))
    config = Config(
        ("accuracy", "size"),
        pop_size=POPULATION,
        generations=generations,
        seed=seed,
        initial="homogeneous",
        checkpoints=plan.checkpoints[1:],
    )
    path, start = folder / "nsga2-seconds.json", time.process_time()
    run = Run(folder / "nsga2", Setting(plan.checkpoints[0], KNOBS, False), config, resume=True)
    front = run.go()
    if not path.exists():
        write_json(path, time.process_time() - start)
    track.rungs.spent += read_json(path)
    ordered = sorted(front, key=lambda point: -point.result["size"])
    places = {name: k for k, name in enumerate(plan.checkpoints)}
    track.bisect(
        [Net(places[p.candidate.checkpoint or plan.checkpoints[0]], p.genome) for p in ordered]
    )


def _networks(race: Race, seed: int, floats: Path) -> tuple[str, ...]:
    """Float networks of a seed, trained where they are not shipped."""
    found = []
    for hidden in race.sizes:
        name = _shipped(race.task, seed, hidden)
        if name is None:
            name = str(floats / f"{race.task}-h{hidden}-seed{seed}.safetensors")
            train_float(Float(path_of(race.task), seed, hidden, None, name))
        found.append(name)
    return tuple(found)


def _slug(contestant: str) -> str:
    return contestant.replace(",", "").replace(" ", "-")


def _entry(rungs: Rungs, result: Result, base: Result, sizes: Sequence[int]) -> dict[str, Any]:
    net = result.net
    return {
        "hidden": sizes[net.size],
        "genes": list(net.genome.genes),
        "input_bits": net.input_bits,
        "classifier_bits": net.classifier_bits,
        "judged": result.judged,
        "lost": round(100 * (base.judged - result.judged), 4),
        "epochs": result.epochs,
        **rungs.priced([net])[0],
    }


def _tested(rungs: Rungs, result: Result) -> float:
    knobs = result.net.knobs(rungs.plan.knobs)
    return float(look_at(Look(result.path, None, knobs, ("test",)))["test"])


FULL_ONLY = "this search, full trainings only"
CONTESTANTS = (
    "by hand",
    "by hand, narrowed",
    "this search",
    FULL_ONLY,
    "random",
    "greedy",
    "NSGA-II on size",
)
#: Entries of this search that were measured before weights were inherited.
BEFORE = "this search before, no weights inherited"
#: Contestants in the tables.
NAMES = {
    "by hand": "the best by hand",
    "by hand, narrowed": "the best by hand, weights inherited",
    FULL_ONLY: "this search, no weights inherited",
}


def run_one(race: Race, seed: int, contestant: str, folder: Path, say: Say) -> dict[str, Any]:
    """A contestant's race on a seed; from the folder where it has been run."""
    place = folder / race.task / f"seed{seed}"
    path = place / f"{_slug(contestant)}.json"
    if path.exists():
        return dict(read_json(path))
    checkpoints = _networks(race, seed, FLOATS)
    budget, hand = 1e9, contestant == CONTESTANTS[0]
    if not hand:
        budget = run_one(race, seed, CONTESTANTS[0], folder, say)["spent"]
    plan = Plan(
        checkpoints,
        cost=COST,
        drop=LIMIT,
        budget=budget,
        seed=seed,
        epochs=race.epochs,
        knobs=KNOBS,
    )
    own = place / ("by-hand" if hand else _slug(contestant))
    with Pool("serial", 1) as pool:
        rungs = Rungs(own, plan, pool, lambda text: say(f"seed {seed}, {contestant}: {text}"))
        track = _Track(rungs, race.epochs)
        if hand:
            _hand(track, len(race.sizes))
        elif contestant == "by hand, narrowed":
            _narrowed(track, len(race.sizes))
        elif contestant == "random":
            _random(track, len(race.sizes), seed)
        elif contestant == "greedy":
            _greedy(track, len(race.sizes))
        elif contestant == "NSGA-II on size":
            _nsga2(track, own, seed)
        else:
            document = search(
                own / "ladder", plan, resume=True, inherit=contestant != FULL_ONLY, say=say
            )
            rungs.spent = document["spent_seconds"]
            track.finished += [
                Result(
                    Net(
                        race.sizes.index(row["hidden"]),
                        Genome.from_genes(row["genes"]),
                        row["input_bits"],
                        row["classifier_bits"],
                    ),
                    row["judged"],
                    str(own / "ladder" / row["network"]),
                    "full",
                    row["epochs"],
                )
                for row in document["finished"]
            ]
        base = track.finished[0]
        shown = track.finished if hand else []
        within = [r for r in track.finished if track.lost(r) <= LIMIT + 1e-9]
        best = min(within, key=lambda r: (rungs.priced([r.net])[0][COST], -r.judged))
        document = {
            "contestant": contestant,
            "seed": seed,
            "spent": round(rungs.spent, 1),
            "trainings": len(track.finished),
            "int8": {**_entry(rungs, base, base, race.sizes), "test": _tested(rungs, base)},
            "best": {**_entry(rungs, best, base, race.sizes), "test": _tested(rungs, best)},
            "all": [
                {**_entry(rungs, r, base, race.sizes), "test": _tested(rungs, r)} for r in shown
            ],
            "finished": [_entry(rungs, r, base, race.sizes) for r in track.finished],
        }
    write_json(path, document)
    return document


def _rows(
    races: Sequence[Race], folder: Path, say: Say, budget: Budget
) -> Iterator[dict[str, Any]]:
    for race in races:
        for contestant in CONTESTANTS:
            for seed in race.seeds:
                path = folder / race.task / f"seed{seed}" / f"{_slug(contestant)}.json"
                if path.exists() or (budget.seconds is None or budget.left() > 1):
                    yield {"task": race.task, **run_one(race, seed, contestant, folder, say)}


def _priced_now(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the prices of today's hardware, by which the best by hand is chosen again; other
    contestants chose by those of their time."""
    races = {race.task: race for race in (*QUICK, *FULL)}

    def priced(entry: Mapping[str, Any]) -> dict[str, Any]:
        race = races[row["task"]]
        checkpoint = _networks(race, row["seed"], FLOATS)[race.sizes.index(entry["hidden"])]
        own = replace(
            KNOBS, input_bits=entry["input_bits"], classifier_bits=entry["classifier_bits"]
        )
        return {**entry, **price_of((checkpoint, Genome.from_genes(entry["genes"]), own))}

    row = {**row, "int8": priced(row["int8"]), "best": priced(row["best"])}
    row["all"] = [priced(entry) for entry in row["all"]]
    if row["all"]:
        within = [entry for entry in row["all"] if entry["lost"] <= LIMIT + 1e-9]
        row["best"] = min(within, key=lambda entry: (entry[COST], -entry["judged"]))
    del row["finished"]
    return row


def measure(
    say: Say,
    races: Sequence[Race] = FULL,
    folder: Path = FOLDER,
    budget: str | None = None,
) -> dict[str, Any]:
    """All contestants on all seeds; after `budget` no other begins, and the next call goes on."""
    rows = [_priced_now(row) for row in _rows(races, folder, say, Budget.of(budget))]
    return {
        "races": [
            {"task": r.task, "sizes": list(r.sizes), "epochs": r.epochs, "seeds": list(r.seeds)}
            for r in races
        ],
        "rows": rows,
    }


def _widths(entry: Mapping[str, Any]) -> str:
    digits = "".join(map(str, entry["genes"]))
    return (
        f"{entry['hidden']}: `{digits[:6]} {digits[6:11]} {digits[11:14]} {digits[14:]}` "
        f"in {entry['input_bits']} out {entry['classifier_bits']}"
    )


def _line(
    name: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], rival: float
) -> tuple[str, ...]:
    """A row of the table: entries, each with INT8 of its seed."""
    area = float(np.mean([entry[COST] for entry, _ in pairs]))
    base = float(np.mean([int8[COST] for _, int8 in pairs]))
    return (
        name,
        str(len(pairs)),
        f"{area:,.0f}",
        f"{100 * (1 - area / base):.1f} %",
        f"{100 * (1 - area / rival):+.1f} %" if rival else "-",
        with_error([entry["lost"] for entry, _ in pairs]),
        with_error([100 * (int8["test"] - entry["test"]) for entry, int8 in pairs]),
    )


def render(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "## The race in silicon: by hand, and by search",
        "",
        "Area in sky130 by the models of the target, constants as logic, state as flip-flops. On "
        "every seed each contestant has the CPU time that training all networks by hand took; its "
        "entry is the cheapest that it trained within half a point of INT8 on validation. The last "
        "epoch is kept, and INT8 is trained too. Networks by hand, those of random search, of "
        "greedy descent and of NSGA-II are trained from float weights, all for as many epochs. "
        "This search trains most networks for a quarter of these from the weights of another "
        "network, so its entries have had more epochs in all (the last table). Means over the "
        "seeds, ± one standard error; points lost against INT8 of the same seed. Many networks "
        "near the limit are judged by the same validation part, which flatters the one that is "
        "chosen: see the points lost on test. The constants of this search were set by validation "
        "accuracy on seed 0 of digits-row and of JapaneseVowels; on digits-row INT5 and INT6 by "
        "hand had a quarter more time than the others had. "
        "Tasks of the registry: `python -m studies.registry`.",
        "",
    ]
    if any(row["contestant"] == "by hand, narrowed" for row in data["rows"]):
        lines += [
            "The best by hand with weights inherited says what the further epochs alone are worth: "
            "homogeneous networks that narrow as those of this search do, trained again and again.",
            "",
        ]
    for race in data["races"]:
        rows = [_named(row) for row in data["rows"] if row["task"] == race["task"]]
        lines += _task(race, rows)
    return lines


ENTRY_HEAD = ("contestant", "seed", "network", "um^2", "epochs in all", "trainings")
HEAD = (
    "contestant",
    "seeds",
    "um^2",
    "below INT8",
    "below the best by hand",
    "points lost on validation",
    "points lost on test",
)


def _rival(rows: Sequence[Mapping[str, Any]]) -> float:
    """Mean area of the best by hand; 0 without any."""
    areas = [row["best"][COST] for row in rows if row["contestant"] == CONTESTANTS[0]]
    return float(np.mean(areas)) if areas else 0.0


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row, that of an older search by a name of its own."""
    older = row["contestant"] == "this search" and "epochs" not in row["best"]
    return {**row, "contestant": BEFORE if older else row["contestant"]}


def contestants_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of a task: every contestant's entries."""
    rows, body = [_named(row) for row in rows], []
    for contestant in (*CONTESTANTS, BEFORE):
        of = [row for row in rows if row["contestant"] == contestant]
        if of:
            name = NAMES.get(contestant, contestant)
            pairs = [(row["best"], row["int8"]) for row in of]
            seeds = {row.get("seed") for row in of}
            same = [row for row in rows if row.get("seed") in seeds]
            body.append(_line(name, pairs, _rival(same)))
    return table(HEAD, body)


def _task(race: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    hand = [row for row in rows if row["contestant"] == CONTESTANTS[0]]
    rival = _rival(rows)
    spent = float(np.mean([row["spent"] for row in hand])) / 60 if hand else 0.0
    lines = [
        f"### {race['task']}",
        "",
        f"INT8 of {race['sizes'][0]} units; sizes {', '.join(map(str, race['sizes']))}; "
        f"{race['epochs']} epochs; {spent:.1f} CPU minutes for each contestant and seed.",
        "",
        *contestants_table(rows),
        "Networks by hand, each on every seed:",
        "",
    ]
    body = []
    for size in range(len(race["sizes"])):
        for scheme in HAND:
            net = by_hand(scheme, size)
            pairs = [
                (entry, row["int8"])
                for row in hand
                for entry in row["all"][1:]
                if entry["genes"] == list(net.genome.genes)
                and entry["hidden"] == race["sizes"][size]
                and (entry["input_bits"], entry["classifier_bits"])
                == (net.input_bits, net.classifier_bits)
            ]
            if pairs:
                within = upper([entry["lost"] for entry, _ in pairs]) <= LIMIT
                name = f"{scheme}, {race['sizes'][size]} units" + (" *" if within else "")
                body.append(_line(name, pairs, rival))
    lines += table(HEAD, body)
    lines += ["\\* within half a point on validation with a standard error to spare.", ""]
    entries = [
        (
            row["contestant"],
            str(row["seed"]),
            _widths(row["best"]),
            f"{row['best'][COST]:,.0f}",
            str(row["best"].get("epochs", race["epochs"])),
            str(row["trainings"]),
        )
        for row in rows
    ]
    lines += ["Entries (units: genes, bits of input and classifier):", ""]
    return lines + table(ENTRY_HEAD, entries)
