"""What the import makes of models from other tools: accepted or refused, and how near the outputs.

The models lie in a folder of one's own, ``$GENOGATE_CASES``, with subfolders ``import`` and
``networks`` and data sets ``import/*.npz``; none of them is part of the project.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from genogate.model.errors import InputError

from .import_sources import module_outputs, recurrent_weights

VARIABLE = "GENOGATE_CASES"
FOLDERS = ("import", "networks")
SUFFIXES = (".onnx", ".pt", ".keras")
#: Largest difference of outputs that still counts as the same network.
NEAR = 1e-5


def _cases() -> Path:
    """The folder of cases. Raises :class:`InputError` where there is none."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if VARIABLE not in os.environ or not (folder / FOLDERS[0]).is_dir():
        raise InputError(
            f"import_matrix: ${VARIABLE} is no folder with a folder {FOLDERS[0]}: "
            f"export {VARIABLE}=/folder/of/models"
        )
    return folder


def source_outputs(model: Path, x: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Outputs by the source itself and what gave them: a stored ``NAME.ref.npy``, the torch module
    of a state dict, or the reference evaluator of the package onnx; None and the reason where none
    of them can."""
    stored = model.with_suffix(".ref.npy")
    if stored.exists():
        return np.load(stored), "stored"
    if model.suffix == ".pt":
        return module_outputs(model, x), "torch module"
    if model.suffix != ".onnx":
        return None, "none"
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(str(model))
        shape = evaluator.input_types[0].tensor_type.shape.dim
        batch = shape[0].dim_value or len(x)
        parts = [
            evaluator.run(None, {evaluator.input_names[0]: x[start : start + batch]})[0]
            for start in range(0, len(x) // batch * batch, batch)
        ]
        return np.concatenate(parts), "onnx.reference"
    except Exception as error:  # The evaluator fails on some graphs with whatever NumPy raises.
        return None, f"onnx.reference fails ({type(error).__name__})"


def difference(ours: np.ndarray, source: np.ndarray) -> float | None:
    """Largest difference, divided by the largest output where that is over 1; one logit of a
    source is compared with the difference of our two, probabilities with the softmax of ours.
    None where the shapes do not fit."""
    if source.shape[-1] == 1 and ours.shape[-1] == 2:
        ours = ours[..., 1:] - ours[..., :1]
    if ours.shape[1:] != source.shape[1:] or not len(source):
        return None
    ours = ours[: len(source)]
    if source.min() >= 0 and np.allclose(source.sum(-1), 1, atol=1e-5):
        ours = np.exp(ours - ours.max(-1, keepdims=True))
        ours /= ours.sum(-1, keepdims=True)
    return float(np.abs(ours - source).max() / max(1.0, np.abs(source).max()))


def weight_difference(model: Path, checkpoint: Any) -> float:
    """Largest difference of the recurrent weights to those in the file, divided by the largest
    where that is over 1."""
    apart = 0.0
    for k, matrix in enumerate(recurrent_weights(model)):
        ours = checkpoint.tensors[f"weight_hh_l{k}"]
        apart = max(apart, float(np.abs(ours - matrix).max() / max(1.0, np.abs(matrix).max())))
    return apart


def _integer(out: Path, data: str, x: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """INT8 beside float: mean error of outputs as a share of their spread, and the score."""
    from genogate.model.knobs import Knobs
    from genogate.network import build_network
    from genogate.sim import golden

    try:
        network = build_network(
            genome="int8", task=data, checkpoint=str(out), knobs=Knobs(), say=lambda text: None
        )
    except InputError as error:
        return {"int8_refused": str(error)}
    raw = golden.run(network.model, network.model.quantize_input(x)).logits.astype(float)
    fitted = raw * ((raw * logits).sum() / max((raw * raw).sum(), 1.0))
    error = np.sqrt(np.mean((fitted - logits) ** 2)) / logits.std()
    return {"int8_error": float(error), "int8_test": float(network.score("test").value)}


def at_every_step(file: Path, work: Path) -> Path:
    """A copy of a data set in `work` whose class of a sequence is the target of each of its steps,
    for models that answer at every step."""
    with np.load(file) as arrays:
        x, y = arrays["x"], arrays["y"]
    copy = work / f"{file.stem}, every step.npz"
    np.savez(copy, x=x, y=np.repeat(y[:, None], x.shape[1], axis=1))
    return copy


def case(model: Path, data: list[Path], work: Path) -> dict[str, Any]:
    """One model: imported with the first data set that it fits, and compared."""
    from genogate.training import run_import

    row: dict[str, Any] = {"model": f"{model.parent.name}/{model.name}"}
    out = work / f"{model.parent.name}-{model.name}.safetensors"
    refusals = []
    for file in data:
        try:
            checkpoint, _ = run_import(str(model), str(file), 0, str(out), None, None, True)
        except InputError as error:
            refusals.append(str(error).replace(f"{model.parent}/", ""))
            continue
        break
    else:
        return row | {"accepted": False, "line": refusals[0]}
    from genogate.model.checkpoints.floating import forward

    layers = [f"{name} {function}" for name, function in checkpoint.functions.items()]
    units = ", ".join(str(checkpoint.hidden_size(k)) for k in range(checkpoint.layers))
    head = "" if checkpoint.head.plain else f"; head {checkpoint.head}"
    words = f"GRU of {units}; {checkpoint.classes} outputs{head}"
    row |= {"accepted": True, "structure": "; ".join([*layers, words]), "data": file.name}
    with np.load(file) as arrays:
        x = arrays["x"].astype(np.float32)
    result = forward(checkpoint, x)
    ours = result.logits if result.values is None else result.values
    source, by = source_outputs(model, x)
    row |= {"by": by, "difference": None if source is None else difference(ours, source)}
    row["weights"] = weight_difference(model, checkpoint)
    row["float_test"] = float(checkpoint.info["accuracy"]["test"])
    return row | _integer(out, str(file), x, result.logits)


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Every model of the folder."""
    folder = _cases()
    data = sorted((folder / FOLDERS[0]).glob("*.npz"))
    rows = []
    with tempfile.TemporaryDirectory() as work:
        data += [at_every_step(file, Path(work)) for file in data]
        for place in FOLDERS:
            for model in sorted((folder / place).glob("*")):
                if model.suffix in SUFFIXES:
                    say(f"{place}/{model.name}")
                    rows.append(case(model, data, Path(work)))
    return {"rows": rows}


def render(data: dict[str, Any]) -> list[str]:
    """The page."""
    rows = data["rows"]
    taken = [row for row in rows if row["accepted"]]
    compared = [row for row in taken if row["difference"] is not None]
    near = [row for row in compared if row["difference"] <= NEAR]
    lines = [
        "## Import: models of other tools",
        "",
        f"{len(rows)} models of a folder of one's own (`{VARIABLE}`), of torch, ONNX and Keras 3, "
        f"some made to be refused: {len(taken)} accepted, {len(compared)} of them compared with "
        f"the source's own outputs, {len(near)} within {NEAR:g}; recurrent weights of "
        f"{sum(row['weights'] <= NEAR for row in taken)} are within {NEAR:g} of those in the file. "
        "Source: outputs that the framework stored, the torch module that a state dict was saved "
        "from, or the reference evaluator of the package onnx. Difference: the largest, divided by "
        "the largest output (weight) where that is over 1; probabilities are compared with the "
        "softmax of our logits. Weights: the matrices of the state, into which nothing folds but "
        "weight normalisation. A model that answers at every step is judged on a copy of the data "
        "set in which the class of a sequence is the target of each of its steps. "
        "INT8 error: root mean square of the difference to float logits over "
        "their standard deviation, one factor fitted for all, default knobs.",
        "",
        "| model | structure | difference | of weights | source | float, test % | INT8, test % "
        "| INT8 error, % |",
        "|---|---|---:|---:|---|---:|---:|---:|",
    ]
    for row in taken:
        apart = "" if row["difference"] is None else f"{row['difference']:.1e}"
        integer = [row.get("int8_refused", "refused"), ""]
        if "int8_error" in row:
            integer = [f"{100 * row['int8_test']:.1f}", f"{100 * row['int8_error']:.1f}"]
        score = f"{100 * row['float_test']:.1f}"
        weights = f"{row['weights']:.1e}"
        cells = [f"`{row['model']}`", row["structure"], apart, weights, row["by"], score, *integer]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| refused | line |", "|---|---|"]
    for row in rows:
        if not row["accepted"]:
            lines.append(f"| `{row['model']}` | {row['line'].replace('|', '/')} |")
    return [*lines, ""]
