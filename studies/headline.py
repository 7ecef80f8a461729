"""The front page of the results: one table per question, each with a link to its full study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genogate.model.files import read_json, write_bytes
from genogate.search.experiment.summary import Found, Network, spread

from .baselines import mean_of, right_size
from .race_tables import (
    AGAINST_HAND,
    AGAINST_RIVALS,
    BY_OTHER_RULES,
    against_hand,
    against_rivals,
    by_other_rules,
    told_before,
)
from .search import table
from .spread import with_error

Data = Mapping[str, Any]
TASKS = ("digits-row", "mnist-row", "kws4", "kws10", "mnist-pixel14", "mnist-pixel")


def _read(docs: Path, name: str) -> Data | None:
    path = docs / "data" / f"{name}.json"
    return read_json(path) if path.exists() else None


def _choice(found: Found, margin: bool) -> Network | None:
    """The smallest network within half a point of INT8, optionally with a standard error to
    spare."""
    kind = "least with an error to spare" if margin else "least"
    return found.chosen(found.document.get("choices", {}).get(kind, {}).get("size 0.5"))


def _network(units: int, bits: float) -> str:
    return f"{units} units, {bits:,.0f} bits"


def _right_sized(
    rows: Sequence[Data], task: str, size: float, spare: bool = True
) -> tuple[str, str] | None:
    """The right-sized INT8 network of a task, and how much smaller `size` is; None where it was
    not measured. With `spare`, it has a standard error to spare."""
    units = right_size(rows, task, spare=spare)
    if units is None:
        return None
    bits = mean_of(rows, task, units, "size")
    return _network(units, bits), f"{100 * (1 - size / bits):.1f} %"


def _by_mean(documents: Sequence[Data], baselines: Sequence[Data]) -> str:
    """The right-sized networks of all tasks by the mean alone, in a sentence."""
    words = []
    for document in documents:
        results = Found(document)
        choice, task = _choice(results, margin=True), results.plan["task"]
        if choice and (right := _right_sized(baselines, task, choice.mean("size") or 0, False)):
            words.append(f"`{task}` {right[0]} (ours {right[1]} smaller)")
    return "; ".join(words)


def size_table(documents: Sequence[Data], baselines: Sequence[Data] = ()) -> list[str]:
    """How much smaller than the right-sized INT8 network, and than INT8 with as many units as the
    reference, and what it costs in accuracy; also the table of the README.

    baselines : rows of the study of that name
    """
    rows = []
    for document in documents:
        found = Found(document)
        int8 = found.int8
        choice = _choice(found, margin=len(int8.seeds) > 1)
        if choice is None:
            continue
        tests = [100 * numbers["test"] for numbers in int8.seeds.values()]
        size = choice.mean("size") or 0
        right, smaller = _right_sized(baselines, found.plan["task"], size) or ("not measured", "-")
        rows.append(
            (
                f"`{found.plan['task']}`",
                f"{sum(tests) / len(tests):.2f} %",
                _network(int8.hidden, int8.mean("size") or 0),
                right,
                _network(choice.hidden, size),
                f"{spread(found.saved(choice, 'size'), 1).split(' ')[0]} %",
                smaller,
                with_error(found.drop(choice, "test")),
            )
        )
    head = (
        "task",
        "test accuracy of INT8",
        "INT8",
        "right-sized INT8",
        "ours",
        "smaller than INT8",
        "smaller than right-sized",
        "points lost on test",
    )
    return table(head, rows)


def draw_front(documents: Sequence[Data], path: Path, task: str = "kws10") -> None:
    """Size against test accuracy of everything that was trained on `task`, as SVG."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "genogate", "font.size": 10}
    )
    document = next((d for d in documents if d["plan"]["task"] == task), documents[0])
    found = Found(document)
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axes = figure.subplots()

    def point(network: Network) -> tuple[float, float] | None:
        test, size = network.mean("test"), network.mean("size")
        return None if test is None or size is None else (size / 1000, 100 * test)

    mixed = [n for n in found.trained.values() if not n.homogeneous]
    spots = [p for p in map(point, mixed) if p]
    axes.scatter(
        [x for x, _ in spots], [y for _, y in spots], s=18, color="#0072B2", label="mixed, trained"
    )
    for bits in (8, 4, 3):
        network = found.int8 if bits == 8 else found.uniform(bits)
        if network and (at := point(network)):
            axes.scatter(*at, s=60, marker="s", color="#D55E00", zorder=3)
            axes.annotate(f"INT{bits}", at, xytext=(-10, -16), textcoords="offset points")
    choice = _choice(found, margin=True)
    if choice and (at := point(choice)):
        axes.scatter(*at, s=120, facecolors="none", edgecolors="#009E73", linewidths=2, zorder=3)
        saved = found.saved(choice, "size")
        axes.annotate(
            f"chosen by validation: {sum(saved) / len(saved):.0f} % smaller than INT8",
            at,
            xytext=(12, -3),
            textcoords="offset points",
        )
    floor = max(0.0, 100 * (found.int8.mean("test") or 1) - 5)
    axes.set_ylim(bottom=floor)
    axes.set_xlabel("size of the network, kbit (weights, biases, tables)")
    axes.set_ylabel("test accuracy, %")
    axes.set_title(f"{found.plan['task']}, mean of {len(found.int8.seeds)} seeds", fontsize=10)
    axes.grid(color="#EEEEEE")
    axes.legend(frameon=False, loc="lower right")
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": "genogate"})
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, picture.getvalue())


