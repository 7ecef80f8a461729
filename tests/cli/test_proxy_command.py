"""``genogate proxy``: search, score, eval and show, and bad input in one line."""

import json

import numpy as np
import pytest
from genogate.proxies import FIGURES, print_eval, run_eval
from genogate.search.proxies import handcrafted, tables, use
from genogate.search.proxies.inputs import LEAVES
from genogate.search.proxies.primitives import PRIMITIVES

ERROR = "negate(sqrt(dot(squared_gradient, square(error))))"


def test_show_says_what_a_proxy_is_and_draws_it(genogate, tmp_path):
    outcome = genogate("proxy", "show", "negate(mean(square(error)))", "--graph", "a.svg")
    assert outcome.code == 0, outcome
    assert "formula      -mean(D^2)" in outcome.out
    assert "sequential" in outcome.out
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert genogate("proxy", "show", "a = bits; a", "--graph", "a.dot").code == 0
    assert (tmp_path / "a.dot").read_text().startswith("digraph")


def test_show_lists_primitives_and_knows_handcrafted_names(genogate):
    everything = genogate("proxy", "show")
    assert everything.code == 0
    assert everything.out.count("\n| `") == 56
    assert "HAWQ-V2" in genogate("proxy", "show", "hawq-v2").out
    assert genogate("proxy", "show", "bops").out.strip()


def test_shipped_proxies_have_names_of_their_own(genogate):
    shipped = use.found()
    assert shipped
    assert not set(shipped) & {*handcrafted.NAMES, *LEAVES, *PRIMITIVES}
    for name, text in shipped.items():
        assert str(use.resolve(name)) == text
        assert text in genogate("proxy", "show", name).out
    assert all(name in genogate("proxy", "show").out for name in shipped)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "mean(wieght)"), ("character 6", "wieght", "inputs are")),
        (("show", "mean(bits"), ("character", "close the bracket")),
        (("show", "wonder"), ("wonder", "names are", "bit-sum")),
        (("show", ""), ("nothing there",)),
        (("show", "--graph", "a.svg"), ("needs a proxy",)),
        (("show", "bits", "--graph", "a.png"), (".svg or .dot",)),
        (("show", "bit-sum", "--graph", "a.svg"), ("no formula to draw",)),
        (("eval", "bits", "--table", "nothing"), ("nothing", "digits-row")),
        (("eval", "bits"), ("--table",)),
        (("eval", "bits", "--table", "digits-row", "--subset", "odd"), ("odd", "equal-sum")),
        (("score", "mean(", "int8"), ("character",)),
        (("score", "bits", "int9"), ("int9",)),
        (("score", "bits", "int8", "--checkpoint", "nowhere"), ("nowhere",)),
        (("score", "bits"), ("GENOMES",)),
        (("search", "--table", "digits-row", "--evaluations", "0"), ("evaluations: 0",)),
        (("search", "--table", "digits-row", "--structure", "ring"), ("ring", "branched")),
        (("search", "--table", "digits-row", "--seeds", "0"), ("seeds",)),
        (("search", "--table", "digits-row", "--equal-sum", "2"), ("equal_sum",)),
        (("search", "--table", "digits-row", "--table", "digits-row"), ("once",)),
    ],
)
def test_bad_input_is_one_line(genogate, arguments, words):
    genogate("proxy", *arguments).refused(*words)


torch = pytest.importorskip("torch")


