"""Models trained elsewhere: a ``torch.nn.GRU`` with a linear classifier, or the same as ONNX.

Read as data, never as code: torch files with ``weights_only``, safetensors, ONNX
(:mod:`.from_onnx`). A file that means something else than GRU layers in series, whose last state
goes through one linear layer, is refused.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..data.tasks import Task
from ..errors import InputError
from ..files import read_bytes
from .floating import Checkpoint, accuracy, layer_names
from .from_onnx import COMPARED, from_onnx

#: Where a training script may keep the state dict in what it saves.
NESTED = ("state_dict", "model_state_dict", "model", "net", "network")

_WEIGHT = re.compile(r"(.*?)weight_ih_l(\d+)(_reverse)?")


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def read_state(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a torch or safetensors file, by name, as they are.

    Raises :class:`InputError` where the file is missing, damaged, or holds anything but tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        read_bytes(path)  # says what is wrong with a missing or absurdly large file
        try:
            with safe_open(str(path), framework="np") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            hint = "; save float32 tensors" if "bfloat16" in str(error) else ""
            raise InputError(
                f"{path}: not a readable safetensors file ({_plain(error)}){hint}"
            ) from None
    return _read_torch(path)


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    read_bytes(path)
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: a torch file needs torch, which is not installed: pip install "
            "'genogate[train]', or save it as .safetensors"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises nearly anything for files that are not its own.
    except Exception as error:
        whole = "Weights only load failed" in str(error) or "Unsupported global" in str(error)
        hint = "a whole model or other objects: save model.state_dict()" if whole else _plain(error)
        raise InputError(f"{path}: not a file of tensors ({hint})") from None
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: a {type(content).__name__}, a state dict is needed")
    tensors = {}
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {name!r:.60} is no tensor: save model.state_dict() alone")
        if value.is_quantized or value.layout != torch.strided or value.is_complex():
            raise InputError(f"{path}: {name!r:.60} is not a plain tensor of real numbers")
        kind = value.dtype if not value.is_floating_point() else torch.float64
        tensors[str(name)] = value.detach().to(kind).numpy()
    return tensors


def from_state(
    state: Mapping[str, np.ndarray],
    *,
    classes: int,
    gru: str | None = None,
    classifier: str | None = None,
) -> Checkpoint:
    """The GRU and the linear classifier in a state dict, whatever their modules are called.

    gru, classifier : names of the modules, where shapes do not tell

    Raises :class:`InputError` where there is none or more than one of either, where the GRU is
    bidirectional, projected or no GRU, and where other tensors are left: the model would compute
    something else. How inputs lie in memory (``batch_first``) leaves no trace in a state dict and
    does not matter here.
    """
    matches = [match for name in state if (match := _WEIGHT.fullmatch(name))]
    prefixes = sorted({match[1] for match in matches})
    if gru is not None:
        wanted = gru.rstrip(".") + "." if gru.rstrip(".") else ""
        if wanted not in prefixes:
            raise InputError(f"gru {gru!r:.60}: no such module, there are {_names(prefixes)}")
        prefixes = [wanted]
    if not prefixes:
        raise InputError("no torch.nn.GRU: there is no tensor weight_ih_l0 in it")
    if len(prefixes) > 1:
        raise InputError(f"{len(prefixes)} recurrent modules, {_names(prefixes)}: give --gru NAME")
    prefix = prefixes[0]
    tensors, used = _layers(state, prefix)
    hidden = tensors[layer_names(len(tensors) // 4 - 1)[1]].shape[1]
    rest = [name for name in state if name not in used]
    head = _classifier(state, rest, classes, hidden, classifier)
    used |= {f"{head}weight", f"{head}bias"}
    if left := sorted(set(state) - used):
        raise InputError(
            f"tensor {left[0]:.60} {state[left[0]].shape} is neither of the GRU nor of its "
            f"classifier ({len(left)} such): the model computes more than a GRU and one linear "
            "layer, or the file holds more than the model"
        )
    weight = _real(state, f"{head}weight")
    tensors["classifier.weight"] = weight
    bias = f"{head}bias"
    tensors["classifier.bias"] = (
        _real(state, bias) if bias in state else np.zeros(len(weight), np.float32)
    )
    return Checkpoint(tensors)


def _names(prefixes: list[str]) -> str:
    return ", ".join(repr(prefix.rstrip(".")) for prefix in prefixes[:8])


def _real(state: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    array = state[name]
    if array.dtype.kind != "f":
        raise InputError(f"tensor {name:.60} holds {array.dtype}, real numbers are needed")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


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
            tensors[name] = _real(state, prefix + name)
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
            known = prefix + name in state
            tensors[name] = _real(state, prefix + name) if known else np.zeros(rows, np.float32)
        used |= {prefix + name for name in names}
        layer += 1
    if not layer:
        raise InputError(f"tensor {prefix}weight_ih_l0 is missing")
    return tensors, used


def _classifier(
    state: Mapping[str, np.ndarray], rest: list[str], classes: int, hidden: int, given: str | None
) -> str:
    """Prefix of the linear layer from `hidden` values to `classes`."""
    if given is not None:
        head = given.rstrip(".") + "."
        if f"{head}weight" not in rest:
            raise InputError(f"classifier {given!r:.60}: no tensor {head}weight in it")
        if state[f"{head}weight"].shape != (classes, hidden):
            raise InputError(
                f"tensor {head}weight has shape {state[f'{head}weight'].shape}, "
                f"({classes}, {hidden}) is needed: classes of the task, units of the GRU"
            )
        return head
    found = [name for name in rest if name.endswith("weight") and state[name].ndim == 2]
    fitting = [name for name in found if state[name].shape == (classes, hidden)]
    if len(fitting) != 1:
        shapes = ", ".join(f"{name:.40} {state[name].shape}" for name in found[:6]) or "none"
        problem = "no linear layer" if not fitting else f"{len(fitting)} linear layers"
        hint = "" if not fitting else ": give --classifier NAME"
        raise InputError(
            f"{problem} from the GRU's {hidden} units to the task's {classes} classes "
            f"(matrices beside the GRU: {shapes}){hint}"
        )
    return fitting[0].removesuffix("weight")


def import_model(
    path: str | os.PathLike[str],
    task: Task,
    *,
    gru: str | None = None,
    classifier: str | None = None,
) -> Checkpoint:
    """A model trained elsewhere as a checkpoint for `task`, with its accuracies.

    path : ``.pt`` or ``.pth`` (needs torch), ``.safetensors``, or ``.onnx`` (needs onnx)

    Raises :class:`InputError` as :func:`from_state` and :func:`from_onnx` do, and where its sizes
    are not the task's.
    """
    path = Path(path)
    if path.suffix not in (".pt", ".pth", ".safetensors", ".onnx"):
        raise InputError(f"{path}: one of .pt, .pth, .safetensors and .onnx is needed")
    if path.suffix == ".onnx":
        if gru is not None or classifier is not None:
            raise InputError("gru, classifier: an ONNX graph says itself which they are")
        checkpoint = from_onnx(path, task.x_train[:COMPARED], task.classes)
    else:
        state = read_state(path)
        try:
            checkpoint = from_state(state, classes=task.classes, gru=gru, classifier=classifier)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    have = checkpoint.input_size, checkpoint.classes
    if have != (task.features, task.classes):
        raise InputError(
            f"{path}: {have[0]} inputs and {have[1]} classes, task {task.name} has "
            f"{task.features} and {task.classes}"
        )
    scores = {
        part: round(accuracy(checkpoint, getattr(task, f"x_{part}"), getattr(task, f"y_{part}")), 6)
        for part in ("train", "val", "test")
    }
    # No split hash: nobody knows which part of the data it was trained on.
    info = {
        "task": task.name,
        "split_seed": task.split_seed,
        "imported": path.name,
        "accuracy": scores,
    }
    return Checkpoint(checkpoint.tensors, info)
