"""Models trained elsewhere: a ``torch.nn.GRU`` with a linear classifier, or the same as ONNX.

Read as data, never as code: torch files with ``weights_only``, safetensors, ONNX
(:mod:`.from_onnx`). A file that means something else than GRU layers in series, whose last state
goes through one linear layer, is refused.
"""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..data.measures import filled
from ..data.tasks import Task
from ..errors import InputError
from ..head import ACTIVATIONS
from .chain import Asked, Chain, real
from .floating import Checkpoint, accuracy, layer_names
from .from_keras import from_keras
from .from_onnx import COMPARED, from_onnx
from .linear_layers import assigned, first_states
from .torch_files import kind_of, read_named_state, tidied

_WEIGHT = re.compile(r"(.*?)weight_ih_l(\d+)(_reverse)?")
#: Training sequences by which the activation of real answers is told.
FITTED = 200
#: Modules of any names whose order is sought: all orders are tried.
_SEARCHED = 8


def from_state(
    state: Mapping[str, np.ndarray],
    *,
    classes: int,
    gru: str | None = None,
    classifier: str | None = None,
    asked: Asked | None = None,
    front: Sequence[str] = (),
    back: Sequence[str] = (),
) -> Checkpoint:
    """The GRU and the linear layers in a state dict, whatever their modules are called.

    gru, classifier : names of the modules, where shapes do not tell
    front, back : functions ("none", "relu", "sigmoid", "tanh") of the linear layers in front of the
        GRU, and of those between it and the classifier, which leave no trace in a state dict
    asked : by the task, if not a class after the last step, which leaves no trace in a state dict

    Raises :class:`InputError` where there is none or more than one of either, where the GRU is
    bidirectional, projected or no GRU, and where other tensors are left: the model would compute
    something else. How inputs lie in memory (``batch_first``) leaves no trace in a state dict and
    does not matter here.
    """
    state = tidied(state)
    prefixes = _prefixes(state, gru)
    tensors, used = _stacked(state, prefixes)
    hidden = tensors[layer_names(len(tensors) // 4 - 1)[1]].shape[1]
    rest = [name for name in state if name not in used]
    _refuse_by_name(state, rest)
    states, names = first_states(state, rest, tensors)
    used |= names
    chain = Chain(tensors["weight_ih_l0"].shape[1])
    head = _classifier(state, rest, classes, None if back else hidden, classifier)
    sizes = tensors["weight_ih_l0"].shape[1], hidden, state[f"{head}weight"].shape[1]
    before, behind = _linear_layers(state, rest, head, sizes, len(front), len(back))
    if before:
        chain = Chain(state[f"{before[0]}weight"].shape[1])
    used |= {f"{name}{part}" for name in (*before, *behind, head) for part in ("weight", "bias")}
    _refuse_left(state, sorted(set(state) - used))
    for name, function in zip(before, front, strict=True):
        chain = _behind(chain, state, name, function)
    for layer in range(len(tensors) // 4):
        weights = tuple(tensors[name] for name in layer_names(layer))
        chain = chain.gru(weights, states[layer])
    for name, function in zip(behind, back, strict=True):
        chain = _behind(chain, state, name, function)
    return _behind(chain, state, head, "none").checkpoint(classes, (asked or Asked()).head())


def _prefixes(state: Mapping[str, np.ndarray], gru: str | None) -> list[str]:
    """What names of GRUs' tensors begin with, of the module `gru` alone where it is given."""
    matches = [match for name in state if (match := _WEIGHT.fullmatch(name))]
    prefixes = list(dict.fromkeys(match[1] for match in matches))
    if gru is not None:
        prefix = gru.rstrip(".") + "." if gru.rstrip(".") else ""
        if prefix not in prefixes:
            raise InputError(f"gru {gru!r:.60}: no such module, there are {_names(prefixes)}")
        prefixes = [prefix]
    if not prefixes and any(name.endswith("zero_point") for name in state):
        raise InputError("torch has quantised the model: save the float model's state dict")
    if not prefixes:
        raise InputError("no torch.nn.GRU: there is no tensor weight_ih_l0 in it")
    return prefixes


def _linear_layers(
    state: Mapping[str, np.ndarray],
    rest: Sequence[str],
    head: str,
    sizes: tuple[int, int, int],
    front: int,
    back: int,
) -> tuple[list[str], list[str]]:
    """Names of the linear layers in front of the GRU and behind it, beside the classifier `head`.

    sizes : inputs and units of the GRU, inputs of the classifier; front, back : numbers of layers
    """
    linear = [
        name.removesuffix("weight")
        for name in rest
        if name.endswith("weight") and state[name].ndim == 2 and name != f"{head}weight"
    ]
    if front or back:
        return assigned(state, linear, sizes, front, back)
    if linear:
        raise InputError(
            f"beside the GRU and its classifier there are linear layers, {_names(linear)}, and a "
            "state dict does not say what follows them: give --front and --back with their "
            "functions (none, relu, sigmoid, tanh), or export the model as ONNX"
        )
    return [], []


def _refuse_left(state: Mapping[str, np.ndarray], left: Sequence[str]) -> None:
    """Raises :class:`InputError` where tensors are left that belong to no layer."""
    if left:
        norm = next((name for name in left if name.endswith("running_mean")), None)
        if norm is not None:
            raise InputError(
                f"tensor {norm:.60}: a state dict does not say where the network normalises: "
                "export it as ONNX, whose graph does"
            )
        raise InputError(
            f"tensor {left[0]:.60} {state[left[0]].shape} is neither of the GRU nor of its "
            f"classifier ({len(left)} such): the model computes more than a GRU and one linear "
            "layer, or the file holds more than the model"
        )


def _refuse_by_name(state: Mapping[str, np.ndarray], rest: Sequence[str]) -> None:
    """Raise :class:`InputError` for modules beside the GRU that tensors `rest` tell by shape or
    name, and that no linear layer can be."""
    for name in rest:
        if name.endswith("in_proj_weight"):
            raise InputError(
                f"tensor {name:.60} is of attention (torch.nn.MultiheadAttention), which combines "
                "the steps of a sequence: the generated hardware has one state at a time"
            )
        if name.endswith("weight") and state[name].ndim in (3, 4, 5):
            raise InputError(
                f"tensor {name:.60} {state[name].shape} is of a convolution: only linear layers "
                "may stand beside the GRU layers"
            )


def _behind(chain: Chain, state: Mapping[str, np.ndarray], name: str, function: str) -> Chain:
    """`chain` with a linear layer of the state dict and its function."""
    weight = real(state[f"{name}weight"], f"{name}weight")
    bias = state.get(f"{name}bias", np.zeros(len(weight), np.float32))
    chain = chain.dense(weight, real(bias, f"{name}bias"))
    return chain if function == "none" else chain.activated(function)


def _stacked(
    state: Mapping[str, np.ndarray], prefixes: list[str]
) -> tuple[dict[str, np.ndarray], set[str]]:
    """Layers of one recurrent module, or of several in series."""
    parts = {prefix: _layers(state, prefix) for prefix in prefixes}
    sizes = {
        prefix: (part["weight_ih_l0"].shape[1], part[layer_names(len(part) // 4 - 1)[1]].shape[1])
        for prefix, (part, _) in parts.items()
    }
    tensors: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for part, names in (parts[prefix] for prefix in _order(sizes)):
        first = len(tensors) // 4
        for layer in range(len(part) // 4):
            pairs = zip(layer_names(first + layer), layer_names(layer), strict=True)
            tensors |= {new: part[old] for new, old in pairs}
        used |= names
    return tensors, used


def _order(sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Modules from input to output, by the inputs and units of each.

    A file's own order says nothing: safetensors sorts its tensors anew. Where sizes allow several
    orders, names that differ in a number alone decide (``gru1``, ``gru2``); without them the file
    is refused.
    """
    modules = sorted(sizes, key=_number)
    by_inputs: dict[int, list[str]] = {}
    for module in modules:
        by_inputs.setdefault(sizes[module][0], []).append(module)
    numbered = len({re.sub(r"\d+", "", module) for module in modules}) == 1
    if numbered and all(sizes[a][1] == sizes[b][0] for a, b in pairwise(modules)):
        return modules
    listed = f"{len(modules)} recurrent modules, {_names(modules)}"
    if len(modules) > _SEARCHED:
        raise InputError(f"{listed} ...: number their names from input to output (gru1, gru2)")
    chains = [
        chain for first in modules for chain in _chains(sizes, by_inputs, [first], len(modules))
    ]
    if len(chains) == 1:
        return chains[0]
    if not chains:
        raise InputError(f"{listed}, whose sizes do not follow each other: give --gru NAME")
    raise InputError(
        f"{listed}: their sizes allow several orders; export the model as ONNX, or save them under "
        "names with numbers from input to output (gru1, gru2)"
    )


def _number(module: str) -> tuple[list[int], str]:
    return [int(digits[-9:]) for digits in re.findall(r"\d+", module)], module


def _chains(
    sizes: Mapping[str, tuple[int, int]],
    by_inputs: Mapping[int, list[str]],
    chain: list[str],
    length: int,
) -> list[list[str]]:
    """At most two of the orders that begin with `chain`: two are as good as many."""
    if len(chain) == length:
        return [chain]
    longer: list[list[str]] = []
    for module in by_inputs.get(sizes[chain[-1]][1], ()):
        if module not in chain and len(longer) < 2:
            longer += _chains(sizes, by_inputs, [*chain, module], length)
    return longer


def _names(prefixes: list[str]) -> str:
    return ", ".join(repr(prefix.rstrip(".")) for prefix in prefixes[:8])


def _layers(state: Mapping[str, np.ndarray], prefix: str) -> tuple[dict[str, np.ndarray], set[str]]:
    """Tensors of all layers by the names of a checkpoint, and what they were called."""
    inside = [name for name in state if name.startswith(prefix)]
    if any(name.endswith("_reverse") for name in inside):
        raise InputError(
            "the GRU is bidirectional: its backward half needs the whole sequence first, which "
            "hardware that takes step after step does not have; train it with bidirectional=False"
        )
    if any(name.startswith(f"{prefix}weight_hr_l") for name in inside):
        raise InputError("the recurrent module is projected (proj_size), which a GRU cannot be")
    tensors: dict[str, np.ndarray] = {}
    used: set[str] = set()
    layer = 0
    while f"{prefix}weight_ih_l{layer}" in state:
        names = layer_names(layer)
        if f"{prefix}{names[1]}" not in state:
            raise InputError(f"tensor {prefix}{names[1]} is missing")
        for name in names[:2]:
            tensors[name] = real(state[prefix + name], prefix + name)
            if tensors[name].ndim != 2:
                raise InputError(f"tensor {prefix}{name} is no matrix: {tensors[name].shape}")
        rows, hidden = tensors[names[1]].shape
        if rows != 3 * hidden:
            kind = {4: "an LSTM's", 1: "a plain RNN's"}.get(rows / max(hidden, 1), "no GRU's")
            raise InputError(
                f"tensor {prefix}{names[1]} has shape ({rows}, {hidden}), {kind}: a GRU has three "
                "rows for each unit"
            )
        for name in names[2:]:
            # bias=False leaves none.
            array = state.get(prefix + name, np.zeros(rows, np.float32))
            tensors[name] = real(array, prefix + name)
        used |= {prefix + name for name in names}
        layer += 1
    if not layer:
        raise InputError(f"tensor {prefix}weight_ih_l0 is missing")
    return tensors, used


def _shapes(classes: int, hidden: int) -> list[tuple[int, int]]:
    """Shapes that a classifier's weights may have: two classes may share one logit."""
    return [(classes, hidden), *([(1, hidden)] if classes == 2 else [])]


def _classifier(
    state: Mapping[str, np.ndarray],
    rest: list[str],
    classes: int,
    hidden: int | None,
    given: str | None,
) -> str:
    """Prefix of the linear layer from `hidden` values, or any number where None, to `classes`."""
    if hidden is None:
        # Layers stand between, so that its outputs alone are known.
        outputs = [
            name
            for name in rest
            if name.endswith("weight") and state[name].ndim == 2 and len(state[name]) == classes
        ]
        if given is None and len(outputs) == 1:
            return outputs[0].removesuffix("weight")
        if given is None:
            raise InputError(
                f"{len(outputs)} linear layers give the task's {classes} classes: give "
                "--classifier NAME"
            )
        hidden = state[name].shape[1] if (name := f"{given.rstrip('.')}.weight") in rest else 0
    if given is not None:
        head = given.rstrip(".") + "."
        if f"{head}weight" not in rest:
            raise InputError(f"classifier {given!r:.60}: no tensor {head}weight in it")
        if state[f"{head}weight"].shape not in _shapes(classes, hidden):
            raise InputError(
                f"tensor {head}weight has shape {state[f'{head}weight'].shape}, "
                f"({classes}, {hidden}) is needed: classes of the task, units of the GRU"
            )
        return head
    matrices = [name for name in rest if name.endswith("weight") and state[name].ndim == 2]
    fitting = [name for name in matrices if state[name].shape in _shapes(classes, hidden)]
    if len(fitting) != 1:
        shapes = ", ".join(f"{name:.40} {state[name].shape}" for name in matrices[:6]) or "none"
        problem = "no linear layer" if not fitting else f"{len(fitting)} linear layers"
        between = (
            " (of those between, give the functions: --back relu)" if len(matrices) > 1 else ""
        )
        hint = between if not fitting else ": give --classifier NAME"
        raise InputError(
            f"{problem} from the GRU's {hidden} units to the task's {classes} classes "
            f"(matrices beside the GRU: {shapes}){hint}"
        )
    return fitting[0].removesuffix("weight")


def _best_activation(checkpoint: Checkpoint, task: Task, asked: Asked) -> Checkpoint:
    """`checkpoint` with the activation whose answers fit the training targets best: a state dict
    does not say which there is."""
    versions = [
        Checkpoint(checkpoint.tensors, checkpoint.structure | {"head": asked.head(name).to_json()})
        for name in ACTIVATIONS
    ]
    x, y = task.x_train[:FITTED], task.y_train[:FITTED]
    return max(versions, key=lambda version: accuracy(version, x, y))


def import_model(
    path: str | os.PathLike[str],
    task: Task,
    *,
    gru: str | None = None,
    classifier: str | None = None,
    front: Sequence[str] = (),
    back: Sequence[str] = (),
) -> Checkpoint:
    """A model trained elsewhere as a checkpoint for `task`, with its accuracies.

    path : a file of torch (needs torch), safetensors, ONNX (needs onnx) or Keras 3 (``.keras``,
        needs h5py), told by its content. A checkpoint of ours whose data was moved stays as it is,
        but for the file that its data is in.

    Raises :class:`InputError` as :func:`from_state` and :func:`from_onnx` do, and where its sizes
    are not the task's.
    """
    path, asked = Path(path), Asked(task.every, task.real)
    kind, part = kind_of(path), ""
    if kind == "safetensors" and (ours := _moved(path, task)) is not None:
        return ours
    others: tuple[str, ...] = ()
    if kind in ("onnx", "keras"):
        if gru is not None or classifier is not None or front or back:
            raise InputError(
                "gru, classifier, front, back: the model's graph says itself which they are"
            )
        if kind == "onnx":
            checkpoint = from_onnx(path, filled(task.x_train[:COMPARED]), task.classes, asked)
        else:
            checkpoint = from_keras(path, task.classes, asked)
    else:
        state, part, others = read_named_state(path, kind)
        try:
            checkpoint = from_state(
                state,
                classes=task.classes,
                gru=gru,
                classifier=classifier,
                asked=asked,
                front=front,
                back=back,
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    check_sizes(checkpoint, task, str(path))
    if task.real and kind not in ("onnx", "keras"):
        checkpoint = _best_activation(checkpoint, task, asked)
    checkpoint = scored(checkpoint, task, path.name)
    info = dict(checkpoint.info)
    if part:
        info["imported_part"] = part
    if others:
        info["imported_not"] = list(others)
    return Checkpoint(checkpoint.tensors, info)


def _moved(path: Path, task: Task) -> Checkpoint | None:
    """The checkpoint at `path` for `task`, if it was trained here on that very data."""
    try:
        checkpoint = Checkpoint.load(path)
    except InputError:
        return None
    if checkpoint.info.get("split_hash") != task.split_hash or not checkpoint.info.get("accuracy"):
        return None
    return Checkpoint(checkpoint.tensors, {**checkpoint.info, "task": task.name})


def check_sizes(checkpoint: Checkpoint, task: Task, source: str) -> None:
    """Raise :class:`InputError` where the network's sizes are not the task's."""
    have = checkpoint.input_size, checkpoint.classes
    if have != (task.features, task.classes):
        raise InputError(
            f"{source}: {have[0]} inputs and {have[1]} classes, task {task.name} has "
            f"{task.features} and {task.classes}"
        )


def scored(checkpoint: Checkpoint, task: Task, source: str) -> Checkpoint:
    """`checkpoint` with its scores on `task`, and where it is from."""
    check_sizes(checkpoint, task, source)
    scores = {
        part: round(accuracy(checkpoint, *task.scored(part)), 6)
        for part in ("train", "val", "test")
    }
    # No split hash: nobody knows which part of the data it was trained on.
    info = {
        **checkpoint.info,
        **({} if task.measure == "accuracy" else {"measure": task.measure}),
        "task": task.name,
        "split_seed": task.split_seed,
        "imported": source,
        "accuracy": scores,
    }
    return Checkpoint(checkpoint.tensors, info)
