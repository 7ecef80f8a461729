"""Keras 3 models: GRU layers in series with Dense layers around, from the archive ``.keras``.

The archive's configuration says which layers there are, its HDF5 file has the weights. Neither is
code, and Keras is not needed. Keras orders the gates z r h and multiplies from the right;
``torch.nn.GRU``, and so a checkpoint, has r z n in rows.
"""

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .chain import Asked, Chain, Weights, normalisation
from .floating import Checkpoint

Array = np.ndarray
#: Greatest file within the archive, in bytes.
LIMIT = 1 << 28
#: Layers that change nothing when a network is used.
_NOTHING = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout")
#: Functions that the hardware has.
_FUNCTIONS = ("relu", "sigmoid", "tanh")
_BEFORE_RESET = (
    "reset_after=False resets the state before the matrix, W_hn (r * h); torch.nn.GRU and the "
    "hardware do it after, r * (W_hn h + b_hn), and no weights make one into the other: train it "
    "with reset_after=True, Keras' default"
)


def _pointer(name: str, link: Any) -> str | None:
    """The name, which ends the visit, of a link that is not to an object of the same file."""
    import h5py

    return None if isinstance(link, h5py.HardLink) else name


class _Archive:
    """Configuration and weights of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            import h5py
        except ImportError:
            raise InputError(
                f"{path}: a Keras file needs h5py, which is not installed: pip install "
                "'genogate[keras]'"
            ) from None
        try:
            with zipfile.ZipFile(path) as archive:
                for name in ("config.json", "model.weights.h5"):
                    if archive.getinfo(name).file_size > LIMIT:
                        raise InputError(f"{path}: {name} in it is larger than {LIMIT >> 20} MiB")
                self.model = json.loads(archive.read("config.json"))
                weights = archive.read("model.weights.h5")
            self.weights = h5py.File(io.BytesIO(weights), "r")
            # HDF5 can point to other files; nothing but this one is read.
            if name := self.weights.visititems_links(_pointer):
                raise InputError(f"{path}: {name!s:.60} in it points elsewhere")
            self.groups = self.weights["layers"]
            self.places = {
                str(group["vars"].attrs["name"]): place
                for place, group in self.groups.items()
                if "vars" in group and "name" in group["vars"].attrs
            }
        # h5py and zipfile raise nearly anything for damaged files.
        except InputError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:100]
            raise InputError(f"{path}: a damaged Keras file ({text})") from None
        self._counts: dict[str, int] = {}

    def layers(self) -> list[tuple[str, dict[str, Any]]]:
        """Class and configuration of every layer, in series from input to output.

        Raises :class:`InputError` for a model whose layers are not in series.
        """
        try:
            config, kind = self.model["config"], self.model["class_name"]
            if kind not in ("Sequential", "Functional", "Model"):
                raise InputError(
                    f"{self.path}: a {kind:.40} model, Sequential or Functional is needed"
                )
            layers = config["layers"]
            if kind != "Sequential":
                before = None
                for layer in layers:
                    text, name = json.dumps(layer.get("inbound_nodes", [])), layer["name"]
                    inputs = text.count('"keras_history"')
                    if before is not None and (inputs != 1 or f'["{before}", 0, 0]' not in text):
                        raise InputError(
                            f"{self.path}: layer {name:.60} does not follow {before:.60} alone"
                        )
                    before = name
                # [name, 0, 0], or a list of such.
                last = config.get("output_layers") or []
                last = last[0] if len(last) == 1 else last
                if last[:1] != [before]:
                    raise InputError(
                        f"{self.path}: the model's output is not that of its last layer, "
                        f"{before!s:.60}, alone"
                    )
            return [(str(layer["class_name"]), dict(layer["config"])) for layer in layers]
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{self.path}: config.json is not Keras 3's ({error!r:.80})") from None

    def variables(self, kind: str, config: Mapping[str, Any]) -> list[Array]:
        """The weights of the next layer of this class, in Keras' order."""
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower() if kind != "GRU" else "gru"
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        # Keras writes each layer's name beside its weights; without it, classes are counted.
        place = self.places.get(str(config.get("name")), f"{snake}_{number}" if number else snake)
        try:
            group = self.groups[place]
            inside = {"GRU": "cell", "TimeDistributed": "layer"}.get(kind)
            group = group["vars"] if inside is None else group[inside]["vars"]
            arrays = [self._array(group, str(k)) for k in range(len(group))]
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
            raise InputError(f"{self.path}: no weights of layer {place} ({error!s:.80})") from None
        if not all(np.isfinite(array).all() for array in arrays):
            raise InputError(f"{self.path}: layer {place} has weights that are not finite")
        return arrays

    def _array(self, group: Any, name: str) -> Array:
        """One array that lies in this very file."""
        import h5py

        data = group[name]
        if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
            raise InputError(f"{self.path}: {group.name:.60}/{name} is no array within the file")
        if data.size is None or data.size * 8 > LIMIT:
            raise InputError(f"{self.path}: {group.name:.60}/{name} is empty or too large")
        return np.asarray(data, np.float64)


