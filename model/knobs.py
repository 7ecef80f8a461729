"""Choices beside the genome that the paper leaves open; every one is explicit and recorded.

A knob is declared once, as a field of :class:`Knobs` with a :class:`Knob`: its values, its help,
what a search tries, and its short form in names of folders. Options of the commands, genes of a
search, folder names and reports are read off the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import InputError, index_within, shown


@dataclass(frozen=True)
class Knob:
    """Declaration of a knob.

    help : one sentence, for the option
    choices : the values allowed, or None for the integers `low` to `high`
    genes : the values that a search tries where the knob is a gene
    short : what stands before the value in folder names
    option : the option, and gene, that sets it; the field's name by default. Fields that share one
        are set together: ``2`` sets all of them, ``2,4`` one after the other.
    later : the knob came after the first hashes were made: at its default it is in no hash, so that
        those of before still hold
    """

    help: str
    choices: tuple[Any, ...] | None = None
    low: int = 0
    high: int = 0
    genes: tuple[Any, ...] = ()
    short: str = ""
    option: str = ""
    later: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raises :class:`InputError` for a value that is not allowed."""
        if self.choices is not None:
            if isinstance(value, bool) or value not in self.choices:
                raise InputError(f"{name}: {shown(value)} is not one of {self.choices}")
        elif type(value) is not int or not self.low <= value <= self.high:
            raise InputError(
                f"{name}: {shown(value)} is not an integer from {self.low} to {self.high}"
            )

    def parse(self, text: str) -> Any:
        """The value that `text` stands for; `text` itself where it stands for none."""
        for value in self.choices or ():
            if text == knob_text(value):
                return value
        try:
            return int(text) if self.choices is None else text
        except ValueError:
            return text


def knob_text(value: Any) -> str:
    """A knob's value as an option or a folder's name has it."""
    return "free" if value is None else str(value)


def knob(default: Any, help: str, **details: Any) -> Any:
    """A field of :class:`Knobs`."""
    return field(default=default, metadata={"knob": Knob(help, **details)})


#: What can share hardware: nothing; the gates, one of each unit; or all operators and the
#: classifier, one adder.
SHARES = ("none", "gates", "all")
#: Lanes of a shared adder.
SHARED_LANES = (1, 2, 4, 8)
#: Most registers in a multiply-accumulate.
MAX_PIPELINE = 2
#: Most products per cycle of a dense operator.
MAX_LANES = 64


@dataclass(frozen=True)
class Lanes:
    """Products per cycle of each dense operator on the input and the state side, 1 to 64.

    NumPy's integers become Python's. Raises :class:`InputError` for anything else.
    """

    x: int = 1
    h: int = 1

    def __post_init__(self) -> None:
        for side in ("x", "h"):
            lanes = index_within(f"lanes_{side}", getattr(self, side), 1, MAX_LANES)
            object.__setattr__(self, side, lanes)


#: Where weights are: constants, or memories that a port fills after reset.
WEIGHTS = ("rom", "load")


def check_share(share: str, lanes: Lanes, pipeline: int = 0) -> None:
    """Raises :class:`InputError` where hardware cannot be shared with so many lanes, or with a
    pipeline."""
    if share not in SHARES:
        raise InputError(f"share: {shown(share)} is not one of {SHARES}")
    if share == "all" and (lanes.x != lanes.h or lanes.x not in SHARED_LANES):
        raise InputError(
            f"share {share}: lanes are bits of a weight that one adder takes a cycle, "
            f"{', '.join(map(str, SHARED_LANES))}, not {lanes.x},{lanes.h}: give one of these, or "
            "--share none"
        )
    if share == "gates" and lanes.x != lanes.h:
        raise InputError(
            f"share gates: one multiply-accumulate takes inputs and states, its lanes cannot be "
            f"{lanes.x},{lanes.h}: give one number, or --share none"
        )
    if share != "none" and pipeline:
        raise InputError(
            f"pipeline {pipeline}: with share {share} each step waits for the sum of the one "
            "before: give pipeline 0, or --share none"
        )


