"""The genogate command: arguments, progress and printing; what is done is in :mod:`.flow`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import __version__
from .model.errors import InputError
from .model.knobs import Knobs

if TYPE_CHECKING:
    from .flow import Network, Say

Command = TypeVar("Command", bound=Callable[..., Any])

GENOME_HELP = (
    "Bits (2 to 8) of the 17 operators of every layer: int2 ... int8, a list of integers "
    "(8,8,4,...), or a JSON genome file."
)


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


#: The float checkpoint, and what the paper leaves open.
_source_options = _options(
    click.option("--task", help="Data set; digits-row, or the checkpoint's own."),
    click.option(
        "--checkpoint",
        metavar="NAME|FILE",
        help="Float checkpoint: a shipped one by name, or a file; the task's by default.",
    ),
    click.option(
        "--lanes",
        default="1",
        show_default=True,
        metavar="N|X,H",
        help="Multiply-accumulates per cycle of a dense operator (input side, state side).",
    ),
    click.option(
        "--dense-output",
        type=click.Choice(["gene", "8"]),
        default=Knobs.dense_output,
        show_default=True,
        help="Output bits of a dense operator: its gene's, or always 8.",
    ),
    click.option(
        "--granularity",
        type=click.Choice(["tensor", "channel"]),
        default=Knobs.granularity,
        show_default=True,
        help="Weight scales: one per matrix, or per output by powers of two.",
    ),
    click.option(
        "--multiplier-terms",
        type=click.Choice(["1", "2", "3", "free"]),
        default=str(Knobs.multiplier_terms or "free"),
        show_default=True,
        help="Signed powers of two in a requantiser's multiplier (1: shift only).",
    ),
    click.option(
        "--activation",
        type=click.Choice(["auto", "pwl", "table"]),
        default=Knobs.activation,
        show_default=True,
        help="Sigmoid and tanh: piecewise linear, tables, or the cheaper that holds accuracy.",
    ),
    click.option(
        "--entries",
        type=int,
        default=Knobs.entries,
        show_default=True,
        help="Segments of a piecewise-linear unit.",
    ),
    click.option(
        "--input-bits",
        type=int,
        default=Knobs.input_bits,
        show_default=True,
        help="Width of the network's input codes, 1 to 8.",
    ),
)
#: Which network is meant.
_network_options = _options(
    click.option("--genome", default="int8", show_default=True, help=GENOME_HELP),
    _source_options,
    click.option("--out", metavar="FOLDER", help="Where to write; build/TASK/GENOME/."),
)


def _knobs(options: dict[str, Any]) -> Knobs:
    from .flow import parse_lanes

    lanes_x, lanes_h = parse_lanes(options["lanes"])
    terms = options["multiplier_terms"]
    return Knobs(
        dense_output=options["dense_output"],
        granularity=options["granularity"],
        multiplier_terms=None if terms == "free" else int(terms),
        activation=options["activation"],
        entries=options["entries"],
        lanes_x=lanes_x,
        lanes_h=lanes_h,
        input_bits=options["input_bits"],
    )


@contextmanager
def _progress() -> Iterator[Say]:
    """A spinner that says what is being done; silent where stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield lambda text: status.update(f"{text} ...")


