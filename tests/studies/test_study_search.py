# amaranth: UnusedElaboratable=no
"""The studies of the search, made small: what they count, choose, compare and write."""

import itertools
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.model.genome import GENES, Genome
from genogate.search.genomes.candidate import Candidate, Point

from studies import fidelity as study_fidelity
from studies import kill as study_kill
from studies import search_baselines, search_objectives, search_reduction
from studies import throughput as study_throughput
from studies.search import QUICK, front_of, volume
from studies.search_reduction import chosen_by
from studies.search_statistics import compared, effect, holm

SMALL = replace(QUICK, pop_size=6, generations=3)
FEW = {name: search_baselines.VARIANTS[name] for name in ("nsga2 (default)", "random", "greedy")}
CHEAP = {**FEW, "nsga2 (default)": {"initial": "homogeneous"}}


def quiet(text):
    pass


def point(bits, accuracy, size, cells=None):
    genes = bits if isinstance(bits, tuple) else (bits,) * 17
    result = {"accuracy": accuracy, "size": size}
    return Point(
        Candidate(Genome.from_genes(genes)), result if cells is None else {**result, "cells": cells}
    )


# Statistics


@pytest.mark.parametrize("seed", range(3))
def test_effect_is_the_chance_to_be_greater(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 5, 6), rng.integers(0, 5, 7)
    score = sum(1.0 * (x > y) + 0.5 * (x == y) for x, y in itertools.product(a, b))
    assert effect(a, b) == pytest.approx(score / 42), f"seed {seed}"
    assert effect(a, b) + effect(b, a) == pytest.approx(1)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_five_against_five_that_never_cross():
    """The least p that there can be: 2 of the 252 ways to divide ten values."""
    found = compared([6, 7, 8, 9, 10], {"a": [1, 2, 3, 4, 5], "same": [6, 7, 8, 9, 10]})
    assert found["a"]["p"] == pytest.approx(2 / 252)
    assert found["a"]["p_holm"] == pytest.approx(4 / 252)
    assert found["a"]["a12"] == 1
    assert found["same"]["a12"] == 0.5
    assert found["same"]["p"] > 0.9


# Hypervolume and choices


def test_points_that_lack_an_objective_or_are_of_no_use_do_not_count():
    int8 = point(8, 0.9, 100, 1000)
    useful = point(7, 0.9, 50, 500)
    points = [int8, useful, point(6, 0.9, 10), point(2, 0.75, 5, 5)]
    names = ("accuracy", "size", "cells")
    assert front_of(points, names, int8.result) == [useful]
    # Half of the range of errors (0 to 0.2), of sizes, of cells.
    assert volume(points, names, int8.result) == pytest.approx(1 / 8)
    assert volume([], names, int8.result) == 0
    assert front_of([point(2, 0.5, 5, 5)], names, int8.result) == []
    assert volume(points, names[:2], int8.result) == pytest.approx(0.5 * 0.9)


def test_the_smallest_that_holds_on_every_part_is_chosen():
    int8 = point(8, 0.95, 100, 1000)
    others = [point((8,) * 16 + (k,), 0.95, 100 - 10 * k, 1000 + k) for k in (2, 3, 4, 5)]
    drops = {0: 0.0, 2: 0.004, 3: 0.003, 4: 0.006, 5: 0.0}
    asked = []

    def judged(each, part):
        asked.append(part)
        key = each.genome.genes[16] % 8
        return 0.9 - drops[key] - (0.02 if part == "b" and key == 5 else 0)

    points = [int8, *others]
    assert chosen_by(judged, points, ("a",), ("size",)) == others[3]
    assert chosen_by(judged, points, ("a", "b"), ("size",)) == others[1]
    assert chosen_by(judged, points, ("a", "b"), ("cells",)) == int8
    assert set(asked) == {"a", "b"}
    assert chosen_by(lambda each, part: float(each is int8), points, ("a",), ("size",)) == int8


def test_the_test_part_is_no_rule():
    assert all("test" not in parts for parts in search_reduction.RULES.values())


# Whole studies


@pytest.fixture(scope="module")
def baselines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    return folder, search_baselines.measure_baselines(quiet, SMALL, folder, CHEAP)


