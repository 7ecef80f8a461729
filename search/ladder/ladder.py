"""A search within a budget, in a folder: begun, killed, gone on with, and ended with a genome file.

What was evaluated is read from the folder's store with the CPU seconds that it took, so a search
that was stopped, however, spends the same budget on the same networks and ends with the same one.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...model import zoo
from ...model.checkpoints.provenance import caution_of
from ...model.data.folds import cut_fold
from ...model.errors import InputError
from ...model.files import check_place, write_json
from ...model.genome import MAX_BITS, MIN_BITS, Genome
from ..genomes.evaluate import Setting, check_task, load
from ..genomes.folder import alone, parsed
from ..genomes.remedies import AGAIN, with_remedies
from ..pool.backends import Pool
from .climb import Climb
from .confirm import Confirmation
from .folds import check_layers
from .page import write_pages
from .plan import Plan, as_record, check_limits, check_validation, epochs_within
from .rungs import LEAST_BITS, Net, Result, Rungs

Say = Callable[[str], None]
VERSION = 2
#: A training is no evaluation: it may take a day.
LONGEST = 24 * 3600.0
#: The genome file of the network that a search ends with.
BEST = "best"


def begin(folder: Path, plan: Plan, resume: bool) -> None:
    """Write what the search is. Raises :class:`InputError` where the folder holds another one, or
    the same and `resume` is not set."""
    path, ended = folder / "config.json", (folder / "ladder.json").exists()
    document = {"version": VERSION, "kind": "ladder", **as_record(plan)}
    before = parsed(path) if path.exists() else {}
    if not isinstance(before, dict):
        raise InputError(f"{path}: not the file of a search", AGAIN)
    if before and before.get("kind") != "ladder":
        raise InputError(f"{folder}: holds something else; use another folder")
    if ended and not before:
        raise InputError(f"{folder}: holds a search without its config.json; use another folder")
    # A search that was refused, or ended before INT8 was trained, is none.
    if ended:
        before.setdefault("starts", [])
        names = dict.fromkeys([*document, *before])
        differing = [n for n in names if before.get(n) != document.get(n)]
        if differing:
            same = "use the same options"
            if differing == ["units"]:
                # A search of before units were a gene has none.
                same = "leave out --keep-units" if "units" in before else "add --keep-units"
            raise InputError(
                f"{folder}: its search differs in {', '.join(differing)}; {same}, or another folder"
            )
        if not resume:
            raise InputError(
                f"{folder}: holds a search already; --resume to go on with it, or another folder"
            )
    # Before the budget is spent, not after.
    for name in ("ladder.json", BEST, "page.md", "page.html"):
        check_place(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, document)


def check(plan: Plan) -> None:
    """Raises :class:`InputError` for networks that cannot be compared, or trained for folds."""
    if plan.folds:
        cut_fold(load(Setting(plan.checkpoints[0], plan.knobs, False)).task, 1, plan.folds)
        for name in plan.checkpoints:
            check_layers(name)
    first = load(Setting(plan.checkpoints[0], plan.knobs, False))
    names = {first.checkpoint_hash: plan.checkpoints[0]}
    for name in plan.checkpoints[1:]:
        check_task(name, first.task.name)
        other = load(Setting(name, plan.knobs, False))
        if (same := names.setdefault(other.checkpoint_hash, name)) != name:
            raise InputError(f"checkpoint {name}: the same network as {same}; leave it out")
        if (other.task.split_hash, other.counts) != (first.task.split_hash, first.counts):
            raise InputError(
                f"checkpoint {name}: of another task, split or number of layers than "
                f"{plan.checkpoints[0]}"
            )


def search(
    folder: str | Path,
    plan: Plan,
    *,
    resume: bool = False,
    workers: int = 1,
    backend: str | None = None,
    scheduler: str | None = None,
    inherit: bool = True,
    pages: bool = True,
    finish: bool = True,
    say: Say = lambda text: None,
    begun: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Search until the budget is spent; the document of ``ladder.json``.

    inherit : whether networks begin with trained weights of others (:class:`.climb.Climb`)
    pages : whether ``page.md`` and ``page.html`` are written
    finish : whether, with folds, INT8 and the best are trained on the whole training part too
    begun : called once the plan is known to be possible, before any work

    Raises :class:`InputError` for a budget too small for a comparison, limits that no network
    keeps, a validation part that cannot tell the points that may be lost, and a folder with another
    search.
    """
    folder = Path(folder)
    check(plan)
    telling = check_validation(plan)
    begin(folder, plan, resume)
    where = backend or ("processes" if workers > 1 else "serial")
    with (
        with_remedies(folder),
        alone(folder),
        Pool(where, workers, scheduler, timeout=LONGEST) as pool,
    ):
        rungs = Rungs(folder, plan, pool, say)
        sizes = range(len(plan.checkpoints))
        narrow = Net(0, Genome.uniform(MIN_BITS, *rungs.counts), LEAST_BITS, LEAST_BITS)
        nets = [replace(narrow, size=k, cut=rungs.most_cut(k)) for k in sizes]
        smallest = min(nets, key=lambda net: sum(rungs.units(net)))
        check_limits(plan, rungs.priced([smallest])[0])
        begun()
        int8 = Net(0, Genome.uniform(MAX_BITS, *rungs.counts))
        # Those of folds are trained here, before anything that is timed.
        _ = rungs.sources
        float_seconds = rungs.spent if plan.folds else 0.0
        if plan.pace:
            each = plan.pace[0]
        else:
            # The first epoch of a process compiles; the second training is what an epoch takes.
            rungs.trained([(int8, None)], "first look", 1)
            before = rungs.spent
            rungs.trained([(int8, None)], "first look", 2)
            each = max(1e-3, (rungs.spent - before) / 2)
        name = load(Setting(plan.checkpoints[0], plan.knobs, False)).task.name
        full, short = epochs_within(plan, each, name, float_seconds, rungs.updates)
        climb = Climb(rungs, short, full, inherit)
        confirmation = Confirmation(climb) if plan.confirm else None
        climb.kept = confirmation.seconds if confirmation else None
        for stage in climb.run():
            write_json(folder / "ladder.json", _document(climb, telling, stage))
        for stage in confirmation.run() if confirmation else ():
            write_json(folder / "ladder.json", _document(climb, telling, stage))
        document = _document(climb, telling, "done", confirmation)
        best = confirmation.best() if confirmation else climb.best()
        if plan.folds and finish:
            document |= _finished(climb, best, document)
        write_json(folder / "ladder.json", document)
        if best is not None:
            knobs = best.net.knobs(plan.knobs)
            if plan.shares:
                knobs = replace(knobs, share=rungs.priced([best.net])[0]["share"])
            path = os.path.relpath(folder / document["best"]["network"], folder)
            best.net.genome.save(folder / BEST, checkpoint=path, knobs=knobs.changes)
        if pages:
            write_pages(folder, document)
        rungs.close()
    return document


