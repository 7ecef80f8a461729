"""The genome: one bit width in [2, 8] for each of the 17 operators of every GRU layer, and two for
each dense layer around them, of its weights and of its output.

The operators are those of arXiv 2402.12263, section 3 (six dense, five sum-class, three products,
three activations), in the fixed public order :data:`GENES`.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, integer_within, shown
from .files import read_json, write_json

#: Names and order of the genes of one layer. Public: never changes.
GENES = (
    "w_ir",
    "w_iz",
    "w_in",
    "w_hr",
    "w_hz",
    "w_hn",
    "s_r",
    "s_z",
    "s_n",
    "c_z",
    "s_h",
    "p_rn",
    "p_zn",
    "p_zh",
    "a_r",
    "a_z",
    "a_n",
)
#: Names of the genes of a dense layer: weights, output. In full ``front0.w``, ``back1.o``.
DENSE_GENES = ("w", "o")
#: Dense layers at most: a list of genes then says by its length how many there are.
MAX_DENSE = 8
MIN_BITS, MAX_BITS = 2, 8
#: Versions of a genome file without and with genes of dense layers.
FORMAT, VERSION, DENSE_VERSION = "genogate-genome", 1, 2


def split(count: int) -> tuple[int, int] | None:
    """Numbers of GRU layers and of dense layers of a genome of `count` genes; None where there is
    none of so many."""
    layers, more = divmod(count, len(GENES))
    return (layers, more // 2) if layers and more % len(DENSE_GENES) == 0 else None


def gene_names(layers: int, dense: Iterable[str] = ()) -> list[str]:
    """Names of all genes: ``w_ir`` or, of several layers, ``layer0.w_ir`` ..., then ``front0.w``,
    ``front0.o`` ... of the `dense` layers named."""
    names = [f"layer{k}.{gene}" if layers > 1 else gene for k in range(layers) for gene in GENES]
    return names + [f"{layer}.{gene}" for layer in dense for gene in DENSE_GENES]


@dataclass(frozen=True)
class Genome:
    """Bit widths of a network.

    Parameters
    ----------
    layers : ``layers[l][g]`` is gene ``GENES[g]`` of GRU layer ``l``
    dense : ``(weights, output)`` of every dense layer, those in front of the GRU layers first

    Raises :class:`InputError` for no layer, a layer that has not 17 genes, a dense layer that has
    not two, or a gene that is not an integer from 2 to 8.
    """

    layers: tuple[tuple[int, ...], ...]
    dense: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("genome: it has no layer, 17 genes per layer are needed")
        for index, genes in enumerate(self.layers):
            if len(genes) != len(GENES):
                raise InputError(
                    f"genome: layer {index} has {len(genes)} genes, {len(GENES)} are needed"
                )
            for position, (name, bits) in enumerate(zip(GENES, genes, strict=True)):
                where = f"gene {index * len(GENES) + position} ({name})"
                integer_within(where, bits, MIN_BITS, MAX_BITS)
        if len(self.dense) > MAX_DENSE:
            raise InputError(f"genome: {len(self.dense)} dense layers, at most {MAX_DENSE} can be")
        for index, pair in enumerate(self.dense):
            if len(pair) != len(DENSE_GENES):
                raise InputError(f"genome: dense layer {index} has {len(pair)} genes, not 2")
            for name, bits in zip(DENSE_GENES, pair, strict=True):
                integer_within(f"gene {name} of dense layer {index}", bits, MIN_BITS, MAX_BITS)

    @classmethod
    def uniform(cls, bits: int, layers: int = 1, dense: int = 0) -> "Genome":
        """The homogeneous genome: every operator of `layers` GRU and `dense` dense layers at
        `bits`."""
        return cls(((bits,) * len(GENES),) * layers, ((bits, bits),) * dense)

    @classmethod
    def from_genes(cls, genes: Iterable[Any]) -> "Genome":
        """From a flat sequence of ``17 L + 2 D`` integers (Python or NumPy) of L GRU layers and
        D <= 8 dense layers: the number tells both."""
        flat = [g.item() if hasattr(g, "item") else g for g in genes]
        counts = split(len(flat))
        if counts is None:
            raise InputError(
                f"genome: {len(flat)} genes given, {len(GENES)} per layer are needed "
                f"({' '.join(GENES)}), then 2 per dense layer"
            )
        step, start = len(GENES), counts[0] * len(GENES)
        return cls(
            tuple(tuple(flat[k : k + step]) for k in range(0, start, step)),
            tuple((flat[k], flat[k + 1]) for k in range(start, len(flat), 2)),
        )

    @property
    def genes(self) -> tuple[int, ...]:
        """All ``17 L + 2 D`` genes, layer after layer, then those of the dense layers."""
        rows = (*self.layers, *self.dense)
        return tuple(bits for row in rows for bits in row)

    def bits(self, name: str, layer: int = 0) -> int:
        """Width of operator `name` of `layer`."""
        return self.layers[layer][GENES.index(name)]

    @property
    def id(self) -> str:
        """Short stable name: ``int4`` for a homogeneous genome, else 10 hex digits of a hash."""
        if len(set(self.genes)) == 1:
            return f"int{self.genes[0]}"
        rows = [self.layers, self.dense] if self.dense else self.layers
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:10]

    def __str__(self) -> str:
        return ",".join(map(str, self.genes))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint: str | None = None,
        knobs: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the JSON genome file, atomically.

        checkpoint, knobs : what the genome was found with, for :func:`found_with`; a checkpoint
            with a relative path is one beside the file. A file elsewhere is written both ways, from
            here and from the root, so that either may be moved with what it belongs to.
        """
        origin: dict[str, Any] | None = None
        if checkpoint:
            origin = {"checkpoint": checkpoint, "knobs": dict(knobs or {})}
            if os.path.isabs(checkpoint):
                folder = Path(path).parent.resolve()
                origin |= {"checkpoint": os.path.relpath(checkpoint, folder), "path": checkpoint}
        write_json(
            path,
            {
                "format": FORMAT,
                "version": DENSE_VERSION if self.dense else VERSION,
                "order": list(GENES),
                "layers": [list(layer) for layer in self.layers],
                **({"dense": [list(pair) for pair in self.dense]} if self.dense else {}),
                **({"found_with": origin} if origin else {}),
            },
        )