def from_keras(path: str | Path, classes: int, asked: Asked | None = None) -> Checkpoint:
    """The GRU layers, Dense layers and classifier of a ``.keras`` file.

    classes : of the task; with two, a Dense layer of one unit is taken as one logit
    asked : by the task, if not a class after the last step; real values may have a function

    Rescaling, Normalization of each feature, BatchNormalization and Dense layers without an
    activation are folded; Dense layers with ReLU, sigmoid or tanh stay. Raises :class:`InputError`
    for a damaged file, and for the first layer that the hardware has no counterpart of.
    """
    path, asked = Path(path), asked or Asked()
    archive = _Archive(path)
    series = _Series(path, archive, asked)
    for kind, config in archive.layers():
        series.add(kind, config)
    chain = series.chain
    if chain is None or not chain.layers or not series.classified:
        gru = chain is not None and chain.layers
        missing = "Dense layer behind the GRU" if gru else "GRU layer"
        raise InputError(f"{path}: no {missing} in it")
    return chain.ended(classes, asked)


class _Series:
    """The layers so far.

    every_step : whether there is a value at every step; classified : whether a Dense layer stands
    behind the GRU layers; done : whether a soft-max has ended the network; rescaled : scale and
    offset of all features, of Rescaling layers before the first that says how many there are
    """

    def __init__(self, path: Path, archive: _Archive, asked: Asked) -> None:
        self.path, self.archive, self.asked = path, archive, asked
        self.chain: Chain | None = None
        self.every_step, self.classified, self.done = True, False, False
        self.rescaled: tuple[Array, Array] = np.ones(1), np.zeros(1)

    def add(self, kind: str, config: Mapping[str, Any]) -> None:
        """One more layer."""
        where = f"{self.path}: layer {config.get('name', kind)!s:.60}"
        if kind in _NOTHING or (kind == "Flatten" and not self.every_step):
            return
        if self.done:
            raise InputError(f"{where} ({kind:.40}) follows the classifier's activation")
        if kind == "BatchNormalization":
            arrays = self.archive.variables(kind, config)
            step, shift = _normalisation(where, config, arrays, 2 if self.every_step else 1)
            self.chain = self._entered(where, len(step)).scaled(step, shift)
        elif kind == "Normalization":
            given = [config.get(name) for name in ("mean", "variance")]
            adapted = self.archive.variables(kind, config)[:2] if None in given else given
            step, shift = _standardised(where, config, adapted)
            self.chain = self._entered(where, len(step)).scaled(step, shift)
        elif kind == "Rescaling":
            self._rescale(where, config)
        elif kind == "GRU":
            self._gru(where, config)
        elif kind == "Dense" or (kind == "TimeDistributed" and self.every_step):
            self._dense(where, kind, config)
        elif _plain_relu(kind, config) and self.chain is not None:
            self._function(where, {"activation": "relu"})
        elif kind in ("Activation", "Softmax") and self.chain is not None:
            self._function(where, {"activation": "softmax"} if kind == "Softmax" else config)
        else:
            raise InputError(f"{where}: {kind:.40} layers are not supported")

    def _entered(self, where: str, inputs: int) -> Chain:
        """The network so far, where a layer of so many inputs may follow it."""
        if self.chain is None:
            first, widths = Chain(inputs), {len(values) for values in self.rescaled}
            if not widths <= {1, inputs}:
                raise InputError(f"{where}: it takes {inputs} values, a Rescaling before it others")
            scale, offset = (np.broadcast_to(values, inputs) for values in self.rescaled)
            return first.scaled(scale, offset) if (scale != 1).any() or offset.any() else first
        if self.chain.width != inputs:
            raise InputError(
                f"{where}: it takes {inputs} values, the layer before it gives {self.chain.width}"
            )
        return self.chain

    def _rescale(self, where: str, config: Mapping[str, Any]) -> None:
        """A Rescaling layer: every value, or every feature, times a number, plus another."""
        try:
            scale, offset = (
                np.asarray(config.get(name, default), np.float64).reshape(-1)
                for name, default in (("scale", 1.0), ("offset", 0.0))
            )
            if self.chain is not None:
                scale, offset = (np.broadcast_to(v, self.chain.width) for v in (scale, offset))
                self.chain = self.chain.scaled(scale, offset)
                return
            earlier = self.rescaled
            self.rescaled = earlier[0] * scale, earlier[1] * scale + offset
        except (TypeError, ValueError):
            raise InputError(
                f"{where}: its scale and offset are no numbers, one or one for each feature"
            ) from None

    def _gru(self, where: str, config: Mapping[str, Any]) -> None:
        if not self.every_step:
            raise InputError(f"{where}: a GRU behind another's last state is not supported")
        _check_gru(where, config)
        weights = _gru(where, self.archive.variables("GRU", config))
        try:
            self.chain = self._entered(where, weights[0].shape[1]).gru(weights)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        self.every_step = bool(config.get("return_sequences"))
        self.classified = False

    def _dense(self, where: str, kind: str, config: Mapping[str, Any]) -> None:
        arrays = self.archive.variables(kind, config)
        if kind == "TimeDistributed":
            inner = config.get("layer")
            if not isinstance(inner, Mapping) or inner.get("class_name") != "Dense":
                raise InputError(f"{where}: TimeDistributed of another layer than Dense")
            config = dict(inner.get("config") or {})
        weight, bias = _dense(where, config, arrays)
        if self.chain is not None and self.chain.layers:
            if self.every_step and not self.asked.every:
                raise InputError(
                    f"{where}: an output at every step, where the task asks for one at the last"
                )
            if self.asked.every and not self.every_step:
                raise InputError(
                    f"{where}: an output at the last step, where the task asks for one at every"
                )
            self.classified = True
        self.chain = self._entered(where, weight.shape[1]).dense(weight, bias)
        self._function(where, config)

    def _function(self, where: str, config: Mapping[str, Any]) -> None:
        """The activation of a layer."""
        name = config.get("activation", "linear")
        if name in (None, "linear"):
            return
        assert self.chain is not None
        if name in _FUNCTIONS:
            try:
                self.chain = self.chain.activated(str(name))
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
        elif name == "softmax" and self.classified and not self.asked.real:
            self.done = True
        else:
            raise InputError(
                f"{where}: activation {name!s:.40} is not supported; ReLU, sigmoid and tanh are"
            )


