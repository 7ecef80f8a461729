"""What a checkpoint remembers of the integer model that it was trained as.

Training for one genome and knobs (:mod:`genogate.model.qat.tune`) ends with weights and with every
other integer of the network. A checkpoint holds the weights as floats; its record holds the rest,
so that the same genome and knobs give the trained integer model again, bit for bit. Any other
genome or knobs calibrate the weights as those of any checkpoint.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..checkpoints.floating import RECORD, Checkpoint
from ..errors import InputError, shown
from ..genome import GENES, Genome
from ..head import Head
from ..integer import (
    CLASSES,
    SCHEDULE,
    Classifier,
    Dense,
    DenseLayer,
    IntModel,
    Layer,
    Operator,
    OutputStage,
    PiecewiseLinear,
    Requantize,
    Table,
    acc_bounds,
    code_range,
)
from ..knobs import Knobs

#: Version of the record's form.
VERSION = 1
#: Knobs that change no integer of the model.
_SILENT = ("lanes_x", "lanes_h", "share", "pipeline", "weights")
#: Element types of the arrays of activation units.
_TYPES = {"table": np.int8, "breakpoints": np.int16, "slopes": np.int32, "intercepts": np.int64}


def weight_codes(weight: np.ndarray, row_scale: np.ndarray, bits: int, narrow: bool) -> np.ndarray:
    """Nearest codes int8 [outputs, inputs], ties up, of real weights at row scales [outputs];
    without the lowest code where `narrow`."""
    low, high = code_range(bits)
    codes = np.floor(weight.astype(np.float64) / row_scale[:, None] + 0.5)
    return np.clip(codes, low + narrow, high).astype(np.int8)


def bias_codes(
    bias: np.ndarray, row_scale: np.ndarray, in_scale: float, in_zero: int, codes: np.ndarray
) -> np.ndarray:
    """Folded biases int64 [outputs] of real ones, the operand's zero point taken in."""
    real = np.floor(bias.astype(np.float64) / (row_scale * in_scale) + 0.5).astype(np.int64)
    return real - in_zero * codes.astype(np.int64).sum(1)


def _knobs_key(knobs: Mapping[str, Any]) -> dict[str, Any]:
    # A record of before a knob was made means its default.
    whole = {**Knobs().to_json(), **knobs}
    return {name: value for name, value in whole.items() if name not in _SILENT}


def _plain(op: Operator | Requantize) -> dict[str, Any]:
    """Integers of an operator, less what follows from the weights; arrays as lists."""
    entry: dict[str, Any] = {"kind": op.kind, **op.integers()}
    for name, array in op.arrays().items():
        if name not in ("weight", "bias"):
            entry[name] = array.tolist()
    for name in ("acc_min", "acc_max"):
        entry.pop(name, None)
    return entry


def record(model: IntModel, knobs: Knobs, classifier_scale: float, narrow: bool) -> dict[str, Any]:
    """The record, JSON-able, of a model whose scales are in its ``info``.

    narrow : whether 2-bit weights have no lowest code (are ternary)
    """
    return {
        "version": VERSION,
        "genome": [list(genes) for genes in model.genome.layers],
        "knobs": knobs.to_json(),
        "narrow": narrow,
        "input": {"scale": model.input_scale, "zero_point": model.input_zero_point},
        "scales": model.info["scales"],
        "classifier_scale": classifier_scale,
        "layers": [{name: _plain(op) for name, op in layer.ops.items()} for layer in model.layers],
        **({} if model.head.plain else {"head": model.head.to_json()}),
        **({} if model.stage is None else {"stage": _plain_stage(model.stage)}),
        **_plain_around(model),
        "model_hash": model.hash,
    }


def _plain_around(model: IntModel) -> dict[str, Any]:
    """Of the record, what is there of networks with dense layers or given initial states."""
    around: dict[str, Any] = {}
    if layers := model.dense_layers:
        around["dense_genome"] = [list(pair) for pair in model.genome.dense]
        around["dense_scales"] = model.info["dense_scales"]
        around["dense"] = {
            name: {
                "dense": _plain(layer.dense),
                "activation": None if layer.activation is None else _plain(layer.activation),
                "function": layer.function,
                "scale": layer.scale,
                "zero_point": layer.zero_point,
            }
            for name, layer in layers.items()
        }
    states = [layer.initial_state for layer in model.layers]
    if any(state is not None for state in states):
        around["initial"] = [None if state is None else state.tolist() for state in states]
    return around


