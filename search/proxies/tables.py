"""Tables of configurations and their accuracy, on which proxies are searched and judged.

The analogue of MQ-Bench-101, which is not public: for each network some hundred genomes (the widths
of all its items), each with its validation accuracy after quantisation without training, for a
part of them after training too, and again with other calibration data: what is left of a ranking
then is the most that any proxy can reach. Among the genomes are some of equal sum of bits, and some
of equal model size, on which "more bits" ranks nothing.

The files under ``data/`` are made by :func:`make_gru` and :func:`.cnn.make`. Both keep what is
known in the file itself, so that a run that was stopped goes on.
"""

import hashlib
import io
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...model import zoo
from ...model.checkpoints.floating import Checkpoint
from ...model.data.tasks import Task, load_task
from ...model.errors import InputError
from ...model.files import read_archive, write_bytes
from ...model.genome import GENES, MAX_BITS, MIN_BITS, Genome
from ...model.knobs import Knobs
from ...model.quantize.calibrate import Calibration, calibrate
from ...model.quantize.quantize import draft, without_synthesis
from ..genomes.evaluate import SMALL, accuracy, shifted
from ..pool.backends import Pool

Array = np.ndarray
Say = Callable[[str], None]
FORMAT, VERSION = "genogate-proxy-table", 1
#: Networks of tables: shipped GRU checkpoints by name, and CNNs by architecture and data set.
GRU_NAMES = ("digits-row", "kws10", "kws4", "mnist-row")
CNN_NAMES = ("resnet-digits", "mobilenet-digits", "resnet-mnist", "mobilenet-mnist")
SUBSETS = ("all", "equal-sum", "equal-size")
#: How a genome was drawn, by the number that a table keeps.
KINDS = ("any", "around", "equal-sum", "equal-size")
#: Sequences that a GRU's genome is judged by, at most.
JUDGED = 2000
#: Relative reach of the sizes of the subset of equal size.
SAME_SIZE = 0.005
#: Genomes that are judged by one calibration before the next one's turn.
TOGETHER = 50
#: Of training for a genome.
EPOCHS = 8
#: Seconds between two writings of a table that is being made.
KEEP_EVERY = 30.0
#: Activation units are tables, so that no figure depends on the choice of piecewise-linear ones.
KNOBS = Knobs(activation="table")
_FOLDER = Path(__file__).parent / "data"
#: The shipped tables.
NAMES = tuple(name for name in (*GRU_NAMES, *CNN_NAMES) if (_FOLDER / f"{name}.npz").exists())
_ARRAYS = ("genomes", "kinds", "accuracy", "sizes", "trained", "repeats")


