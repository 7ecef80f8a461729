"""The page that a search within a budget ends with, as Markdown and HTML."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...model.data.measures import score_text, unit_of
from ...model.files import write_text
from ...model.genome import Genome
from ...synth.targets.report import NAMES
from .price import TARGET, costs_of

Rows = Sequence[Sequence[str]]
#: How the network comes to hardware.
EMIT = (
    "`genogate gru --genome best` makes its Verilog from this folder, bit for bit as it was "
    "trained."
)
FILES = (
    "The folder `best` has its Verilog, integer model, test bench and report; `genogate sim "
    "--genome search/best` holds the Verilog to the golden model."
)
HEAD = ("network", "units", "bits", "input", "classifier", "cost", "saved", "lost")


def widths(entry: Mapping[str, Any]) -> str:
    """The genes of a network: weights, sums and 1 - z, products, activations of every GRU layer,
    then weights and output of every dense layer."""
    genome = Genome.from_genes(entry["genes"])
    layers = ["".join(map(str, layer)) for layer in genome.layers]
    rows = [f"{d[:6]} {d[6:11]} {d[11:14]} {d[14:]}" for d in layers]
    return ", ".join([*rows, *(f"{weights} {output}" for weights, output in genome.dense)])


def lost(entry: Mapping[str, Any]) -> str:
    """What a network loses, with the standard error where it was trained."""
    error = entry.get("error", 0.0)
    return f"{entry['lost']:+.2f}" + (f" ± {error:.2f}" if error else "")


def spared(document: Mapping[str, Any]) -> str:
    """What a network must have beside its loss."""
    spare = document["spare"]
    if spare == 0:
        return "without regard to its standard error"
    errors = "a standard error" if spare == 1 else f"{spare:g} standard errors"
    return f"with {errors} of the difference to INT8 to spare"


def _row(name: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, ...]:
    cost, base = entry[document["cost"]], document["int8"][document["cost"]]
    return (
        name,
        str(entry["hidden"]),
        widths(entry),
        str(entry["input_bits"]),
        str(entry["classifier_bits"]),
        f"{cost:,.0f}",
        f"{100 * (1 - cost / base):.1f} %",
        lost(entry),
    )


def _score(entry: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The test score of a network."""
    if unit_of(measure := document.get("measure", "accuracy")) == "dB":
        return score_text(measure, entry["test"])
    return f"{100 * entry['test']:.2f} %"


def _test(document: Mapping[str, Any]) -> str:
    """What the test part says, where it was looked at."""
    int8, best = document["int8"], document["best"]
    if "test" not in int8:
        return "The test part was not looked at."
    if best is None:
        return f"On the test part, looked at once, INT8 has {_score(int8, document)}."
    return (
        f"On the test part, looked at once, INT8 has {_score(int8, document)} and best "
        f"{_score(best, document)}."
    )


def _epochs(document: Mapping[str, Any]) -> str:
    """How long INT8 and the best were trained."""
    text = f"INT8 was trained for {document['int8']['epochs']} epochs"
    if document["best"] is None:
        return f"{text}. "
    return (
        f"{text}, best for {document['best']['epochs']}, those of the networks whose weights it "
        "inherited among them. "
    )


def of_again(document: Mapping[str, Any]) -> str:
    """A sentence on the second trainings of a search that confirms; nothing for another one."""
    best = document["best"]
    trained = [entry for entry in document.get("finished", ()) if "again" in entry]
    if best is None or not trained:
        return ""
    unit = unit_of(document.get("measure", "accuracy"))
    if best["network"] == document["int8"]["network"]:
        return (
            f"No other of the {len(trained)} networks that were trained once more with other "
            f"random numbers, INT8 among them, was within {document['drop']:g} {unit} again. "
        )
    return (
        f"{len(trained)} networks, INT8 among them, were trained once more with other random "
        f"numbers: best is the cheapest that is within {document['drop']:g} {unit} again, and then "
        f"lost {lost(best['again'])} {unit}. "
    )


def _shared(entry: Mapping[str, Any]) -> str:
    """What its hardware shares, where that was chosen."""
    if "share" not in entry:
        return ""
    return f"Its hardware has share {entry['share']}: {entry['cycles']:,} cycles a step. "


def unit_of_cost(document: Mapping[str, Any]) -> str:
    """The unit of the cost that was made small."""
    return costs_of(document.get("target", TARGET))[document["cost"]]


