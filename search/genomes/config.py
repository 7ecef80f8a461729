"""What a run of the search is a function of."""

from dataclasses import dataclass

from ...model.errors import InputError, each_once, integer_within, shown
from ...model.knobs import knob_genes
from ...synth.targets import prices
from ...synth.targets.cell_memories import check_memories
from ...synth.targets.devices import check_target
from .clocks import PERIOD, check_clock
from .evaluate import GENERIC, OBJECTIVES
from .screening import canonical

METHODS = ("nsga2", "random", "greedy")
INITIAL = ("sensitivity", "homogeneous", "random")
#: Knobs that may be genes, with the values that they then take.
KNOB_GENES = knob_genes()
#: Costs that may be limited, in their own units.
LIMITS = ("size", "cells", "memory", "cycles", "weights", *prices.UNITS)


@dataclass(frozen=True)
class Config:
    """What a run is a function of.

    objectives : two or more of :data:`~.evaluate.OBJECTIVES`
    method : ``nsga2``, or a rival at as many evaluations: ``random``, ``greedy``
        (:func:`.sensitivity.descent`)
    pop_size, generations : evaluations are at most their product, and those of `initial`
    exploit : generations of local search around the front after that
    initial : the first population: ``random``; with the ``homogeneous`` genomes (the default of the
        rivals); or these and genomes ordered by ``sensitivity``, which evaluates 102 genomes a
        layer first (the default of ``nsga2``, and for it alone)
    seed_patterns : whether genomes written by hand (:mod:`.patterns`) are up to half of the first
        population
    knob_genes : of :data:`KNOB_GENES`; the setting's knobs are what the other knobs are, and INT8
        with the setting's knobs is what everything is relative to
    checkpoints : names or files of checkpoints besides the setting's, of the same task, split and
        number of layers: of other sizes, or with other weights. Which one is a gene then; INT8 of
        the setting's is what everything is relative to
    max_drop : points of accuracy below INT8 beyond which a genome is of no use, and its hardware is
        not measured; None for no such limit
    limits : cost and greatest value, of :data:`LIMITS`
    fit : whether the network must fit the target, an FPGA: all of its resources are limits
    clock : MHz that the networks of the front must reach in their part, measured in the end
        (:mod:`.clocks`); None for no such limit
    target, memories : as in :class:`~.evaluate.Setting`; figures of a target that an objective or
        limit names must be its
    prescreen : a proxy (name or text, :mod:`genogate.search.proxies`): between two evaluations of
    `pop_size`
        genomes NSGA-II looks at `prescreen_factor` times as many by its word, put right by what is
        known (:class:`~.screening.Forecast`), and by costs that are told without running anything;
        the first population and sensitivities likewise
    proxy_only : the proxy is the accuracy objective, and no genome is run before the end; then at
        most `pop_size` of the front are evaluated, and nothing else counts
    beacons, beacon_distance : genomes to retrain at most, and the mean bits by which a genome may
        differ from one to be evaluated with its weights
    """

    objectives: tuple[str, ...] = ("accuracy", "size", "cells")
    method: str = "nsga2"
    pop_size: int = 40
    generations: int = 25
    seed: int = 0
    initial: str | None = None
    exploit: int = 0
    knob_genes: tuple[str, ...] = ()
    max_drop: float | None = 10.0
    limits: tuple[tuple[str, float], ...] = ()
    beacons: int = 0
    beacon_distance: float = 1.0
    checkpoints: tuple[str, ...] = ()
    prescreen: str | None = None
    prescreen_factor: int = 50
    proxy_only: bool = False
    seed_patterns: bool = False
    target: str = "generic"
    memories: str = "flops"
    fit: bool = False
    clock: float | None = None

    def __post_init__(self) -> None:
        if self.initial is None:
            usual = "sensitivity" if self.method == "nsga2" else "homogeneous"
            object.__setattr__(self, "initial", usual)
        self._check_target()
        for name in self.objectives:
            if name == "silicon":
                raise InputError(
                    "objective silicon: one price for all bits ranks networks wrongly, so it is "
                    "gone; um2 of --target sky130, or lut and ebr of an FPGA, have its place "
                    "(stores and reports of runs that had it are still read)"
                )
            if name not in OBJECTIVES:
                raise InputError(f"objective {shown(name)}: {', '.join(OBJECTIVES)} are known")
        if len(set(self.objectives)) != len(self.objectives) or len(self.objectives) < 2:
            raise InputError("objectives: two or more different ones are needed")
        if "accuracy" not in self.objectives:
            raise InputError("objectives: accuracy must be one of them")
        choices: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
            ("method", self.method, METHODS),
            ("initial", self.initial, INITIAL),
        )
        for what, value, allowed in choices:
            if value not in allowed:
                raise InputError(f"{what} {shown(value)}: {', '.join(allowed)} are known")
        for name, low, high in (
            ("pop_size", 4, 10_000),
            ("generations", 1, 100_000),
            ("exploit", 0, 100_000),
            ("seed", 0, 2**31 - 1),
            ("beacons", 0, 1000),
            ("prescreen_factor", 2, 10_000),
        ):
            integer_within(name, getattr(self, name), low, high)
        for name in self.knob_genes:
            if name not in KNOB_GENES:
                raise InputError(f"knob {shown(name)}: {', '.join(KNOB_GENES)} may be genes")
        each_once("knobs as genes", self.knob_genes)
        if self.initial == "sensitivity" and self.method != "nsga2":
            raise InputError(f"initial sensitivity: for nsga2, not for {self.method}")
        each_once("further checkpoints", self.checkpoints)
        if self.knob_genes and self.method == "greedy":
            raise InputError("method greedy: it has no knobs as genes")
        if self.checkpoints and self.method == "greedy":
            raise InputError("method greedy: it has no further checkpoints")
        self._check_proxy()
        for what, number in (
            ("max_drop", self.max_drop),
            ("beacon_distance", self.beacon_distance),
        ):
            if number is not None and not 0 <= number < 1e6:
                raise InputError(f"{what}: {shown(number)} is not a number from 0 up")
        for name, greatest in self.limits:
            if name not in LIMITS:
                raise InputError(f"limit {shown(name)}: {', '.join(LIMITS)} are known")
            if not greatest > 0:
                raise InputError(f"limit of {name}: {shown(greatest)} is not above 0")

    def _check_proxy(self) -> None:
        if self.prescreen is None:
            if self.proxy_only:
                raise InputError("proxy-only: --prescreen PROXY says by which proxy")
            return
        if self.method != "nsga2":
            raise InputError(f"prescreen: for method nsga2, not for {self.method}")
        # What a proxy cannot tell apart would be free for it.
        if self.knob_genes or self.checkpoints:
            raise InputError(
                "prescreen: a proxy knows the widths of one network alone; without "
                "knobs as genes and further checkpoints"
            )
        if self.proxy_only and self.beacons:
            raise InputError("proxy-only: nothing is evaluated that a beacon could help")
        object.__setattr__(self, "prescreen", canonical(self.prescreen))

    def _check_target(self) -> None:
        check_target(self.target)
        check_memories(self.target, self.memories)
        for name in (*self.objectives, *(name for name, _ in self.limits)):
            if name in prices.UNITS:
                prices.check_figure(self.target, name)
            if name == "energy" and self.memories != "flops":
                raise InputError(
                    f"objective energy: its model is of state in flip-flops, not of --memories "
                    f"{self.memories}: give --memories flops"
                )
        if self.fit:
            prices.limits(self.target)
        prices.check_prices(self.target)
        check_clock(self.clock, self.target, self.memories)

    @property
    def bounds(self) -> tuple[tuple[str, float], ...]:
        """:attr:`limits`, and those of the part where the network must fit it, and of the clock."""
        part = prices.limits(self.target).items() if self.fit else ()
        period = () if self.clock is None else ((PERIOD, 1000 / self.clock),)
        return (*self.limits, *part, *period)

    @property
    def silicon(self) -> bool:
        """Whether Yosys' generic cells are needed."""
        return bool(set(GENERIC) & {*self.objectives, *(name for name, _ in self.limits)})
