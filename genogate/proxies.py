"""What ``genogate proxy`` does: search, score, judge and show training-free proxies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from .commands.tables import console, new_table, print_pairs
from .commands.terminal import QUIET, switched
from .model.aliases import Say
from .model.errors import InputError, shown
from .model.files import write_json
from .network import source_of, task_of

if TYPE_CHECKING:
    from .search.proxies.fitness import Bench
    from .search.proxies.proxy_search import Outcome, Progress

#: Columns of ``genogate proxy eval``: figure of a report, and heading.
FIGURES = {
    "spearman": "Spearman",
    "kendall": "Kendall",
    "spearman@20": "@20",
    "spearman@50": "@50",
    "spearman@20 by accuracy": "true @20",
    "spearman@50 by accuracy": "true @50",
    "regret": "regret",
}


def _tables(names: Sequence[str], say: Say) -> list[tuple[Any, Any]]:
    """Tables and the statistics of their networks. Raises :class:`InputError` for unknown names."""
    from .search.proxies import tables
    from .search.proxies.networks import statistics_of

    if not names:
        raise InputError(f"proxy: no table given; --table NAME, of {', '.join(tables.NAMES)}")
    if len(set(names)) != len(names):
        raise InputError("proxy: each table once")
    pairs = []
    for name in names:
        if name not in tables.NAMES:
            raise InputError(f"table {shown(name)}: {', '.join(tables.NAMES)} are known")
        table = tables.load(name)
        say(f"Statistics of {name}")
        pairs.append((table, statistics_of(name, say=say)))
    return pairs


def run_search(
    options: dict[str, Any],
    out: str | None,
    resume: bool,
    say: Say,
    tell: Callable[[Progress], None],
) -> tuple[list[Outcome], list[Bench], Path]:
    """Search on the tables; what was found, the rows held out, and where it is written."""
    from .commands.terminal import tell_if_new
    from .search.proxies.evolution import Config
    from .search.proxies.fitness import Bench, Objective, half
    from .search.proxies.proxy_search import search
    from .search.proxies.screening import CHECKS

    config = Config(
        structure=options["structure"],
        method=options["method"],
        population=options["population"],
        evaluations=options["evaluations"],
        diversity=options["diversity"],
        prioritise=options["prioritise"],
        screening=CHECKS if options["screening"] else (),
        objective=Objective(
            by=options["by"],
            equal_sum=options["equal_sum"],
            equal_size=options["equal_size"],
            worst=options["worst"],
        ),
    )
    if options["seeds"] < 1 or options["seed"] < 0:
        raise InputError("seeds: one or more, from 0 up")
    pairs = _tables(options["table"], say)
    benches, held = [], []
    for table, statistics in pairs:
        rows, rest = half(len(table.genomes))
        if options["all_rows"]:
            benches.append(Bench.of(table, statistics))
        else:
            benches.append(Bench.of(table, statistics, rows=rows))
            held.append(Bench.of(table, statistics, rows=rest))
    seeds = range(options["seed"], options["seed"] + options["seeds"])
    folder = (
        Path(out)
        if out
        else Path("runs") / "-".join(["proxy", options["method"], *options["table"]])
    )
    begun = tell_if_new(folder, resume)
    say("Searching")
    outcomes = search(
        benches,
        config,
        tuple(seeds),
        folder=folder,
        resume=resume,
        workers=options["workers"],
        tell=tell,
        begun=begun,
    )
    return outcomes, held, folder


def run_score(
    proxy: str, genomes: Sequence[str], checkpoint: str | None, task: str | None, say: Say
) -> list[tuple[str, float]]:
    """Genomes of a GRU and their scores, best first, equal ones in the order given."""
    import numpy as np

    from .model import zoo
    from .model.genome import parse_genome
    from .search.proxies.gru.statistics import of_gru
    from .search.proxies.use import Ranker, resolve

    resolved = resolve(proxy)
    floating = zoo.load(source_of(checkpoint, task))
    floating.need_plain("a proxy")
    parsed = [parse_genome(text, floating.layers) for text in genomes]
    data = task_of(floating, task)
    say("Statistics of the network")
    ranker = Ranker(resolved, of_gru(floating, data, say=say))
    scores = ranker(np.array([genome.genes for genome in parsed], np.uint8))
    order = np.argsort(-scores, kind="stable")
    return [(str(genomes[k]), float(scores[k])) for k in order]


def run_eval(
    proxy: str, names: Sequence[str], subset: str, out: str | None, passes: bool, say: Say
) -> dict[str, Any]:
    """All figures of a proxy beside the handcrafted ones, on each of the tables.

    passes : also of ``output-kl``, which runs the network once for each configuration
    """
    from .search.proxies.fitness import SUBSETS, Bench
    from .search.proxies.formula import Proxy
    from .search.proxies.networks import output_kl
    from .search.proxies.use import Ranker, baselines, resolve, searched_on

    if subset not in SUBSETS:
        raise InputError(f"subset {shown(subset)}: {', '.join(SUBSETS)} are known")
    resolved = resolve(proxy)
    document: dict[str, Any] = {"proxy": str(resolved), "subset": subset, "tables": {}}
    if isinstance(resolved, Proxy):
        document["formula"] = resolved.formula
    if tables := searched_on(proxy):
        document["searched_on"] = list(tables)
    for table, statistics in _tables(names, say):
        bench = Bench.of(table, statistics)
        bench.part(subset)
        say(f"Scores on {table.name}")
        proxies = (
            []
            if resolved == "output-kl"
            else [("proxy", Ranker(resolved, statistics)(table.genomes))]
        )
        proxies += baselines(statistics, table.genomes).items()
        if passes or resolved == "output-kl":
            say(f"A network pass for each of {len(table.genomes)} genomes of {table.name}")
            proxies.append(("output-kl", output_kl(table.name, table.genomes)))
        document["tables"][table.name] = {
            name: bench.judge(bench.rounded(proxy_scores), subset) for name, proxy_scores in proxies
        }
    if out:
        # JSON has no NaN.
        write_json(out, without_nan(document))
    return document


def without_nan(value: Any) -> Any:
    """`value` with None for NaN and infinity, which JSON has not."""
    if isinstance(value, dict):
        return {name: without_nan(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_show(proxy: str | None, picture: str | None) -> dict[str, str]:
    """What a proxy is, by heading; without one, the primitives and the shipped proxies."""
    from .search.proxies import graph, handcrafted
    from .search.proxies.formula import Proxy
    from .search.proxies.primitives import documentation
    from .search.proxies.use import found, resolve

    if proxy is None:
        if picture:
            raise InputError("proxy show: --graph needs a proxy to draw")
        shipped = {name: Proxy.parse(text).formula for name, text in found().items()}
        return {"primitives": documentation(), **shipped}
    resolved = resolve(proxy)
    if not isinstance(resolved, Proxy):
        if picture:
            raise InputError(f"proxy {resolved}: handcrafted, no formula to draw")
        function = handcrafted.TABLES.get(
            resolved, getattr(handcrafted, resolved.replace("-", "_"), None)
        )
        return {"handcrafted": " ".join((function.__doc__ or "").split())}
    if picture:
        graph.write(resolved, picture)
    return {
        "formula": resolved.formula,
        "text": str(resolved),
        "structure": resolved.structure,
        "normal form": str(resolved.normal()),
        "inputs": ", ".join(resolved.leaves),
    } | ({"written": picture} if picture else {})


@contextmanager
def progress_of_proxies() -> Iterator[tuple[Say, Callable[[Any], None]]]:
    """What ``genogate proxy`` says on the way, on stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def line(progress: Any) -> str:
        speed = progress.done / progress.seconds if progress.seconds else 0.0
        best = "" if progress.best is None else f"  best {progress.best.fitness:.4f}"
        left = (progress.total - progress.done) / speed if speed else 0.0
        return (
            f"seed {progress.seed}  {min(progress.done, progress.total)}/{progress.total} "
            f"proxies{best}  {speed:.0f}/s  {max(left, 0):.0f} s left"
        )

    if switched("quiet"):
        yield (lambda text: None), (lambda progress: None)
        return
    if console.is_terminal:
        with console.status("") as status:
            yield (lambda text: status.update(f"{text} ...")), lambda p: status.update(line(p))
        return
    said = time.monotonic()

    def now(text: str) -> None:
        nonlocal said
        if time.monotonic() - said > QUIET:
            said = time.monotonic()
            console.print(text)

    yield (lambda text: now(f"  {text} ...")), lambda progress: now(line(progress))