def _finished(climb: Climb, best: Result | None, document: dict[str, Any]) -> dict[str, Any]:
    """INT8 and the best of a search with folds, trained on the whole training part."""
    entries, seconds = dict[str, Any](), dict[str, float]()
    for name, result in (("int8", climb.finished[0]), ("best", best)):
        if result is not None:
            path, took = climb.rungs.once_more(result)
            network = os.path.relpath(path, climb.rungs.folder)
            entries[name] = {**document[name], "network": network}
            # The best may be INT8, or have begun with it.
            seconds |= took
    return {**entries, "last_seconds": round(sum(seconds.values()), 1)}


def _entry(
    climb: Climb, result: Result, confirmation: Confirmation | None = None
) -> dict[str, Any]:
    net, again = result.net, confirmation.lost(result) if confirmation else None
    told = {"lost": round(again[0], 4), "error": round(again[1], 4)} if again else {}
    return {
        "hidden": climb.rungs.units(net)[-1],
        **({"cut_from": climb.rungs.units(replace(net, cut=0))[-1]} if net.cut else {}),
        "genes": list(net.genome.genes),
        "input_bits": net.input_bits,
        "classifier_bits": net.classifier_bits,
        "judged": result.judged,
        "lost": round(100 * (climb.base - result.judged), 4),
        "error": round(climb.error(result), 4),
        **({"again": told} if told else {}),
        "epochs": result.epochs,
        "network": os.path.relpath(result.path, climb.rungs.folder),
        **(
            {"folds": [os.path.relpath(path, climb.rungs.folder) for path in result.paths]}
            if result.others
            else {}
        ),
        **climb.rungs.priced([net])[0],
    }


def _document(
    climb: Climb, telling: str, stage: str, confirmation: Confirmation | None = None
) -> dict[str, Any]:
    """confirmation : of a search that has ended"""
    plan, best = climb.plan, confirmation.best() if confirmation else climb.best()
    task = load(Setting(plan.checkpoints[0], plan.knobs, False)).task
    front: list[Result] = []
    allowed = (result for result in climb.finished if climb.allowed(result.net))
    for result in sorted(allowed, key=lambda r: (climb.cost(r.net), -r.judged)):
        if not front or result.judged > front[-1].judged:
            front.append(result)
    return {
        "version": VERSION,
        "task": task.name,
        "measure": task.measure,
        "stage": stage,
        "done": stage == "done",
        "cost": plan.cost,
        "target": plan.target,
        "drop": plan.drop,
        "spare": plan.spare,
        "budget_seconds": plan.budget,
        "spent_seconds": round(climb.rungs.spent, 1),
        "epochs": {"full": climb.full, "short": climb.short},
        "trainings": dict(climb.count),
        "validation": telling,
        "caution": caution_of({name: zoo.load(name) for name in plan.checkpoints}),
        "int8": _entry(climb, climb.finished[0], confirmation),
        "best": None if best is None else _entry(climb, best, confirmation),
        "front": [_entry(climb, result, confirmation) for result in front],
        "finished": [_entry(climb, result, confirmation) for result in climb.finished],
    }