def _unit(entry: Mapping[str, Any] | None) -> Table | PiecewiseLinear | None:
    """The activation unit of an entry of a record."""
    if entry is None:
        return None
    cls: Any = Table if entry["kind"] == Table.kind else PiecewiseLinear
    arrays = {f.name for f in fields(cls)} & set(_TYPES)
    values = {key: value for key, value in entry.items() if key != "kind"}
    unit: Table | PiecewiseLinear = cls(
        **values | {key: np.array(entry[key], _TYPES[key]) for key in arrays}
    )
    return unit


def _plain_stage(stage: OutputStage) -> dict[str, Any]:
    return {
        "requantize": _plain(stage.requantize),
        "activation": None if stage.activation is None else _plain(stage.activation),
        "scale": stage.scale,
        "zero_point": stage.zero_point,
    }


def _stage(entry: Mapping[str, Any], classifier: Classifier) -> OutputStage:
    op = {key: value for key, value in entry["requantize"].items() if key != "kind"}
    return OutputStage(
        Requantize(**op, acc_min=classifier.acc_min, acc_max=classifier.acc_max),
        _unit(entry["activation"]),
        entry["scale"],
        entry["zero_point"],
    )


@dataclass(frozen=True)
class Trained:
    """A checkpoint's record with its weights: see the module text.

    tensors : those of the checkpoint
    document : what :func:`record` made
    """

    tensors: Mapping[str, np.ndarray]
    document: Mapping[str, Any]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Trained | None":
        """The record of `checkpoint`, if it has one. Raises :class:`InputError` for one of another
        version."""
        document = checkpoint.info.get(RECORD)
        if document is None:
            return None
        if not isinstance(document, dict) or document.get("version") != VERSION:
            version = document.get("version") if isinstance(document, dict) else None
            raise InputError(
                f"checkpoint: its record of training has version {shown(version)}, this program "
                f"reads {VERSION}"
            )
        return cls(checkpoint.tensors, document)

    def fits(self, genome: Genome, knobs: Knobs) -> bool:
        """Whether the network was trained for just these."""
        mine = self.document.get("knobs")
        return (
            self.document.get("genome") == [list(genes) for genes in genome.layers]
            and self.document.get("dense_genome", []) == [list(pair) for pair in genome.dense]
            and isinstance(mine, dict)
            and _knobs_key(mine) == _knobs_key(knobs.to_json())
        )

    def model(self, info: Mapping[str, Any] | None = None, knobs: Knobs | None = None) -> IntModel:
        """The integer model that was trained. Raises :class:`InputError` where the record is
        damaged, or its hash is not that of what the weights give.

        knobs : those to note in its ``info``, which may differ in those of the hardware
        """
        try:
            model = self.unchecked(info or {})
        except InputError as error:
            raise InputError(f"checkpoint: its record of training is damaged ({error})") from None
        except (
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            ValueError,
            OverflowError,
            StopIteration,
        ) as error:
            reason = " ".join(repr(error).split())[:100]
            raise InputError(f"checkpoint: its record of training is damaged ({reason})") from None
        if model.hash != self.document["model_hash"]:
            raise InputError(
                "checkpoint: its weights are not those that its record of training is for"
            )
        if knobs is not None:
            model = replace(model, info={**model.info, "knobs": knobs.to_json()})
        return model

    def _operators(
        self,
        number: int,
        entries: Mapping[str, Any],
        form: tuple[float, int],
        state: tuple[float, int],
    ) -> dict[str, Operator]:
        """Operators of GRU layer `number`; scale and zero point of its input and of its state."""
        scales = self.document["scales"][number]
        ops: dict[str, Operator] = {}
        for name in SCHEDULE:
            entry = dict(entries[name])
            kind = entry.pop("kind")
            classes: tuple[Any, ...] = CLASSES[name]
            cls = next(c for c in classes if c.kind == kind)
            if cls is Dense:
                operand = form if name[2] == "i" else state
                entry |= self._linear(
                    *_operator(self.tensors, number, name),
                    *operand,
                    scale=float(scales[f"{name}.weight"]["scale"]),
                    shift=np.array(entry["channel_shift"], np.uint8),
                    bits=entry["weight_bits"],
                    in_bits=entry["in_bits"],
                    narrow=bool(self.document["narrow"]),
                )
            elif cls in (Table, PiecewiseLinear):
                arrays = {f.name for f in fields(cls)} & set(_TYPES)
                entry |= {key: np.array(entry[key], _TYPES[key]) for key in arrays}
            ops[name] = cls(**entry)
        return ops

    def unchecked(self, info: Mapping[str, Any]) -> IntModel:
        """What weights and record give, whatever the record's hash."""
        document = self.document
        knobs = Knobs(**document["knobs"])
        pairs = tuple((pair[0], pair[1]) for pair in document.get("dense_genome", ()))
        genome = Genome(tuple(tuple(genes) for genes in document["genome"]), pairs)
        first = document["input"]
        front, form = self._dense_layers("front", (float(first["scale"]), first["zero_point"]))
        in_scale, in_zero = form
        layers = []
        initial = document.get("initial") or [None] * len(document["layers"])
        for number, entries in enumerate(document["layers"]):
            scales = document["scales"][number]
            state = float(scales["s_h"]["scale"]), entries["s_h"]["zero_point"]
            ops = self._operators(number, entries, (in_scale, in_zero), state)
            codes = initial[number]
            layers.append(Layer(ops, None if codes is None else np.array(codes, np.int8)))
            (in_scale, in_zero), in_bits = state, ops["s_h"].out_bits
        back, (in_scale, in_zero) = self._dense_layers("back", (in_scale, in_zero))
        in_bits = back[-1].out_bits if back else in_bits
        scale, head_bits = float(document["classifier_scale"]), knobs.classifier_bits
        linear = self._linear(
            self.tensors["classifier.weight"],
            self.tensors["classifier.bias"],
            in_scale,
            in_zero,
            scale=scale,
            shift=np.zeros(len(self.tensors["classifier.bias"]), np.uint8),
            bits=head_bits,
            in_bits=in_bits,
            narrow=False,
        )
        del linear["channel_shift"]
        classifier = Classifier(**linear, in_bits=in_bits, weight_bits=head_bits)
        stage = document.get("stage")
        return IntModel(
            genome=genome,
            layers=tuple(layers),
            classifier=classifier,
            head=Head.of(document.get("head")),
            stage=None if stage is None else _stage(stage, classifier),
            input_scale=float(first["scale"]),
            input_zero_point=first["zero_point"],
            info={
                **info,
                "knobs": knobs.to_json(),
                "scales": document["scales"],
                **({"dense_scales": document["dense_scales"]} if pairs else {}),
            },
            front=front,
            back=back,
        )

    def _dense_layers(
        self, place: str, form: tuple[float, int]
    ) -> tuple[tuple[DenseLayer, ...], tuple[float, int]]:
        """The dense layers at `place`, for inputs of that scale and zero point, and the scale and
        zero point of the last one's output."""
        layers = []
        for name, entry in self.document.get("dense", {}).items():
            if not name.startswith(place):
                continue
            op = {key: value for key, value in entry["dense"].items() if key != "kind"}
            op |= self._linear(
                self.tensors[f"{name}.weight"],
                self.tensors[f"{name}.bias"],
                *form,
                scale=float(self.document["dense_scales"][name]["weight"]["scale"]),
                shift=np.array(op["channel_shift"], np.uint8),
                bits=op["weight_bits"],
                in_bits=op["in_bits"],
                narrow=False,
            )
            unit = _unit(entry["activation"])
            scale, zero = float(entry["scale"]), entry["zero_point"]
            layers.append(DenseLayer(Dense(**op), unit, entry["function"], scale, zero))
            form = scale, zero
        return tuple(layers), form

    @staticmethod
    def _linear(
        weight: np.ndarray,
        bias: np.ndarray,
        in_scale: float,
        in_zero: int,
        *,
        scale: float,
        shift: np.ndarray,
        bits: int,
        in_bits: int,
        narrow: bool,
    ) -> dict[str, Any]:
        row_scale = scale / 2.0 ** shift.astype(np.float64)
        # Only two bits gain by giving up a code.
        codes = weight_codes(weight, row_scale, bits, narrow and bits == 2)
        folded = bias_codes(bias, row_scale, in_scale, in_zero, codes)
        low, high = acc_bounds(codes, folded, in_bits)
        return {
            "weight": codes,
            "bias": folded,
            "channel_shift": shift,
            "acc_min": low,
            "acc_max": high,
        }


def _operator(
    tensors: Mapping[str, np.ndarray], layer: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the dense operator `name`, as :meth:`Checkpoint.operator`."""
    weight, bias = (tensors[f"{what}_{name[2]}h_l{layer}"] for what in ("weight", "bias"))
    hidden = len(bias) // 3
    rows = slice("rzn".index(name[3]) * hidden, ("rzn".index(name[3]) + 1) * hidden)
    return weight[rows], bias[rows]


def without_record(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint` as any other: it calibrates for every genome."""
    info = {key: value for key, value in checkpoint.info.items() if key != RECORD}
    return Checkpoint(checkpoint.tensors, json.loads(json.dumps(info)))


assert set(GENES) == set(SCHEDULE)