def _measured(document: Mapping[str, Any]) -> list[str]:
    """A paragraph on what `best` takes of its part by synthesis, where that was measured."""
    part = document.get("measured_in")
    if part is None:
        return []
    name = part["target"]
    if "whole" not in part:
        area = part["total_um2"]
        return [f"Measured by {part['yosys']}: {area:,.0f} um^2 of {name}'s cells."]
    whole, limits = part["whole"], part["limits"]
    words = ", ".join(
        f"{whole[key]:,} of {limits[key]:,} {word}" for key, word in NAMES.items() if key in limits
    )
    fits = "it fits" if part["fits"] else "**it does not fit**: " + "; ".join(part["advice"])
    return [f"Measured for {name} ({part['part']}) by {part['yosys']}: {words}; {fits}."]


def of_floats(document: Mapping[str, Any]) -> str:
    """A sentence on the part of an experiment's budget that went to float networks; nothing for a
    search, which trains none."""
    if "float_seconds" not in document:
        return ""
    floats = document["float_seconds"]
    whole = document["budget_seconds"] + floats
    return (
        f"Another {floats / 60:.1f} of the budget's {whole / 60:.1f} minutes "
        f"({floats / whole:.0%}) went to training float networks. "
    )


def of_last(document: Mapping[str, Any]) -> str:
    """A sentence on the last trainings of a search with folds; nothing for one without."""
    if "last_seconds" not in document:
        return ""
    return (
        "Afterwards INT8 and best were trained once more, on the whole training part: "
        f"{document['last_seconds'] / 60:.1f} CPU minutes. "
    )


def _resumed(document: Mapping[str, Any]) -> tuple[str, str]:
    """How one goes on with more: beside "a larger one", and as a sentence."""
    if "float_seconds" in document:
        return "", "The same command with a larger --budget goes on."
    return " with --resume", "With --resume and a larger --budget the same search goes on."


def _parts(document: Mapping[str, Any]) -> tuple[str, list[str], Rows]:
    """Title, paragraphs, and rows of the table."""
    best, cost = document["best"], document["cost"]
    unit, points = unit_of_cost(document), unit_of(document.get("measure", "accuracy"))
    if best is None:
        first = (
            f"No network within {document['drop']:g} {points} of INT8, {spared(document)}, that "
            "keeps the limits was trained in this budget: give a larger one"
            f"{_resumed(document)[0]}, or a larger --max-drop."
        )
    else:
        saved = 100 * (1 - best[cost] / document["int8"][cost])
        first = (
            f"Build the network `best`: {best[cost]:,.0f} {unit}, {saved:.1f} % less than INT8 of "
            f"{document['int8']['hidden']} units, {lost(best)} {points} lost on validation. "
            f"{_shared(best)}"
            f"{FILES if 'cells_measured' in document else EMIT}"
        )
    spent = document["spent_seconds"] / 60
    trainings, epochs = document["trainings"], document["epochs"]
    paragraphs = [
        first,
        *_measured(document),
        f"Error: {document['validation']}. What is built is the cheapest that loses at most "
        f"{document['drop']:g} {points} {spared(document)}. {of_again(document)}{_epochs(document)}"
        f"{_test(document)}",
        f"Spent: {spent:.1f} of {document['budget_seconds'] / 60:.1f} CPU minutes, on "
        f"{trainings['full']} trainings of {epochs['full']} epochs and {trainings['short']} of "
        f"{epochs['short']} from weights of others. {of_floats(document)}{of_last(document)}"
        f"{_resumed(document)[1]}",
        *([f"Note: {document['caution']}."] if document.get("caution") else []),
    ]
    rows = [_row("INT8", document["int8"], document)]
    rows += [_row("best", best, document)] if best else []
    rows += [_row("front", entry, document) for entry in others_on_front(document)]
    return f"What to build for {document['task']}", paragraphs, rows


def others_on_front(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The front without the best, which may have been trained on all sequences and tested since."""
    best = document["best"] or {}
    fields = set(best) - {"network", "test"}
    return [e for e in document["front"] if not best or any(e.get(n) != best[n] for n in fields)]


def markdown(document: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    title, paragraphs, rows = _parts(document)
    lines = [f"# {title}", ""]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    lines += [f"Cost: {unit_of_cost(document)}.", ""]
    lines += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def page(document: Mapping[str, Any]) -> str:
    """The page as HTML that needs nothing else."""
    title, paragraphs, rows = _parts(document)

    def cells(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    body = "".join(f"<p>{html.escape(text)}</p>" for text in paragraphs)
    table = cells(HEAD, "th") + "".join(cells(row, "td") for row in rows)
    style = (
        "body{font:16px/1.5 sans-serif;max-width:52em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;"
        "text-align:right}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style><h1>{html.escape(title)}</h1>{body}<table>{table}</table></html>\n"
    )


def write_pages(folder: Path, document: Mapping[str, Any]) -> None:
    """Write ``page.md`` and ``page.html``."""
    write_text(folder / "page.md", markdown(document))
    write_text(folder / "page.html", page(document))
