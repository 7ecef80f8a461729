"""Proxies by name or text, and ready to rank genomes of one network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...model.errors import InputError, shown
from ...model.files import read_json
from . import handcrafted
from .formula import InvalidProxy, Proxy, scores
from .inputs import Inputs
from .primitives import Array

#: Proxies that evolution found and that are shipped: name, text, and how each was found.
FOUND = Path(__file__).parent / "found.json"


def found() -> dict[str, str]:
    """Texts of the shipped proxies by name; empty where none are shipped."""
    if not FOUND.exists():
        return {}
    shipped = read_json(FOUND)
    try:
        return {str(name): str(entry["proxy"]) for name, entry in shipped.items()}
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{FOUND}: not a list of proxies; install again") from None


def searched_on(proxy: str | Proxy) -> tuple[str, ...]:
    """The tables that a shipped proxy, by name, was searched on, one half of each; none for others:
    of them that is not known."""
    name = str(proxy).strip()
    if name not in found():
        return ()
    return tuple(map(str, read_json(FOUND)[name].get("searched_on", ())))


def resolve(proxy: str | Proxy) -> Proxy | str:
    """A formula by a shipped name or its text, or the name of a handcrafted proxy.

    Raises :class:`InputError` for what is neither.
    """
    if isinstance(proxy, Proxy):
        return proxy
    if not isinstance(proxy, str):
        raise InputError(f"proxy {shown(proxy)}: a name or a formula is needed")
    name = proxy.strip()
    # A sum over layers of its own is more than a formula says; so is a pass of the network.
    if name in handcrafted.NAMES:
        return name
    shipped = found()
    if name in shipped:
        return Proxy.parse(shipped[name])
    try:
        return Proxy.parse(proxy)
    except InputError as error:
        if name and all(letter.isalnum() or letter in "-_" for letter in name):
            names = ", ".join([*shipped, *handcrafted.NAMES])
            raise InputError(
                f"proxy {shown(name)}: no formula, and the names are {names}"
            ) from error
        raise


@dataclass(frozen=True, eq=False)
class Ranker:
    """A proxy on the statistics of one network: scores of genomes at the cost of a look-up.

    proxy : formula, or name of a handcrafted one
    statistics : :class:`~.statistics.Statistics` of the network
    """

    proxy: Proxy | str
    statistics: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "proxy", resolve(self.proxy))
        if self.proxy == "output-kl":
            raise InputError("proxy output-kl: it runs the network; only `proxy eval` knows it")

    @cached_property
    def inputs(self) -> Inputs:
        return Inputs.of(self.statistics, None)

    @cached_property
    def table(self) -> Array | None:
        """Float64 [items, widths]; None for what is no sum over items. Raises
        :class:`~.formula.InvalidProxy` where it is not finite."""
        if isinstance(self.proxy, Proxy):
            return self.proxy.table(self.inputs)
        if self.proxy not in handcrafted.TABLES:
            return None
        table = handcrafted.TABLES[self.proxy](self.statistics)
        if not np.isfinite(table).all():
            item = int(np.argwhere(~np.isfinite(table))[0, 0])
            raise InvalidProxy("not a number", str(self.proxy), self.statistics.names[item])
        return table

    def __call__(self, genomes: Sequence[Any] | Array) -> Array:
        """Scores float64 [N] of genomes [N, items], larger meaning better. Raises
        :class:`InputError` for genomes of another network."""
        rows = np.asarray(genomes)
        columns = self.inputs.columns(rows)
        if self.table is None:
            return handcrafted.scores(str(self.proxy), self.statistics, rows)
        return scores(self.table, columns)


def baselines(statistics: Any, genomes: Array) -> Mapping[str, Array]:
    """Scores by every handcrafted proxy that needs no pass of the network."""
    names = [name for name in handcrafted.NAMES if name != "output-kl"]
    return {name: handcrafted.scores(name, statistics, genomes) for name in names}