def _plain_relu(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether a layer of class ReLU is ``max(x, 0)``."""
    slope, top = config.get("negative_slope", 0), config.get("max_value")
    return kind == "ReLU" and not slope and top is None and not config.get("threshold", 0)


def _matrix(where: str, arrays: list[Array]) -> tuple[int, int]:
    if not arrays or arrays[0].ndim != 2:
        raise InputError(f"{where}: its first weights are no matrix")
    rows, columns = arrays[0].shape
    return rows, columns


def _check_gru(where: str, config: Mapping[str, Any]) -> None:
    if not config.get("reset_after", True):
        raise InputError(f"{where}: {_BEFORE_RESET}")
    if config.get("go_backwards"):
        raise InputError(f"{where}: go_backwards=True reads the sequence from its end")
    for name, function in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if config.get(name, function) != function:
            raise InputError(
                f"{where}: {name} is {config[name]!s:.40}, the hardware has {function}"
            )


def _gru(where: str, arrays: list[Array]) -> Weights:
    """W_ih, W_hh, b_ih, b_hh in torch's order."""
    _matrix(where, arrays)
    if len(arrays) not in (2, 3):
        raise InputError(f"{where}: {len(arrays)} weights, a GRU has 2 or 3")
    kernel, recurrent = arrays[:2]
    units = recurrent.shape[0]
    bias = arrays[2] if len(arrays) == 3 else np.zeros((2, 3 * units))
    shapes = kernel.ndim == 2 and kernel.shape[1] == 3 * units and bias.shape == (2, 3 * units)
    if recurrent.shape != (units, 3 * units) or not shapes:
        raise InputError(f"{where}: weights of shapes {[a.shape for a in arrays]} are no GRU's")
    order = np.concatenate([np.arange(units) + k * units for k in (1, 0, 2)])
    return kernel.T[order], recurrent.T[order], bias[0][order], bias[1][order]


def _normalisation(
    where: str, config: Mapping[str, Any], arrays: list[Array], axis: int
) -> tuple[Array, Array]:
    """Scale and offset of a BatchNormalization as it is used after training.

    axis : of the features: 2 where there is a value at every step, else 1
    """
    if config.get("axis", -1) not in (-1, axis):
        raise InputError(f"{where}: normalises axis {config['axis']}, the features are needed")
    values = list(arrays)
    size = values[-1].shape if values else ()
    if len(size) != 1 or any(array.shape != size for array in values):
        raise InputError(f"{where}: weights of shapes {[a.shape for a in arrays]} do not fit")
    gamma = values.pop(0) if config.get("scale", True) else np.ones(size)
    beta = values.pop(0) if config.get("center", True) else np.zeros(size)
    if len(values) != 2:
        raise InputError(f"{where}: {len(arrays)} weights do not fit scale and center")
    return normalisation(*values, gamma, beta, float(config.get("epsilon", 1e-3)))


def _standardised(
    where: str, config: Mapping[str, Any], given: Sequence[Any]
) -> tuple[Array, Array]:
    """Scale and offset of a Normalization of mean and variance, one for each feature."""
    if config.get("invert") or config.get("axis", -1) not in (-1, 2, [-1], [2]):
        raise InputError(f"{where}: only a Normalization of each feature is supported")
    try:
        mean, variance = (np.asarray(values, np.float64).reshape(-1) for values in given)
    except (TypeError, ValueError):
        mean = variance = np.zeros(0)
    if not len(mean) or mean.shape != variance.shape:
        raise InputError(f"{where}: its mean and variance do not fit each other")
    # As Keras guards features that never move.
    scale = 1 / np.maximum(np.sqrt(np.maximum(variance, 0.0)), 1e-7)
    return scale, -mean * scale


def _dense(where: str, config: Mapping[str, Any], arrays: list[Array]) -> tuple[Array, Array]:
    units = _matrix(where, arrays)[1]
    bias = arrays[1] if config.get("use_bias", True) and len(arrays) > 1 else np.zeros(units)
    if bias.shape != (units,) or len(arrays) != 1 + bool(config.get("use_bias", True)):
        raise InputError(f"{where}: weights of shapes {[a.shape for a in arrays]} do not fit")
    return arrays[0].T, bias