@contextmanager
def _epochs(text: str, total: int | None = None, now: str = "") -> Iterator[Callable[..., None]]:
    """A bar of epochs where stderr is a terminal; takes what changes: ``description``, ``total``,
    ``completed``, ``now``."""
    from functools import partial

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(),
        TextColumn("{task.fields[now]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield partial(bar.update, bar.add_task(text, total=total, now=now))


def _as_found(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with checkpoint and knobs of a genome file that names them in place of defaults:
    a genome alone is not the network that was found."""
    from .model.genome import found_with

    about = found_with(options["genome"])
    if about is None:
        return options
    checkpoint, knobs = about
    try:
        wanted = Knobs(**knobs)
    except (TypeError, InputError) as error:
        raise InputError(f"{options['genome']}: its knobs are wrong ({error})") from None
    found: dict[str, Any] = {
        "checkpoint": checkpoint,
        "dense_output": wanted.dense_output,
        "granularity": wanted.granularity,
        "multiplier_terms": str(wanted.multiplier_terms or "free"),
        "activation": wanted.activation,
        "entries": wanted.entries,
        "lanes": f"{wanted.lanes_x},{wanted.lanes_h}",
        "input_bits": wanted.input_bits,
    }
    source = click.get_current_context().get_parameter_source
    given = click.core.ParameterSource.DEFAULT
    return options | {name: value for name, value in found.items() if source(name) is given}


def _build(options: dict[str, Any], say: Say) -> Network:
    from .flow import build_network

    options = _as_found(options)
    return build_network(
        genome=options["genome"],
        task=options["task"],
        checkpoint=options["checkpoint"],
        knobs=_knobs(options),
        say=say,
    )


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="genogate", message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """From a genome to verified Verilog.

    A genome gives every operator of a GRU network its own bit width. `genogate gru` quantises a
    trained network with a genome and writes its Verilog, its integer model and a report; `genogate
    sim` proves the Verilog bit-exact; `genogate area` measures it.

    Try: genogate gru --genome int4
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@app.command()
@_network_options
def gru(**options: Any) -> None:
    """Quantise, emit Verilog and measure, in one folder.

    Writes gru.v, model.safetensors (every integer of the network) and report.json (accuracy, size,
    cycles, cells of every operator), and prints the report. Either all three files are written or
    none.
    """
    from .flow import write_gru
    from .printing import print_report

    with _progress() as say:
        network = _build(options, say)
        report = write_gru(network, options["out"], say)
    print_report(report, options["out"] or network.folder)


@app.command()
@_network_options
def area(**options: Any) -> None:
    """Cells, transistors and memory bits of every operator, by Yosys.

    Writes area.json. Every module is synthesised once and cached by its content, so a second genome
    costs only what is new in it.
    """
    from .flow import write_area
    from .printing import print_area

    with _progress() as say:
        network = _build(options, say)
        document = write_area(network, options["out"], say)
    print_area(document, options["out"] or network.folder)


@app.command()
@_network_options
@click.option("--sequences", type=int, default=8, show_default=True, help="Test sequences to run.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=2026,
    show_default=True,
    help="Of the choice of sequences, stalls and resets.",
)
def sim(sequences: int, seed: int, **options: Any) -> None:
    """Hold the emitted Verilog to the golden model, bit by bit.

    Runs real test sequences through Icarus Verilog under cocotb, with random stalls, resets in
    mid-sequence and sequences back to back, and compares every code of every operator, every hidden
    state and every logit. Exits with 1 when anything differs, naming the first operator that does.
    """
    from .flow import run_sim
    from .printing import print_sim

    with _progress() as say:
        network = _build(options, say)
        report, folder = run_sim(
            network, sequences=sequences, seed=seed, out=options["out"], say=say
        )
    print_sim(report, folder)
    if not report.passed:
        raise click.exceptions.Exit(1)


@app.command()
@click.argument("function", required=False)
@click.option(
    "--table", metavar="FILE", help="A table.json to build the unit of, instead of a search."
)
@click.option(
    "--range",
    "bounds",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="The function's range; needed for an expression.",
)
@click.option("--entries", type=int, default=8, show_default=True, help="Segments, 4 to 64.")
@click.option(
    "--scales",
    default="0:6",
    show_default=True,
    metavar="K|A:B|K,K...",
    help="Scales 2^-k of the input codes that the table is for.",
)
@click.option("--separate", is_flag=True, help="Slopes and intercepts of its own for every scale.")
@click.option(
    "--method",
    default="exact",
    show_default=True,
    help="exact, gqa, gade, nn-lut or least-squares.",
)
@click.option(
    "--objective",
    type=click.Choice(["mse", "max"]),
    default="mse",
    show_default=True,
    help="Mean squared or greatest absolute error.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="A .npy array, a number for each code: a histogram of activations.",
)
@click.option(
    "--guard",
    default="0.0625",
    show_default=True,
    metavar="E|none",
    help="Greatest error allowed for codes outside of the range.",
)
@click.option("--in-bits", type=int, default=8, show_default=True, help="Input codes, 4 to 8 bits.")
@click.option(
    "--out-bits", type=int, default=8, show_default=True, help="Output codes, 4 to 8 bits."
)
@click.option(
    "--out-scale", type=int, metavar="K", help="Output scale 2^-K; by least error when not given."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["fixed", "dynamic"]),
    default="fixed",
    show_default=True,
    help="Of slopes and intercepts.",
)
@click.option("--slope-bits", type=int, help="Width of a slope; 8, or 10 for steep functions.")
@click.option("--intercept-bits", type=int, help="Width of an intercept; as slopes.")
@click.option("--fraction-bits", type=int, help="Bits behind the point of both; 6.")
@click.option(
    "--style",
    type=click.Choice(["fixed", "loadable", "select"]),
    default="fixed",
    show_default=True,
    help="Constants folded into a unit for each scale, one with a "
    "loadable table, or one of all scales with a select.",
)
@click.option(
    "--stages",
    type=click.IntRange(0, 3),
    default=0,
    show_default=True,
    help="Registers on the way; 0 is combinational.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the searches that need one.",
)
@click.option("--picture/--no-picture", default=True, help="Draw table.svg (needs matplotlib).")
@click.option(
    "--verify/--no-verify", default=True, help="Run the Verilog in Icarus on every input code."
)
@click.option(
    "--silicon", is_flag=True, help="Area and delay in standard cells too ($GENOGATE_LIBERTY)."
)
@click.option("--out", metavar="FOLDER", help="Where to write; build/lut/FUNCTION-ENTRIES/.")
def lut(out: str | None, **options: Any) -> None:
    """Piecewise-linear table and unit of a function.

    FUNCTION is gelu, hswish, silu, sigmoid, tanh, exp, reciprocal, rsqrt, or an expression in x
    such as "x * tanh(log(1 + exp(x)))". Writes table.json (integers and errors), table.svg, unit.v
    and report.json, and prints the errors beside the least possible one, the cells, and whether the
    Verilog gave every code as it should; exits with 1 where it did not.
    """
    from .lut import make_table, write_lut
    from .printing import print_lut

    with _progress() as say:
        table = make_table(options, say)
        report, folder = write_lut(table, options, out, say)
    print_lut(report, folder)
    if not report["verified"].get("passed", True):
        raise click.exceptions.Exit(1)


@app.command()
@click.argument("function")
@click.option(
    "--range",
    "bounds",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="The function's range; needed for an expression.",
)
@click.option(
    "--scale",
    type=int,
    default=5,
    show_default=True,
    metavar="K",
    help="Scale 2^-K of the input codes.",
)
@click.option("--in-bits", type=int, default=8, show_default=True, help="Input codes, 4 to 8 bits.")
@click.option(
    "--out-bits", type=int, default=8, show_default=True, help="Output codes, 4 to 8 bits."
)
@click.option(
    "--pop",
    "pop_size",
    type=int,
    default=36,
    show_default=True,
    help="Units measured first; a third as many in each generation.",
)
@click.option("--generations", type=int, default=12, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", metavar="FOLDER", help="Where to write; build/front/FUNCTION-SCALE/.")
def front(**options: Any) -> None:
    """Units of a function with constants folded in, from the smallest to the most accurate.

    FUNCTION as in `genogate lut`. A genetic search over whole units, started from exact tables,
    with Yosys in the loop: slopes of few signed digits, round break points, shared logic, and the
    form with the fewest cells. Writes front.json and a verified Verilog file for every unit.
    """
    from .lut import write_front
    from .printing import print_front

    with _progress() as say:
        record, folder = write_front(**options, say=say)
    print_front(record, folder)
    if not record["verified"]["passed"]:
        raise click.exceptions.Exit(1)


@app.command()
@click.argument("kind")
@click.option(
    "--length",
    type=int,
    default=64,
    show_default=True,
    help="Elements of a vector (softmax: the most).",
)
@click.option(
    "--scale",
    type=int,
    default=4,
    show_default=True,
    metavar="K",
    help="Scale 2^-K of the input codes.",
)
@click.option("--entries", type=int, default=8, show_default=True, help="Segments of the tables.")
@click.option("--in-bits", type=int, default=8, show_default=True, help="Input codes, bits.")
@click.option("--out-bits", type=int, default=8, show_default=True, help="Output codes, bits.")
@click.option("--out-scale", type=int, metavar="K", help="Output scale 2^-K; chosen if not given.")
@click.option("--out", metavar="FOLDER", help="Where to write; build/unit/KIND-.../.")
def unit(kind: str, out: str | None, **given: Any) -> None:
    """Softmax, normalisation, or a reciprocal of any positive code, as verified Verilog.

    KIND is softmax, layernorm, rmsnorm, reciprocal or rsqrt. The units are made of piecewise-linear
    tables and range reduction by powers of two. Writes unit.v and report.json, and runs the Verilog
    in Icarus against the golden model; exits with 1 where they differ.
    """
    from .printing import print_unit
    from .unit import make_unit, write_unit

    with _progress() as say:
        op = make_unit(kind, **given)
        report, folder = write_unit(op, kind, given, out, say)
    print_unit(report, folder)
    if not report["verified"]["passed"]:
        raise click.exceptions.Exit(1)


@app.command()
@_source_options
@click.option(
    "--objectives",
    default="accuracy,size,cells",
    show_default=True,
    help="accuracy and one or more of size, weights (of the GRU alone), cells, memory, "
    "cycles, silicon.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME|FILE",
    help="Another checkpoint of the task, of other sizes or weights (may be repeated); "
    "which one is a gene. --checkpoint stays what all is relative to.",
)
@click.option(
    "--method", default="nsga2", show_default=True, help="nsga2, or its rivals random and greedy."
)
@click.option("--pop", "pop_size", type=int, default=40, show_default=True, help="Genomes.")
@click.option("--generations", type=int, default=10, show_default=True, help="Of exploration.")
@click.option(
    "--exploit",
    type=int,
    show_default="15, for nsga2",
    help="Generations of local search around the front, after that.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--initial",
    show_default="sensitivity, for nsga2",
    help="First population: random; with the homogeneous genomes; or with these and "
    "genomes ordered by the sensitivity of every operator.",
)
@click.option(
    "--knob-genes",
    metavar="KNOB,...",
    default="",
    help="Knobs that are genes too: dense_output, granularity, multiplier_terms, "
    "activation, entries, lanes, input_bits.",
)
@click.option(
    "--max-drop",
    default="10",
    show_default=True,
    metavar="POINTS|none",
    help="Points of accuracy below INT8 beyond which a genome is of no use (and goes unmeasured).",
)
@click.option("--max-size", type=float, metavar="BITS", help="Limit of the size.")
@click.option("--max-weights", type=float, metavar="BITS", help="Limit of the GRU's weights.")
@click.option("--max-cells", type=float, metavar="CELLS", help="Limit of the cells.")
@click.option("--max-memory", type=float, metavar="BITS", help="Limit of the memory bits.")
@click.option("--max-cycles", type=float, metavar="CYCLES", help="Limit of cycles per step.")
@click.option(
    "--bit-weight",
    type=float,
    default=0.75,
    show_default=True,
    metavar="K",
    help="Cells that a memory bit counts as in the objective silicon.",
)
@click.option(
    "--beacon",
    metavar="COMMAND",
    help="Retrains a few genomes: a command with {genome} (a genome file) and {out} (the "
    "checkpoint to write) in it.",
)
@click.option(
    "--beacons",
    type=int,
    default=3,
    show_default=True,
    help="Genomes to retrain at most, with --beacon.",
)
@click.option(
    "--beacon-distance",
    type=float,
    default=1.0,
    show_default=True,
    metavar="BITS",
    help="Genomes so near (mean over genes) try a beacon's weights.",
)
@click.option(
    "--prescreen",
    metavar="PROXY",
    help="Search by this training-free proxy (name or formula, `genogate proxy show`), "
    "corrected by every evaluation, between two generations that are "
    "evaluated.",
)
@click.option(
    "--prescreen-factor",
    type=int,
    default=50,
    show_default=True,
    metavar="N",
    help="Genomes looked at for each that is evaluated, with --prescreen.",
)
@click.option(
    "--proxy-only",
    is_flag=True,
    help="The proxy of --prescreen is the accuracy objective; only the front is "
    "evaluated, in the end.",
)
@click.option(
    "--estimate",
    is_flag=True,
    help="Search by estimated cells, without Yosys, and measure the front in the end.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option(
    "--backend",
    type=click.Choice(["processes", "serial", "dask", "ray"]),
    help="Where evaluations run; processes of this machine when not given.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a running cluster (dask, ray).")
@click.option("--resume", is_flag=True, help="Go on with the run in that folder.")
@click.option("--out", metavar="FOLDER", help="Where to write; runs/TASK-METHOD-SEED.")
def search(out: str | None, resume: bool, **options: Any) -> None:
    """Search genomes: fewest cells, bits ... at the best accuracy.

    NSGA-II over the bit widths of all operators, then local search around the front. Accuracy is
    that of the validation part; cells come from Yosys, each distinct module once ever. Leaves a
    front and genome files (knee, most-accurate, smallest, fewest-weights, fewest-cells, front-N)
    that the other commands take with --genome. Kill it at any time: with --resume the same run goes
    on.
    """
    from .flow import run_search
    from .printing import print_search, search_progress

    try:
        with search_progress() as (say, tell):
            report, folder = run_search(options, _knobs(options), out, resume, say, tell)
    except KeyboardInterrupt:
        click.echo("genogate: what is evaluated is kept, --resume goes on from there", err=True)
        raise
    print_search(report, folder)


@app.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--beside",
    multiple=True,
    metavar="RUN",
    help="Draw the hypervolume of this run too (may be repeated). Runs next to RUN that "
    "differ from it only in method and seed are found without it.",
)
@click.option("--pictures/--no-pictures", default=True, help="PNG files for papers, beside it.")
@click.option(
    "--cells/--no-cells", default=True, help="Cells by operator for the points of the front."
)
@click.option("--out", metavar="FILE", help="Where to write; RUN/report.html.")
def report(run: str, beside: tuple[str, ...], pictures: bool, cells: bool, out: str | None) -> None:
    """One page about a search: its front, genes and cells, to look at and to turn.

    RUN is the folder of a search, which may still be going on. Writes one HTML file that loads
    nothing, so that it can be opened from disk, sent, and kept; and PNG files of its pictures.
    """
    from .search.report.page import write_report

    with _progress() as say:
        page, images, notes = write_report(
            run, beside, out, pictures=pictures, cells=cells, say=say
        )
    for note in notes:
        click.echo(note)
    click.echo(f"written  {page}")
    if images:
        click.echo(f"         {images[0].parent}/ ({len(images)} pictures)")


@app.command()
@click.option("--n", "count", type=int, default=300, show_default=True, help="Number of networks.")
@click.option("--seed", type=int, default=2026, show_default=True, help="Of everything random.")
@click.option("--workers", type=int, default=2, show_default=True, help="Processes.")
@click.option(
    "--out",
    metavar="FOLDER",
    default="build/campaign",
    show_default=True,
    help="Where to write; a campaign that was stopped goes on from there.",
)
def campaign(count: int, seed: int, workers: int, out: str) -> None:
    """Simulate many random genomes, knobs and sizes.

    Each network is emitted, simulated and held to the golden model as in `genogate sim`. Exits with
    1 when anything differs; what failed stays in the folder, with a waveform.
    """
    from .printing import print_campaign
    from .sim.rtl.network.campaign import campaign as run

    summary = run(count, out_dir=out, seed=seed, workers=workers)
    print_campaign(summary, out)
    if summary["failed_cases"]:
        raise click.exceptions.Exit(1)


@app.command()
@click.option(
    "--task",
    default="digits-row",
    show_default=True,
    help="Data set, or a file NAME.npz with your own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of split and training.")
@click.option("--hidden", type=int, help="Units of every layer.")
@click.option("--layers", type=int, default=1, show_default=True, help="GRU layers in series.")
@click.option("--epochs", type=int)
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--batch", type=int)
@click.option("--weight-decay", type=float)
@click.option("--label-smoothing", type=float)
@click.option(
    "--patience",
    type=int,
    default=0,
    show_default=True,
    help="Stop after so many epochs without a better validation accuracy and keep the "
    "best; 0: keep the last.",
)
@click.option(
    "--start",
    default="",
    metavar="NAME|FILE",
    help="Checkpoint of the same sizes, of any task, to start from.",
)
@click.option(
    "--slower",
    type=float,
    default=1.0,
    show_default=True,
    help="With --start: how many times as fine the steps are as those it was trained on.",
)
@click.option("--out", metavar="FILE", help="The checkpoint; build/TASK/seedN.safetensors.")
def train(task: str, out: str | None, **recipe: Any) -> None:
    """Train a float network (needs torch).

    Writes a safetensors checkpoint that the other commands take with --checkpoint. What is not
    given is the task's own recipe. The same options give the same bytes on the same machine, also
    when it was stopped in between: the same command goes on from FILE.partial.
    """
    from .flow import run_training
    from .model.checkpoints.training import recipe_for
    from .printing import print_training

    chosen = recipe_for(task, recipe)
    with _epochs("epochs", chosen.epochs, "loss nan") as update:

        def tell(done: int, total: int, loss: float) -> None:
            update(completed=done, now=f"loss {loss:.4f}")

        checkpoint, path = run_training(task, chosen, out, tell)
    print_training(checkpoint, path)


@app.command()
@click.option("--genome", default="int4", show_default=True, help=GENOME_HELP)
@_source_options
@click.option(
    "--any", "for_all", is_flag=True, help="One set of weights for all genomes, not for --genome."
)
@click.option("--epochs", type=int, help="30; with --any 50.")
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--batch", type=int, help="Sequences; as the task's float training.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--distil/--no-distil",
    default=True,
    show_default=True,
    help="Whether the float network teaches it.",
)
@click.option("--ternary", "narrow", is_flag=True, help="2-bit weights -1 to 1, not -2 to 1.")
@click.option("--tables", is_flag=True, help="The entries of activation tables are trained too.")
@click.option(
    "--scales",
    type=click.Choice(["learned", "fixed"]),
    help="Whether scales are trained too; fixed.",
)
@click.option(
    "--patience", type=int, help="Stop after so many epochs without a better validation accuracy."
)
@click.option("--out", metavar="FILE", help="The checkpoint; build/TASK/GENOME-qat.safetensors.")
def qat(
    genome: str,
    for_all: bool,
    out: str | None,
    epochs: int | None,
    lr: float | None,
    batch: int | None,
    seed: int,
    distil: bool,
    narrow: bool,
    tables: bool,
    scales: str | None,
    patience: int | None,
    **options: Any,
) -> None:
    """Train the weights on, quantised as the genome says (needs torch).

    The forward pass is the integer network itself, so `genogate gru --genome G --checkpoint FILE`
    gives exactly the network that was trained; any other genome with that checkpoint is quantised
    as always. With --any the weights are trained for all genomes at once, for a search to run on.
    A training that was stopped goes on when the same command is given again.
    """
    from .printing import print_tuning
    from .tuning import run_any, run_tuning

    given = {**options, "genome": genome}
    found = given if for_all else _as_found(given)
    recipe = {
        "epochs": epochs,
        "lr": lr,
        "batch": batch,
        "seed": seed,
        "distil": distil,
        "narrow": narrow,
        "tables": tables,
        "scales": scales,
        "patience": patience,
    }
    with _epochs("Reading") as update:

        def say(text: str) -> None:
            update(description=text)

        def tell(done: int, total: int, loss: float, score: float) -> None:
            now = f"loss {loss:.4f}, validation {score:.4f}"
            update(total=total, completed=done, now=now)

        about: dict[str, Any] = {
            "task": found["task"],
            "checkpoint": found["checkpoint"],
            "knobs": _knobs(found),
            "out": out,
            "options": recipe,
            "say": say,
            "tell": tell,
        }
        if for_all:
            report, path = run_any(**about)
        else:
            report, path = run_tuning(genome=found["genome"], **about)
    print_tuning(report, path)


