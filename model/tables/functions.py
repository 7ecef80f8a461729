"""The non-linear functions that tables approximate: the known ones, and the user's own.

Ranges and scales of the known ones are those of arXiv 2403.19591 (GQA-LUT) where it has them; the
remaining choices (SiLU, sigmoid, tanh) are ours.
"""

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, shown

Array = np.ndarray
#: Longest expression, deepest nesting, greatest literal: far above any sensible formula.
MAX_TEXT, MAX_DEPTH, MAX_NUMBER = 400, 40, 1e9


def _erf(x: Array) -> Array:
    # Lazy, because SciPy takes a fifth of a second to import.
    from scipy.special import erf

    return erf(x)


@dataclass(frozen=True)
class Function:
    """A real function of one variable, and where a table of it has to be good.

    Parameters
    ----------
    name : str
        Its name, or the expression that it was parsed from.
    call : callable
        float64 array to float64 array of the same shape.
    low, high : float
        The range that a search looks at (protocol R): codes with ``low <= x <= high``, both ends.
    domain : (float, float)
        Where inputs can be at all (protocol A, and the guard): exp of a softmax is never given a
        positive number, and what is outside of the range of a reciprocal is scaled into it before.
    fraction_bits, width : int
        Slopes and intercepts of the default format: signed, `width` bits, of these
        `fraction_bits` behind the point.
    """

    name: str
    call: Callable[[Array], Array]
    low: float
    high: float
    domain: tuple[float, float] = (-math.inf, math.inf)
    fraction_bits: int = 6
    width: int = 8

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(
                f"range of {self.name}: {self.low:g} to {self.high:g}; two finite numbers, the "
                "smaller one first, are needed"
            )
        if self.low < self.domain[0] or self.high > self.domain[1]:
            raise InputError(
                f"range of {self.name}: {self.low:g} to {self.high:g} leaves its domain, "
                f"{self.domain[0]:g} to {self.domain[1]:g}"
            )

    def __call__(self, x: Array) -> Array:
        """Values float64 at finite `x`. Raises :class:`InputError` naming an x without one."""
        x = np.asarray(x, np.float64)
        value = self._values(x)
        if not np.isfinite(value).all():
            bad = x[~np.isfinite(value)].ravel()[0]
            raise InputError(f"{self.name}: not finite at x = {bad:g}; choose another range")
        return value

    def defined(self, x: Array) -> Array:
        """Where inputs can be at all: within the domain, with a finite value. Bool, as `x`."""
        x = np.asarray(x, np.float64)
        return (x >= self.domain[0]) & (x <= self.domain[1]) & np.isfinite(self._values(x))

    def _values(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            try:
                return np.broadcast_to(np.asarray(self.call(x), np.float64), x.shape)
            except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
                raise InputError(f"{self.name}: cannot be evaluated ({error})") from error

    def within(self, low: float | None, high: float | None) -> "Function":
        """The same function with another range. A domain that ended there moves with it."""
        new = (self.low if low is None else float(low), self.high if high is None else float(high))
        domain = [
            bound if end == old else end
            for end, old, bound in zip(self.domain, (self.low, self.high), new, strict=True)
        ]
        return replace(self, low=new[0], high=new[1], domain=(domain[0], domain[1]))


def _known() -> dict[str, Function]:
    relu6 = lambda x: np.clip(x, 0, 6)  # noqa: E731
    stable_sigmoid = lambda x: 0.5 * (1 + np.tanh(0.5 * x))  # noqa: E731
    matches = [
        Function("gelu", lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), -4, 4),
        Function("hswish", lambda x: x * relu6(x + 3) / 6, -4, 4),
        Function("silu", lambda x: x * stable_sigmoid(x), -4, 4),
        Function("sigmoid", stable_sigmoid, -8, 8),
        Function("tanh", np.tanh, -4, 4),
        Function("exp", np.exp, -8, 0, domain=(-math.inf, 0.0)),
        # Slopes reach -4 here: two bits more. What is outside is scaled into the range before.
        Function("reciprocal", lambda x: 1 / x, 0.5, 4, domain=(0.5, 4), width=10),
        Function("rsqrt", lambda x: 1 / np.sqrt(x), 0.25, 4, domain=(0.25, 4), width=10),
    ]
    return {function.name: function for function in matches}


FUNCTIONS = _known()
#: Other names by which a function is known.
ALIASES = {"div": "reciprocal", "swish": "silu", "hardswish": "hswish"}