def test_rivals_have_equal_evaluations_and_ever_more_hypervolume(baselines):
    _, data = baselines
    assert [(r["variant"], r["seed"]) for r in data["runs"]] == [
        ("nsga2 (default)", 0),
        ("nsga2 (default)", 1),
        ("random", 0),
        ("random", 1),
        ("greedy", 0),
    ]
    for run in data["runs"]:
        assert run["evaluations"] <= data["at"][-1] == 18
        assert run["hypervolume"] == sorted(run["hypervolume"])
        assert run["hypervolume"][-1] >= data["homogeneous"]["hypervolume"] > 0


def test_a_study_that_is_run_again_says_the_same(baselines):
    folder, data = baselines
    messages = []
    again = search_baselines.measure_baselines(messages.append, SMALL, folder, CHEAP)
    assert json.dumps(again) == json.dumps(data)
    assert any("5 of 5: greedy, seed 0" in text for text in messages)


def test_the_page_of_rivals_is_made_from_what_was_stored(baselines):
    text = "\n".join(search_baselines.render_baselines(json.loads(json.dumps(baselines[1]))))
    assert text.startswith("## The search against its rivals")
    for name in CHEAP:
        assert f"| {name} |" in text
    assert "`python -m studies --only search_baselines`" in text


def test_savings_are_chosen_before_the_test_part_is_looked_at(tmp_path, monkeypatch):
    order = []
    original = search_reduction.Judged.__call__

    def watched(self, each, part):
        order.append(part)
        return original(self, each, part)

    monkeypatch.setattr(search_reduction.Judged, "__call__", watched)
    size = replace(SMALL, searches=1, pop_size=4, generations=2)
    data = search_reduction.measure_reduction(quiet, size, tmp_path)
    parts = [part for part, _ in itertools.groupby(order, key=lambda part: part == "test")]
    # Once in each of the two searches, after all that is chosen by.
    assert parts == [False, True, False, True]
    run, plain = data["runs"]
    assert run["int8"]["images"] == 539
    assert {choice["rule"] for choice in run["choices"]} == set(search_reduction.RULES)
    assert {choice["rule"] for choice in plain["choices"]} == {search_reduction.PLAIN}
    for choice in run["choices"] + plain["choices"]:
        assert 0 <= choice["size"] < 1
    text = "\n".join(search_reduction.render_reduction(json.loads(json.dumps(data))))
    assert "## What a search saves at 0.5 points" in text
    assert "validation, shifted" in text


def test_fronts_of_different_objectives_are_compared(tmp_path):
    data = search_objectives.measure_objectives(
        quiet, replace(SMALL, seeds=1, generations=2), tmp_path
    )
    text = "\n".join(search_objectives.render_objectives(json.loads(json.dumps(data))))
    assert text.startswith("## Do size and cells choose different genomes?")
    assert all(f"| {name} |" in text for name in GENES)


def test_the_page_says_what_is_lost_by_looking_at_sizealone():
    def run(by, seed, volumes, genomes):
        return {
            "by": by,
            "seed": seed,
            "hypervolume": volumes,
            "hypervolume_all": volumes,
            "genomes": genomes,
        }

    runs = []
    for seed in range(2):
        runs += [
            run(
                "size", seed, {"size": 0.6, "cells": 0.4}, [["a", 0.95, 60, 700], ["b", 0.9, 5, 5]]
            ),
            run(
                "cells",
                seed,
                {"size": 0.3, "cells": 0.5},
                [["a", 0.95, 60, 700], ["c", 0.95, 90, 500]],
            ),
        ]
    text = "\n".join(
        search_objectives.render_objectives(
            {
                "runs": runs,
                "int8": {"accuracy": 0.95, "size": 100, "cells": 1000},
                "genes": {"size": [4.0] * 17, "cells": [5.0] * 17},
                "spearman_random": 0.5,
                "spearman_fronts": 0.25,
                "random": 9,
                "command": "x",
                "yosys": None,
                "size": {"seeds": 2, "pop_size": 4, "generations": 3},
            }
        )
    )
    assert "A search by size loses 20.0 % of the hypervolume in accuracy and cells" in text
    assert "A search by cells loses 50.0 % of the hypervolume in accuracy and size" in text
    assert "either front of a seed, 33.3 ± 0.0 % are on both" in text
    assert "| 60.0 ± 0.0 | 70.0 ± 0.0 |" in text


# The sum of cells against the whole design