@app.command()
@click.option(
    "--task",
    default="digits-row",
    show_default=True,
    help="Data set, or a file NAME.npz with your own.",
)
@click.option(
    "--budget",
    type=click.Choice(["full", "quick"]),
    default="full",
    show_default=True,
    help="quick says nothing; it is for a look.",
)
@click.option(
    "--checkpoints",
    metavar="NAME|FILE,...",
    help="Float networks: the reference, further seeds of its size, and any of the "
    "sizes of --hidden; seedN: trained here. All that are shipped.",
)
@click.option("--hidden", metavar="N,...|none", help="Further hidden sizes, trained here.")
@click.option("--objectives", help="Of the searches; accuracy,size,cells.")
@click.option("--epochs", type=int, help="Of training a network for its genome.")
@click.option("--any-epochs", type=int, help="Of training weights for all genomes.")
@click.option(
    "--scales",
    type=click.Choice(["fixed", "learned"]),
    help="Of the networks that are trained for their genome.",
)
@click.option(
    "--teacher",
    type=click.Choice(["own", "reference"]),
    help="Whose answers teach other sizes: their own float network's, or those of the "
    "reference's size.",
)
@click.option("--sequences", type=int, help="Training sequences that an epoch sees; all.")
@click.option("--any-sequences", type=int, help="The same, of training weights for all genomes.")
@click.option("--pop", "pop_size", type=int, help="Genomes of a search's population.")
@click.option("--generations", type=int, help="Of exploration; as many of local search follow.")
@click.option("--rounds", type=int, help="Rounds of training what was found.")
@click.option("--trained", type=int, help="Networks that a round trains.")
@click.option(
    "--every-seed/--first-seed",
    default=None,
    help="Whether rounds train on every seed; on the first, further ones may be added later.",
)
@click.option("--seed", type=int, help="Of searches and trainings; 0.")
@click.option("--sim-sequences", type=int, help="Test sequences to simulate as Verilog.")
@click.option(
    "--lanes",
    default="1",
    show_default=True,
    metavar="N|X,H",
    help="Multiply-accumulates per cycle of a dense operator.",
)
@click.option(
    "--activation",
    type=click.Choice(["auto", "pwl", "table"]),
    default="table",
    show_default=True,
    help="Sigmoid and tanh; tables are quick to measure.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--record", is_flag=True, help="Keep it in docs/data too, for docs/results.md.")
