"""What ``genogate experiment`` does: everything for a task, then its Verilog in the simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .genome_search import named_by
from .model.aliases import Say
from .model.errors import InputError

if TYPE_CHECKING:
    from .model.knobs import Knobs
    from .search.experiment.plan import Plan

#: What makes the section of the results page.
COMMAND = "python -m studies --only experiments"


def numbers_of(text: str | None, name: str) -> tuple[int, ...] | None:
    """Integers of a list with commas, none for ``none``. Raises :class:`InputError`."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(",") if part.strip() and text != "none")
    except ValueError:
        raise InputError(f"{name}: {text[:40]!r} is not a list of integers") from None


def _announce(plan: Plan, workers: int) -> None:
    """Say on stderr what is ahead, and about how long it takes."""
    import click

    from .commands.terminal import duration, switched
    from .model import zoo
    from .model.checkpoints.provenance import caution
    from .model.checkpoints.recipe import Recipe, recipe_for
    from .model.data.tasks import load_task
    from .search.experiment.duration import seconds_of_update, work_of

    if switched("quiet"):
        return
    task = load_task(plan.task)
    count = len(task.x_train)
    recipe = recipe_for(plan.task, {}, count)
    work = work_of(plan, count, recipe.batch, recipe.epochs)
    shipped = [name for name in plan.checkpoints if not name.startswith("seed")]
    hidden = zoo.load(shipped[0]).hidden_size() if shipped else Recipe.hidden
    update = seconds_of_update(task, hidden, recipe.batch)
    sizes = ", ".join(map(str, (hidden, *plan.hidden)))
    click.echo(
        f"{work.trainings} networks of {sizes} units to train for their genomes "
        f"({work.updates:,} updates each), {work.for_all} sets of weights for all genomes, "
        f"{work.floats} float networks, and two searches of up to {work.evaluations // 2} genomes. "
        f"The trainings take about {duration(work.seconds(update, workers))} with {workers} "
        "processes, searches and synthesis come on top; a stopped experiment goes on.",
        err=True,
    )
    for name in shipped:
        if text := caution(zoo.load(name)):
            click.echo(f"Note on {name}: {text}.", err=True)


def run_experiment(
    task: str,
    budget: str,
    options: dict[str, Any],
    knobs: Knobs | None,
    out: str | None,
    workers: int,
    say: Say,
) -> tuple[dict[str, Any], Path]:
    """Run, or go on with, the experiment on `task`; its document, and its folder."""
    from .commands.terminal import note
    from .model.checkpoints.descent import import_torch
    from .model.data.tasks import check_name
    from .model.qat.structure import import_kernels
    from .search.experiment.experiment import Experiment
    from .search.experiment.plan import plan_for
    from .search.genomes.remedies import SAME, with_remedies

    check_name(task)
    import_torch()
    import_kernels()
    given = {
        **options,
        "hidden": numbers_of(options["hidden"], "hidden"),
        **{name: named_by(options[name], name) for name in ("checkpoints", "objectives")},
        "knobs": knobs,
    }
    plan = plan_for(task, budget, given)
    label = Path(task).stem
    folder = Path(out or Path("runs") / f"experiment-{label}")
    new = not (folder / "experiment.json").exists()
    with with_remedies(folder, SAME):
        experiment = Experiment(folder, plan, workers=workers, say=say, note=note)
        document = experiment.go(begin=lambda: _announce(plan, workers) if new else None)
    simulation, group = document.get("simulation"), _least(document)
    # What was skipped may be possible by now; and more rounds may have found another network.
    if plan.sim_sequences and (
        simulation is None
        or "skipped" in simulation
        or (group and any(simulation[name] != group[name] for name in ("hidden", "genes", "knobs")))
    ):
        with with_remedies(folder, SAME):
            document["simulation"] = simulated(experiment, document, say)
        experiment.record.more["simulation"] = document["simulation"]
        experiment.record.save(done=True)
    return document, folder


def _least(document: dict[str, Any]) -> dict[str, Any] | None:
    """The smallest mixed network within the first limit, or else of the front."""
    groups = [group for group in document["choices"]["least"].values() if group]
    groups += [g for g in document["choices"]["front"] if len(set(g["genes"])) > 1]
    return groups[0] if groups else None


def simulated(experiment: Any, document: dict[str, Any], say: Say) -> dict[str, Any]:
    """The Verilog of the smallest mixed network within the first limit, run on test sequences and
    held to the golden model; or why it was not."""
    import numpy as np

    from .hdl.gru.design import Design
    from .model.genome import Genome
    from .search.experiment.jobs import Look, model_of
    from .search.genomes.candidate import Candidate
    from .search.pool.backends import Pool
    from .sim.rtl.network.regression import require_simulator, simulate
    from .synth.verilog import emit

    plan, first = experiment.plan, experiment.first
    group = _least(document)
    if group is None:
        return {"skipped": "no mixed network was trained"}
    try:
        require_simulator()
    except InputError as error:
        return {"skipped": str(error)}
    source = experiment.sized(group["hidden"], first.seed)
    candidate = Candidate(Genome.from_genes(group["genes"]), tuple(group["knobs"].items()))
    knobs = replace(plan.knobs, **group["knobs"])
    look = Look(experiment.one_path(source, candidate), None, knobs)
    with Pool("serial") as experiment.pool:
        experiment.need_trained([look])
    model = model_of(look)
    task = experiment.task
    count = min(plan.sim_sequences, len(task.x_test))
    indices = np.sort(np.random.default_rng(plan.seed).choice(len(task.x_test), count, False))
    steps = min(task.steps, plan.sim_steps or task.steps)
    say(f"Simulating {count} test sequences of {steps} steps")
    report = simulate(
        model,
        emit(Design.of(model, **knobs.hardware)),
        model.quantize_input(task.x_test[indices])[:, :steps],
        out_dir=experiment.folder / "sim",
        seed=plan.seed,
        timeout_s=7200,
        share=knobs.share,
    )
    outcome = report.to_json()
    outcome["mismatches"] = len(report.mismatches)
    outcome["waveform"] = None
    return {
        **group,
        "steps_of": task.steps,
        "steps_run": steps,
        "count": count,
        "mismatch": report.mismatches[:1],
        **outcome,
    }


def record_in_docs(document: dict[str, Any], docs: str | Path = "docs") -> Path:
    """Keep the document of an experiment for the results page. Raises :class:`InputError` where
    the folder is not there."""
    from .model.files import write_json

    docs = Path(docs)
    if not docs.is_dir():
        raise InputError(f"record: {docs} is no folder; run it at the top of the repository")
    path = docs / "data" / f"experiment-{Path(document['plan']['task']).stem}.json"
    write_json(path, document)
    if not (docs / "data" / "experiments.json").exists():
        write_json(docs / "data" / "experiments.json", {"command": COMMAND})
    return path


def recorded(docs: str | Path) -> list[Path]:
    """Files of the experiments that the results page is about."""
    return sorted((Path(docs) / "data").glob("experiment-*.json"))
