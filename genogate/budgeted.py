"""``genogate experiment --budget 60m``: from data to Verilog within a budget, one page at the end.

Float networks of several sizes, a search that trains (:mod:`genogate.search.ladder`), one look at
the test part, and the files of what it ends with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ladder import GENES, check_part, folds_of, spare_of
from .model.aliases import Say
from .model.errors import InputError

if TYPE_CHECKING:
    from .model.knobs import Knobs

#: Share of the budget that a float network may take, and share of the units of further sizes.
FLOAT_SHARE, SIZES = 0.2, (0.75, 0.5)
#: Options of the experiment that a budget decides.
DECIDED = (
    "objectives",
    "epochs",
    "any_epochs",
    "scales",
    "teacher",
    "sequences",
    "any_sequences",
    "pop_size",
    "generations",
    "rounds",
    "trained",
    "every_seed",
    "sim_sequences",
    "seed_patterns",
)


def _check(options: dict[str, Any], record: bool, target: str | None) -> None:
    if target is not None:
        check_part(target, "leave it out, or give sky130 or an FPGA")
    for name in DECIDED:
        if options[name] is not None:
            option = {"pop_size": "pop"}.get(name, name).replace("_", "-")
            raise InputError(
                f"{option}: the budget decides it; leave it out, or give --budget full"
            )
    if record:
        raise InputError("record: for --budget full; leave it out")


def _check_networks(task: str, checkpoints: str | None) -> None:
    """Raises :class:`InputError` where a network that was given is none of `task`, for a task by
    name before its data is loaded."""
    from .genome_search import named_by
    from .model import zoo
    from .network import task_of
    from .search.genomes.evaluate import check_task

    names = named_by(checkpoints, "checkpoints") or ()
    for name in names:
        check_task(name, task)
    for name in names:
        task_of(zoo.load(name), task)


@lru_cache(maxsize=16)
def _estimate(task: str, seed: int, hidden: int) -> float:
    """CPU seconds that training a float network takes here, about."""
    from .model.checkpoints.recipe import recipe_for
    from .model.data.tasks import load_task
    from .search.experiment.duration import seconds_of_update

    data = load_task(task, seed)
    recipe = recipe_for(task, {"seed": seed, "hidden": hidden}, len(data.x_train))
    updates = recipe.epochs * -(-len(data.x_train) // recipe.batch)
    return updates * seconds_of_update(data, recipe.hidden, recipe.batch)


def _check_fits(task: str, took: float, seconds: float) -> None:
    """Raises :class:`InputError` where the budget would be gone by a float network."""
    if took > 0.5 * seconds:
        raise InputError(
            f"budget: training the float network of {task} takes about {took / 60:.1f} CPU minutes "
            f"here, more than half of it: give --budget {int(took / 30) + 1}m or more, or a "
            "trained network with --checkpoints"
        )


@dataclass(frozen=True)
class Floats:
    """Float networks of an experiment.

    names : those that are there, the reference first
    ahead : CPU seconds by units of those that are trained here, or were
    left_out : units of those that the budget is too small for
    begun : whether the search has begun, with the sizes that it has
    """

    names: tuple[str, ...]
    ahead: dict[int, float]
    left_out: tuple[int, ...]
    begun: bool = False

    def announce(self, seconds: float) -> None:
        """Say which part of the budget they are expected to take."""
        import click

        from .commands.terminal import duration, switched

        if switched("quiet"):
            return
        if self.ahead:
            total = sum(self.ahead.values())
            click.echo(
                f"Float networks of {', '.join(map(str, self.ahead))} units take about "
                f"{duration(total)} of the budget of {duration(seconds)} ({total / seconds:.0%}); "
                "the search has the rest.",
                err=True,
            )
        if self.left_out:
            why = (
                "without which the search began; another folder takes them"
                if self.begun
                else "with which float networks would take more than "
                f"{2 * FLOAT_SHARE:.0%} of the budget"
            )
            sizes = ", ".join(map(str, self.left_out))
            click.echo(f"Left out: networks of {sizes} units, {why}.", err=True)


def _place(folder: Path, hidden: int, seed: int) -> Path:
    return folder / "float" / f"h{hidden}-seed{seed}.safetensors"


def _sizes_kept(folder: Path) -> list[int]:
    """Units of the float networks that were trained when the search began: one that is gone since
    is trained again, so that the search is the same."""
    from .model.files import read_json

    try:
        sizes = read_json(folder / "float" / "sizes.json")
    except (InputError, OSError):
        return []
    return [size for size in sizes if isinstance(size, int)] if isinstance(sizes, list) else []


def plan_floats(folder: Path, task: str, options: dict[str, Any], seconds: float) -> Floats:
    """The float networks of one split: those given, else the shipped one or one trained here, and
    smaller ones. A folder where the search has begun keeps those that it has."""
    from .experiment import numbers_of
    from .genome_search import parts
    from .model import zoo
    from .model.checkpoints.recipe import Recipe, recipe_for
    from .search.experiment.jobs import kept_info

    seed = options["seed"] or 0
    names = parts(options["checkpoints"]) if options["checkpoints"] else ()
    sizes = numbers_of(options["hidden"], "hidden")
    if sizes is None and names:
        sizes = ()
    shipped = task if seed == 0 else f"{task}-seed{seed}"
    if not names and shipped in zoo.names():
        names = (shipped,)
    begun = (folder / "search" / "ladder.json").exists()
    kept = _sizes_kept(folder)

    def takes(hidden: int) -> float:
        path = _place(folder, hidden, seed)
        return kept_info(path)["seconds"] if path.exists() else _estimate(task, seed, hidden)

    ahead: dict[int, float] = {}
    if names:
        have = {zoo.load(name).hidden_size() for name in names}
        largest = zoo.load(names[0]).hidden_size()
    else:
        usual = recipe_for(task, {}).hidden
        largest = usual if sizes is None else max(sizes, default=Recipe.hidden)
        have, ahead[largest] = {largest}, takes(largest)
        if not _place(folder, largest, seed).exists():
            _check_fits(task, ahead[largest], seconds)
    if sizes is None:
        sizes = tuple(h for share in SIZES if (h := round(share * largest)) > 1)
    left_out = []
    for hidden in dict.fromkeys(h for h in sizes if h not in have):
        there = _place(folder, hidden, seed).exists()
        fits = there or sum(ahead.values()) + takes(hidden) <= 2 * FLOAT_SHARE * seconds
        if (there or hidden in kept) if begun else fits:
            ahead[hidden] = takes(hidden)
        else:
            left_out.append(hidden)
    return Floats(names, ahead, tuple(left_out), begun)


def float_networks(
    folder: Path, task: str, options: dict[str, Any], seconds: float, say: Say
) -> tuple[tuple[str, ...], float]:
    """Float networks of one split, the reference first, and the CPU seconds that training them here
    took; what is expected of them is said before."""
    from .model.files import write_json
    from .search.experiment.jobs import Float, train_float

    floats, seed = plan_floats(folder, task, options, seconds), options["seed"] or 0
    floats.announce(seconds)
    if floats.ahead:
        (folder / "float").mkdir(parents=True, exist_ok=True)
        write_json(folder / "float" / "sizes.json", list(floats.ahead))
    spent, names = 0.0, list(floats.names)
    for hidden in floats.ahead:
        say(f"Training the float network of {hidden} units")
        like = names[0] if names else None
        path = str(_place(folder, hidden, seed))
        spent += train_float(Float(task, seed, hidden, None, path, like))["seconds"]
        names.append(path)
    return tuple(names), spent


def _check_folder(folder: Path) -> None:
    """Raises :class:`InputError` for a folder with an experiment of another kind, or where the
    files of the end cannot be written: before the budget is spent, not after."""
    from .model.files import check_place, read_json
    from .search.ladder.ladder import BEST

    for name in ("experiment.json", "page.md", "page.html", f"{BEST}/gru.v"):
        check_place(folder / name)
    path = folder / "experiment.json"
    try:
        before = read_json(path) if path.exists() else None
    except InputError:
        return  # It is written again at the end.
    if isinstance(before, dict) and "numbers" in before:
        raise InputError(f"{path}: that of an experiment with another --budget; use another folder")


def _test_of(place: Path, entry: Mapping[str, Any], knobs: Knobs) -> float:
    """Accuracy on the test part of a network that the search in `place` recorded."""
    from .search.experiment.jobs import Look, look_at

    own_knobs = replace(knobs, **{name: entry[name] for name in GENES})
    look = Look(str(place / entry["network"]), None, own_knobs, ("test",))
    return float(look_at(look)["test"])


def _build_best(
    place: Path, folder: Path, knobs: Knobs, target: str | None, say: Say
) -> dict[str, Any]:
    """Write the files of the best network of the search in `place`; what was measured of them."""
    from .model.files import write_json
    from .model.genome import found_with
    from .network import build_network
    from .outputs import write_gru
    from .search.ladder.ladder import BEST
    from .targets import target_document

    recorded = found_with(str(place / BEST))
    assert recorded is not None
    checkpoint, changes = recorded
    network = build_network(
        genome=str(place / BEST),
        task=None,
        checkpoint=checkpoint,
        knobs=replace(knobs, **changes),
        say=say,
    )
    report = write_gru(network, folder / BEST, say)
    figures = {"cells_measured": report["cells"]}
    if target is not None:
        figures["measured_in"] = target_document(network, target, False, say)
        write_json(folder / BEST / "target.json", figures["measured_in"])
    return figures


def run_budgeted(
    task: str,
    budget: str,
    options: dict[str, Any],
    knobs: Knobs,
    out: str | None,
    workers: int,
    record: bool,
    say: Say,
    target: str | None = None,
) -> tuple[dict[str, Any], Path]:
    """Everything within a budget; the document, and the folder with ``page.md``, ``page.html`` and,
    in ``best/``, the files of the network to build. The same call goes on after a stop.

    target : the part that it is built in; an FPGA's resources are limits, LUTs are made few, and
        what is built is measured in it
    """
    from .model.checkpoints.descent import import_torch
    from .model.data.folds import cut_fold
    from .model.data.tasks import check_name, load_task
    from .model.files import write_json
    from .model.knobs import SHARES
    from .model.qat.structure import import_kernels
    from .search.budget import seconds_of
    from .search.genomes.evaluate import SMALL, shifted
    from .search.genomes.remedies import SAME, with_remedies
    from .search.ladder.ladder import search
    from .search.ladder.page import write_pages
    from .search.ladder.plan import Plan, check_drop, terms_of, told_by
    from .search.ladder.price import TARGET

    seconds = seconds_of(budget)
    _check(options, record, target)
    check_name(task)
    _check_networks(task, options["checkpoints"])
    drop = 0.5 if options["max_drop"] is None else options["max_drop"]
    check_drop(drop)
    spare = spare_of(options["spare"])
    cycles = options["max_cycles"]
    terms = terms_of(target or TARGET, {} if cycles is None else {"cycles": cycles})
    data = load_task(task, options["seed"] or 0)
    # Before hours of training, not after.
    folds = folds_of(options["folds"])
    if folds:
        cut_fold(data, 1, folds)
    copies = len(data.y_val) < SMALL and not (folds or data.own_measure)
    told_by(data, shifted(data)[1] if copies else data.y_val, drop, folds)
    import_torch()
    import_kernels()
    folder = Path(out or Path("runs") / f"experiment-{Path(task).stem}-budget")
    _check_folder(folder)
    place = folder / "search"
    with with_remedies(folder, SAME):
        networks, spent = float_networks(folder, task, options, seconds, say)
        plan = Plan(
            networks,
            drop=drop,
            budget=seconds - spent,
            seed=options["seed"] or 0,
            folds=folds,
            spare=spare,
            confirm=bool(options["confirm"]),
            fewer=not options["keep_units"],
            knobs=knobs,
            # Where only the time counts, hardware is shared as far as that lets it.
            shares=() if cycles is None else SHARES,
            **terms,
        )
        document = search(place, plan, resume=True, workers=workers, pages=False, say=say)
    document["float_seconds"] = round(spent, 1)
    for entry in filter(None, (document["int8"], document["best"])):
        entry["test"] = _test_of(place, entry, knobs)
    if document["best"] is not None:
        document |= _build_best(place, folder, knobs, target, say)
    write_json(folder / "experiment.json", document)
    write_pages(folder, document)
    return document, folder
