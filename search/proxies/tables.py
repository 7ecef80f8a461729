"""Tables of configurations and their accuracy, on which proxies are searched and judged.

The analogue of MQ-Bench-101, which is not public: for each network some hundred genomes (the widths
of all its items), each with its validation accuracy after quantisation without training, for a
part of them after training too, and again with other calibration data: what is left of a ranking
then is the most that any proxy can reach. Among the genomes are some of equal sum of bits, and some
of equal model size, on which "more bits" ranks nothing.

The files under ``data/`` are made by :func:`.gru.table.make_gru` and :func:`.cnn.table.make_cnn`,
which go on from the file itself when they were stopped.
"""

import hashlib
import io
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...model.errors import InputError
from ...model.files import read_archive, write_bytes

Array = np.ndarray
Say = Callable[[str], None]
FORMAT, VERSION = "genogate-proxy-table", 1
#: Networks of tables: shipped GRU checkpoints by name, and CNNs by architecture and data set.
GRU_NAMES = ("digits-row", "kws10", "kws4", "mnist-row")
CNN_NAMES = ("resnet-digits", "mobilenet-digits", "resnet-mnist", "mobilenet-mnist")
SUBSETS = ("all", "equal-sum", "equal-size")
#: How a genome was drawn, by the number that a table keeps.
KINDS = ("any", "around", "equal-sum", "equal-size")
#: Seconds between two writings of a table that is being made.
KEEP_EVERY = 30.0
FOLDER = Path(__file__).parent / "data"
#: The shipped tables.
NAMES = tuple(name for name in (*GRU_NAMES, *CNN_NAMES) if (FOLDER / f"{name}.npz").exists())
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
            members = self.kinds < KINDS.index("equal-sum")
        else:
            members = self.kinds == KINDS.index(which)
        if not members.any():
            raise InputError(f"table {self.name}: its subset {which} is empty")
        return np.flatnonzero(members)

    @cached_property
    def repeated(self) -> int:
        """M: how many genomes, from the first on, were judged with other calibration data."""
        return self.repeats.shape[1]

    def saved(self) -> bytes:
        """The table as a compressed ``.npz``; equal tables give equal bytes."""
        head = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "items": list(self.items),
            **self.about,
        }
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(buffer, about=np.array(json.dumps(head)), **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path, whole: bool = True) -> "Table":
        """The table in a file. Raises :class:`InputError` where it is none, or (`whole`) where
        genomes are not yet judged; of `repeats` it then gives the columns that are known."""
        arrays = read_archive(path)
        try:
            head = json.loads(str(arrays["about"]))
            if head.pop("format") != FORMAT or head.pop("version") != VERSION:
                raise ValueError("another format or version")
            name, items = str(head.pop("name")), tuple(map(str, head.pop("items")))
            table = cls(name, items, about=head, **{name: arrays[name] for name in _ARRAYS})
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not a table of configurations ({reason})") from None
        if not whole:
            return table
        if np.isnan(table.accuracy).any():
            raise InputError(f"{path}: not all of its genomes are judged yet, make it again")
        judged = ~np.isnan(table.repeats).any(0)
        count = int(judged.argmin()) if not judged.all() else len(judged)
        return replace(table, repeats=table.repeats[:, :count])


@lru_cache(maxsize=16)
def load(name: str) -> Table:
    """A shipped table by its name (:data:`NAMES`), or any by its path NAME.npz.

    Raises :class:`InputError` where there is none.
    """
    path = Path(name) if str(name).endswith(".npz") else FOLDER / f"{name}.npz"
    if name not in NAMES and path.parent == FOLDER:
        raise InputError(
            f"table {name!r:.60}: unknown, the tables are {', '.join(NAMES)}; one of your own is "
            "a file NAME.npz"
        )
    return Table.read(path)


def versions() -> dict[str, str]:
    return {"genogate": __version__, "python": platform.python_version(), "numpy": np.__version__}


def empty(
    name: str,
    items: Sequence[str],
    genomes: Array,
    kinds: Sequence[str],
    repeats: tuple[int, int],
    origin: Mapping[str, Any],
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
        origin,
    )


class Keeping:
    """A table that fills, written to its file now and then and at the end."""

    def __init__(self, path: Path, begin: Table) -> None:
        self.path, self.table = path, begin
        self._kept = time.monotonic()
        if path.exists():
            begun = Table.read(path, whole=False)
            same = begun.about == begin.about and np.array_equal(begun.genomes, begin.genomes)
            if not same or begun.repeats.shape != begin.repeats.shape:
                raise InputError(f"{path}: a table made otherwise: delete it to begin again")
            self.table = begun

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


def fingerprint(table: Table) -> str:
    """A hash of genomes and accuracies, 16 hex digits: what a study was made with."""
    digest = hashlib.sha256(table.genomes.tobytes())
    digest.update(np.ascontiguousarray(table.accuracy).tobytes())
    return digest.hexdigest()[:16]
