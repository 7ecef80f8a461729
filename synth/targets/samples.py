"""Networks whose parts the models of :mod:`.prices` are fitted to, and their parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...hdl.gru.design import Design
from ...hdl.memories import CodeBuffer, WeightMemory
from ...hdl.operator import Part
from ...model import zoo
from ...model.data.tasks import load_task
from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ...model.knobs import Knobs
from ...model.quantize.calibrate import calibrate
from ...model.quantize.drafts import draft
from .. import estimate

#: Genes of the dense operators, which come first, and the gene of the state.
_DENSE, _STATE = 6, GENES.index("s_h")
#: Widths of dense genes, of the state, and of all others together, in genomes that have many parts
#: in common.
PALETTE = ((2, 4, 8), (3, 5, 8), (3, 5, 8))


@dataclass(frozen=True)
class Group:
    """Genomes of one checkpoint with one set of knobs.

    uniform : how many have every gene drawn from 2 to 8; half of these with few bits
    palette : how many have widths drawn from :data:`PALETTE`
    homogeneous : widths of those with one width
    few : how many of the genomes are for FPGAs too, where parts take more time to measure
    """

    source: str
    knobs: Knobs
    uniform: int = 0
    palette: int = 0
    homogeneous: tuple[int, ...] = ()
    few: int = 0

    @property
    def name(self) -> str:
        """For messages: checkpoint and knobs."""
        return self.source + self.knobs.suffix


FITTED: tuple[Group, ...] = (
    Group("digits-row", Knobs(), 0, 40, (2, 4, 8), few=43),
    Group("kws4", Knobs(), 0, 5, (2, 8), few=3),
    Group("digits-row", Knobs(share="all"), 0, 5, (2, 4, 8), few=4),
    Group("digits-row", Knobs(), 16, 0, (3, 5, 6, 7), few=4),
)


#: Bits and words of state memories that the fit has beside those of the networks, which have few
#: shapes, and of memories of weights that are loaded.
SHAPES = (
    *((bits, words) for bits in (2, 3, 4, 6, 8) for words in (16, 20, 56, 64, 128)),
    *((1, 256), (1, 1024), (2, 640), (4, 256), (4, 640), (13, 32), (15, 32), (17, 10), (20, 64)),
)
#: Words and bits of memories of weights that are loaded.
LOADED = ((32, 13), (64, 8), (128, 4), (128, 8), (256, 2), (256, 4), (256, 8))


def memories() -> list[Part]:
    """Memories of :data:`SHAPES` and :data:`LOADED`."""
    buffers = [CodeBuffer.part(bits=bits, lanes=1, depth=words) for bits, words in SHAPES]
    return [*buffers, *(WeightMemory.part(*shape) for shape in LOADED)]


def genomes(group: Group, seed: int = 7) -> list[Genome]:
    """The genomes of a group."""
    rng = np.random.default_rng(seed)
    layers = zoo.load(group.source).layers
    shape = (group.uniform, layers * len(GENES))
    rows = rng.integers(MIN_BITS, MAX_BITS + 1, shape)
    rows[1::2] = np.minimum(rows, rng.integers(MIN_BITS, 6, shape))[1::2]
    gene = np.arange(shape[1]) % len(GENES)
    dense, state, rest = (
        rng.choice(widths, (group.palette, count))
        for widths, count in zip(PALETTE, (shape[1], shape[1], 1), strict=True)
    )
    drawn = np.where(gene < _DENSE, dense, np.where(gene == _STATE, state, rest))
    return [
        *(Genome.uniform(bits, layers) for bits in group.homogeneous),
        *map(Genome.from_genes, np.vstack([rows, drawn])),
    ]


def designs(source: str, knobs: Knobs, sample: Sequence[Genome]) -> Iterator[Design]:
    """The designs of genomes of a checkpoint, activation units chosen by estimate."""
    checkpoint = zoo.load(source)
    task = load_task(checkpoint.info["task"], checkpoint.info.get("split_seed", 0))
    calibration = calibrate(checkpoint, task.x_calibration)
    for genome in sample:
        drafted = draft(calibration, genome, knobs)
        model = drafted.choose(estimate.cheapest(drafted.groups))
        yield Design.of(model, **knobs.hardware)


def samples(*, cells: bool) -> Iterator[tuple[str, list[Design]]]:
    """Designs by the name of their group. `cells` : for sky130"""
    for group in FITTED:
        sample = genomes(group)[: None if cells else group.few]
        if sample:
            yield group.name, list(designs(group.source, group.knobs, sample))
