"""Tensors of files that torch, Lightning and safetensors write, told by content, never by suffix.

Nothing of a file is executed: pickles are read by torch's ``weights_only`` loader, and classes that
it does not know (settings beside the weights) become empty placeholders.
"""

import argparse
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..files import read_bytes

#: Depth to which a checkpoint's dicts are looked through for the weights.
DEPTH = 4
#: Entries of a list that are looked through for the weights.
_PARTS = 16
#: Classes unknown to the loader that one file may have before it is given up.
_PLACEHOLDERS = 64
#: Numbers of a safetensors file as NumPy has them.
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
#: Members of an archive that torch.export wrote, of today and of before.
_PROGRAMS = ("models/model.json", "serialized_exported_program.json")
_UNKNOWN = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)")
State = dict[str, np.ndarray]


def plain(error: Exception) -> str:
    """A library's message on one line, cut."""
    return " ".join(str(error).split())[:120]


def kind_of(path: Path) -> str:
    """'safetensors', 'torch', 'keras', 'hdf5', 'script' or 'onnx', by the file's content.

    Raises :class:`InputError` for a missing file and for one of no known kind.
    """
    content = read_bytes(path)
    if not content:
        raise InputError(f"{path}: an empty file")
    if content[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{path}: a damaged archive ({plain(error)})") from None
        if "config.json" in names and "model.weights.h5" in names:
            return "keras"
        if names and all(name.endswith(".npy") for name in names):
            raise InputError(f"{path}: a NumPy archive of arrays, not a model")
        if any(name.endswith(_PROGRAMS) for name in names):
            raise InputError(
                f"{path}: a program of torch.export: save model.state_dict(), or export ONNX"
            )
        script = any(name.endswith("/constants.pkl") for name in names)
        return "script" if script else "torch"
    if content[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if len(content) > 9 and content[8:9] == b"{":
        return "safetensors"
    if content[:1] == b"\x80":
        return "torch"
    if content[:1] == b"\x08" or path.suffix.lower() == ".onnx":
        return "onnx"
    if path.name.endswith(".onnx.data"):
        raise InputError(f"{path}: weights of an ONNX model: give the .onnx file beside it")
    raise InputError(
        f"{path}: not a file of torch (.pt), safetensors, ONNX or Keras (.keras) by its content"
    )


def read_safetensors(path: Path) -> State:
    """Tensors of a safetensors file; bfloat16 and float16 as float32."""
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(read_bytes(path))
        return {name: _array(path, name, entry) for name, entry in entries}
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({plain(error)})") from None


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    dtype, data, shape = entry["dtype"], entry["data"], entry["shape"]
    if dtype == "BF16":
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape)
    if dtype not in _DTYPES:
        raise InputError(f"{path}: tensor {name:.60} is {dtype}: save it as float32")
    array = np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    return array.astype(np.float32) if dtype == "F16" else array


class _Placeholder(dict[Any, Any]):
    """Stands for an object of a class that is not loaded; keeps nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """As of a list."""

    def extend(self, values: Any) -> None:
        """As of a list."""


def _numpy_classes() -> list[Any]:
    """What a pickled NumPy array is made of: its type, its constructor and the types of numbers."""
    rebuild = np.empty(0).__reduce__()[0]
    numbers = [type(np.dtype(kind)) for kind in "efdlbiBq?"]
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]
    return [np.ndarray, np.dtype, *dict.fromkeys(numbers), *((rebuild, name) for name in names)]


def _load(path: Path) -> Any:
    """What `path` holds, read without running any of it."""
    import torch

    classes: list[Any] = [argparse.Namespace, *_numpy_classes()]
    for _ in range(_PLACEHOLDERS):
        try:
            with torch.serialization.safe_globals(classes):
                return torch.load(path, map_location="cpu", weights_only=True)
        # torch raises nearly anything for files that are not its own.
        except Exception as error:
            unknown = _UNKNOWN.search(str(error))
            if unknown is None:
                raise InputError(f"{path}: not a file of tensors ({_reason(error)})") from None
            if any(isinstance(entry, tuple) and entry[1] == unknown[1] for entry in classes):
                raise InputError(f"{path}: not a file of tensors ({_reason(error)})") from None
            classes.append((type("Placeholder", (_Placeholder,), {}), unknown[1]))
    raise InputError(f"{path}: too many objects that are no tensors: save model.state_dict()")


def _reason(error: Exception) -> str:
    if "Weights only load failed" in str(error):
        return "a whole model or other objects: save model.state_dict()"
    return plain(error)


class Named(NamedTuple):
    """Tensors by name; `key` of the dict that they lay in, "" for the file itself; keys of `others`
    that hold a network too."""

    state: State
    key: str = ""
    others: tuple[str, ...] = ()


def read_torch(path: Path) -> Named:
    """Tensors of a torch file, wherever in it they lay."""
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: a torch file needs torch, which is not installed: pip install "
            "'genogate[train]', or save it as .safetensors"
        ) from None
    content = _load(path)
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if isinstance(content, _Placeholder) or not isinstance(content, Mapping):
        what = "whole model" if isinstance(content, _Placeholder) else type(content).__name__
        raise InputError(f"{path}: a {what}; a state dict is needed: save model.state_dict()")
    candidates = [
        (key, tensors) for key, tensors in _dicts(content, torch.Tensor) if _recurrent(tensors)
    ]
    if not candidates:
        if any("_packed_params" in str(name) for name in content):
            raise InputError(
                f"{path}: torch has quantised the model: save the float model's state dict"
            )
        everything = list(_dicts(content, torch.Tensor))
        if not everything:
            raise InputError(f"{path}: no tensors in it: save model.state_dict()")
        candidates = everything[:1]
    # Averaged weights (EMA) only where there are no others.
    candidates.sort(key=lambda entry: ("ema" in entry[0].lower(), entry[0].count(".")))
    (key, tensors), others = candidates[0], tuple(key for key, _ in candidates[1:])
    state = {str(name): _plain_tensor(path, str(name), value) for name, value in tensors.items()}
    return Named(state, key, others)


def _dicts(content: Any, tensor: type, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every dict in `content` that holds tensors, the outer ones first, with its key."""
    if isinstance(content, argparse.Namespace):
        content = vars(content)
    if isinstance(content, list | tuple):
        content = dict(enumerate(content[:_PARTS]))
    if not isinstance(content, Mapping) or depth > DEPTH:
        return
    kinds = (tensor, np.ndarray)
    tensors = {name: value for name, value in content.items() if isinstance(value, kinds)}
    if tensors:
        yield key, tensors
    for name, value in content.items():
        yield from _dicts(value, tensor, f"{key}.{name}".lstrip("."), depth + 1)


def _recurrent(tensors: Mapping[Any, Any]) -> bool:
    return any("weight_ih" in str(name) or "weight_hh" in str(name) for name in tensors)


def _plain_tensor(path: Path, name: str, value: Any) -> np.ndarray:
    import torch

    if isinstance(value, np.ndarray):
        return value
    if value.is_meta:
        raise InputError(
            f"{path}: tensor {name:.60} has no values (it is on the device 'meta'): save the model "
            "after its weights are loaded"
        )
    if value.is_quantized or value.layout != torch.strided or value.is_complex():
        raise InputError(f"{path}: {name!r:.60} is not a plain tensor of real numbers")
    if "float8" in str(value.dtype) or "float4" in str(value.dtype):
        raise InputError(f"{path}: tensor {name:.60} is {value.dtype}: save it as float32")
    kind = value.dtype if not value.is_floating_point() else torch.float64
    return value.detach().to(kind).numpy()


def read_state(path: str | os.PathLike[str]) -> State:
    """The tensors of a torch or safetensors file, by name, as they are.

    Raises :class:`InputError` where the file is missing, damaged, or holds anything but tensors.
    """
    return read_named_state(Path(path)).state


def read_named_state(path: Path, kind: str | None = None) -> Named:
    """:func:`read_state`, and where in the file the tensors lay; `kind` is that of
    :func:`kind_of`, where it is known."""
    kind = kind or kind_of(path)
    if kind == "safetensors":
        return Named(read_safetensors(path))
    if kind == "torch":
        return read_torch(path)
    named = {
        "script": "a TorchScript archive, which is a program: save model.state_dict()",
        "hdf5": "an HDF5 file: save the Keras model as .keras",
    }
    raise InputError(f"{path}: {named.get(kind, f'a file of the kind {kind}, not of tensors')}")


def tidied(state: Mapping[str, np.ndarray]) -> State:
    """The same weights under the names of a plain ``torch.nn.GRU``.

    Weight and spectral normalisation (both styles) and pruning masks are multiplied out, a
    ``GRUCell`` becomes a layer, an averaged copy beside the weights (``ema.``) and counters
    (``n_averaged``, ``step``) are left out. Raises :class:`InputError` for another parametrisation.
    """
    plainer = {
        name: array
        for name, array in state.items()
        if not _averaged(name, state) and (array.ndim or array.dtype.kind not in "biu")
    }
    for name in list(plainer):
        if name in plainer:
            _unwrap(plainer, name)
    for name in list(plainer):
        if ".original" in name and "parametrizations." in name:
            raise InputError(
                f"tensor {name:.80}: a parametrisation that is neither weight_norm nor "
                "spectral_norm; call torch.nn.utils.parametrize.remove_parametrizations before "
                "saving"
            )
        if match := re.fullmatch(r"(.*?)((?:weight|bias)_[ih]h)", name):
            plainer[f"{match[1]}{match[2]}_l0"] = plainer.pop(name)
    return plainer


def _averaged(name: str, state: Mapping[str, np.ndarray]) -> bool:
    """Whether `name` (ema.gru..., ema.shadow.gru...) is an averaged copy of another tensor."""
    parts = name.split(".")
    return parts[0].lower().startswith("ema") and any(
        ".".join(parts[k:]) in state for k in range(1, len(parts))
    )


def _unwrap(state: State, name: str) -> None:
    """Put the plain weight in the place of the tensors that `name` computes it from, if it does."""
    if match := re.fullmatch(r"(.*?)parametrizations\.(\w+)\.original1", name):
        scale = state.pop(f"{match[1]}parametrizations.{match[2]}.original0", None)
        state[match[1] + match[2]] = _normalised(name, scale, state.pop(name))
    elif name.endswith("_v") and name[:-1] + "g" in state:
        scale = state.pop(name[:-1] + "g")
        state[name[:-2]] = _normalised(name, scale, state.pop(name))
    elif match := re.fullmatch(r"(.*?)parametrizations\.(\w+)\.original", name):
        vectors = f"{match[1]}parametrizations.{match[2]}.0._"
        if vectors + "u" in state and vectors + "v" in state:
            u, v = state.pop(vectors + "u"), state.pop(vectors + "v")
            state[match[1] + match[2]] = _spectral(name, state.pop(name), u, v)
    elif name.endswith("_orig") and name[:-4] + "mask" in state:
        array, mask = state.pop(name), state.pop(name[:-4] + "mask")
        if mask.shape != array.shape:
            raise InputError(f"tensor {name:.80}: a mask of another shape")
        state[name[:-5]] = array * mask
    elif name.endswith("_orig") and {name[:-4] + "u", name[:-4] + "v"} <= state.keys():
        u, v = state.pop(name[:-4] + "u"), state.pop(name[:-4] + "v")
        state[name[:-5]] = _spectral(name, state.pop(name), u, v)


def _spectral(name: str, weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """``weight / (u' weight v)``, as at inference; rows along the first axis."""
    if weight.ndim != 2 or u.shape != weight.shape[:1] or v.shape != weight.shape[1:]:
        raise InputError(f"tensor {name:.80}: spectral_norm whose vectors do not fit")
    largest = u.astype(np.float64) @ weight.astype(np.float64) @ v.astype(np.float64)
    if largest == 0 or not np.isfinite(largest):
        raise InputError(f"tensor {name:.80}: spectral_norm of {largest:.3g}")
    return weight / largest


def _normalised(name: str, scale: np.ndarray | None, direction: np.ndarray) -> np.ndarray:
    """``g v / |v|``, the norm over the axes along which g has one value."""
    if scale is None or scale.ndim not in (0, direction.ndim):
        raise InputError(f"tensor {name:.80}: weight_norm without its other half")
    axes = tuple(k for k in range(direction.ndim) if scale.ndim == 0 or scale.shape[k] == 1)
    direction = direction.astype(np.float64)
    norm = np.sqrt((direction**2).sum(axis=axes, keepdims=True))
    return scale.astype(np.float64) * direction / np.where(norm == 0, 1.0, norm)