@click.option("--out", metavar="FOLDER", help="Where to write; runs/experiment-TASK.")
def experiment(
    task: str,
    budget: str,
    out: str | None,
    workers: int,
    record: bool,
    lanes: str,
    activation: str,
    **options: Any,
) -> None:
    """Everything for a task: searches, training of what they find, one look at the test part.

    Float networks, weights for all genomes, searches on both, homogeneous rivals, rounds of
    training, several seeds, cells by Yosys, and one mixed network simulated as Verilog. Every
    number is kept in experiment.json as soon as it is known: the same command goes on after a stop.
    """
    from .experiment import record_in_docs, run_experiment
    from .flow import parse_lanes
    from .printing import print_experiment, saying

    lanes_x, lanes_h = parse_lanes(lanes)
    knobs = Knobs(activation=activation, lanes_x=lanes_x, lanes_h=lanes_h)
    if options["generations"] is not None:
        options["exploit"] = options["generations"]
    with saying() as say:
        document, folder = run_experiment(task, budget, options, knobs, out, workers, say)
    print_experiment(document, folder)
    if record:
        click.echo(f"written  {record_in_docs(document)}")
    if document.get("simulation", {}).get("mismatches"):
        raise click.exceptions.Exit(1)


@app.command("import")
@click.argument("model")
@click.option("--task", required=True, help="Data set that it is for, or a file NAME.npz.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the task's split.")
@click.option("--gru", metavar="NAME", help="The GRU's module, if there are several.")
@click.option("--classifier", metavar="NAME", help="The linear layer, if shapes do not tell.")
@click.option("--out", metavar="FILE", help="The checkpoint; build/TASK/MODEL.safetensors.")
def import_(
    model: str, task: str, seed: int, gru: str | None, classifier: str | None, out: str | None
) -> None:
    """Make a checkpoint of a model trained elsewhere.

    MODEL is a torch.nn.GRU with a linear classifier on its last state: a state dict (.pt, .pth,
    .safetensors) or an ONNX graph (.onnx) whose GRU has linear_before_reset=1. Prints its float
    accuracy on the task.
    """
    from .flow import run_import
    from .printing import print_import

    with _progress() as say:
        say("Reading and evaluating")
        checkpoint, path = run_import(model, task, seed, out, gru, classifier)
    print_import(checkpoint, path)