#: Studies of the race, and what judges in each.
RACES = {"race_folds": "four folds", "race": "the validation part"}


def _race(docs: Path) -> list[str]:
    """Networks by hand and searches in silicon, at equal CPU time."""
    found = {name: data for name in RACES if (data := _read(docs, name)) and data["rows"]}
    if not found:
        return []
    lines = [
        "## Does the search win in silicon?",
        "",
        "Area in sky130 of the cheapest trained network within half a point of INT8, a standard "
        "error of the difference to spare, at equal CPU time for every contestant and seed; means "
        "over the seeds, ± one standard error. By hand: INT8, INT4 (also with 4-bit input and "
        "classifier), INT3, INT5, INT6, and 2- or 3-bit weights with 8 bits elsewhere, in every "
        "size. Judged "
        + " or ".join(f"by {RACES[name]} ([study](results/{name}.md))" for name in found)
        + ".",
        "",
    ]
    every = [
        (f"`{race['task']}`", RACES[name], rows)
        for name, data in found.items()
        for race in data["races"]
        if (rows := [row for row in data["rows"] if row["task"] == race["task"]])
    ]
    body = [row for task, judge, rows in every for row in against_hand(task, judge, rows)]
    lines += told_before(
        [{**row, "task": f"{task} by {judge}"} for task, judge, rows in every for row in rows]
    )
    lines += table(AGAINST_HAND, body)
    body = [row for task, judge, rows in every for row in by_other_rules(task, judge, rows)]
    if body:
        lines += [
            "Other rules, the same for both: cells or bits made small, or more errors to spare; "
            "and networks that are chosen by two trainings, against those by hand by one:",
            "",
            *table(BY_OTHER_RULES, body),
        ]
    body = [row for task, judge, rows in every for row in against_rivals(task, judge, rows)]
    if body:
        lines += [
            "Area below the best by hand, of this search and of its rivals; `(of 1)` or `(of 2)` "
            "where a rival ran on so many of the seeds, against the networks by hand of these (on "
            "`mnist-pixel14` with units kept, at two fifths of the learning rate):",
            "",
            *table(AGAINST_RIVALS, body),
        ]
    return lines


def _exactness(docs: Path) -> list[str]:
    data = _read(docs, "campaign")
    if not data:
        return []
    return [
        "## Does the Verilog compute what the model says?",
        "",
        f"Yes: {data['cases']} random networks, {data['codes']:,} codes compared in simulation, "
        f"{data['mismatches']} mismatches (`make campaign N={data['cases']}`; "
        "[study](results/campaign.md)).",
        "",
    ]


def _area_model(docs: Path) -> list[str]:
    from scipy.stats import spearmanr

    data = _read(docs, "search_fidelity")
    if not data:
        return []

    pairs = [(row["cells"], row["flat"]) for row in data["rows"]]
    rank = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    error = sum(a / b - 1 for a, b in pairs) / len(pairs)
    return [
        "## Is the sum of operators a fair measure of the whole design?",
        "",
        f"Over {len(pairs)} networks it ranks as flat synthesis does (Spearman {rank:.3f}) and is "
        f"{100 * error:+.1f} % off on average ([study](results/search_fidelity.md)).",
        "",
    ]