def _from_document(document: Any, source: object) -> Genome:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f'{source}: not a genome file, it needs "format": "{FORMAT}"')
    version = document.get("version")
    if isinstance(version, bool) or version not in (VERSION, DENSE_VERSION):
        raise InputError(
            f"{source}: genome version {shown(version)}, "
            f"this program reads {VERSION} to {DENSE_VERSION}"
        )
    if document.get("order", list(GENES)) != list(GENES):
        raise InputError(f"{source}: gene order differs from {' '.join(GENES)}")
    layers = document.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, list) for layer in layers):
        raise InputError(f'{source}: "layers" must be a list of lists of {len(GENES)} integers')
    dense = document.get("dense", [])
    if not isinstance(dense, list) or not all(isinstance(pair, list) for pair in dense):
        raise InputError(f'{source}: "dense" must be a list of lists of 2 integers')
    try:
        return Genome(tuple(tuple(layer) for layer in layers), tuple(tuple(pair) for pair in dense))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def found_with(spec: str) -> tuple[str, dict[str, Any]] | None:
    """Checkpoint (a name, or a path that can be opened) and knobs that differ from the defaults, of
    a genome file that says with which it was found; None for anything else that names a genome.

    Raises :class:`InputError` where a genome file says it, and not as it should.
    """
    try:
        if re.fullmatch(r"\s*(int\d+|[\[\(\s]*[-+]?\d.*)", spec) or not Path(spec).is_file():
            return None
    except (OSError, ValueError):
        return None
    document = read_json(spec)
    origin = document.get("found_with") if isinstance(document, dict) else None
    if origin is None:
        return None
    checkpoint = origin.get("checkpoint") if isinstance(origin, dict) else None
    knobs = origin.get("knobs") if isinstance(origin, dict) else None
    if not isinstance(checkpoint, str) or not isinstance(knobs, dict):
        raise InputError(f'{spec}: "found_with" needs a "checkpoint" and "knobs"')
    beside, path = Path(spec).parent / checkpoint, origin.get("path")
    if Path(checkpoint).suffix and beside.exists():
        return str(beside), knobs
    return path if isinstance(path, str) else checkpoint, knobs


def parse_genome(
    text: str | os.PathLike[str] | Sequence[int] | Genome, layers: int, dense: int = 0
) -> Genome:
    """The genome of a network of `layers` GRU and `dense` dense layers from anything a user may
    give.

    `text` is ``int2`` ... ``int8`` (any number of layers), an inline list of ``17 L + 2 D``
    integers (``8,8,4,...``, brackets and spaces allowed), a JSON genome file, or a
    :class:`Genome`.
    Raises :class:`InputError`.
    """
    if isinstance(text, Genome):
        genome = text
    elif not isinstance(text, str | os.PathLike):
        genome = Genome.from_genes(text)
    else:
        spec = str(text).strip()
        if re.fullmatch(r"int\d+", spec):
            bits = int(spec[3:6])
            if not MIN_BITS <= bits <= MAX_BITS:
                raise InputError(
                    f"genome {spec[:20]}: the names are int{MIN_BITS} to int{MAX_BITS}"
                )
            genome = Genome.uniform(bits, layers, dense)
        elif re.fullmatch(r"[\[\(\s]*[-+]?\d+(?:[\s,;]+[-+]?\d+)*[\s,\]\)]*", spec):
            # Over-long digit strings exist only to break int(); three digits already say "wrong".
            genome = Genome.from_genes(int(token[:4]) for token in re.findall(r"[-+]?\d+", spec))
        elif spec.startswith("["):
            raise InputError(f"genome {spec[:60]!r}: not a list of integers")
        else:
            try:
                exists = bool(spec) and Path(spec).exists()
            except (OSError, ValueError):
                exists = False
            if not exists:
                raise InputError(
                    f"genome {spec[:80]!r}: no such file, and neither int2 ... int8 "
                    f"nor a list of {len(GENES)} integers"
                )
            genome = _from_document(read_json(spec), spec)
    if (len(genome.layers), len(genome.dense)) != (layers, dense):
        raise InputError(
            f"genome: {_counts(len(genome.layers), len(genome.dense))} given, "
            f"the network has {_counts(layers, dense)}"
        )
    return genome


def _counts(layers: int, dense: int) -> str:
    """How many layers and genes, as text."""
    text = f"{layers} layers" + (f" and {dense} dense layers" if dense else "")
    return f"{text} ({layers * len(GENES) + dense * len(DENSE_GENES)} genes)"
