"""Formulas as values: text, normal form, tables, and the proxies that the space must hold."""

from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.search.proxies import graph
from genogate.search.proxies.evolution import Config, Evolution
from genogate.search.proxies.fitness import Bench, spearman
from genogate.search.proxies.formula import InvalidProxy, Proxy, output_hash
from genogate.search.proxies.inputs import LEAVES, Inputs
from genogate.search.proxies.nodes import Node
from genogate.search.proxies.primitives import BINARY, PRIMITIVES, UNARY, documentation
from genogate.search.proxies.screening import constant_part, insensitive
from proxy_networks import WIDTHS, network, statistics


@pytest.fixture(scope="module")
def stats():
    return statistics(3)


@pytest.fixture(scope="module")
def inputs(stats):
    return Inputs.of(stats, None, normalise=False)


def by_hand(stats, each):
    """Table [items, widths] of a function of an item's number, its width and its error."""
    return np.array(
        [
            [each(k, width, stats.errors[k][width]) for width in stats.widths]
            for k in range(len(stats.names))
        ]
    )


def test_there_are_56_primitives_and_the_table_names_each():
    assert len(PRIMITIVES) == len(UNARY) + len(BINARY) == 56
    text = documentation()
    assert all(f"| `{name}` |" in text for name in PRIMITIVES)
    assert not set(PRIMITIVES) & set(LEAVES)


KNOWN = {
    "bits": lambda s, k, b, d: b,
    "product(bits, elements)": lambda s, k, b, d: b * s.elements[k],
    "negate(product(mean(hessian), square(frobenius(error))))":  # HAWQ-V2
    lambda s, k, b, d: -s.tensors["hessian"][k].mean() * (d**2).sum(),
    "negate(dot(square(gradient), square(error)))":  # Fisher-weighted error
    lambda s, k, b, d: -(s.tensors["gradient"][k] ** 2 * d**2).sum(),
    "negate(dot(squared_gradient, square(error)))": lambda s, k, b, d: (
        -(s.tensors["gradient"][k] ** 2 * d**2).sum()
    ),
    "negate(total(square(error)))": lambda s, k, b, d: -(d**2).sum(),  # quantisation MSE
    "abslog(quotient(total(square(weight)), total(square(error))))":  # SQNR
    lambda s, k, b, d: np.log((s.tensors["weight"][k] ** 2).sum() / (d**2).sum()),
    "negate(abs(dot(gradient, error)))":  # first-order loss change
    lambda s, k, b, d: -abs((s.tensors["gradient"][k] * d).sum()),
    "total(abs(product(bits*weight, gradient)))":  # SNIP, times bits
    lambda s, k, b, d: b * np.abs(s.tensors["weight"][k] * s.tensors["gradient"][k]).sum(),
    "total(abs(product(bits*weight, virtual_gradient)))":  # Synflow, times bits
    lambda s, k, b, d: b * np.abs(s.tensors["weight"][k] * s.tensors["virtual_gradient"][k]).sum(),
    "product(bits, frobenius(gradient))": lambda s, k, b, d: (
        b * np.linalg.norm(s.tensors["gradient"][k])
    ),
    "negate(product(product(mean(hessian), exp2(negate(double(bits)))), product(elements, "
    "square(difference(max(weight), min(weight))))))":  # uniform noise
    lambda s, k, b, d: (
        -(
            s.tensors["hessian"][k].mean()
            * 4.0**-b
            * s.elements[k]
            * np.ptp(s.tensors["weight"][k]) ** 2
        )
    ),
}


@pytest.mark.parametrize("text", KNOWN)
def test_known_proxies_are_formulas(stats, inputs, text):
    table = Proxy.parse(text).table(inputs)
    expected = by_hand(stats, lambda k, b, d: KNOWN[text](stats, k, b, d))
    np.testing.assert_allclose(table, expected, rtol=1e-6)


def test_the_released_winner_of_emq_and_its_constant_branch(stats, inputs):
    """As the anchor decodes it: its gradient branch is one over the rows, whatever the gradient."""
    branch = "mean(softmax(abslog(bits*virtual_gradient)))"
    table = Proxy.parse(branch).table(inputs)
    rows = np.array([w.shape[0] for w in stats.tensors["weight"]])
    np.testing.assert_allclose(table, np.repeat(1 / rows[:, None], 4, 1), rtol=1e-12)
    assert constant_part(Proxy.parse(f"product({branch}, mean(sqrt(relu(bits*weight))))")) == branch


