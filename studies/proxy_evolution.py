"""The study of the evolution of proxies: rivals, ablations, and what winners are worth elsewhere.

Searches are kept as they go on (:func:`genogate.search.proxies.proxy_search.search`): a study that
was stopped goes on where it was.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from genogate.model.errors import InputError
from genogate.search.proxies import handcrafted, tables
from genogate.search.proxies.evolution import Config, Evolution
from genogate.search.proxies.fitness import SUBSETS, Bench, half, spearman
from genogate.search.proxies.formula import Proxy, scores
from genogate.search.proxies.networks import output_kl, statistics_of
from genogate.search.proxies.proxy_search import Outcome, curve, search, validity

from .proxies import PUBLISHED
from .search import spread
from .search import table as lines_of

Array = np.ndarray
Say = Callable[[str], None]
FOLDER = Path("build/studies")
#: Tables, one half of each, that proxies are searched on.
SEARCHED = ("digits-row", "kws4", "resnet-digits")
#: What is compared: changes of :class:`~genogate.search.proxies.evolution.Config`. EMQ selects for
#: diversity, so every variant but one does; the command's default does not, since that one is best.
_EMQ: dict[str, Any] = {"diversity": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "evolution": _EMQ,
    "random search": _EMQ | {"method": "random"},
    "no prioritisation": _EMQ | {"prioritise": False},
    "no screening": _EMQ | {"screening": ()},
    "no diversity selection": {"diversity": False},
    "one place for many spellings (as EMQ)": _EMQ | {"crowding": 1.0},
    "evolution, sequential": _EMQ | {"structure": "sequential"},
    "evolution, DAG": _EMQ | {"structure": "dag"},
    "random search, DAG": _EMQ | {"structure": "dag", "method": "random"},
}
#: Variants whose winners are judged on what no search has seen.
JUDGED = ("evolution", "random search", "evolution, DAG", "random search, DAG")
#: Beside these, and the best of all on that table.
BESIDE = ("bit-sum", "hawq-v2", "mse")


@dataclass(frozen=True)
class Size:
    """How much the study does.

    passes : network passes that are timed for each table
    """

    seeds: int = 5
    evaluations: int = 1000
    searched: tuple[str, ...] = SEARCHED
    others: tuple[str, ...] = tuple(name for name in tables.NAMES if name not in SEARCHED)
    passes: int = 20


FULL = Size()
QUICK = Size(seeds=2, evaluations=30, searched=("digits-row",), others=(), passes=2)


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text).strip("-")


def _figures(bench: Bench, found: Array) -> dict[str, float | None]:
    """Spearman by subset; None where a ranking of equal values has none."""
    found, values = bench.rounded(found), {}
    for kind in SUBSETS:
        rows = bench.parts[kind]
        if len(rows) >= 3:
            value = float(spearman(found[rows], bench.accuracy[rows]))
            values[kind] = round(value, 4) if np.isfinite(value) else None
    return values


def _of_proxy(bench: Bench, proxy: Proxy) -> dict[str, float | None]:
    try:
        return _figures(bench, scores(proxy.table(bench.inputs), bench.columns))
    except InputError:  # not finite on a network that the search has not seen: it ranks nothing
        return {}


def measure(say: Say, size: Size = FULL, folder: Path = FOLDER) -> dict[str, Any]:
    """Fitness over evaluations of every variant and seed, how many candidates are valid, how many
    are scored in a second, and what the winners are worth on rows, tasks and networks not seen."""
    folder = Path(folder) / "proxies"
    benches, held = [], {}
    networks = {}
    for name in (*size.searched, *size.others):
        say(f"{name}: statistics")
        table, networks[name] = tables.load(name), statistics_of(name, say=say)
        if name in size.searched:
            rows, rest = half(len(table.genomes))
            benches.append(Bench.of(table, networks[name], rows=rows))
            held[name] = Bench.of(table, networks[name], rows=rest)
        else:
            held[name] = Bench.of(table, networks[name])
    at = [max(1, round(size.evaluations * share)) for share in (0.1, 0.25, 0.5, 1.0)]
    # Another set of tables is another study.
    prints = json.dumps([bench.fingerprint for bench in benches])
    folder /= hashlib.sha256(prints.encode()).hexdigest()[:8]
    runs: list[dict[str, Any]] = []
    for number, (name, changes) in enumerate(VARIANTS.items()):
        config = replace(Config(evaluations=size.evaluations), **changes)

        def tell(progress: Any, head: str = f"{number + 1} of {len(VARIANTS)}: {name}") -> None:
            say(f"{head}, {progress.done} of {progress.total} proxies")

        outcomes = search(
            benches, config, range(size.seeds), folder=folder / _slug(name), resume=True, tell=tell
        )
        for outcome in outcomes:
            runs.append(_row(name, outcome, at, held if name in JUDGED else {}))
    baselines = {
        name: {
            proxy: _figures(
                bench,
                handcrafted.scores(
                    proxy, networks[name], np.array(networks[name].widths)[bench.columns]
                ),
            )
            for proxy in (*handcrafted.TABLES, "bops")
        }
        for name, bench in held.items()
    }
    return {
        "size": asdict(size),
        "at": at,
        "runs": runs,
        "baselines": baselines,
        "speed": _speed(benches, size, say),
        "versions": tables.versions(),
        "rows": {bench.name: len(bench.accuracy) for bench in benches},
    }


def _row(
    name: str, outcome: Outcome, at: Sequence[int], held: Mapping[str, Bench]
) -> dict[str, Any]:
    values = curve(outcome, np.array(at))
    winner = outcome.short[0] if outcome.short else None
    return {
        "variant": name,
        "seed": outcome.seed,
        "counts": outcome.counts,
        "fitness": [round(float(v), 4) if np.isfinite(v) else None for v in values],
        "validity": round(validity(outcome.counts), 4),
        "proxy": str(winner) if winner else None,
        "formula": winner.formula if winner else None,
        "held": {k: _of_proxy(bench, winner) for k, bench in held.items()} if winner else {},
    }


def _speed(benches: Sequence[Bench], size: Size, say: Say) -> dict[str, Any]:
    """CPU seconds of a candidate, drawing and screening included, and of passing all the
    configurations through the network, as a proxy that looks at each of them must."""
    evolution = Evolution(benches, Config(evaluations=min(200, size.evaluations)), 99)
    begin = time.process_time()
    evolution.run()
    candidate = (time.process_time() - begin) / max(1, evolution.evaluations)
    passes = 0.0
    for bench in benches:
        say(f"{bench.name}: network passes")
        genomes = tables.load(bench.name).genomes
        output_kl(bench.name, genomes[:1])  # calibrates
        begin = time.process_time()
        output_kl(bench.name, genomes[: size.passes])
        passes += (time.process_time() - begin) / size.passes * len(bench.accuracy)
    return {
        "candidate": candidate,
        "passes": passes,
        "configurations": sum(len(bench.accuracy) for bench in benches),
    }


def _by_variant(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["variant"], []).append(run)
    return found


def render(data: dict[str, Any]) -> list[str]:
    """The section of docs/results.md."""
    size, by = data["size"], _by_variant(data["runs"])
    lines = [
        "## Evolution of proxies",
        "",
        "Proxies are formulas over the network's tensors; here evolution searches for them. It "
        f"sees one half of each of the tables {', '.join(size['searched'])}, with seeds 0 to "
        f"{size['seeds'] - 1} and {size['evaluations']:,} scored candidates each. Fitness is the "
        "mean of two figures: Spearman's correlation among genomes of equal sum of bits, and its "
        "mean over the 20 % of random genomes that score best, the best 50 %, and all. A quarter "
        "of the fitness is that of the worst table. Formulas are trees of two branches, or, "
        "where the row says so, directed graphs (DAG). Valid: the share of drawn candidates "
        "whose ranking is new (without screening: that have a ranking). EMQ reports 26.4 % valid "
        "candidates without and 36.45 % with its prioritisation for branched formulas, and 5.4 % "
        "for DAGs. `evolution` and all rows that do not say otherwise select for diversity, as EMQ "
        "does; the default of `genogate proxy search` does not: it is the row `no diversity "
        "selection`. Evolution found the formula of HAWQ-V2 again: error times curvature "
        "([proxies](proxies.md)).",
        "",
    ]
    rows = []
    for name, several in by.items():
        shares = [[run["fitness"][k] or 0.0 for run in several] for k in range(len(data["at"]))]
        drawn = mean(run["counts"]["drawn"] for run in several)
        rows.append(
            (
                name,
                *(spread(values, 3) for values in shares),
                f"{drawn:,.0f}",
                spread([100 * run["validity"] for run in several], 1),
            )
        )
    lines += lines_of(
        ["variant", *(f"fitness at {n}" for n in data["at"]), "drawn", "valid, %"], rows
    )
    lines += [_verdict(by)]
    for kind, title in zip(
        SUBSETS, ("random genomes", "equal sum of bits", "equal size"), strict=True
    ):
        lines += ["", f"Winners on what their searches have not seen, Spearman, {title}:", ""]
        lines += _held(data, by, kind)
    speed = data["speed"]
    lines += [
        f"A candidate takes {1e3 * speed['candidate']:.1f} ms CPU, drawing and screening included: "
        f"{1 / speed['candidate']:.0f} a second. Passing the {speed['configurations']} "
        "configurations through their networks, as a proxy that looks at each of them must, takes "
        f"{speed['passes']:.0f} s: {speed['passes'] / speed['candidate']:,.0f} times as long.",
        PUBLISHED,
        "",
    ]
    return lines


def _verdict(by: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    last = {name: [run["fitness"][-1] or 0.0 for run in several] for name, several in by.items()}
    parts = []
    for one, other in (("evolution", "random search"), ("evolution, DAG", "random search, DAG")):
        if one in last and other in last:
            wins = sum(a > b for a, b in zip(last[one], last[other], strict=True))
            parts.append(
                f"{one} beats {other} in {wins} of {len(last[one])} seeds "
                f"({mean(last[one]):.3f} and {mean(last[other]):.3f})"
            )
    return f"At equal evaluations {'; '.join(parts)}." if parts else ""


def _held(data: dict[str, Any], by: Mapping[str, Sequence[dict[str, Any]]], kind: str) -> list[str]:
    searched, names = data["size"]["searched"], list(data["baselines"])

    def label(name: str) -> str:
        return f"{name}, other half" if name in searched else f"{name} (new)"

    rows, behind = [], []
    for name in names:
        of = data["baselines"][name]
        best = max(of, key=lambda proxy: of[proxy].get(kind) or 0.0)
        ours = {
            v: [run["held"].get(name, {}).get(kind) or 0.0 for run in by.get(v, ())]
            for v in JUDGED
            if by.get(v)
        }
        rows.append(
            (
                label(name),
                *(spread(values, 2) for values in ours.values()),
                *(f"{of[proxy].get(kind) or 0.0:.2f}" for proxy in BESIDE),
                f"{of[best].get(kind) or 0.0:.2f} ({best})",
            )
        )
        top = max(mean(values) for values in ours.values())
        behind += [
            f"{proxy} on {name}"
            for proxy in ("bit-sum", "hawq-v2")
            if (of[proxy].get(kind) or 0.0) >= top
        ]
    shown = [v for v in JUDGED if by.get(v)]
    lines = lines_of(["table", *shown, *BESIDE, "best handcrafted"], rows)
    text = ", ".join(behind) if behind else "none"
    return [*lines, f"Of the sum of bits and HAWQ-V2 no variant's mean beats: {text}.", ""]