@app.command()
@click.argument("model")
@click.argument("inputs")
@click.argument("outputs")
def golden(model: str, inputs: str, outputs: str) -> None:
    """Evaluate integer codes exactly as the hardware does.

    MODEL is a model.safetensors of `genogate gru`; INPUTS a .npy array of input codes, integers
    [batch, steps, features] from -128 to 127, or of as many bits as --input-bits said; OUTPUTS a
    .npz file that receives the arrays hidden [batch, steps, units], logits [batch, classes] and
    classes [batch], so that you can check our Verilog with your own simulator. If OUTPUTS ends in
    .npy it receives the hidden states, and NAME.logits.npy beside it the logits.
    """
    from .flow import run_golden

    for name, shape in run_golden(model, inputs, outputs).items():
        click.echo(f"{name} {list(shape)}")


@app.command()
@click.option(
    "--out",
    metavar="FILE",
    default="build/bench.json",
    show_default=True,
    help="The figures, as JSON.",
)
def bench(out: str) -> None:
    """Measure speeds, against torch where there is a counterpart.

    Golden model and compiled twin against float torch.nn.GRU on the same batch, one thread each;
    emit time; area time cold and cached; cells with constant against run-time multipliers.
    """
    from .bench import bench as run
    from .model.files import write_json
    from .printing import print_bench

    with _progress() as say:
        figures = run(say)
    write_json(out, figures)
    print_bench(figures, out)


