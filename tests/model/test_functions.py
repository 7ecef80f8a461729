"""Functions by name, by expression and by callable; what is refused, and with which words."""

import math

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.tables.functions import ALIASES, FUNCTIONS, Function, expression, parse_function

X = np.linspace(-4, 4, 81)


def test_known_functions_are_what_their_names_say():
    def phi(v):
        return 0.5 * (1 + math.erf(v / math.sqrt(2)))

    wanted = {
        "gelu": lambda v: v * phi(v),
        "hswish": lambda v: v * min(max(v + 3, 0), 6) / 6,
        "silu": lambda v: v / (1 + math.exp(-v)),
        "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
        "tanh": math.tanh,
        "exp": math.exp,
        "reciprocal": lambda v: 1 / v,
        "rsqrt": lambda v: v**-0.5,
    }
    assert wanted.keys() == FUNCTIONS.keys()
    for name, function in FUNCTIONS.items():
        x = np.linspace(function.low, function.high, 41)
        np.testing.assert_allclose(
            function(x), [wanted[name](v) for v in x], rtol=1e-12, atol=1e-15
        )


def test_known_functions_are_finite_at_every_input_they_may_get():
    for function in FUNCTIONS.values():
        x = np.array([v for v in np.linspace(-1e4, 1e4, 2001) if function.defined(np.array(v))])
        assert np.isfinite(function(x)).all()


@pytest.mark.parametrize(("text", "name"), [*ALIASES.items(), (" GELU ", "gelu"), ("Exp", "exp")])
def test_names_are_known_in_any_case(text, name):
    assert parse_function(text) == FUNCTIONS[name]


def test_a_range_can_be_given():
    found = parse_function("gelu", -2, 3)
    assert (found.low, found.high) == (-2, 3)
    assert FUNCTIONS["gelu"].low == -4
    # A domain that ends where the range does moves with it.
    assert parse_function("exp", -2, 1).domain == (-math.inf, 1)
    assert parse_function("tanh", None, 2).low == -4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x * tanh(log(1 + exp(x)))", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ("where(x > 0, x, 0.01 * x)", lambda x: np.where(x > 0, x, 0.01 * x)),
        ("clip(x, -1, 1) ** 2 - pi / 4", lambda x: np.clip(x, -1, 1) ** 2 - np.pi / 4),
        ("-maximum(x, -x) % 3 // 1", lambda x: (-np.abs(x) % 3) // 1),
        ("2", lambda x: np.full_like(x, 2)),
        ("x", lambda x: x),
        ("(" * 150 + "x" + ")" * 150, lambda x: x),
        (
            "silu(x) + erf(x) * e",
            lambda x: x / (1 + np.exp(-x)) + np.array([math.erf(v) for v in x]) * math.e,
        ),
        ("sin", np.sin),
        ("(x >= 0) * x", lambda x: np.maximum(x, 0)),
    ],
)
def test_expressions_are_computed_as_numpy_does(text, wanted):
    found = parse_function(text, -4, 4)
    assert (found.low, found.high) == (-4, 4)
    np.testing.assert_allclose(found(X), wanted(X), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("__import__('os').system('true')", "Call is not allowed"),
        ("__import__(x)", "the function '__import__' is not known"),
        ("eval(x)", "the function 'eval' is not known"),
        ("y + 1", "the name 'y' is not known"),
        ("__builtins__ + x", "the name '__builtins__' is not known"),
        ("x.real", "Attribute is not allowed"),
        ("().__class__.__bases__", "Attribute is not allowed"),
        ("(lambda: x)()", "Call is not allowed"),
        ("lambda x: x", "Lambda is not allowed"),
        ("[x for x in x]", "ListComp is not allowed"),
        ("x if x else x", "IfExp is not allowed"),
        ("x[0]", "Subscript is not allowed"),
        ("(y := x)", "NamedExpr is not allowed"),
        ("x and x", "BoolOp is not allowed"),
        ("0 < x < 1", "Compare is not allowed"),
        ("x @ x", "BinOp is not allowed"),
        ("~x", "UnaryOp is not allowed"),
        ("not x", "UnaryOp is not allowed"),
        ("'x'", "Constant is not allowed"),
        ("True + x", "Constant is not allowed"),
        ("1j * x", "Constant is not allowed"),
        ("f'{x}'", "JoinedStr is not allowed"),
        ("1e400 * x", "the number inf is greater than 1e+09"),
        ("x ** 99999999999", "the number 99999999999 is greater than 1e+09"),
        ("exp(x, x)", "exp takes 1 arguments, not 2"),
        ("clip(*x)", "clip takes 3 arguments, not 1"),
        ("exp(x=x)", "exp takes no keyword 'x'"),
        ("clip", "clip takes 3 arguments, not 1"),
        ("-" * 60 + "x", "nested deeper than 40"),
        ("x +", "invalid syntax"),
        ("x; x", "invalid syntax"),
        ("x = 1", "invalid syntax"),
        ("", "invalid syntax"),
        # How it is said is up to the version of Python.
        ("x\x00", r"x\x00"),
        ("x" + " + x" * 200, "longer than 400 characters"),
    ],
)
def test_what_is_not_a_formula_is_refused_in_one_line(text, fault):
    with pytest.raises(InputError) as caught:
        parse_function(text, -1, 1)
    assert fault in str(caught.value)
    assert str(caught.value).startswith("expression ")
    assert "\n" not in str(caught.value)