def test_a_score_is_the_mean_over_items(inputs):
    genomes = np.array([[2, 3, 4, 8, 2, 3], [8] * 6], np.uint8)
    assert Proxy.parse("bits").scores(inputs, genomes).tolist() == [22 / 6, 8.0]
    with pytest.raises(InputError, match=r"genomes.*6 items"):
        Proxy.parse("bits").scores(inputs, genomes[:, :5])
    with pytest.raises(InputError, match=r"genome 0, item 1 \(item1\): 5 bits, .* 2, 3, 4, 8"):
        Proxy.parse("bits").scores(inputs, np.array([[2, 5, 2, 2, 2, 2]]))


def test_tensors_meet_by_element_and_other_shapes_by_their_means(stats, inputs):
    weight, activation = stats.tensors["weight"], stats.tensors["activation"]
    table = Proxy.parse("product(weight, activation)").table(inputs)[:, 0]
    expected = [w.mean() * a.mean() for w, a in zip(weight, activation, strict=True)]
    np.testing.assert_allclose(table, expected)
    table = Proxy.parse("std(product(weight, elements))").table(inputs)[:, 0]
    np.testing.assert_allclose(table, [w.std() * w.size for w in weight])


def test_primitives_by_hand():
    """One item, [[1, -2], [3, 4]]; the error and so on do not matter."""
    x = np.array([[1.0, -2], [3, 4]])
    stats = SimpleNamespace(
        names=("one",),
        widths=(2,),
        elements=np.array([4]),
        macs=np.array([4]),
        tensors=dict.fromkeys(
            ("weight", "activation", "gradient", "virtual_gradient", "hessian"), (x,)
        ),
        errors=({2: x[::-1]},),
    )
    inputs = Inputs.of(stats, normalise=False)
    exp = np.exp(x)
    expected = {
        "mean": 1.5,
        "total": 6,
        "frobenius": 30**0.5,
        "l1_norm": 2.5,
        "std": x.std(),
        "max": 4,
        "min": -2,
        "row_max": 3,
        "row_norm": (5**0.5 + 5) / 2,
        "share": 1,
        "item_rank": 1,
        "width_share": 1,
        "sqrt": (1 + 3**0.5 + 2) / 4,
        "invert": (1 / x).mean(),
        "relu": 2,
        "exp2": (2 + 0.25 + 8 + 16) / 4,
        "sign": 0.5,
        "cbrt": np.cbrt(x).mean(),
        "abslog": np.log(np.abs(x)).mean(),
        "log1p": np.log(1 + np.abs(x)).mean(),
        "sigmoid": (1 / (1 + 1 / exp)).mean(),
        "softplus": np.log(1 + exp).mean(),
        "logsoftmax": np.log(exp / exp.sum(0)).mean(),
        "min_max": ((x + 2) / 6).mean(),
        "kurtosis": (((x - 1.5) ** 4).mean() / x.var() ** 2),
        "leaky_relu": (1 - 0.02 + 7) / 4,
        "cube": (x**3).mean(),
        "swish": (x / (1 + 1 / exp)).mean(),
        "mish": (x * np.tanh(np.log(1 + exp))).mean(),
        "tanh": np.tanh(x).mean(),
    }
    for name, value in expected.items():
        got = Proxy.parse(f"{name}(weight)").table(inputs)
        np.testing.assert_allclose(got, [[value]], rtol=1e-9, err_msg=name)
    y = x[::-1]
    p, q = np.abs(x) / 10, np.abs(y) / 10
    expected = {
        "sum": 3,
        "difference": 0,
        "product": (x * y).mean(),
        "quotient": (x / y).mean(),
        "maximum": 3.5,
        "minimum": -0.5,
        "hypot": np.hypot(x, y).mean(),
        "less": 0.5,
        "matmul": (x.T @ y).mean(),
        "dot": (x * y).sum(),
        "l1_distance": 4,
        "mse": 20,
        "cosine": (x * y).sum() / 30,
        "kl": (p * np.log(p / q)).sum(),
        "hamming": 0.5,
    }
    assert set(expected) == set(BINARY)
    for name, value in expected.items():
        got = Proxy.parse(f"{name}(weight, error)").table(inputs)
        np.testing.assert_allclose(got, [[value]], rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_proxy_is_an_immutable_value_with_a_structure():
    chain, tree, dag = map(
        Proxy.parse,
        (
            "mean(square(error))",
            "sum(mean(weight), std(weight))",
            "x1 = abs(error); sum(mean(x1), std(x1))",
        ),
    )
    assert [p.structure for p in (chain, tree, dag)] == ["sequential", "branched", "dag"]
    assert dag == Proxy.parse("sum(mean(abs(error)), std(abs(error)))") != tree
    assert len({chain, tree, dag, Proxy.parse(" mean( square(error) ) ")}) == 3
    idle = Proxy((Node("weight"), Node("error"), Node("square", (1,)), Node("mean", (2,))))
    assert idle == chain
    with pytest.raises(FrozenInstanceError):
        chain.nodes = ()
    assert dag.formula == "x1 = |D|; mean(x1) + std(x1)"
    assert Proxy.parse(
        "negate(product(mean(hessian), square(sum(bits*weight, error))))"
    ).formula == ("-(mean(H) * (((b*W) + D)^2))")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"character 1 \(the end\): nothing there; write"),
        ("mean(", r"character 6 \(the end\): an input or a primitive is missing"),
        ("mean(wieght)", r"character 6 \(wieght\)\): no input 'wieght'; inputs are weight"),
        ("sum(weight, sqare(error))", r"character 13 .*no primitive 'sqare'; did you mean square"),
        ("sum(weight)", r"character 1 .*sum with 1 arguments; it takes 2"),
        ("mean(weight))", r"character 13 .*ended before; remove"),
        ("mean(weight, error)", r"mean with 2 arguments; it takes 1"),
        ("mean + std", r"mean without arguments; write mean\(\.\.\.\)"),
        ("x1 = abs(bits) x1", r"character 16 \(x1\): ; is missing"),
        ("bits = abs(bits); bits", r"bits cannot be a name"),
        ("mean(weight $)", r"character 13 .*\) is missing; close"),
        ("abs(" * 300 + "bits" + ")" * 300, r"too deep|nodes, 200 are the most"),
        ("bits" + " " * 30_000, r"characters, 20000 are the most"),
        (7, "a text is needed"),
    ],
)
def test_a_text_that_does_not_parse_says_where_and_what_to_do(text, words):
    with pytest.raises(InputError, match=f"proxy.*{words}") as caught:
        Proxy.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_nodes_that_are_none_are_refused():
    for nodes, words in (
        ((), "no nodes"),
        ((Node("nothing"),), "no primitive"),
        ((Node("weight"), Node("sum", (0,))), "needs 2 nodes before it"),
        ((Node("abs", (0,)),), "needs 1 nodes before it"),
    ):
        with pytest.raises(InputError, match=words):
            Proxy(nodes)