@app.group()
def proxy() -> None:
    """Training-free proxies: formulas that rank genomes without running the network.

    A PROXY is a formula (negate(mean(square(error)))), the name of one that is shipped, or that of
    a handcrafted one (bit-sum, hawq-v2, ...); `genogate proxy show` lists what formulas are made
    of.
    """


@proxy.command("search")
@click.option(
    "--table",
    multiple=True,
    metavar="NAME",
    required=True,
    help="Configurations and accuracies to search on (may be repeated).",
)
@click.option(
    "--structure",
    default="branched",
    show_default=True,
    help="sequential, branched, dag, or mixed.",
)
@click.option("--method", default="evolution", show_default=True, help="evolution, or random.")
@click.option(
    "--evaluations",
    type=int,
    default=2000,
    show_default=True,
    help="Candidates to score with each seed.",
)
@click.option("--population", type=int, default=20, show_default=True, help="Formulas.")
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=int, default=1, show_default=True, help="How many searches.")
@click.option(
    "--by",
    default="score",
    show_default=True,
    help="Top shares by score, as EMQ has them, by true accuracy, or both.",
)
@click.option(
    "--equal-sum",
    type=float,
    default=0.5,
    show_default=True,
    metavar="WEIGHT",
    help="Of the genomes with one sum of bits, in the fitness.",
)
@click.option(
    "--equal-size",
    type=float,
    default=0.0,
    show_default=True,
    metavar="WEIGHT",
    help="Of the genomes with one model size, in the fitness.",
)
@click.option(
    "--worst",
    type=float,
    default=0.25,
    show_default=True,
    metavar="WEIGHT",
    help="Of the table with the least fitness, beside the mean.",
)
@click.option(
    "--diversity/--no-diversity",
    default=True,
    help="A random newcomer competes with every offspring.",
)
@click.option("--prioritise/--no-prioritise", default=True, help="Draw operations by priority.")
@click.option("--screening/--no-screening", default=True, help="Stop what need not be scored.")
@click.option("--all-rows", is_flag=True, help="Hold no half of the tables out.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--resume", is_flag=True, help="Go on with the search in that folder.")
@click.option("--out", metavar="FOLDER", help="Where to write; runs/proxy-METHOD-TABLES.")
def proxy_search(out: str | None, resume: bool, **options: Any) -> None:
    """Search a formula that ranks the genomes of tables by their accuracy.

    One half of each table is searched on, the other judges what was found. Kill it at any time:
    with --resume the same search goes on, to the same end.
    """
    from .proxies import print_search, progress_of_proxies, run_search

    with progress_of_proxies() as (say, tell):
        found = run_search(options, out, resume, say, tell)
    print_search(*found)