#: What an expression may call, with the numbers of arguments.
_CALLS: dict[str, tuple[Callable[..., Array], int]] = (
    {
        name: (getattr(np, name), 1)
        for name in (
            "exp",
            "exp2",
            "expm1",
            "log",
            "log2",
            "log10",
            "log1p",
            "sqrt",
            "cbrt",
            "square",
            "abs",
            "sign",
            "floor",
            "ceil",
            "sin",
            "cos",
            "tan",
            "arcsin",
            "arccos",
            "arctan",
            "sinh",
            "cosh",
            "tanh",
            "arcsinh",
            "arccosh",
            "arctanh",
            "reciprocal",
            "sinc",
        )
    }
    | {name: (getattr(np, name), 2) for name in ("maximum", "minimum", "power", "arctan2", "hypot")}
    | {
        "clip": (np.clip, 3),
        "where": (np.where, 3),
        "erf": (_erf, 1),
        **{
            name: (function.call, 1)
            for name, function in FUNCTIONS.items()
            if name not in ("exp", "tanh", "reciprocal")
        },
    }
)
_CONSTANTS = {"pi": math.pi, "e": math.e}
_BINARY: dict[type[ast.AST], Callable[..., Array]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: np.power,
    ast.Mod: np.mod,
    ast.FloorDiv: np.floor_divide,
}
_UNARY: dict[type[ast.AST], Callable[..., Array]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARE: dict[type[ast.AST], Callable[..., Array]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _compile(node: ast.AST, text: str, depth: int = 0) -> Callable[[Array], Array]:
    """A closure for one node of the expression; anything not listed here is refused."""

    def refuse(what: str) -> InputError:
        return InputError(
            f"expression {shown(text)}: {what}; numbers, x, pi, e, + - * / ** and the functions "
            f"{' '.join(sorted(_CALLS))} may be used"
        )

    if depth > MAX_DEPTH:
        raise refuse(f"nested deeper than {MAX_DEPTH}")
    sub = lambda inner: _compile(inner, text, depth + 1)  # noqa: E731
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not abs(value) <= MAX_NUMBER:
                raise refuse(f"the number {shown(value)} is greater than {MAX_NUMBER:g}")
            number = float(value)
            return lambda x: np.float64(number)  # type: ignore[return-value]
        case ast.Name(id="x"):
            return lambda x: x
        case ast.Name(id=name) if name in _CONSTANTS:
            return lambda x: np.float64(_CONSTANTS[name])  # type: ignore[return-value]
        case ast.Name(id=name):
            raise refuse(f"the name {shown(name)} is not known")
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            inner, apply = sub(operand), _UNARY[type(op)]
            return lambda x: apply(inner(x))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            a, b, combine = sub(left), sub(right), _BINARY[type(op)]
            return lambda x: combine(a(x), b(x))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            a, b, compare = sub(left), sub(right), _COMPARE[type(op)]
            return lambda x: compare(a(x), b(x))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
            function, count = _CALLS[name]
            if len(arguments) != count:
                raise refuse(f"{name} takes {count} arguments, not {len(arguments)}")
            inners = [sub(argument) for argument in arguments]
            return lambda x: function(*(inner(x) for inner in inners))
        case ast.Call(func=ast.Name(id=name), keywords=[keyword, *_]) if name in _CALLS:
            raise refuse(f"{name} takes no keyword {shown(keyword.arg)}")
        case ast.Call(func=ast.Name(id=name)):
            raise refuse(f"the function {shown(name)} is not known")
    raise refuse(f"{type(node).__name__} is not allowed")


def expression(text: str, low: float, high: float) -> Function:
    """A function of ``x`` from an expression such as ``"x * tanh(log(1 + exp(x)))"``.

    Parsed, never evaluated as Python: only numbers, ``x``, ``pi``, ``e``, arithmetic, comparisons
    and a fixed list of NumPy functions are known. Raises :class:`InputError` naming what is not.
    """
    if len(text) > MAX_TEXT:
        raise InputError(f"expression {shown(text)}: longer than {MAX_TEXT} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or "it cannot be parsed"
        raise InputError(f"expression {shown(text)}: {reason}") from None
    return Function(text.strip(), _compile(tree.body, text), low, high)


def parse_function(text: str, low: float | None = None, high: float | None = None) -> Function:
    """A known function by name, or an expression, which needs a range `low` to `high`.

    Raises :class:`InputError` for an unknown name, an expression that is not allowed, no range.
    """
    name = ALIASES.get(text.strip().lower(), text.strip().lower())
    if name in FUNCTIONS:
        return FUNCTIONS[name].within(low, high)
    if text.strip().isidentifier() and text.strip() not in ("x", *_CALLS):
        raise InputError(
            f"function {shown(text)} is not known: {' '.join(FUNCTIONS)}, or an expression in x"
        )
    function = f"{text.strip()}(x)" if text.strip() in _CALLS else text
    if low is None or high is None:
        raise InputError(f"expression {shown(text)}: give its range, --range LOW HIGH")
    return expression(function, low, high)
