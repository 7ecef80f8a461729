"""A whole network in integers, its hash and its file."""

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError, integer_within, shown
from ..files import read_tensors, write_tensors
from ..genome import GENES, Genome
from ..head import Head
from .codes import MAX_OCTAVES, MAX_ZERO, check_scale, code_range
from .consistency import check_genes, check_head, check_series
from .layer import SCHEDULE, Layer
from .operators import Classifier, Operator
from .stages import DenseLayer, OutputStage
from .storage import (
    info_hash,
    pack,
    pack_dense_layer,
    pack_layer,
    pack_stage,
    unpack,
    unpack_dense_layer,
    unpack_layer,
    unpack_stage,
)

KIND, VERSION = "genogate-integer-model", 4
#: Version of the file, and of what the hash covers, of networks without dense layers and given
#: initial states: so those keep their bytes.
PLAIN_VERSION, DENSE_VERSION = 3, 3
#: Versions of what :attr:`IntModel.hash` covers, of networks that give the class after the last
#: step and of others: so a network keeps its hash. Files of these versions have no ``info_hash``.
CONTENT_VERSION, HEAD_VERSION = 1, 2


@dataclass(frozen=True)
class IntModel:
    """A whole network: dense layers in front, GRU layers, dense layers behind, the classifier.

    Parameters
    ----------
    genome : Genome
    layers : tuple of Layer
    classifier : Classifier
        The last linear operator, whatever the head makes of its sums.
    input_scale, input_zero_point
        ``code = clip(round(x / input_scale) + input_zero_point)``, codes of :attr:`in_bits` bits:
        how a user makes codes.
    info : dict
        JSON-able provenance: task, knobs, scales, checkpoint hash. Not part of :attr:`hash`, which
        names the integers; a file has a hash of it as well.
    head : Head
        What the network answers, and when.
    input_shifts : tuple of int
        Of every feature, ``x / 2**shift`` stands in the place of x; empty where all are 0. The
        hardware does not see them.
    stage : OutputStage, where the head answers codes, else None
    front : tuple of DenseLayer
        Before layer 0, at every step.
    back : tuple of DenseLayer
        Between the state of the last layer and the classifier, whenever the head answers.
    """

    genome: Genome
    layers: tuple[Layer, ...]
    classifier: Classifier
    input_scale: float
    input_zero_point: int
    info: dict[str, Any] = field(default_factory=dict, compare=False)
    head: Head = field(default_factory=Head)
    stage: OutputStage | None = None
    input_shifts: tuple[int, ...] = ()
    front: tuple[DenseLayer, ...] = ()
    back: tuple[DenseLayer, ...] = ()

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.genome.layers):
            raise InputError("model: genome and layers differ in number")
        check_scale("model: input_scale", self.input_scale)
        integer_within("model.input_zero_point", self.input_zero_point, -MAX_ZERO, MAX_ZERO)
        if self.input_shifts and len(self.input_shifts) != self.input_size:
            raise InputError("model: input_shifts and features differ in number")
        for number, shift in enumerate(self.input_shifts):
            integer_within(f"model.input_shifts[{number}]", shift, -MAX_OCTAVES, MAX_OCTAVES)
        check_series(self)
        check_genes(self)
        check_head(self)

    @property
    def in_bits(self) -> int:
        """Width of the input codes."""
        return (self.front or self.layers)[0].in_bits

    @property
    def input_size(self) -> int:
        """Features of a time step."""
        return (self.front or self.layers)[0].input_size

    @property
    def dense_layers(self) -> dict[str, DenseLayer]:
        """Dense layers by name, in the order of their genes: ``front0`` ..., then ``back0`` ..."""
        return {
            **{f"front{k}": layer for k, layer in enumerate(self.front)},
            **{f"back{k}": layer for k, layer in enumerate(self.back)},
        }

    @property
    def layer_format(self) -> tuple[float, int]:
        """Scale and zero point of the codes that the first GRU layer takes."""
        if self.front:
            return self.front[-1].scale, self.front[-1].zero_point
        return self.input_scale, self.input_zero_point

    @property
    def classes(self) -> int:
        """Sums of the last linear operator: classes, logits or codes of an answer."""
        return len(self.classifier.bias)

    @property
    def weight_bits(self) -> int:
        """Bits of the weight matrices of GRU and dense layers, without the classifier: what rivals
        report."""
        dense = [layer.dense(name) for layer in self.layers for name in GENES[:6]]
        dense += [layer.dense for layer in self.dense_layers.values()]
        return sum(op.weight.size * op.weight_bits for op in dense)

    @property
    def size_bits(self) -> int:
        """Stored parameter bits: weights, biases, channel shifts, given initial states, classifier
        included."""
        dense = sum(layer.dense(n).size_bits for layer in self.layers for n in GENES[:6])
        dense += sum(layer.dense.size_bits for layer in self.dense_layers.values())
        given = (layer for layer in self.layers if layer.initial_state is not None)
        states = sum(layer.hidden_size * layer.bits("h") for layer in given)
        return dense + states + self.classifier.size_bits

    @property
    def _plain(self) -> bool:
        """Whether it has neither dense layers nor given initial states."""
        states = any(layer.initial_state is not None for layer in self.layers)
        return not (self.front or self.back or states)

    @cached_property
    def _content(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors: dict[str, np.ndarray] = {}
        document: dict[str, Any] = {
            "version": (CONTENT_VERSION if self.head.plain else HEAD_VERSION)
            if self._plain
            else DENSE_VERSION,
            "genome": [list(layer) for layer in self.genome.layers],
            "input": {"scale": self.input_scale, "zero_point": self.input_zero_point},
            "layers": [
                pack_layer(f"layers.{k}", layer, tensors) for k, layer in enumerate(self.layers)
            ],
            "classifier": pack("classifier", self.classifier, tensors),
        }
        if self.input_shifts:
            document["input"]["shifts"] = list(self.input_shifts)
        if not self.head.plain:
            document["head"] = self.head.to_json()
        if self.stage is not None:
            document["stage"] = pack_stage("stage", self.stage, tensors)
        if self.genome.dense:
            document["dense_genome"] = [list(pair) for pair in self.genome.dense]
        for place in ("front", "back"):
            if row := getattr(self, place):
                document[place] = [
                    pack_dense_layer(f"{place}.{k}", layer, tensors) for k, layer in enumerate(row)
                ]
        return tensors, document

    @property
    def hash(self) -> str:
        """SHA-256, 16 hex digits, over every integer of the model."""
        tensors, document = self._content
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
        for name in sorted(tensors):
            array = tensors[name]
            digest.update(f"{name} {array.shape} ".encode() + array.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Input codes of :attr:`in_bits` bits, int64, of real inputs of any shape; of 0 where a
        sequence has ended (NaN)."""
        x = np.asarray(x, np.float64)
        if np.isnan(x).any():
            x = np.nan_to_num(x, nan=0.0)
        scale: Any = self.input_scale
        if self.input_shifts:
            scale = scale * 2.0 ** np.array(self.input_shifts)
        codes = np.floor(x / scale + 0.5)
        return np.clip(codes + self.input_zero_point, *code_range(self.in_bits)).astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, atomically: tensors, and JSON metadata with the rest."""
        tensors, document = self._content
        hashes = {"hash": self.hash, "info_hash": info_hash(self.info)}
        version = PLAIN_VERSION if self._plain else VERSION
        write_tensors(
            path, tensors, {**document, "version": version, **hashes, "info": self.info}, KIND
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "IntModel":
        """Read and check a file written by :meth:`save`. Raises :class:`InputError`."""
        tensors, document = read_tensors(path, KIND)
        try:
            version = document["version"]
            if isinstance(version, bool) or version not in range(1, VERSION + 1):
                raise InputError(f"version {shown(version)}, this program reads 1 to {VERSION}")
            layers = [
                unpack_layer(f"layers.{k}", entry, tensors)
                for k, entry in enumerate(document["layers"])
            ]
            around = {
                place: tuple(
                    unpack_dense_layer(f"{place}.{k}", entry, tensors)
                    for k, entry in enumerate(document.get(place, ()))
                )
                for place in ("front", "back")
            }
            classifier = unpack("classifier", document["classifier"], tensors)
            if not isinstance(classifier, Classifier):
                raise InputError("classifier: wrong operator kind")
            model = cls(
                genome=Genome(
                    tuple(tuple(layer) for layer in document["genome"]),
                    tuple(tuple(pair) for pair in document.get("dense_genome", ())),
                ),
                layers=tuple(layers),
                classifier=classifier,
                input_scale=document["input"]["scale"],
                input_zero_point=document["input"]["zero_point"],
                input_shifts=tuple(document["input"].get("shifts", ())),
                info=document.get("info", {}),
                head=Head.of(document.get("head")),
                stage=unpack_stage("stage", document["stage"], tensors)
                if "stage" in document
                else None,
                **around,
            )
            if not isinstance(model.info, dict):
                raise InputError(f"info: {shown(model.info)} is not an object")
            if model.hash != document.get("hash"):
                raise InputError("its hash does not fit its content: the file was altered")
            if version >= PLAIN_VERSION and info_hash(model.info) != document["info_hash"]:
                raise InputError("info_hash does not fit info (scales): the file was altered")
            return model
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise InputError(f"{path}: not a whole {KIND} file ({error!r:.100})") from None


def with_op(model: IntModel, layer: int, name: str, op: Operator) -> IntModel:
    """A copy of `model` in which operator `name` of `layer` is `op`."""
    ops = {**model.layers[layer].ops, name: op}
    layers = list(model.layers)
    ordered = {key: ops[key] for key in SCHEDULE}
    layers[layer] = Layer(ordered, model.layers[layer].initial_state)
    return replace(model, layers=tuple(layers))