@pytest.mark.parametrize(
    ("text", "reason", "node"),
    [
        ("mean(sqrt(abs(log(weight))))", "not a number", r"log\(weight\)"),
        ("mean(exp(product(elements, bits)))", "overflow", r"exp\(product\(elements, bits\)\)"),
        ("sigmoid(exp(exp(exp(bits))))", "overflow", r"proxy: exp\(exp\(bits\)\)"),
    ],
)
def test_what_is_not_finite_is_invalid_with_its_reason(inputs, text, reason, node):
    with pytest.raises(InvalidProxy, match=rf"{node} is {reason} at item\d") as caught:
        Proxy.parse(text).table(inputs)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abs(abs(weight))", "abs(weight)"),
        ("negate(negate(bits))", "bits"),
        ("sum(mean(weight), std(error))", "sum(std(error), mean(weight))"),
        (
            "product(bits, product(mean(weight), std(error)))",
            "product(product(std(error), bits), mean(weight))",
        ),
        ("difference(std(error), bits)", "negate(difference(bits, std(error)))"),
        ("mean(square(abs(negate(error))))", "square(error)"),
        ("bits*weight", "product(weight, bits)"),
        ("mean(mean(error))", "mean(error)"),
        ("sum(bits, total(weight))", "bits"),
        ("double(double(bits))", "bits"),
        ("mse(weight, error)", "square(difference(error, weight))"),
        ("dot(gradient, error)", "total(product(error, gradient))"),
        ("relu(square(error))", "square(error)"),
        ("product(error, error)", "square(error)"),
        ("mean(product(bits, weight))", "product(bits, mean(weight))"),
    ],
)
def test_equal_rankings_have_one_normal_form(one, other):
    assert Proxy.parse(one).normal() == Proxy.parse(other).normal()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # The score is a mean over items: of logarithms it is another ranking.
        ("log(square(error))", "square(error)"),
        ("difference(bits, std(error))", "difference(std(error), bits)"),
        ("abs(weight)", "weight"),
        ("quotient(bits, elements)", "quotient(elements, bits)"),
        ("sum(bits, std(error))", "bits"),
    ],
)
def test_other_rankings_have_others(one, other):
    assert Proxy.parse(one).normal() != Proxy.parse(other).normal()
    flat = Proxy.parse(one).normal(oriented=False)
    assert (flat == Proxy.parse(other).normal(oriented=False)) == one.startswith("difference")


