"""A trained CNN as it is stored: weights and biases by layer."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ....model.aliases import Array
from ....model.errors import InputError
from ....model.files import read_archive
from ..tables import FOLDER
from .layers import layers

FORMAT, VERSION = "genogate-proxy-cnn", 1


@dataclass(frozen=True)
class Net:
    """A trained network, batch normalisation folded.

    weights, biases : by layer, float32 (values of float16, as they are stored)
    about : JSON-able: how it was trained, and its validation accuracy
    """

    name: str
    weights: Mapping[str, Array]
    biases: Mapping[str, Array]
    about: Mapping[str, Any]

    @property
    def hash(self) -> str:
        digest = hashlib.sha256()
        for shape in layers(self.name):
            for part in (self.weights, self.biases):
                digest.update(np.ascontiguousarray(part[shape.name], "<f4").tobytes())
        return digest.hexdigest()[:16]

    def saved(self) -> bytes:
        arrays: dict[str, Any] = {}
        for shape in layers(self.name):
            arrays[f"{shape.name}.weight"] = self.weights[shape.name].astype(np.float16)
            arrays[f"{shape.name}.bias"] = self.biases[shape.name].astype(np.float16)
        head = {"format": FORMAT, "version": VERSION, "name": self.name, **self.about}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.array(json.dumps(head)), **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> "Net":
        """Raises :class:`InputError` where the file is none of :meth:`saved`."""
        arrays = read_archive(path)
        try:
            head = json.loads(str(arrays["about"]))
            if (head.pop("format"), head.pop("version")) != (FORMAT, VERSION):
                raise ValueError("another format or version")
            name = head.pop("name")
            weights, biases = {}, {}
            for shape in layers(name):
                weights[shape.name] = arrays[f"{shape.name}.weight"].astype(np.float32)
                biases[shape.name] = arrays[f"{shape.name}.bias"].astype(np.float32)
                if weights[shape.name].shape != shape.weight_shape:
                    raise ValueError(f"{shape.name} has another shape")
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not a small CNN ({reason})") from None
        return cls(name, weights, biases, head)


@lru_cache(maxsize=8)
def load(name: str) -> Net:
    """A shipped network by its name. Raises :class:`InputError` for an unknown one."""
    layers(name)
    return Net.read(FOLDER / f"net-{name}.npz")