def test_nothing_is_run_while_an_expression_is_read(tmp_path):
    marker = tmp_path / "made"
    with pytest.raises(InputError):
        parse_function(f"open({str(marker)!r}, 'w')", -1, 1)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gulu",), r"^function 'gulu' is not known: gelu hswish .*, or an expression in x$"),
        (("x * x",), r"^expression 'x \* x': give its range, --range LOW HIGH$"),
        (("sin", -1, None), r"give its range"),
        (("gelu", 2, -2), r"^range of gelu: 2 to -2; two finite numbers, the smaller one first"),
        (("gelu", 1, 1), r"^range of gelu: 1 to 1;"),
        (("gelu", -math.inf, 1), r"^range of gelu: -inf to 1;"),
        (("x", 0, math.nan), r"^range of x: 0 to nan;"),
    ],
)
def test_a_function_that_is_not_known_or_has_no_range_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        parse_function(*arguments)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("1 / x", "x = 0"),
        ("log(x)", "x = -4"),
        ("sqrt(x)", "x = -4"),
        ("exp(x ** 9)", "x = 2"),
        ("x - x / 0", "x = -4"),
        ("x ** 0.5", "x = -4"),
    ],
)
def test_an_input_without_a_finite_value_is_named(text, where):
    with pytest.raises(InputError, match=rf"not finite at {where}.*; choose another range$"):
        parse_function(text, -4, 4)(X)


def test_a_callable_that_fails_is_said_to():
    def broken(x):
        raise ValueError("no such thing")

    with pytest.raises(InputError, match=r"^broken: cannot be evaluated \(no such thing\)$"):
        Function("broken", broken, -1, 1)(X)
    with pytest.raises(InputError, match=r"^wrong: cannot be evaluated"):
        Function("wrong", lambda x: x[:3], -1, 1)(X)


def test_a_range_outside_of_the_domain_is_refused():
    with pytest.raises(InputError, match=r"^range of half: -1 to 1 leaves its domain, 0 to inf$"):
        Function("half", np.sqrt, -1, 1, domain=(0, math.inf))


def test_where_a_function_is_defined():
    log = expression("log(x)", 1, 2)
    assert log.defined(np.array([-1.0, 0.0, 0.5])).tolist() == [False, False, True]
    assert FUNCTIONS["exp"].defined(np.array([-99.0, 0.0, 0.5])).tolist() == [True, True, False]