def print_search(outcomes: Sequence[Outcome], held: Sequence[Bench], folder: Path) -> None:
    """The best formula of each seed, and what it is worth on the rows that it has not seen."""
    terminal = console()
    for outcome in outcomes:
        if not outcome.best:
            terminal.print(f"seed {outcome.seed}: nothing that ranks was found")
            continue
        counts = outcome.counts
        proxy, fitness = outcome.short or (outcome.best[0].proxy, outcome.best[0].fitness)
        print_pairs(
            terminal,
            [
                (f"seed {outcome.seed}", f"fitness {fitness:.4f}"),
                ("formula", proxy.formula),
                ("text", str(proxy)),
                (
                    "candidates",
                    f"{counts['drawn']:,} drawn, {counts['scored']:,} scored, "
                    f"{counts['valid']:,} valid",
                ),
            ],
        )
        for bench in held:
            figures = bench.report(proxy)
            terminal.print(
                Text(f"  {bench.name}, held out: ")
                + Text(
                    "  ".join(f"{kind} {part['spearman']:.3f}" for kind, part in figures.items())
                )
            )
        terminal.print()
    print_pairs(terminal, [("written", f"{folder}/found.json")])


def print_eval(document: dict[str, Any]) -> None:
    """The figures, the best by Spearman first."""
    terminal, searched = console(), document.get("searched_on", ())
    pairs = [("proxy", document.get("formula", document["proxy"]))]
    if searched:
        pairs.append(("searched on", f"one half of each of {', '.join(searched)}"))
    print_pairs(terminal, pairs)
    for name, rows in document["tables"].items():
        terminal.print()
        table = new_table(f"{name}, {document['subset']}", *FIGURES.values())
        order = sorted(rows, key=lambda row: (-_number(rows[row]["spearman"]), row))
        for row in order:
            cells = [_cell(rows[row][figure], 2 if figure == "regret" else 3) for figure in FIGURES]
            table.add_row(row, *cells, style="bold" if row == "proxy" else None)
        terminal.print(table)
        if name in searched:
            terminal.print(f"Half of {name} was seen by the search that found the proxy.")


def _number(value: float) -> float:
    return value if math.isfinite(value) else -2.0


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
