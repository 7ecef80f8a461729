"""Statistics of every operator of a float network, what proxies look at: made once and reused.

Each item of a genome (an operator of a GRU, a layer of a CNN) has one tensor that its width
quantises. Of a GRU's dense operators that is the weight matrix (their outputs have 8 bits, knob
``dense_output``); of all its other operators the output, at positions sampled from one batch. All
statistics of an item are of these very elements, so that formulas may combine them. They are
collected in :mod:`.collection`.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...model.errors import InputError
from ...model.files import read_archive, write_bytes
from ...synth.cache import folder

Array = np.ndarray
Say = Callable[[str], None]
FORMAT, VERSION = "genogate-proxy-statistics", 1
KINDS = ("weight", "activation", "gradient", "virtual_gradient", "hessian")
#: Further tensors that baselines need: the mean over samples of squared per-sample gradients.
MORE = ("squared_gradient",)
#: What a vector of one number for each item says; ``similarity`` has one for each pair.
VECTORS = ("eigenvalue", "trace", "fisher", "similarity", "stages", "operands")
#: Sequences or images of the batch, elements kept of a tensor, Hutchinson's probes. With ten, an
#: item's trace has a standard error of 15 to 26 % (median 21 %, the 17 items of digits-row over 60
#: probes): enough to tell items apart, whose traces there differ by up to 210 times, not to rank
#: those that are near to each other. Half the error would take four times the probes.
BATCH, KEPT, PROBES = 64, 4096, 10
#: In ``operands``: a multiplication's factor that is no item has 8 bits; -2: the item's own.
FIXED, OWN = -1, -2


@dataclass(frozen=True)
class Statistics:
    """Statistics of all L items of a network.

    Parameters
    ----------
    names : items, in the order of a genome
    widths : the widths that an item may have, ascending
    tensors : for each of :data:`KINDS` and :data:`MORE` a float64 array [rows, columns] of each
        item; rows are outputs or channels. ``weight`` is the quantised tensor itself (of an
        operator without weights, its output), ``activation`` the output, with columns of its own
        where the item has weights; all others have the shape of ``weight``
    errors : for each item, by width, what quantisation adds to ``weight``
    elements : int64 [L], elements of the quantised tensor: weights, or values of a time step
    counts : int64 [L], elements of all that ``weight`` was sampled from, batch and steps included
    macs : int64 [L], multiplications, of a time step or of an image
    parameters : int64 [L], weights that are stored; 0 where the item has none
    vectors : by name (:data:`VECTORS`): ``eigenvalue`` and ``trace`` of the item's block of the
        Hessian; ``fisher``, half the mean square of each channel's sum of output times gradient,
        summed over channels; ``similarity`` [L, L], linear CKA of outputs over the batch;
        ``stages``, the part of the network, counted from 0; ``operands`` int64 [L, 2], the items
        that give the two factors of its multiplications their widths, :data:`FIXED`, :data:`OWN`
    about : JSON-able provenance

    Raises :class:`InputError` where the parts do not fit together.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    tensors: Mapping[str, tuple[Array, ...]]
    errors: tuple[Mapping[int, Array], ...]
    elements: Array
    counts: Array
    macs: Array
    parameters: Array
    vectors: Mapping[str, Array]
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.names)
        for kind in (*KINDS, *MORE):
            if len(self.tensors.get(kind, ())) != count:
                raise InputError(f"statistics: {kind} is not one tensor for each of {count} items")
        for kind in (*KINDS[2:], *MORE):
            for name, array, weight in zip(
                self.names, self.tensors[kind], self.tensors["weight"], strict=True
            ):
                if array.shape != weight.shape:
                    raise InputError(
                        f"statistics: {kind} of {name} is {array.shape}, its weight {weight.shape}"
                    )
        for name, errors in zip(self.names, self.errors, strict=True):
            if tuple(sorted(errors)) != self.widths:
                raise InputError(f"statistics: {name} has errors of other widths")

    @property
    def hash(self) -> str:
        """SHA-256, 16 hex digits, over all numbers."""
        digest = hashlib.sha256()
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def _arrays(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {
            name: getattr(self, name) for name in ("elements", "counts", "macs", "parameters")
        }
        arrays |= {f"vector.{name}": value for name, value in self.vectors.items()}
        for kind, tensors in self.tensors.items():
            for item, array in enumerate(tensors):
                arrays[f"{kind}.{item}"] = array.astype(np.float32)
        for item, errors in enumerate(self.errors):
            for bits, array in errors.items():
                arrays[f"error{bits}.{item}"] = array.astype(np.float32)
        return arrays

    def saved(self) -> bytes:
        """As an ``.npz`` file; equal statistics give equal bytes."""
        head = {
            "format": FORMAT,
            "version": VERSION,
            "names": self.names,
            "widths": self.widths,
            "about": self.about,
        }
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"about": np.array(json.dumps(head)), **self._arrays()}
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        write_bytes(path, self.saved())

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what :meth:`save` wrote. Raises :class:`InputError` for anything else."""
        arrays = read_archive(path)
        try:
            head = json.loads(str(arrays.pop("about")))
            if (head["format"], head["version"]) != (FORMAT, VERSION):
                raise ValueError("another format or version")
            names, widths = tuple(head["names"]), tuple(head["widths"])
            items = range(len(names))
            tensors = {
                kind: tuple(arrays[f"{kind}.{k}"].astype(np.float64) for k in items)
                for kind in (*KINDS, *MORE)
            }
            errors = tuple(
                {bits: arrays[f"error{bits}.{k}"].astype(np.float64) for bits in widths}
                for k in items
            )
            vectors = {
                name.removeprefix("vector."): value
                for name, value in arrays.items()
                if name.startswith("vector.")
            }
            return cls(
                names,
                widths,
                tensors,
                errors,
                arrays["elements"],
                arrays["counts"],
                arrays["macs"],
                arrays["parameters"],
                vectors,
                head["about"],
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not statistics of a network ({reason})") from None


def cached(key: Sequence[Any], make: Callable[[], Statistics]) -> Statistics:
    """The statistics in the cache (``$GENOGATE_CACHE``) under a key, or made and put there."""
    text = json.dumps([FORMAT, VERSION, PROBES, KEPT, *key])
    path = folder() / "statistics" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"
    if path.exists():
        with contextlib.suppress(InputError):
            return Statistics.load(path)
    statistics = make()
    # Where the folder cannot be written nothing is kept, and nothing else fails.
    with contextlib.suppress(InputError):
        statistics.save(path)
    return statistics