@proxy.command()
@click.argument("proxy")
@click.argument("genomes", nargs=-1, required=True)
@click.option("--task", help="Data set; digits-row, or the checkpoint's own.")
@click.option(
    "--checkpoint",
    metavar="NAME|FILE",
    help="Float checkpoint: a shipped one by name, or a file; the task's by default.",
)
def score(proxy: str, genomes: tuple[str, ...], task: str | None, checkpoint: str | None) -> None:
    """Rank genomes of a network, the best first."""
    from .proxies import progress_of_proxies, run_score

    with progress_of_proxies() as (say, _):
        found = run_score(proxy, genomes, checkpoint, task, say)
    for genome, value in found:
        click.echo(f"{value:<14.6g}  {genome}")


@proxy.command("eval")
@click.argument("proxy")
@click.option(
    "--table",
    multiple=True,
    metavar="NAME",
    required=True,
    help="Configurations and accuracies to judge on (may be repeated).",
)
@click.option(
    "--subset",
    default="all",
    show_default=True,
    help="all, or the genomes of equal-sum or equal-size.",
)
@click.option(
    "--passes", is_flag=True, help="Also output-kl, which runs the network for every genome."
)
@click.option("--out", metavar="FILE", help="The figures, as JSON.")
def proxy_eval(
    proxy: str, table: tuple[str, ...], subset: str, passes: bool, out: str | None
) -> None:
    """Rank correlations of a proxy on tables, beside the handcrafted ones."""
    from .proxies import print_eval, progress_of_proxies, run_eval

    with progress_of_proxies() as (say, _):
        document = run_eval(proxy, table, subset, out, passes, say)
    print_eval(document)


