"""Candidates as rows of integers, which the strategies work on, and back."""

from functools import cached_property
from typing import Any

import numpy as np

from ...model.genome import DENSE_GENES, GENES, MAX_BITS, MIN_BITS, Genome
from .candidate import CHECKPOINT, Candidate
from .config import KNOB_GENES, Config
from .evaluate import Setting
from .exploit import Space
from .pareto import Array


class Encoding:
    """Rows of variables: the genes of every layer, then an index for each choice of a knob.

    setting : what candidates differ from; config : which knobs and checkpoints are genes
    layers, dense : numbers of GRU and dense layers
    """

    def __init__(self, setting: Setting, config: Config, layers: int, dense: int = 0) -> None:
        self.setting, self.config, self.layers, self.dense = setting, config, layers, dense

    @property
    def genes(self) -> int:
        """Number of genes: those of GRU layers, then those of dense layers."""
        return len(GENES) * self.layers + len(DENSE_GENES) * self.dense

    @cached_property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The values of what may differ besides the genes; of checkpoints the setting's first."""
        values = {name: KNOB_GENES[name] for name in self.config.knob_genes}
        if self.config.checkpoints:
            values[CHECKPOINT] = (self.setting.checkpoint, *self.config.checkpoints)
        return values

    @cached_property
    def space(self) -> Space:
        """Variables: the genes in bits, then an index for each of :attr:`choices`."""
        genes = self.genes
        choices = [len(values) - 1 for values in self.choices.values()]
        return Space(
            np.array([MIN_BITS] * genes + [0] * len(choices)),
            np.array([MAX_BITS] * genes + choices),
            tuple(genes + k for k, name in enumerate(self.choices) if name == CHECKPOINT),
        )

    def decode(self, row: Array) -> Candidate:
        """The candidate of a row of variables (:attr:`space`)."""
        genes = self.genes
        choices = zip(self.choices.items(), row[genes:], strict=True)
        values = {name: of[int(index)] for (name, of), index in choices}
        default = {
            name: values[0] if len(set(values)) == 1 else None
            for name, values in self.setting.knobs.by_option().items()
        } | {CHECKPOINT: self.setting.checkpoint}
        # What is as in the setting is no difference, so that INT8 is one point and not several.
        knobs = tuple(
            (name, values[name])
            for name in (*KNOB_GENES, CHECKPOINT)
            if name in values and values[name] != default[name]
        )
        return Candidate(Genome.from_genes(int(g) for g in row[:genes]), knobs)

    def encode(self, candidate: Candidate) -> Array:
        """The row of variables of a candidate; a knob value that is no choice becomes the first."""
        values = {
            **{name: values[0] for name, values in self.setting.knobs.by_option().items()},
            CHECKPOINT: self.setting.checkpoint,
            **dict(candidate.knobs),
        }
        indices = [
            of.index(values[name]) if values[name] in of else 0 for name, of in self.choices.items()
        ]
        return np.array([*candidate.genome.genes, *indices])
