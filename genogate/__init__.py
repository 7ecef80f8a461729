"""Genogate, genomes to gates: searched bit widths, generated and verified GRU hardware.

    import genogate

    network = genogate.quantize("digits-row", "int4", lanes=2)
    network.accuracy(), network.area().total.cells
    network.save("build/mine")

The names are loaded when they are used, so that ``import genogate`` costs nothing.
"""

from __future__ import annotations

import types
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import search as _search_room

if TYPE_CHECKING:
    from .api import Network, quantize, table
    from .model.checkpoints.floating import Checkpoint
    from .model.errors import InputError
    from .model.genome import Genome
    from .model.knobs import Knobs

__version__ = "0.1.0"
__all__ = [
    "Checkpoint",
    "Genome",
    "InputError",
    "Knobs",
    "Network",
    "__version__",
    "quantize",
    "search",
    "table",
]

#: Public name -> module that has it.
_HOMES = {
    **dict.fromkeys(("Network", "quantize", "table"), ".api"),
    "Checkpoint": ".model.checkpoints.floating",
    "InputError": ".model.errors",
    "Genome": ".model.genome",
    "Knobs": ".model.knobs",
}


class _Search(types.ModuleType):
    """The room ``genogate.search``, which is also the function of that name."""

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Search genomes: see :func:`genogate.api.search_genomes`."""
        from .api import search_genomes

        return search_genomes(*arguments, **options)


# A package and a function cannot share a name otherwise: whoever imports a module of the room
# would replace the function by it.
_search_room.__class__ = _Search


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'genogate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