@pytest.mark.parametrize("seed", range(3))
def test_wrong_pairs_are_counted(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(100, 120, 12), rng.integers(100, 120, 12)
    pairs = list(itertools.combinations(range(12), 2))
    wrong = [(i, j) for i, j in pairs if (a[i] - a[j]) * (b[i] - b[j]) < 0]
    found = study_fidelity.wrong_pairs(a, b)
    assert (found["pairs"], found["wrong"]) == (len(pairs), len(wrong)), f"seed {seed}"
    worst = max(100 * (max(b[i], b[j]) / min(b[i], b[j]) - 1) for i, j in wrong)
    assert found["worst_percent"] == pytest.approx(worst, abs=1e-3)


def fidelity_rows(seed=0):
    """Genomes whose sums are 1 % too great for every bit that p_zh lacks."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(40):
        genes = [int(g) for g in rng.integers(2, 9, 17)]
        flat = 1000 + 10 * sum(genes)
        cells = round(flat * (1 + 0.01 * (8 - genes[GENES.index("p_zh")])))
        rows.append(
            {
                "kind": "equal" if number % 2 else "uniform",
                "knobs": "default",
                "genome": genes,
                "size": 30_000,
                "cells": cells,
                "flat": flat,
                "flip_flops": 200,
                "flat_flip_flops": 200,
            }
        )
    return rows


def test_the_operator_that_makes_the_error_is_found():
    found = study_fidelity.by_gene(fidelity_rows())
    worst = min(found["percent_per_bit"], key=found["percent_per_bit"].get)
    assert worst == "p_zh"
    assert found["percent_per_bit"]["p_zh"] == pytest.approx(-1, abs=0.1)
    assert found["explained"] > 0.95
    data = {
        "rows": fidelity_rows(),
        "command": "x",
        "yosys": "Yosys 1",
        "script": "s",
        "size": {"seed": 0, "borders": 3},
        "borders": {"a_r, p_rn": [[100, 90], [50, 54]]},
    }
    text = "\n".join(study_fidelity.render_fidelity(data))
    assert "| a_r, p_rn | 75 | 3.0 | 10 |" in text
    assert "largest first: p_zh -" in text
    assert "| random, of nearly one size | 20 |" in text


def test_the_whole_design_is_that_of_the_area_report():
    from genogate.hdl.gru.design import Design
    from genogate.sim.random_model import random_model
    from genogate.synth.report import area_report

    model = random_model(np.random.default_rng(1), Genome.uniform(2), 2, 3, 2)
    (flat,) = study_fidelity.flat_areas([Design.of(model)])
    assert flat == area_report(Design.of(model)).flat


def test_operators_that_are_joined_lose_their_borders():
    """An activation that gives one code alone leaves its product little to do."""
    from genogate.hdl.gru.design import Design
    from genogate.model.integer import Table
    from genogate.sim.random_model import random_model

    model = random_model(np.random.default_rng(1), Genome.uniform(4), 2, 3, 2)
    layer = model.layers[0]
    a_r = layer.ops["a_r"]
    one = Table(a_bits=a_r.a_bits, out_bits=4, table=np.full(1 << a_r.a_bits, 3, np.int8))
    model = replace(model, layers=(replace(layer, ops={**layer.ops, "a_r": one}),))
    found = study_fidelity.dissolved([Design.of(model)])
    ((alone, joined),) = found["a_r, p_rn"]
    assert joined < 0.8 * alone
    assert set(found) == set(study_fidelity.GROUPS)


def test_genomes_of_one_size_are_found():
    setting = QUICK.setting()
    rng = np.random.default_rng(3)
    pool = [Genome.from_genes(rng.integers(2, 9, 17)) for _ in range(20)]
    from genogate.search.genomes.evaluate import evaluate

    size = {genome: result["size"] for genome, result in evaluate(setting, pool)}
    chosen = study_fidelity.same_size(setting, pool, 4)
    span = np.ptp([size[genome] for genome in chosen])
    ordered = sorted(size.values())
    assert span == min(b - a for a, b in zip(ordered, ordered[3:], strict=False))


# Throughput


def test_memory_of_this_process_is_seen():
    found = study_throughput.memory_of(os.getpid())
    assert 20 < found["parent"] < 20_000
    assert found["tree"] > 10
    assert found["processes"] >= 1


def test_a_child_that_fails_is_named(tmp_path):
    with pytest.raises(InputError, match="throughput: nonsense failed"):
        study_throughput.started({"what": "nonsense"}, tmp_path)


def test_the_page_of_throughput_compares_with_the_naive_loop():
    def found(seconds):
        return {
            "seconds": seconds,
            "wall": seconds,
            "evaluations": 400,
            "measured": 300,
            "hypervolume": 0.4,
            "memory": {"parent": 200.0, "tree": 500.0, "processes": 3},
        }

    data = {
        "naive": {"genomes": 10, "seconds": [20.0, 20.0]},
        "cores": 2,
        "yosys": "Yosys 1",
        "engine": {
            "by estimates, cold cache": {**found(4), "genomes": 100, "error": 0.021},
            "exact, cold cache": {**found(40), "genomes": 100},
            "exact, warm cache": {**found(2), "genomes": 100},
        },
        "search": {
            "by estimates, cold cache": {**found(20), "hypervolume": 0.392},
            "exact, cold cache": found(100),
            "exact, warm cache": found(10),
        },
        "script": "s",
        "command": "x",
        "growth": [
            {**found(1), "pop_size": 4, "generations": g, "evaluations": 100 * g} for g in (1, 2, 3)
        ],
        "long": {**found(250), "evaluations": 4100},
        "size": {"workers": 2, "search": [64, 32], "long": [64, 64], "seed": 0},
    }
    text = "\n".join(study_throughput.render_throughput(data))
    assert "| engine, exact, warm cache | 100 | 2.0 | 50.00 | 200 |" in text
    assert "cells are 2.1 % off in the median" in text
    assert "| by estimates, cold cache | 400 | 300 | 20 | 20.0 | 80 | 98.0 |" in text
    aims = "by estimates, cold cache: reached; exact, cold cache: not reached; exact, warm cache: "
    assert f"({aims}reached)" in text
    assert "4,100 evaluations, 300 of them measured, in 250 s, 66 times the naive loop" in text
    assert "4,096 in 300 seconds is reached" in text


# Kills


def test_differences_between_runs_are_named(tmp_path):
    from genogate.search.genomes.store import Store

    for name in ("a", "b"):
        for file in study_kill.FILES:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text("{}")
        store = Store(tmp_path / name / "evaluations.sqlite")
        store.keep("k", "8", {"v": 1})
        store.close()
    assert study_kill.differences(tmp_path / "a", tmp_path / "b") == []
    (tmp_path / "a" / "knee").write_text("{}")
    store = Store(tmp_path / "b" / "evaluations.sqlite")
    store.keep("l", "7", {"v": 2})
    store.keep("k", "8", {"v": 1, "w": 2})
    store.close()
    assert study_kill.differences(tmp_path / "a", tmp_path / "b") == [
        "knee",
        "1 evaluations lost",
        "1 evaluations of another result",
    ]


def test_a_search_that_is_killed_again_and_again_ends_as_if_it_was_not(tmp_path):
    size = replace(study_kill.QUICK, kills=2)
    data = study_kill.measure_kill(quiet, size, tmp_path / "kill")
    assert len(data["kills"]) == 2
    for run in data["runs"]:
        assert run["differences"] == []
        assert run["lost"] == run["made_again"] == 0
        assert run["counted"] == run["evaluations"]
    text = "\n".join(study_kill.render_kill(json.loads(json.dumps(data))))
    assert "2 kills in" in text
    assert "all files byte by byte equal in every run; 0 evaluations lost, 0 made again." in text


# Sections of the results


def test_sections_can_be_tried_small_where_they_say_so(tmp_path, monkeypatch):
    from studies import results

    monkeypatch.setattr(
        study_kill,
        "measure_kill",
        lambda say, size, folder: {
            "runs": [],
            "kills": [{"kept": 0, "seconds": 1.0}],
            "command": "x",
            "size": {"options": list(size.options), "seed": size.kills},
        },
    )
    assert results.results(("search_kill",), tmp_path, quiet, quick=True) == ["search_kill"]
    assert (
        f"seed {study_kill.QUICK.kills}." in (tmp_path / "results" / "search_kill.md").read_text()
    )
    with pytest.raises(InputError, match="section ptq has no quick version"):
        results.results(("ptq",), tmp_path, quiet, quick=True)


@pytest.mark.parametrize(
    "section", ["fidelity", "throughput", "baselines", "reduction", "objectives", "kill"]
)
def test_every_section_of_the_search_has_what_it_needs(section):
    from importlib import import_module

    from studies import results

    where, *functions = results.STUDIES[f"search_{section}"]
    module = import_module(where)
    assert all(callable(getattr(module, name)) for name in functions)
    assert type(module.FULL) is type(module.QUICK)