@proxy.command("table")
@click.argument("network")
@click.option(
    "--trained",
    type=int,
    default=0,
    show_default=True,
    help="Genomes of a GRU that are trained for as well.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--out", metavar="FILE", help="runs/table-NETWORK.npz; goes on with one begun there.")
def proxy_table(network: str, trained: int, workers: int, out: str | None) -> None:
    """Make a table: some hundred genomes of NETWORK and their validation accuracy.

    NETWORK is a GRU checkpoint, or one of the small CNNs (resnet-digits, mobilenet-mnist, ...).
    Kill it at any time: the same command goes on.
    """
    from pathlib import Path

    from .search.proxies import tables

    path = Path(out or f"runs/table-{Path(network).stem}.npz")
    with _progress() as say:
        made = tables.make(network, path, trained=trained, workers=workers, say=say)
    click.echo(f"{path}: {len(made.genomes)} genomes of {made.name}")


@proxy.command()
@click.argument("proxy", required=False)
@click.option("--graph", metavar="FILE", help="Draw it: a .svg or .dot file.")
def show(proxy: str | None, graph: str | None) -> None:
    """A proxy's formula, text and structure; without PROXY what formulas are made of."""
    from .proxies import run_show

    for heading, text in run_show(proxy, graph).items():
        click.echo(text if heading == "primitives" else f"{heading:<12} {text}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _fail(text: object, code: int) -> int:
    with suppress(OSError):
        print(f"genogate: {_one_line(text)}", file=sys.stderr, flush=True)
    return code


def _os_error(error: OSError) -> str:
    name = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{name}"


class _Terminated(BaseException):
    """A plain kill. Not SystemExit, which those who run a simulator take for its end."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _run(command: click.Command, name: str) -> int:
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message() + hint, 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except InputError as error:
        return _fail(error, 2)
    except _Terminated:
        return _fail("stopped", 143)
    except (KeyboardInterrupt, click.Abort):
        return _fail("stopped", 130)
    except BrokenPipeError:
        return 1  # the reader had enough; click and rich end so too
    except OSError as error:
        return _fail(_os_error(error), 2)
    except MemoryError:
        return _fail("not enough memory", 2)


def _single_thread() -> None:
    """One thread for every library; only before NumPy is imported does it help.

    Matrices are small here: on cores that are shared, threads of BLAS wait for each other most of
    the time, and what is independent runs in processes anyway.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def main(command: click.Command = app, name: str = "genogate") -> None:
    """Entry point: exit code 0, 1 (a check failed), 2 (bad input or environment), 130 (Ctrl-C)."""
    _single_thread()
    # A plain kill must clean up like Ctrl-C does.
    signal.signal(signal.SIGTERM, _terminate)
    code = _run(command, name)
    if code:
        # Whatever could not be printed must not make the interpreter complain at its end.
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)