@dataclass(frozen=True)
class Table:
    """Configurations of one network, and what they are worth.

    name : of the network
    items : names of the L genes or layers, in the order of a genome
    genomes : uint8 [N, L], bit widths
    kinds : uint8 [N], indices into :data:`KINDS`
    accuracy : float64 [N], share of right classes of the validation part, quantised after training
    sizes : int64 [N], bits of all parameters
    trained : float64 [N], accuracy after training for the genome, NaN where that was not done
    repeats : float64 [R, M], accuracy of the first M genomes with R other draws of calibration data
    about : JSON-able: seeds, versions, hash of the network, how it was made

    Raises :class:`InputError` for arrays that do not fit together.
    """

    name: str
    items: tuple[str, ...]
    genomes: Array
    kinds: Array
    accuracy: Array
    sizes: Array
    trained: Array
    repeats: Array
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.genomes)
        if self.genomes.shape != (count, len(self.items)) or self.genomes.dtype != np.uint8:
            raise InputError(
                f"table {self.name}: genomes of shape {self.genomes.shape} and type "
                f"{self.genomes.dtype}, uint8 [N, {len(self.items)}] are needed"
            )
        for name in ("kinds", "accuracy", "sizes", "trained"):
            if getattr(self, name).shape != (count,):
                raise InputError(f"table {self.name}: {name} is not one number for each genome")
        if self.repeats.ndim != 2 or self.repeats.shape[1] > count:
            raise InputError(f"table {self.name}: repeats are not of the first of its genomes")

    def subset(self, which: str = "all") -> Array:
        """Indices of the genomes of a subset, int64.

        ``all``: every genome that was drawn without such a wish; ``equal-sum``: those of one sum of
        bits; ``equal-size``: those of one sum of weight bits, and of one size within 0.5 %.
        Raises :class:`InputError` for another name, or where there are none.
        """
        if which not in SUBSETS:
            raise InputError(f"subset {which!r:.40}: the subsets are {', '.join(SUBSETS)}")
        if which == "all":
            wanted = self.kinds < KINDS.index("equal-sum")
        else:
            wanted = self.kinds == KINDS.index(which)
        if not wanted.any():
            raise InputError(f"table {self.name}: its subset {which} is empty")
        return np.flatnonzero(wanted)

    @cached_property
    def repeated(self) -> int:
        """M: how many genomes, from the first on, were judged with other calibration data."""
        return self.repeats.shape[1]

    def saved(self) -> bytes:
        """The table as a compressed ``.npz``; equal tables give equal bytes."""
        about = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "items": list(self.items),
            **self.about,
        }
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path, whole: bool = True) -> "Table":
        """The table in a file. Raises :class:`InputError` where it is none, or (`whole`) where
        genomes are not yet judged; of `repeats` it then gives the columns that are known."""
        arrays = read_archive(path)
        try:
            about = json.loads(str(arrays["about"]))
            if about.pop("format") != FORMAT or about.pop("version") != VERSION:
                raise ValueError("another format or version")
            name, items = str(about.pop("name")), tuple(map(str, about.pop("items")))
            found = cls(name, items, about=about, **{name: arrays[name] for name in _ARRAYS})
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not a table of configurations ({reason})") from None
        if not whole:
            return found
        if np.isnan(found.accuracy).any():
            raise InputError(f"{path}: not all of its genomes are judged yet, make it again")
        known = ~np.isnan(found.repeats).any(0)
        count = int(known.argmin()) if not known.all() else len(known)
        return replace(found, repeats=found.repeats[:, :count])


@lru_cache(maxsize=16)
def load(name: str) -> Table:
    """A shipped table by its name (:data:`NAMES`), or any by its path NAME.npz.

    Raises :class:`InputError` where there is none.
    """
    path = Path(name) if str(name).endswith(".npz") else _FOLDER / f"{name}.npz"
    if name not in NAMES and path.parent == _FOLDER:
        raise InputError(
            f"table {name!r:.60}: unknown, the tables are {', '.join(NAMES)}; one of your own is "
            "a file NAME.npz"
        )
    return Table.read(path)


@dataclass(frozen=True)
class Draws:
    """How many genomes of each kind a table gets, and the seed of all of them.

    any : every width alike likely, all items independent
    around : a width, uniform, and every item up to 2 bits from it
    equal_sum : uniform among the genomes with the mean width in the middle
    equal_size : weight bits all of one sum, everything else as in `any`
    """

    any: int = 220
    around: int = 180
    equal_sum: int = 140
    equal_size: int = 140
    seed: int = 2307

    @property
    def counts(self) -> dict[str, int]:
        counts = (self.any, self.around, self.equal_sum, self.equal_size)
        return dict(zip(KINDS, counts, strict=True))


def draw_any(draw: np.random.Generator, widths: Array, items: int) -> Array:
    """Widths [items], each of `widths` alike likely."""
    return draw.choice(widths, items)


def draw_around(draw: np.random.Generator, widths: Array, items: int, reach: int = 2) -> Array:
    """Widths up to `reach` places from one that is drawn first."""
    centre = draw.integers(len(widths))
    places = centre + draw.integers(-reach, reach + 1, items)
    return widths[np.clip(places, 0, len(widths) - 1)]


