"""Modules of a model replaced by their integer units, and calibrated."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import InputError, shown
from ..tables.functions import FUNCTIONS
from ..tables.table import LutTable
from .activation import PiecewiseActivation
from .base import Calibrated, exact_table
from .vectors import PiecewiseLayerNorm, PiecewiseSoftmax

#: torch's element-wise modules and the functions that they are; GELU's two forms are one here,
#: they differ by 5e-4 at most.
ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Hardswish: "hswish",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
}
#: Every class that :func:`replace` knows.
FUNCTION_OF = {**ACTIVATIONS, nn.Softmax: "softmax", nn.LayerNorm: "layernorm"}


@dataclass(frozen=True)
class Replaced:
    """One module that :func:`replace` swapped.

    name : where it stands in the model
    kind : the class that stood there
    function : what it computes
    """

    name: str
    kind: str
    function: str


#: Non-linear modules of torch that nothing here stands for.
_UNKNOWN = (
    nn.CELU,
    nn.ELU,
    nn.GLU,
    nn.GroupNorm,
    nn.LogSigmoid,
    nn.LogSoftmax,
    nn.Mish,
    nn.MultiheadAttention,
    nn.RMSNorm,
    nn.SELU,
    nn.Softmax2d,
    nn.Softmin,
    nn.Softplus,
    nn.Softsign,
)


def _unit_for(
    module: nn.Module,
    tables: Mapping[str | type[nn.Module], LutTable],
    only: Collection[str] | None,
    entries: int,
    in_bits: int,
    out_bits: int,
) -> tuple[Calibrated, str] | None:
    """What takes the place of `module`, and the function's name; None where it stays."""
    kind = type(module)
    if kind in tables:
        return PiecewiseActivation(tables[kind], out_bits), tables[kind].function.name
    function = FUNCTION_OF.get(kind)
    if function is not None and (only is None or function in only):
        if isinstance(module, nn.Softmax):
            if module.dim is None:
                raise InputError("Softmax without dim; give it one")
            return PiecewiseSoftmax(module.dim, entries, in_bits, out_bits), function
        if isinstance(module, nn.LayerNorm):
            return PiecewiseLayerNorm(module, entries, in_bits, out_bits), function
        table = tables.get(function) or exact_table(FUNCTIONS[function], entries, in_bits=in_bits)
        return PiecewiseActivation(table, out_bits), function
    if kind in _UNKNOWN and only is None:
        raise InputError(
            f"no table stands for {kind.__name__}; give one in tables by its class, "
            "or name the functions to replace in only"
        )
    return None


def _check_functions(what: str, names: Iterable[object], accepted: set[str]) -> None:
    """Raise :class:`InputError` for a name of a function that is none of `accepted`."""
    for name in names:
        if isinstance(name, str) and name not in accepted:
            raise InputError(f"{what}: {shown(name)} is not known: {' '.join(sorted(accepted))}")


def replace(
    model: nn.Module,
    tables: Mapping[str | type[nn.Module], LutTable] | None = None,
    *,
    entries: int = 8,
    in_bits: int = 8,
    out_bits: int = 8,
    only: Collection[str] | None = None,
) -> list[Replaced]:
    """Swap the non-linear modules of `model`, in place, for the ones of this file.

    Parameters
    ----------
    tables : mapping, optional
        Function name, or a module class of your own, to its table. Activations that are not in it
        get :func:`exact_table`, one table for the scales of the paper.
    entries : segments of every table that is not given
    in_bits, out_bits : widths of the codes; those into a given table are the table's
    only : names, optional
        What to replace (gelu silu hswish sigmoid tanh softmax layernorm); everything where none
        are given.

    Returns what was replaced, in the model's order; a module that stands in several places is
    replaced by one. Call :func:`calibrate` next. Raises :class:`InputError`, the model untouched,
    for a non-linear module without a table, and where there is nothing to replace.
    """
    tables = dict(tables or {})
    _check_functions("only", only or (), set(FUNCTION_OF.values()))
    _check_functions("tables", tables, set(ACTIVATIONS.values()))
    widths = entries, in_bits, out_bits
    if type(model) in tables or type(model) in FUNCTION_OF:
        raise InputError(
            f"model: a bare {type(model).__name__} cannot be replaced in place; give the module "
            "that holds it"
        )
    places: list[tuple[str, nn.Module]] = []
    replaced: dict[nn.Module, nn.Module] = {}
    report = []
    # A module that stands in several places is listed, and swapped, in each.
    for name, module in model.named_modules(remove_duplicate=False):
        try:
            new = None if module in replaced else _unit_for(module, tables, only, *widths)
        except InputError as error:
            raise InputError(f"{name or 'model'}: {error}") from None
        if new is not None:
            replaced[module] = new[0].to(next(model.parameters(), torch.empty(0)).device)
            report.append(Replaced(name, type(module).__name__, new[1]))
        if module in replaced:
            places.append((name, replaced[module]))
    if not places:
        raise InputError(
            "model: no module to replace was found; functions called in forward() cannot be seen"
        )
    for name, stand in places:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, stand)
    return report


def calibrate(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the scales of every replaced module of `model` from its inputs over `batches`.

    A batch is a tensor, or a tuple of what ``model(*batch)`` takes. While they run, without
    gradients and in evaluation mode, the replaced modules compute the exact functions. Raises
    :class:`InputError` naming a module that no batch reached, or whose inputs are not finite.
    """
    modules = {n: m for n, m in model.named_modules() if isinstance(m, Calibrated)}
    if not modules:
        raise InputError("model: nothing in it is replaced; call replace(model) first")
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        for module in modules.values():
            module.seen = []
        with torch.no_grad():
            for batch in batches:
                model(*batch) if isinstance(batch, tuple | list) else model(batch)
        for name, module in modules.items():
            if not module.seen:
                raise InputError(f"{name}: no batch reached it, so its scales stay open")
            try:
                module.settle(module.seen)
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
    finally:
        for module in modules.values():
            module.seen = None
        for m, mode in training.items():
            m.training = mode