@dataclass(frozen=True)
class Knobs:
    """Quantisation and hardware choices of a network (all layers alike).

    Parameters
    ----------
    dense_output : "gene" or "8"
        Whether a dense gene also sets the width of the operator's output code, or that is 8 bits
        (the default: the better trade of accuracy against cells and size, docs/results.md).
    granularity : "tensor" or "channel"
        One weight scale per matrix, or per output channel a power of two times the matrix scale.
    multiplier_terms : 1, 2, 3 or None
        Signed powers of two in each combined scale M (1: shift only); None: a free 16-bit M0.
    activation : "auto", "pwl" or "table"
        Piecewise-linear units, full tables, or the cheaper of those whose accuracy holds.
    entries : int
        Segments of a piecewise-linear unit, 2 to 64; ``auto`` tries other numbers besides.
    lanes_x, lanes_h : int
        Multiply-accumulates per cycle of each dense operator on the input and the state side.
    input_bits : int
        Width of the codes that the first layer gets, 1 to 8.
    share : "none", "gates" or "all"
        One unit per operator; one multiply-accumulate, requantiser, activation and multiplier for
        r, z and n after each other, with equal ``lanes`` on both sides; or one adder that does all
        of it: ``lanes`` are then bits of a weight that it takes a cycle: 1, 2, 4 or 8.
    classifier_bits : int
        Width of the classifier's weights, 2 to 8.
    pipeline : 0, 1 or 2
        Registers in each multiply-accumulate: between multiplier and adder, and between memory and
        multiplier; a higher clock for one cycle each of latency.
    head_bits : int
        Width of the codes of a network that answers real values, 2 to 8.
    weights : "rom" or "load"
        Constants of the hardware, or memories that a port fills after reset, for any weights of
        the same widths.

    Raises :class:`InputError` for anything else.
    """

    dense_output: str = knob(
        "8",
        "Bits of a dense operator's output: as its gene says, or always 8.",
        choices=("gene", "8"),
        genes=("gene", "8"),
        short="outputs-",
    )
    granularity: str = knob(
        "tensor",
        "Scales of the weights: one per matrix, or one per output channel (the matrix scale times"
        " a power of two).",
        choices=("tensor", "channel"),
        genes=("tensor", "channel"),
        short="scales-per-",
    )
    multiplier_terms: int | None = knob(
        1,
        "Number of signed powers of two that make up a requantiser's multiplier; with 1 it is a "
        "shift.",
        choices=(1, 2, 3, None),
        genes=(1, 2, 3),
        short="terms-",
    )
    activation: str = knob(
        "auto",
        "Hardware of sigmoid and tanh: piecewise linear (pwl), a table, or the cheaper one that "
        "keeps the accuracy (auto).",
        choices=("auto", "pwl", "table"),
        genes=("table", "pwl", "auto"),
    )
    entries: int = knob(
        8,
        "Segments of a piecewise-linear unit.",
        low=2,
        high=64,
        genes=(4, 6, 8, 12, 16),
        short="entries-",
    )
    lanes_x: int = knob(
        1,
        "Multiply-accumulates per cycle of a dense operator (input side, state side).",
        low=1,
        high=MAX_LANES,
        genes=(1, 2, 4, 8),
        short="lanes-",
        option="lanes",
    )
    lanes_h: int = knob(1, "", low=1, high=MAX_LANES, option="lanes")
    input_bits: int = knob(
        8,
        "Width of the network's input codes, 1 to 8.",
        low=1,
        high=8,
        genes=tuple(range(1, 9)),
        short="input-",
        later=True,
    )
    share: str = knob(
        "none",
        "Hardware to share: none, one unit of each kind for the three gates, or one serial adder "
        "for all operators and the classifier.",
        choices=SHARES,
        genes=SHARES,
        short="share-",
        later=True,
    )
    classifier_bits: int = knob(
        8,
        "Width of the classifier's weights, 2 to 8.",
        low=2,
        high=8,
        genes=tuple(range(2, 9)),
        short="classifier-",
        later=True,
    )
    pipeline: int = knob(
        0,
        "Registers in each multiply-accumulate: 1 stands after the multiplier, 2 also adds one "
        "before it.",
        low=0,
        high=MAX_PIPELINE,
        short="pipeline",
        later=True,
    )
    head_bits: int = knob(
        8,
        "Width of the output codes of a network that answers with real values, 2 to 8.",
        low=2,
        high=8,
        genes=tuple(range(2, 9)),
        short="head",
        later=True,
    )
    weights: str = knob(
        "rom",
        "Weights: constants of the hardware (rom), or loaded through a port after reset.",
        choices=WEIGHTS,
        short="weights-",
        later=True,
    )

    def __post_init__(self) -> None:
        for name, details in declared(type(self)).items():
            details.check(name, getattr(self, name))
        check_share(self.share, self.lanes, self.pipeline)

    @property
    def hardware(self) -> dict[str, Any]:
        """The choices that shape the hardware of a model, as arguments of ``Design.of``."""
        return {
            "lanes": self.lanes,
            "share": self.share,
            "pipeline": self.pipeline,
            "weights": self.weights,
        }

    @property
    def lanes(self) -> Lanes:
        """Both numbers of lanes."""
        return Lanes(self.lanes_x, self.lanes_h)

    @property
    def suffix(self) -> str:
        """What differs from the defaults, for folder names: ``""`` or e.g.
        ``-terms-2-lanes-2x4``."""
        details, usual, texts = (
            declared(type(self)),
            type(self)().option_texts(),
            self.option_texts(),
        )
        return "".join(
            f"-{details[names[0]].short}{texts[option].replace(',', 'x')}"
            for option, names in options(type(self)).items()
            if texts[option] != usual[option]
        )

    @property
    def changes(self) -> dict[str, Any]:
        """The knobs that are not at their default, in the order of the fields."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    @property
    def identity(self) -> dict[str, Any]:
        """What a hash takes of the knobs; JSON-able."""
        details, changes = declared(type(self)), self.changes
        return {n: v for n, v in asdict(self).items() if not details[n].later or n in changes}

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record of all choices."""
        return asdict(self)

    def by_option(self) -> dict[str, tuple[Any, ...]]:
        """For every option the values of its fields."""
        return {
            option: tuple(getattr(self, name) for name in names)
            for option, names in options(type(self)).items()
        }

    def option_texts(self) -> dict[str, str]:
        """What the options of a command take for these knobs: ``{"lanes": "2,4", ...}``."""
        return {
            name: ",".join(map(knob_text, values if len(set(values)) > 1 else values[:1]))
            for name, values in self.by_option().items()
        }

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Knobs:
        """The knobs of what options of a command were given; the rest is at its default."""
        details = declared(cls)
        values: dict[str, Any] = {}
        for option, names in options(cls).items():
            if option not in texts:
                continue
            parts = str(texts[option]).split(",") if len(names) > 1 else [str(texts[option])]
            parsed = [details[names[0]].parse(part) for part in parts]
            if len(parsed) not in (1, len(names)) or (
                len(names) > 1 and any(isinstance(value, str) for value in parsed)
            ):
                raise InputError(
                    f"{option}: {texts[option][:40]!r} is neither a number nor two (input,state)"
                )
            values |= dict(zip(names, parsed * (len(names) // len(parsed)), strict=True))
        return cls(**values)


def declared(knobs: type[Knobs] = Knobs) -> dict[str, Knob]:
    """Field and declaration of every knob."""
    return {f.name: f.metadata["knob"] for f in fields(knobs)}


def options(knobs: type[Knobs] = Knobs) -> dict[str, tuple[str, ...]]:
    """Option and fields that it sets, in the order of the fields."""
    names: dict[str, tuple[str, ...]] = {}
    for name, details in declared(knobs).items():
        option = details.option or name
        names[option] = (*names.get(option, ()), name)
    return names


def fields_of(values: Mapping[str, Any], knobs: type[Knobs] = Knobs) -> dict[str, Any]:
    """`values` by field where some are by option: ``{"lanes": 2}`` sets both sides."""
    by_field: dict[str, Any] = {}
    shared = options(knobs)
    for name, value in values.items():
        by_field |= dict.fromkeys(shared.get(name, (name,)), value)
    return by_field


def knob_genes(knobs: type[Knobs] = Knobs) -> dict[str, tuple[Any, ...]]:
    """The options that may be genes of a search, with the values that they then take."""
    details = declared(knobs)
    genes = {option: details[names[0]].genes for option, names in options(knobs).items()}
    return {option: values for option, values in genes.items() if values}


def check_genes(names: Sequence[str], knobs: Knobs) -> None:
    """Raises :class:`InputError` where genes of a search (see :func:`knob_genes`) could meet other
    knobs that they exclude. The lanes of a search are all possible with every `share`."""
    if "share" in names:
        lanes = Lanes() if "lanes" in names else knobs.lanes
        for share in SHARES[1:]:
            check_share(share, lanes, knobs.pipeline)