def draw_weighted(
    draw: np.random.Generator,
    widths: Array,
    weights: Array,
    target: int,
    reach: float = 0.0,
    attempts: int = 200_000,
) -> Array:
    """Uniform widths under the condition that ``weights @ widths`` is `target`, within a relative
    `reach`. Raises :class:`InputError` where `attempts` draws bring none."""
    step = 1000
    for _ in range(0, attempts, step):
        tried = draw.choice(widths, (step, len(weights)))
        fits = np.flatnonzero(np.abs(tried @ weights - target) <= reach * target)
        if len(fits):
            return tried[fits[0]]
    raise InputError(f"no widths with a sum of {target} found in {attempts} draws")


def interleaved(kinds: Mapping[str, int]) -> list[str]:
    """The kinds in an order in which all of them are spread evenly."""
    places = [((k + 0.5) / count, kind) for kind, count in kinds.items() for k in range(count)]
    return [kind for _, kind in sorted(places)]


def versions() -> dict[str, str]:
    return {"genogate": __version__, "python": platform.python_version(), "numpy": np.__version__}


def empty(
    name: str,
    items: Sequence[str],
    genomes: Array,
    kinds: Sequence[str],
    repeats: tuple[int, int],
    about: Mapping[str, Any],
) -> Table:
    """A table that knows its genomes and nothing else."""
    unknown = np.full(len(genomes), np.nan)
    return Table(
        name,
        tuple(items),
        genomes.astype(np.uint8),
        np.array([KINDS.index(kind) for kind in kinds], np.uint8),
        unknown,
        np.zeros(len(genomes), np.int64),
        unknown.copy(),
        np.full(repeats, np.nan),
        about,
    )


class Keeping:
    """A table that fills, written to its file now and then and at the end."""

    def __init__(self, path: Path, begin: Table) -> None:
        self.path, self.table = path, begin
        self._kept = time.monotonic()
        if path.exists():
            found = Table.read(path, whole=False)
            same = found.about == begin.about and np.array_equal(found.genomes, begin.genomes)
            if not same or found.repeats.shape != begin.repeats.shape:
                raise InputError(f"{path}: a table made otherwise: delete it to begin again")
            self.table = found

    def __enter__(self) -> "Keeping":
        return self

    def __exit__(self, *unused: object) -> None:
        self.keep()

    def keep(self) -> None:
        write_bytes(self.path, self.table.saved())
        self._kept = time.monotonic()

    def now_and_then(self) -> None:
        if time.monotonic() - self._kept > KEEP_EVERY:
            self.keep()


@dataclass(frozen=True)
class Material:
    """A shipped GRU with its data, calibrated; `x` and `y` are what genomes are judged by."""

    task: Task
    checkpoint: Checkpoint
    calibration: Calibration
    x: Array
    y: Array


