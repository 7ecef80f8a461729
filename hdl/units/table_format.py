"""How a loadable table unit holds its constants: widths and ranges of the registers."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...model import integer
from ...model.errors import InputError, index_within
from ...model.integer import code_range, half
from ...sim.golden_lut import Contents
from ..arithmetic import signed_digits, trailing_zeros
from .stages import Field

#: A constant, or the bounds of a register.
Setting = int | tuple[int, int]


def contents(op: integer.PiecewiseLinear) -> Contents:
    """The constants of a fixed unit, as a loadable one may hold them."""
    return Contents(
        tuple(op.breakpoints.tolist()),
        tuple(op.slopes.tolist()),
        tuple(op.intercepts.tolist()),
        0,
        op.fraction_bits,
        op.zero_point,
    )


def bounds(setting: Setting) -> tuple[int, int]:
    """Least and most value of a setting."""
    return (setting, setting) if isinstance(setting, int) else setting


def _check_fits(what: str, values: Sequence[int], bits: int) -> None:
    low, high = code_range(bits)
    for k, value in enumerate(values):
        if not low <= value <= high:
            raise InputError(
                f"{what} {k} ({value}) is not within {low} to {high}: the unit holds {bits} bits"
            )


@dataclass(frozen=True)
class TableFormat:
    """Widths and ranges of a unit's registers, as :class:`.lut_unit.LoadableUnit` explains them.

    Raises :class:`InputError` for one out of bounds.
    """

    in_bits: int
    out_bits: int
    entries: int
    slope_bits: int
    intercept_bits: int
    shift: Setting
    align: Setting
    zero_point: bool
    slope_digits: int

    def __post_init__(self) -> None:
        (least, most), fixed = bounds(self.shift), isinstance(self.shift, int)
        widest = self.slope_bits + self.in_bits
        (near, far), still = bounds(self.align), isinstance(self.align, int)
        for name, value, low, high in (
            ("slope_digits", self.slope_digits, 0, 2),
            ("in_bits", self.in_bits, 2, 64),
            ("out_bits", self.out_bits, 2, 64),
            ("entries", self.entries, 2, 256),
            ("slope_bits", self.slope_bits, 2, 64),
            ("intercept_bits", self.intercept_bits, 2, 64),
            ("shift", least, 0 if fixed else -16, widest),
            ("shift", most, least + (not fixed), widest),
            ("align", near, 0, 64 if still else 0),
            ("align", far, near + (not still), 64),
        ):
            index_within(name, value, low, high)
        for name in ("in_bits", "out_bits", "entries", "slope_bits", "intercept_bits"):
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "slope_digits", int(self.slope_digits))

    @property
    def digit_bits(self) -> int:
        """Of a slope's digit: an exponent, the sign, and whether there is anything."""
        return (self.slope_bits - 1).bit_length() + 2

    @property
    def folds(self) -> bool:
        """Whether the rounding constant is in the intercepts, or free bits below them."""
        return isinstance(self.shift, int) and isinstance(self.align, int)

    def fields(self) -> list[Field]:
        """The registers."""
        slope_bits = self.digit_bits * self.slope_digits or self.slope_bits
        fields = [
            *(Field(f"intercept{k}", self.intercept_bits) for k in range(self.entries)),
            *(Field(f"slope{k}", slope_bits) for k in range(self.entries)),
            *(Field(f"point{k}", self.in_bits) for k in range(self.entries - 1)),
        ]
        if self.zero_point:
            fields.append(Field("zero_point", self.out_bits))
        for name, setting in (("align", self.align), ("shift", self.shift)):
            if not isinstance(setting, int):
                fields.append(Field(name, (setting[1] - setting[0]).bit_length()))
        return fields

    def fit(self, table: Contents | integer.PiecewiseLinear) -> Contents:
        """The same function as this unit holds it: all N entries, within its widths.

        Entries too many repeat the last segment. Raises :class:`InputError` naming what does not
        fit: too many segments, break points out of order, a constant too wide, a shift.
        """
        if isinstance(table, integer.PiecewiseLinear):
            for name, bits, unit_bits in (
                ("input", table.a_bits, self.in_bits),
                ("output", table.out_bits, self.out_bits),
            ):
                if bits != unit_bits:
                    raise InputError(f"{name} codes: {bits} bits, the unit's have {unit_bits}")
            table = contents(table)
        missing = self.entries - len(table.slopes)
        if missing < 0:
            raise InputError(
                f"entries: {len(table.slopes)} segments, the unit holds {self.entries}"
            )
        if not len(table.slopes) == len(table.intercepts) == len(table.breakpoints) + 1:
            raise InputError("table: N slopes and N intercepts need N - 1 breakpoints")
        _check_fits("breakpoint", table.breakpoints, self.in_bits)
        for k, (a, b) in enumerate(zip(table.breakpoints, table.breakpoints[1:], strict=False)):
            if a > b:
                raise InputError(f"breakpoint {k + 1} ({b}) is below breakpoint {k} ({a})")
        low, high = bounds(self.shift)
        # The unit's own shift first, then those at which constants are smallest.
        near = min(max(table.shift, low), high)
        failed: InputError | None = None
        for shift in sorted(range(low, high + 1), key=lambda s: (abs(s - near), s)):
            try:
                slopes, intercepts, align, zero = self._at(table, shift)
            except InputError as error:
                failed = failed or error
                continue
            last = code_range(self.in_bits)[1]
            return Contents(
                (*table.breakpoints, *[last] * missing),
                (*slopes, *slopes[-1:] * missing),
                (*intercepts, *intercepts[-1:] * missing),
                align,
                shift,
                zero,
            )
        assert failed is not None
        raise failed

    def _at(self, table: Contents, shift: int) -> tuple[list[int], list[int], int, int]:
        """Slopes, intercepts, align and zero point at `shift`; :class:`InputError` if not."""
        more = shift - table.shift
        slopes = [int(v) for v in table.slopes]
        intercepts = [int(v) << table.align for v in table.intercepts]
        if more < 0:
            for name, values in (("slope", slopes), ("intercept", intercepts)):
                for k, value in enumerate(values):
                    if value % (1 << -more):
                        raise InputError(
                            f"{name} {k} ({value}) has {table.shift} fraction bits, "
                            f"the unit at most {shift}"
                        )
        scaled = [
            [v << more if more > 0 else v >> -more for v in vs] for vs in (slopes, intercepts)
        ]
        slopes, intercepts = scaled
        zero = int(table.zero_point)
        if not self.zero_point:
            if shift < 0 and zero % (1 << -shift):
                raise InputError(
                    f"zero_point: {zero} does not fit into intercepts at shift {shift}"
                )
            folded = zero << shift if shift >= 0 else zero >> -shift
            intercepts, zero = [v + folded for v in intercepts], 0
        else:
            _check_fits("zero_point", [zero], self.out_bits)
        _check_fits("slope", slopes, self.slope_bits)
        for k, value in enumerate(slopes):
            self._slope_code(k, value)
        low, high = bounds(self.align)
        align = max(low, min([high, *(trailing_zeros(abs(v)) for v in intercepts if v)]))
        for k, value in enumerate(intercepts):
            if value % (1 << align):
                raise InputError(f"intercept {k} ({value}) is no multiple of {1 << align}")
        intercepts = [v >> align for v in intercepts]
        _check_fits("intercept", self._stored(intercepts, align, shift), self.intercept_bits)
        return slopes, intercepts, align, zero

    def _slope_code(self, k: int, slope: int) -> int:
        """What the register of slope `k` holds: the slope, or its digits."""
        if not self.slope_digits:
            return slope
        powers = signed_digits(abs(slope))
        if len(powers) > self.slope_digits:
            most = "a power" if self.slope_digits == 1 else "a sum of two powers"
            raise InputError(
                f"slope {k} ({slope}) is not {most} of two: the unit has no multiplier"
            )
        code = 0
        for place, (power, sign) in enumerate(powers):
            negative = (sign < 0) != (slope < 0)
            digit = power << 2 | negative << 1 | 1
            code |= digit << self.digit_bits * place
        return code

    def _stored(self, intercepts: Sequence[int], align: int, shift: int) -> list[int]:
        """Intercepts as registers hold them: with the rounding constant, where it is folded."""
        fold = half(shift) >> align if self.folds else 0
        return [value + fold for value in intercepts]

    def values(self, table: Contents | integer.PiecewiseLinear) -> dict[str, int]:
        """What each register holds of a table. Errors as :meth:`fit`."""
        table = self.fit(table)
        stored = self._stored(table.intercepts, table.align, table.shift)
        return {
            **{f"intercept{k}": v for k, v in enumerate(stored)},
            **{f"slope{k}": self._slope_code(k, v) for k, v in enumerate(table.slopes)},
            **{f"point{k}": v for k, v in enumerate(table.breakpoints)},
            "zero_point": table.zero_point,
            "align": table.align,
            "shift": table.shift - bounds(self.shift)[0],
        }