def _silicon(docs: Path) -> list[str]:
    """Area in standard cells, with an operator each or one adder for all."""
    data = _read(docs, "sharing")
    if not data:
        return []
    base = {
        row["task"]: row
        for row in data["rows"]
        if (row["genome"], row["share"]) == ("INT8", "none")
    }
    shown = [
        row
        for row in data["rows"]
        if row["lanes"] == 1 and row["genome"] != "INT4" and "older" not in row
    ]
    rows = [
        (
            f"`{row['task']}`",
            row["genome"],
            f"`{row['share']}`",
            f"{row['logic_um2']:,.0f}",
            f"{row['rom_um2']:,.0f}",
            f"{row['ram_um2']:,.0f}",
            f"{row['total_um2']:,.0f}",
            f"{100 * (1 - row['total_um2'] / base[row['task']]['total_um2']):.0f} %",
            f"{row['cycles']:,}",
        )
        for row in shown
    ]
    head = (
        "task",
        "genome",
        "share",
        "logic",
        "constants",
        "state",
        "total",
        "saved",
        "cycles/step",
    )
    return [
        "## How small in an open PDK?",
        "",
        f"Area in um^2 of {shown[0]['library']}, before placement; constants as logic, state as "
        "flip-flops. `--share all` does the work of all operators with one bit-serial adder: the "
        "same bits of result in many more cycles. The mixed genome "
        f"({data['mixed']}) was not trained for its bits here, so this table says nothing of "
        "accuracy ([study](results/sharing.md)).",
        "",
        *table(head, rows),
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _parts(docs: Path) -> list[str]:
    """Whether networks fit a small FPGA, and what a search by the wrong price costs."""
    data = _read(docs, "targets")
    if not data:
        return []
    up5k = "ice40-up5k"
    kws = {row["genome"]: row for row in data["rows"] if row["task"] == "kws10"}
    volumes = data["searches"]["volumes"]
    return [
        "## Does it fit a real part?",
        "",
        f"Ten spoken words at INT8 do not fit an iCE40UP5K: {kws['INT8'][up5k]['ebr']:.0f} of 30 "
        f"block RAMs. INT4 takes {kws['INT4'][up5k]['ebr']:.0f}, a mixed network "
        f"{kws['mixed'][up5k]['ebr']:.0f}, and both fit ([study](results/targets.md)).",
        "",
        "Searches of digits-row at equal evaluations, by cells against the price of the part: "
        + "; ".join(
            f"{100 * _mean(volumes['cells'][price]) / _mean(volumes[name][price]):.0f} % of the "
            f"hypervolume in {unit}"
            for name, price, unit in (
                ("um2", "um2", "um^2 of sky130"),
                ("LUT and block RAM", "lut", "LUTs of the iCE40UP5K"),
            )
        )
        + ".",
        "",
    ]


def headline(docs: Path, documents: Sequence[Data], pages: Mapping[str, str]) -> list[str]:
    """Lines of docs/results.md.

    documents : of the recorded experiments; pages : title of every appendix page by its name
    """
    lines = [
        "# Results",
        "",
        "One table per question; every figure comes from the numbers in `docs/data/` and the "
        "command named beside it. `make results` measures everything again (some three hours on "
        "2 cores), `make results ARGS='--only bench'` one study, `ARGS='--only none'` only writes "
        "the pages.",
        "",
    ]
    ordered = sorted(documents, key=lambda d: TASKS.index(d["plan"]["task"]))
    if ordered:
        baselines = (_read(docs, "baselines") or {"rows": ()})["rows"]
        draw_front(ordered, docs / "images" / "front.svg")
        lines += [
            "## How much smaller than INT8, at what loss?",
            "",
            "![Size against accuracy](images/front.svg)",
            "",
            *size_table(ordered, baselines),
            "Positive points are lost, negative ones gained, ± one standard error over three "
            "seeds. Ours: the smallest trained network whose validation accuracy is within half a "
            "point of INT8 with one standard error to spare (`mnist-pixel`: one seed, no margin). "
            "INT8 is quantised after training, with as many units as the float network. "
            "Right-sized INT8 has the fewest units that lose at most half a point on validation, "
            "with a standard error to spare; by the mean alone, the stricter rival, it is "
            f"{_by_mean(ordered, baselines)} ([study](results/baselines.md)). What is saved "
            "against INT8, as arXiv 2402.12263 counts, comes in part from fewer units, for which "
            "no genome is needed; the paper reports 25 to 55 %. The test part was looked at once, "
            "after the choice ([study](results/experiments.md), `make experiment TASK=kws10 "
            "ARGS=--seed-patterns`: genomes written by hand were among the first of every search).",
            "",
        ]
    lines += [*_parts(docs), *_race(docs), *_silicon(docs), *_exactness(docs), *_area_model(docs)]
    lines += ["## All studies", ""]
    lines += [f"- [{title}](results/{name}.md)" for name, title in pages.items()]
    lines.append("")
    return lines