def calibration_draw(task: Task, number: int) -> Array:
    """Sequences that calibration `number` looks at: 0 is the task's own; any other is drawn from
    the training part with that seed, as many, and at most half of it."""
    if number == 0:
        return task.x_calibration
    count = min(len(task.x_calibration), len(task.x_train) // 2)
    order = np.random.default_rng([number, 101]).permutation(len(task.x_train))
    return task.x_train[np.sort(order[:count])]


@lru_cache(maxsize=4)
def material(name: str, number: int = 0) -> Material:
    """A shipped GRU by its name, calibrated on draw `number` (:func:`calibration_draw`)."""
    checkpoint = zoo.load(name)
    info = checkpoint.info
    task = load_task(info.get("task", "digits-row"), info.get("split_seed", 0))
    x, y = shifted(task) if len(task.y_val) < SMALL else (task.x_val, task.y_val)
    chosen = np.linspace(0, len(y) - 1, min(JUDGED, len(y))).astype(np.int64)
    calibration = calibrate(checkpoint, calibration_draw(task, number))
    return Material(task, checkpoint, calibration, x[chosen], y[chosen])


def judge(name: str, number: int, genes: Sequence[int]) -> tuple[float, int]:
    """Validation accuracy and size in bits of a genome of the shipped GRU `name`, with calibration
    data `number` (:func:`calibration_draw`)."""
    of = material(name, number)
    made = draft(of.calibration, Genome.from_genes(genes), KNOBS)
    model = made.choose(without_synthesis(made.groups))
    return accuracy(model, of.x, of.y), model.size_bits


def _judge(case: tuple[str, int, tuple[int, ...]]) -> tuple[float, int]:
    from threadpoolctl import threadpool_limits

    # Small products on many threads wait for one another more than they work.
    with threadpool_limits(1):
        return judge(*case)


def _trained(epochs: int, case: tuple[str, tuple[int, ...]]) -> float:
    """Validation accuracy after a short training for the genome; the last epoch is kept where none
    was better, so this is a little above what the validation part would say of an unseen network.
    """
    from threadpoolctl import threadpool_limits

    from ...model.qat.tune import Tuning, tune

    name, genes = case
    of = material(name, 0)
    with threadpool_limits(1):
        tuned = tune(
            of.task,
            of.checkpoint,
            Genome.from_genes(genes),
            KNOBS,
            Tuning(epochs=epochs),
            calibration=of.calibration,
        )
        return accuracy(tuned.model, of.x, of.y)


def draw_gru(name: str, draws: Draws) -> tuple[Array, list[str]]:
    """Genomes uint8 [N, 17 L] of the shipped GRU `name`, and their kinds."""
    of = material(name, 0)
    layers = of.checkpoint.layers
    items = layers * len(GENES)
    widths = np.arange(MIN_BITS, MAX_BITS + 1)
    weights = np.zeros(items, np.int64)
    for layer in range(layers):
        for place, gene in enumerate(GENES[:6]):
            matrix, _ = of.checkpoint.operator(layer, gene)
            weights[layer * len(GENES) + place] = matrix.size
    middle = (MIN_BITS + MAX_BITS) // 2
    # A layer's mean dense width is the middle one: as many bits as INT5 has.
    target = middle * int(weights.sum())
    size = _judge((name, 0, (middle,) * items))[1]
    kinds = interleaved(draws.counts)
    seen: set[tuple[int, ...]] = set()
    rows: list[Array] = []
    streams = {kind: np.random.default_rng([draws.seed, k]) for k, kind in enumerate(KINDS)}
    for kind in kinds:
        while True:
            draw = streams[kind]
            if kind == "any":
                row = draw_any(draw, widths, items)
            elif kind == "around":
                row = draw_around(draw, widths, items)
            elif kind == "equal-sum":
                row = draw_weighted(draw, widths, np.ones(items, np.int64), middle * items)
            else:
                row = draw_weighted(draw, widths, weights, target)
                made = draft(of.calibration, Genome.from_genes(row), KNOBS)
                actual = made.choose(without_synthesis(made.groups)).size_bits
                if abs(actual - size) > SAME_SIZE * size:
                    continue
            if tuple(row) not in seen:
                break
        seen.add(tuple(row))
        rows.append(row)
    return np.array(rows, np.uint8), kinds


def make_gru(
    name: str,
    path: Path | None = None,
    *,
    draws: Draws | None = None,
    repeats: int = 3,
    repeated: int = 200,
    trained: int = 0,
    epochs: int | None = None,
    workers: int = 1,
    say: Say = lambda text: None,
) -> Table:
    """Make the table of a shipped GRU, or go on with one that was begun.

    repeats, repeated : other calibrations, and how many genomes are judged by each
    trained, epochs : how many genomes are also trained for, and for how long: what `path` has, or
        :data:`EPOCHS`

    Raises :class:`InputError` where `path` holds a table that was made otherwise.
    """
    draws = draws or Draws()
    path = path or _FOLDER / f"{name}.npz"
    of = material(name, 0)
    layers = of.checkpoint.layers
    items = [
        gene if layers == 1 else f"{layer}.{gene}" for layer in range(layers) for gene in GENES
    ]
    about: dict[str, Any] = {
        "network": "gru",
        "checkpoint": name,
        "checkpoint_hash": of.checkpoint.hash,
        "task": of.task.name,
        "split_hash": of.task.split_hash,
        "draws": draws.counts,
        "seed": draws.seed,
        "knobs": KNOBS.to_json(),
        "judged_on": len(of.y),
        "versions": versions(),
        "epochs": EPOCHS if epochs is None else epochs,
        "calibrations": "0: the task's; 1 ...: drawn from the training part with that seed",
    }
    if path.exists():
        known = Table.read(path, whole=False)
        genomes, kinds = known.genomes, interleaved(draws.counts)
        if epochs is None:
            about["epochs"] = known.about.get("epochs", EPOCHS)
    else:
        say(f"{name}: drawing genomes")
        genomes, kinds = draw_gru(name, draws)
    begin = empty(name, items, genomes, kinds, (repeats, min(repeated, len(genomes))), about)
    with (
        Keeping(path, begin) as kept,
        Pool("processes" if workers > 1 else "serial", workers, timeout=3600) as pool,
    ):
        table = kept.table
        missing = np.flatnonzero(np.isnan(table.accuracy))
        cases = [(name, 0, tuple(map(int, table.genomes[k]))) for k in missing]
        for done, (index, found) in enumerate(pool.map(_judge, cases), 1):
            table.accuracy[missing[index]], table.sizes[missing[index]] = found
            say(f"{name}: {done} of {len(cases)} genomes")
            kept.now_and_then()
        # All calibrations of some genomes before the next, so that a part of it is of use.
        places = [
            (row, k)
            for start in range(0, table.repeats.shape[1], TOGETHER)
            for row in range(repeats)
            for k in range(start, min(start + TOGETHER, table.repeats.shape[1]))
            if np.isnan(table.repeats[row, k])
        ]
        cases = [(name, row + 1, tuple(map(int, table.genomes[k]))) for row, k in places]
        for done, (index, found) in enumerate(pool.map(_judge, cases), 1):
            table.repeats[places[index]] = found[0]
            say(f"{name}: other calibrations: {done} of {len(cases)}")
            kept.now_and_then()
        missing = np.flatnonzero(np.isnan(table.trained[:trained]))
        jobs = [(name, tuple(map(int, table.genomes[k]))) for k in missing]
        train = partial(_trained, about["epochs"])
        for done, (index, share) in enumerate(pool.map(train, jobs), 1):
            table.trained[missing[index]] = share
            say(f"{name}: {done} of {len(jobs)} genomes trained for")
            kept.now_and_then()
    return kept.table


def make(
    name: str, path: Path, *, trained: int = 0, workers: int = 1, say: Say = lambda text: None
) -> Table:
    """Make the table of a network, or go on with one that was begun in the file `path`.

    name : a GRU checkpoint, or a CNN of :data:`CNN_NAMES`
    trained : genomes of a GRU that are trained for as well

    Raises :class:`InputError` for an unknown name, or a file with a table that was made otherwise.
    """
    if path.suffix != ".npz":
        raise InputError(f"{path}: a table is a file NAME.npz")
    if name in CNN_NAMES:
        from . import cnn

        if trained:
            raise InputError("trained: only for the genomes of a GRU")
        return cnn.make(name, path, workers=workers, say=say)
    if trained < 0:
        raise InputError(f"trained: {trained} is not 0 or more")
    return make_gru(name, path, trained=trained, workers=workers, say=say)


def fingerprint(table: Table) -> str:
    """A hash of genomes and accuracies, 16 hex digits: what a study was made with."""
    digest = hashlib.sha256(table.genomes.tobytes())
    digest.update(np.ascontiguousarray(table.accuracy).tobytes())
    return digest.hexdigest()[:16]