@pytest.mark.parametrize("structure", ["sequential", "branched", "dag"])
def test_random_formulas_parse_back_and_rank_as_their_normal_form(structure):
    bench = Bench.of(*network(11, count=60))
    seed, tried = 5, 0
    evolution = Evolution([bench], Config(structure=structure, prioritise=False), seed)
    for _ in range(400):
        proxy = evolution.newcomer().proxy()
        assert Proxy.parse(str(proxy)) == proxy, f"seed {seed}: {proxy}"
        assert proxy.formula
        normal = proxy.normal()
        assert Proxy.parse(str(normal)) == normal
        try:
            tables = [each.table(bench.inputs) for each in (proxy, normal)]
        except InvalidProxy:
            continue
        if insensitive(tables[0]) or constant_part(proxy):
            continue
        tried += 1
        if output_hash(tables[:1]) != output_hash(tables[1:]):
            ranked = spearman(*(bench.scores(table) for table in tables))
            assert ranked == pytest.approx(1), f"seed {seed}: {proxy} | {normal}"
    assert tried > 40


def test_what_is_used_again_and_again_stays_small():
    """Each level twice in the next: 2^60 paths, 60 nodes."""
    text = "".join(f"x{k} = sum(abs(x{k - 1}), cbrt(x{k - 1})); " for k in range(2, 50))
    proxy = Proxy.parse(f"x1 = abs(weight); {text}mean(x49)")
    assert proxy.structure == "dag"
    assert len(str(proxy)) < 5000 > len(proxy.formula)
    assert proxy.normal().normal() == proxy.normal()
    assert len(graph.svg(proxy)) < 200_000


def test_the_output_hash_sees_rankings_alone(inputs):
    def of(text, **options):
        return output_hash([Proxy.parse(text).table(inputs)], **options)

    assert of("bits") == of("double(bits)") == of("sum(bits, mean(weight))")
    assert of("bits") != of("negate(bits)")
    assert of("bits", oriented=False) == of("negate(bits)", oriented=False)
    assert of("bits") != of("square(bits)") != of("product(bits, elements)")


def test_a_sample_is_of_the_same_elements_in_all_tensors():
    """So that the products of two tensors stay products of partners."""
    stats = statistics(4)
    stats.tensors["gradient"] = tuple(2 * w for w in stats.tensors["weight"])
    sampled = Inputs.of(stats, 20, normalise=False)
    assert max(sampled.leaf("weight").layout.counts) <= 20 < max(stats.elements)
    table = Proxy.parse("cosine(gradient, weight)").table(sampled)
    np.testing.assert_allclose(table, 1)
    assert Proxy.parse("total(abs(weight))").table(sampled)[:, 0] == pytest.approx(
        [np.abs(w).sum() for w in stats.tensors["weight"]], rel=0.5
    )


def test_normalised_inputs_have_root_mean_square_one():
    inputs = Inputs.of(statistics(4), None)
    for name in ("weight", "gradient", "hessian", "activation"):
        assert np.sqrt((inputs.leaf(name).data ** 2).mean()) == pytest.approx(1)
    plain = Inputs.of(statistics(4), None, normalise=False)
    ratio = [
        each.leaf("error").data[0, 0] / each.leaf("weight").data[0, 0] for each in (inputs, plain)
    ]
    assert ratio[0] == pytest.approx(ratio[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.tensors.pop("hessian"), "hessian has 0 items, 6 are named"),
        (lambda s: s.errors[0].pop(3), "no quantisation error at 3 bits"),
        (lambda s: s.tensors["weight"][2].fill(np.nan), "weight holds values that are not finite"),
        (lambda s: setattr(s, "names", ()), "no items"),
    ],
)
def test_incomplete_statistics_are_refused(change, words):
    stats = statistics(5)
    change(stats)
    with pytest.raises(InputError, match=words):
        Inputs.of(stats)


def test_the_graph_shows_every_node(tmp_path):
    import xml.etree.ElementTree as tree

    proxy = Proxy.parse("x1 = abs(error); negate(sum(mean(x1), product(x1, bits*gradient)))")
    text = graph.dot(proxy)
    assert text.startswith("digraph")
    assert text.count("->") == sum(len(node.arguments) for node in proxy.nodes) + 1
    picture = graph.svg(proxy)
    words = [each.text for each in tree.fromstring(picture).iter() if each.text]
    for name in ("D", "b*G", "abs", "mean", "product", "sum", "negate", "score"):
        assert name in words
    graph.write(proxy, tmp_path / "a.svg")
    graph.write(proxy, tmp_path / "a.dot")
    assert (tmp_path / "a.svg").read_text() == picture
    assert (tmp_path / "a.dot").read_text() == text
    with pytest.raises(InputError, match=r"a\.png: .*\.svg or \.dot"):
        graph.write(proxy, tmp_path / "a.png")


def test_widths_are_those_of_the_statistics():
    inputs = Inputs.of(statistics(1))
    assert Proxy.parse("bits").table(inputs).tolist() == [list(map(float, WIDTHS))] * 6
