"""A search within a budget: from the options of a command to its document and folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .genome_search import parts
from .model.aliases import Say
from .model.errors import InputError
from .network import source_of_search

if TYPE_CHECKING:
    from .model.knobs import Knobs
    from .search.ladder.plan import Plan

#: Options that mean nothing with a budget, which decides what they would.
DECIDED = (
    "method",
    "pop_size",
    "generations",
    "exploit",
    "initial",
    "seed_patterns",
    "prescreen",
    "prescreen_factor",
    "proxy_only",
    "beacon",
    "beacons",
    "beacon_distance",
    "estimate",
    "max_weights",
    "max_energy",
    "memories",
    "clock",
)
#: Knobs that are genes of such a search.
GENES = ("input_bits", "classifier_bits")


def check_part(target: str, remedy: str) -> None:
    """Raises :class:`InputError` where `target` is no part whose figures can be costs; `remedy` is
    for the one that is none."""
    from .synth.targets.devices import check_target
    from .synth.targets.prices import check_prices

    check_target(target)
    if target == "generic":
        raise InputError(f"target generic: it is no part; {remedy}")
    check_prices(target)


def _target(options: Mapping[str, Any], given: Collection[str]) -> str:
    """The part whose figures are costs; sky130 where none is given."""
    from .search.ladder.price import TARGET

    target = str(options["target"]) if "target" in given else TARGET
    check_part(target, "give sky130 or an FPGA, or leave out --budget")
    return target


def _cost(objectives: str, target: str) -> str:
    """The cost that objectives name, to be made small."""
    from .search.ladder.price import costs_of

    costs = costs_of(target)
    named = [name for name in parts(objectives) if name != "accuracy"]
    if len(named) != 1 or named[0] not in costs:
        raise InputError(
            f"objectives: {objectives[:60]!r}: within a budget accuracy and one cost of "
            f"{', '.join(costs)} are searched; leave it out, or leave out --budget"
        )
    return named[0]


def _limits(options: Mapping[str, Any], target: str) -> dict[str, float]:
    """The limits that were given, by cost."""
    from .search.ladder.price import COSTS, TARGET
    from .synth.targets.prices import FPGA_FIGURES

    if options["fit"] and target == TARGET:
        raise InputError("--fit: sky130 has no limited resources; --max-um2 limits its area")
    names = (*COSTS, *FPGA_FIGURES)
    return {n: options[f"max_{n}"] for n in names if options[f"max_{n}"] is not None}


def _shares(options: Mapping[str, Any]) -> tuple[str, ...]:
    """What hardware may share, where that is a gene."""
    from .model.knobs import SHARES

    genes = parts(options["knob_genes"].replace("-", "_"))
    if any(gene != "share" for gene in genes):
        raise InputError(
            f"knob-genes {', '.join(genes)[:60]}: within a budget share may be a gene, and bits of "
            "input and classifier always are; leave others out, or leave out --budget"
        )
    return SHARES if genes else ()


def folds_of(folds: int | None) -> int:
    """Folds of a plan, 0 where none are asked for. Raises :class:`InputError`."""
    from .model.data.folds import check_folds

    if folds is None:
        return 0
    check_folds(folds)
    return folds


def spare_of(spare: float | None) -> float:
    """Standard errors of a plan, :data:`.plan.SPARE` where none are asked for. Raises
    :class:`InputError`."""
    from .search.ladder.plan import SPARE, check_spare

    if spare is None:
        return SPARE
    check_spare(spare)
    return spare


def plan_of(options: dict[str, Any], given: Iterable[str], knobs: Knobs) -> Plan:
    """The plan that options stand for, `given` those that the user gave. Raises
    :class:`InputError`."""
    from .model import zoo
    from .model.genome import parse_genome
    from .search.budget import seconds_of
    from .search.ladder.plan import Plan, terms_of

    given = set(given)
    for name in (*DECIDED, *GENES):
        if name in given:
            option = {"pop_size": "pop"}.get(name, name).replace("_", "-")
            why = "it is a gene" if name in GENES else "no part of a search within a budget"
            raise InputError(f"{option}: {why}, leave it out, or leave out --budget")
    target = _target(options, given)
    source = source_of_search(options)
    floating = zoo.load(source)
    try:
        drop = float(options["max_drop"]) if "max_drop" in given else 0.5
    except ValueError:
        raise InputError(f"max-drop: {options['max_drop'][:40]!r} is not a number") from None
    # Yosys would have to choose among units for every genome.
    activation = knobs.activation if "activation" in given else "table"
    cost = _cost(options["objectives"], target) if "objectives" in given else None
    return Plan(
        (source, *options["also"]),
        **terms_of(target, _limits(options, target), cost),
        drop=drop,
        budget=seconds_of(options["budget"]),
        shares=_shares(options),
        seed=options["seed"],
        folds=folds_of(options["folds"]),
        spare=spare_of(options["spare"]),
        confirm=bool(options["confirm"]),
        fewer=not options["keep_units"],
        starts=tuple(parse_genome(text, *floating.counts) for text in options["start"]),
        knobs=replace(knobs, activation=activation),
    )


def run_ladder(
    options: dict[str, Any],
    given: Iterable[str],
    knobs: Knobs,
    out: str | None,
    resume: bool,
    say: Say,
) -> tuple[dict[str, Any], Path]:
    """Search until the budget is spent; the document (``ladder.json``) and the folder.

    With the option `test` the entries ``int8`` and ``best`` have their accuracy on the test part.
    """
    from .commands.terminal import tell_if_new
    from .model.checkpoints.descent import import_torch
    from .model.files import write_json
    from .model.qat.structure import import_kernels
    from .search.experiment.jobs import Look, look_at
    from .search.ladder.ladder import search
    from .search.ladder.page import write_pages

    plan = plan_of(options, given, knobs)
    import_torch()
    import_kernels()
    label = Path(plan.checkpoints[0]).stem
    folder = Path(out or Path("runs") / f"{label}-budget-{plan.seed}{knobs.suffix}")
    document = search(
        folder,
        plan,
        resume=resume,
        workers=options["workers"],
        backend=options["backend"],
        scheduler=options["scheduler"],
        say=say,
        begun=tell_if_new(folder, resume),
    )
    if options["test"]:
        for entry in filter(None, (document["int8"], document["best"])):
            entry_knobs = replace(plan.knobs, **{name: entry[name] for name in GENES})
            look = Look(str(folder / entry["network"]), None, entry_knobs, ("test",))
            entry["test"] = look_at(look)["test"]
        write_json(folder / "ladder.json", document)
        write_pages(folder, document)
    return document, folder
