"""Piecewise-linear tables of a function: number formats, the codes they are judged on, their file.

A table of N segments is ``y = slope_k x + intercept_k`` for ``k = #{j: p_j <= x}``: an input on a
break point belongs to the segment on its right. Inputs are signed codes q, ``x = q 2**-scale``.
Slopes and intercepts are integers with fraction bits, so that ``y`` is exact; what an 8-bit output
makes of it is up to the unit (:meth:`Segments.unit`). Source: arXiv 2403.19591 (GQA-LUT), where a
scale is a power of two and a real break point is rounded to the codes of each scale.

Protocol R judges a table on the codes within the function's range, both ends included; protocol A
on every code within its domain, which also shows what a table does outside of its range.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..aliases import Array
from ..errors import InputError, shown
from ..files import read_json, write_json
from ..integer import code_range
from .formats import Format
from .functions import Function, parse_function
from .points import MAX_SCALE, MIN_SCALE, Points, Protocol, check_in_bits, check_scales, codes
from .segments import Segments

KIND, VERSION = "genogate lut", 1
#: What the commands take; the classes below also take fewer segments.
MIN_ENTRIES, MAX_ENTRIES = 4, 64


def output_scale(
    function: Function, in_bits: int, scale: int, out_bits: int, protocol: Protocol = "R"
) -> tuple[int, int]:
    """A scale k (of 2**-k) and a zero point for output codes, by least squared error on the codes
    of `protocol`.

    Functions that are never negative there get the lowest code as zero point, so that all codes
    are used.
    """
    q = codes(function, in_bits, scale, protocol)
    y = function(np.ldexp(q.astype(np.float64), -scale))
    low, high = code_range(out_bits)
    zero = low if y.min() >= 0 else 0

    def error(k: int) -> float:
        code = np.clip(np.floor(np.ldexp(y, k) + 0.5) + zero, low, high)
        return float(((np.ldexp(code - zero, -k) - y) ** 2).mean())

    return min(range(MIN_SCALE, MAX_SCALE + 1), key=lambda k: (error(k), k)), zero


#: Entries of a table's file; all others are its `info`.
_FIELDS = (
    *("kind", "version", "function", "range", "domain", "in_bits"),
    *("entries", "format", "shared", "errors", "scales"),
)


@dataclass(frozen=True)
class _Reader:
    """Checks values of a parsed file; `where` names it in errors."""

    where: str

    def integer(self, value: Any, name: str, low: int = -(1 << 30), high: int = 1 << 30) -> int:
        if type(value) is not int or not low <= value <= high:
            raise InputError(
                f"{self.where}: {name} {shown(value)} is not an integer within {low} to {high}"
            )
        return value

    def integers(self, value: Any, name: str, *bounds: int) -> Array:
        if not isinstance(value, list) or len(value) > 4096:
            raise InputError(f"{self.where}: {name} {shown(value)} is not a list of integers")
        return np.array(
            [self.integer(v, f"{name}[{j}]", *bounds) for j, v in enumerate(value)], np.int64
        )

    def number(self, value: Any, name: str) -> float:
        # Integers too great for a float compare, but do not convert.
        if type(value) not in (int, float) or not -1e300 <= value <= 1e300:
            raise InputError(f"{self.where}: {name} {shown(value)} is not a finite number")
        return float(value)

    def part(self, value: Any, name: str, kind: type) -> Any:
        if not isinstance(value, kind):
            raise InputError(f"{self.where}: {name} {shown(value)} is not a {kind.__name__}")
        return value

    def segments(self, row: Any, name: str, form: Format) -> Segments:
        """The segments of one scale."""
        self.part(row, name, dict)
        k = self.integer(row.get("scale"), f"{name}.scale", MIN_SCALE, MAX_SCALE)
        bounds: dict[str, tuple[int, ...]] = {
            "breakpoints": (),
            "slopes": code_range(form.slope_bits),
            "slope_fraction": (),
            "intercepts": code_range(form.intercept_bits),
            "intercept_fraction": (),
        }
        return Segments(
            k, *(self.integers(row.get(n), f"scale {k}: {n}", *b) for n, b in bounds.items())
        )


@dataclass(frozen=True)
class LutTable:
    """A table of a function for one scale or several.

    Parameters
    ----------
    function : Function
    format : Format
    in_bits : int
        Width of the input codes.
    rows : tuple of Segments
        One a scale, ascending in k.
    shared : bool
        Whether all scales have the same slopes and intercepts (the paper's setting).
    info : mapping
        How it was found: method, objective, seed, optimum; JSON-able.
    """

    function: Function
    format: Format
    in_bits: int
    rows: tuple[Segments, ...]
    shared: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_in_bits(self.in_bits)
        if not self.rows:
            raise InputError("table: no scale")
        ks = [row.scale for row in self.rows]
        if list(check_scales(ks)) != ks:
            raise InputError(f"scales {' '.join(map(str, ks))}: each once, ascending, is needed")
        low, high = code_range(self.in_bits)
        for row in self.rows:
            if (outside := (row.breakpoints < low) | (row.breakpoints > high + 1)).any():
                raise InputError(
                    f"scale {row.scale}: breakpoint {row.breakpoints[outside][0]} is not within "
                    f"{low} to {high + 1}"
                )

    @classmethod
    def from_cuts(
        cls,
        points: Points,
        format: Format,
        cuts: Array,
        slopes: Array,
        intercepts: Array,
        info: Mapping[str, Any] | None = None,
    ) -> "LutTable":
        """A shared table from ascending cells `cuts` [N-1] (see :class:`Points`) and indices of
        slopes and intercepts [N] into the format's grids."""
        low, high = code_range(points.in_bits)
        s, sf = format.slopes.stored(np.asarray(slopes))
        b, bf = format.intercepts.stored(np.asarray(intercepts))
        rows = tuple(
            Segments(k, np.clip(points.breakpoints(cuts, k), low, high + 1), s, sf, b, bf)
            for k in points.scales
        )
        # The middle of a cell, in half steps of the finest grid.
        real = {"values": [2 * int(c) + 1 for c in cuts], "fraction_bits": points.finest + 2}
        return cls(
            points.function, format, points.in_bits, rows, True, {"cuts": real, **(info or {})}
        )

    def row(self, scale: int) -> Segments:
        """The table at scale ``2**-scale``. Raises :class:`InputError` for one it is not for."""
        for row in self.rows:
            if row.scale == scale:
                return row
        raise InputError(
            f"scale {scale}: this table is for {' '.join(str(row.scale) for row in self.rows)}"
        )

    @property
    def entries(self) -> int:
        """Segments of the longest row."""
        return max(row.entries for row in self.rows)

    def errors(self, protocol: Protocol = "R") -> dict[int, tuple[float, float]]:
        """Mean squared and greatest absolute error by scale, outputs not rounded."""
        errors = {}
        for row in self.rows:
            q = codes(self.function, self.in_bits, row.scale, protocol)
            off = row(q) - self.function(np.ldexp(q.astype(np.float64), -row.scale))
            errors[row.scale] = float((off**2).mean()), float(np.abs(off).max())
        return errors

    def mse(self, protocol: Protocol = "R") -> float:
        """Mean over the scales of the mean squared error."""
        return float(np.mean([mse for mse, _ in self.errors(protocol).values()]))

    def to_json(self) -> dict[str, Any]:
        """The file's contents."""
        judged = {protocol: self.errors(protocol) for protocol in ("R", "A")}
        rows = [
            {
                "scale": row.scale,
                **row.to_json(),
                "errors": {
                    p: {"mse": judged[p][row.scale][0], "max": judged[p][row.scale][1]}
                    for p in judged
                },
            }
            for row in self.rows
        ]
        low, high = self.function.domain
        return {
            "kind": KIND,
            "version": VERSION,
            "function": self.function.name,
            "range": [self.function.low, self.function.high],
            "domain": [low if math.isfinite(low) else None, high if math.isfinite(high) else None],
            "in_bits": self.in_bits,
            "entries": self.entries,
            "format": self.format.to_json(),
            "shared": self.shared,
            **self.info,
            "errors": {
                p: {
                    "mse": float(np.mean([mse for mse, _ in judged[p].values()])),
                    "max": max(top for _, top in judged[p].values()),
                }
                for p in judged
            },
            "scales": rows,
        }

    def save(self, path: str | Path) -> None:
        """Write ``table.json``, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "LutTable":
        """Read a file that :meth:`save` wrote.

        Raises :class:`InputError`, one line naming the value at fault, for one that is foreign,
        damaged, or whose break points are out of order.
        """
        return cls.from_json(read_json(path), str(path))

    @classmethod
    def from_json(cls, data: Any, where: str = "table") -> "LutTable":
        """The table of a parsed file; `where` names it in errors."""
        if not isinstance(data, dict) or data.get("kind") != KIND:
            kind = data.get("kind") if isinstance(data, dict) else data
            raise InputError(f"{where}: not a genogate lut table (kind: {shown(kind)})")
        if data.get("version") != VERSION:
            raise InputError(
                f"{where}: version {shown(data.get('version'))}, this program reads {VERSION}"
            )

        read = _Reader(where)
        try:
            bounds = read.part(data.get("range"), "range", list)
            if len(bounds) != 2:
                raise InputError(f"{where}: range {shown(bounds)} is not two numbers")
            low, high = (read.number(bound, f"range[{j}]") for j, bound in enumerate(bounds))
            function = parse_function(read.part(data.get("function"), "function", str), low, high)
            fmt = read.part(data.get("format"), "format", dict)
            slope_bits, intercept_bits, fraction_bits = (
                read.integer(fmt.get(n), f"format.{n}", 0, 24)
                for n in ("slope_bits", "intercept_bits", "fraction_bits")
            )
            digits = read.integer(fmt.get("slope_digits", 0), "format.slope_digits", 0, 2)
            form = Format(fmt.get("kind"), slope_bits, intercept_bits, fraction_bits, digits)
            rows = [
                read.segments(row, f"scales[{j}]", form)
                for j, row in enumerate(read.part(data.get("scales"), "scales", list))
            ]
            info = {name: value for name, value in data.items() if name not in _FIELDS}
            return cls(
                function,
                form,
                read.integer(data.get("in_bits"), "in_bits", 2, 8),
                tuple(rows),
                read.part(data.get("shared"), "shared", bool),
                info,
            )
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(where) else f"{where}: {text}") from None