def test_score_ranks_genomes_best_first(genogate):
    genes = ",".join(["8"] * 6 + ["2"] * 11)
    outcome = genogate("proxy", "score", ERROR, "int2", genes, "int8")
    assert outcome.code == 0, outcome
    rows = [line.split() for line in outcome.out.splitlines()]
    assert [row[1] for row in rows] == ["int8", genes, "int2"]
    values = [float(row[0]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert genogate("proxy", "score", "bit-sum", "int4", "int3").out.split() == [
        "4",
        "int4",
        "3",
        "int3",
    ]
    genogate("proxy", "score", "mean(log(weight))", "int4").refused("log(weight)", "not a number")
    genogate("proxy", "score", "output-kl", "int4").refused("output-kl", "proxy eval")


def test_eval_puts_a_proxy_beside_the_handcrafted_ones(genogate, tmp_path):
    outcome = genogate("proxy", "eval", ERROR, "--table", "digits-row", "--out", "e.json")
    assert outcome.code == 0, outcome
    assert "proxy  -sqrt(sum(F * (D^2)))" in outcome.out
    # Whole columns, however narrow the terminal.
    assert all(title in outcome.out for title in FIGURES.values())
    assert "\u2026" not in outcome.out
    figures = json.loads((tmp_path / "e.json").read_text())["tables"]["digits-row"]
    table = tables.load("digits-row")
    bits = table.genomes.astype(int).sum(1)
    from scipy.stats import kendalltau, spearmanr

    rows = table.subset("all")
    assert figures["bit-sum"]["spearman"] == pytest.approx(
        spearmanr(bits[rows], table.accuracy[rows]).statistic
    )
    assert figures["bit-sum"]["kendall"] == pytest.approx(
        kendalltau(bits[rows], table.accuracy[rows]).statistic
    )
    assert figures["proxy"]["spearman"] > figures["bit-sum"]["spearman"]
    # Sum of bits ranks nothing there, and that is not a number.
    outcome = genogate(
        "proxy", "eval", "bits", "--table", "digits-row", "--subset", "equal-sum", "--out", "e.json"
    )
    assert outcome.code == 0, outcome
    figures = json.loads((tmp_path / "e.json").read_text())["tables"]["digits-row"]
    assert figures["proxy"]["spearman"] is figures["bit-sum"]["spearman"] is None


@pytest.mark.parametrize(
    ("proxy", "searched"), [("evolved", ["digits-row", "kws4", "resnet-digits"]), (ERROR, None)]
)
def test_eval_says_which_tables_a_shipped_proxy_was_searched_on(proxy, searched, capsys):
    document = run_eval(proxy, ["digits-row"], "all", None, False, lambda text: None)
    assert document.get("searched_on") == searched
    # As a table that the search has not seen, too.
    rows = document["tables"]["digits-row"]
    print_eval(document | {"tables": {"digits-row": rows, "mnist-row": rows}})
    out = " ".join(capsys.readouterr().out.split())
    assert ("searched on one half of each of digits-row, kws4" in out) == bool(searched)
    seen = "Half of {} was seen by the search that found the proxy."
    assert (seen.format("digits-row") in out) == bool(searched)
    assert seen.format("mnist-row") not in out


def test_search_resumes_and_its_finds_can_be_used(genogate, tmp_path):
    given = ("proxy", "search", "--table", "digits-row", "--out", "run", "--seed", "3")
    outcome = genogate(*given, "--evaluations", "20")
    assert outcome.code == 0, outcome
    assert "held out" in outcome.out
    genogate(*given, "--evaluations", "40").refused("run", "--resume")
    outcome = genogate(*given, "--evaluations", "40", "--resume")
    assert outcome.code == 0, outcome
    (found,) = json.loads((tmp_path / "run" / "found.json").read_text())
    assert found["seed"] == 3
    assert found["short"]["fitness"] >= found["best"][0]["fitness"]
    assert found["short"]["proxy"] in outcome.out
    state = json.loads((tmp_path / "run" / "seed-3.json").read_text())
    assert np.isfinite([member["fitness"] for member in state["best"]]).all()
    assert "Nothing to resume" not in outcome.err
    whole = genogate(*given[:5], "again", "--seed", "3", "--evaluations", "40", "--resume")
    assert "Nothing to resume in again: a new search begins there." in whole.err
    assert whole.out.replace("again", "run") == outcome.out
    assert genogate("proxy", "score", found["short"]["proxy"], "int8", "int2").code == 0
    genogate(*given, "--evaluations", "40", "--resume", "--population", "5").refused("population")
