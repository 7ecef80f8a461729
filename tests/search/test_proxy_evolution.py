"""The evolution: it finds what is there, every part can be switched off, and it resumes."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from genogate.model.errors import InputError
from genogate.search.proxies.evolution import FAILED, Config, Evolution
from genogate.search.proxies.fitness import Bench, Objective, spearman
from genogate.search.proxies.formula import Proxy
from genogate.search.proxies.genotype import Genotype
from genogate.search.proxies.inputs import LEAVES
from genogate.search.proxies.primitives import UNARY
from genogate.search.proxies.proxy_search import (
    Outcome,
    config_of,
    curve,
    document,
    search,
    validity,
)
from genogate.search.proxies.screening import CHECKS
from genogate.search.proxies.shortening import shorten
from proxy_networks import network


@pytest.fixture(scope="module")
def benches():
    return [Bench.of(*network(seed), 64) for seed in (1, 2)]


SHORT = Config(evaluations=60, population=8)


def found(outcomes):
    return json.dumps([[m.to_json() for m in o.best] for o in outcomes])


def test_it_finds_what_the_tables_were_made_of(benches):
    """And ranks a network that it has not seen, where equal sums of bits say nothing."""
    seed = 3
    evolution = Evolution(benches, Config(evaluations=700), seed)
    evolution.run()
    best = evolution.best[0]
    held = Bench.of(*network(9)).report(best.proxy)
    assert best.fitness > 0.75, f"seed {seed}: {best}"
    assert held["all"]["spearman"] > 0.8, f"seed {seed}: {best}"
    assert held["equal-sum"]["spearman"] > 0.5, f"seed {seed}: {best}"
    fitness = [m.fitness for m in evolution.best]
    assert fitness == sorted(fitness, reverse=True)
    assert [value for _, value in evolution.history] == sorted(v for _, v in evolution.history)
    # What is kept says what it is worth.
    again, _ = evolution.config.objective.many(
        benches,
        [best.proxy.table(b.inputs) for b in benches],
        evolution.best[0].genotype.proxy().size,
    )
    assert again == pytest.approx(best.fitness)


@pytest.mark.parametrize("structure", ["sequential", "branched", "dag", "mixed"])
@pytest.mark.parametrize("method", ["evolution", "random"])
def test_every_structure_and_method_makes_exactly_its_evaluations(benches, structure, method):
    evolution = Evolution(benches[:1], replace(SHORT, structure=structure, method=method), 4)
    evolution.run()
    counts = evolution.counts
    # The last step may be a competition of two.
    assert counts["scored"] in ((60,) if method == "random" else (60, 61))
    assert counts["scored"] == evolution.screen.counts["passed"]
    assert counts["drawn"] == counts["scored"] + sum(counts[check] for check in CHECKS)
    assert 0 < validity(counts) <= counts["scored"] / counts["drawn"]
    structures = {m.genotype.structure for m in evolution.population}
    assert structures == {structure} or structure == "mixed"
    for member in evolution.best:
        assert Proxy.parse(str(member.proxy)) == member.proxy


def test_the_population_keeps_its_size_and_gets_no_worse(benches):
    evolution = Evolution(benches[:1], SHORT, 5)
    worst = []
    while not evolution.done:
        evolution.step()
        if len(evolution.population) == SHORT.population:
            worst.append(min(m.fitness for m in evolution.population))
    assert len(evolution.population) == 8
    assert len({str(m.proxy) for m in evolution.population}) == 8
    assert worst[-1] > worst[0]


def test_one_formula_in_many_spellings_takes_one_place(benches):
    """Without crowding it may fill the population."""
    pairs = {}
    for crowding in (0.98, 1.0):
        evolution = Evolution(benches[:1], Config(evaluations=150, crowding=crowding), 14)
        evolution.run()
        scores = [benches[0].scores(m.proxy.table(benches[0].inputs)) for m in evolution.population]
        found = np.array([[spearman(a, b) for a in scores] for b in scores])
        pairs[crowding] = int((found[np.triu_indices(len(found), 1)] > 0.98).sum())
    assert pairs[0.98] == 0 < pairs[1.0]


def test_a_newcomer_competes_only_with_diversity(benches):
    """So that a step costs two evaluations with it, and one without."""
    for diversity, cost in ((True, 2), (False, 1)):
        evolution = Evolution(benches[:1], replace(SHORT, diversity=diversity), 6)
        while len(evolution.population) < 8:
            evolution.step()
        before = evolution.evaluations
        for _ in range(5):
            evolution.step()
        assert evolution.evaluations - before == pytest.approx(5 * cost, abs=1)


def test_prioritised_sampling_prefers_what_the_table_prefers(benches):
    draws = {}
    for prioritise in (True, False):
        evolution = Evolution(benches[:1], replace(SHORT, prioritise=prioritise), 7)
        newcomers = [evolution.newcomer() for _ in range(600)]
        draws[prioritise] = [LEAVES[each.genes[0]] for each in newcomers]
        unary = [UNARY[each.genes[1]] for each in newcomers]
        draws[prioritise, "no_op"] = unary.count("no_op")
    assert draws[True].count("error") > 2 * draws[False].count("error") > 0
    assert draws[True, "no_op"] > draws[False, "no_op"] > 0


def test_screening_may_be_switched_off_and_then_what_fails_costs_an_evaluation(benches):
    """The share of valid candidates with and without is what ablations compare."""
    rates = {}
    for screening in (CHECKS, ()):
        config = replace(SHORT, screening=screening, method="random", evaluations=100)
        evolution = Evolution(benches[:1], config, 8)
        evolution.run()
        rates[screening] = evolution.valid / evolution.evaluations
        assert all(m.fitness > FAILED for m in evolution.best)
    assert rates[CHECKS] == 1 > rates[()] > 0


def test_it_goes_on_past_whatever_fails(benches, monkeypatch):
    """Here every third candidate."""
    whole, calls = Genotype.proxy, []

    def sometimes(self):
        calls.append(self)
        if len(calls) % 3 == 0:
            raise FloatingPointError("an accident")
        if len(calls) % 5 == 0:
            raise InputError("proxy: another")
        return whole(self)

    monkeypatch.setattr(Genotype, "proxy", sometimes)
    evolution = Evolution(benches[:1], SHORT, 9)
    evolution.run()
    assert evolution.evaluations >= 60
    assert evolution.counts["invalid"] >= len(calls) // 3


def test_an_exhausted_space_ends_the_search(benches, monkeypatch):
    monkeypatch.setattr("genogate.search.proxies.evolution.PATIENCE", 30)
    evolution = Evolution(benches[:1], SHORT, 10)
    only = evolution.newcomer()
    monkeypatch.setattr(evolution, "newcomer", lambda: only)
    monkeypatch.setattr(evolution, "offspring", lambda: only)
    evolution.run()
    assert evolution.exhausted
    assert evolution.evaluations <= 1


def test_a_state_goes_on_as_if_nothing_had_been(benches):
    whole = Evolution(benches[:1], SHORT, 11)
    whole.run()
    for stop in (1, 5, 30):
        part = Evolution(benches[:1], SHORT, 11)
        part.run(stop)
        later = Evolution(benches[:1], SHORT, 11)
        later.restore(json.loads(json.dumps(part.state())))
        later.run()
        assert later.state() == whole.state()


def test_a_folder_resumes_and_may_be_made_longer(benches, tmp_path):
    alone = search(benches[:1], SHORT, (1, 2))
    folder = tmp_path / "run"
    search(benches[:1], replace(SHORT, evaluations=25), (1, 2), folder=folder)
    with pytest.raises(InputError, match="holds a search already; --resume"):
        search(benches[:1], SHORT, (1, 2), folder=folder)
    seen = []
    outcomes = search(benches[:1], SHORT, (1, 2), folder=folder, resume=True, tell=seen.append)
    assert found(outcomes) == found(alone)
    assert 120 == seen[-1].total <= seen[-1].done <= 122
    written = json.loads((folder / "found.json").read_text())
    assert written[0]["best"][0]["proxy"] == str(alone[0].best[0].proxy)
    assert config_of(json.loads((folder / "config.json").read_text())["config"]) == SHORT
    with pytest.raises(InputError, match="differs in population, tables; use the same options"):
        search(benches, replace(SHORT, population=9), folder=folder, resume=True)
    (folder / "seed-1.json").write_text('{"evaluations": 3}')
    with pytest.raises(InputError, match=r"seed-1.json: not the state .*remove it"):
        search(benches[:1], SHORT, (1, 2), folder=folder, resume=True)
    (folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match="not that of a proxy search; another folder"):
        search(benches[:1], SHORT, folder=folder, resume=True)


def test_processes_find_what_one_finds(benches, tmp_path):
    pytest.importorskip("joblib")
    outcomes = search(benches[:1], SHORT, (1, 2), folder=tmp_path, workers=2, chunk=25)
    assert found(outcomes) == found(search(benches[:1], SHORT, (1, 2)))
    assert [o.seed for o in outcomes] == [1, 2]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from proxy_networks import network
from genogate.search.proxies import evolution
from genogate.search.proxies.fitness import Bench
benches = [Bench.of(*network(1), 64)]
run = evolution.Evolution(benches, evolution.Config(evaluations=400, population=8), 12)
run.run(None, Path({path!r}), every=0.0)
"""


def test_a_kill_loses_nothing_that_matters(benches, tmp_path):
    """Killed without a warning, it goes on from what is written to the same end."""
    path = tmp_path / "seed-12.json"
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and json.loads(path.read_text())["evaluations"] >= 20:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    halted = json.loads(path.read_text())
    assert 20 <= halted["evaluations"] < 400
    config = Config(evaluations=halted["evaluations"] + 40, population=8)
    bench = Bench.of(*network(1), 64)
    later, whole = Evolution([bench], config, 12), Evolution([bench], config, 12)
    later.restore(halted)
    later.run()
    whole.run()
    assert later.state() == whole.state()
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".json" and p != path]


def test_shortening_leaves_out_what_has_no_effect(benches):
    text = "negate(sum(abs(halve(dot(square(gradient), square(abs(error))))), mean(elements)))"
    objective = Objective()
    proxy, fitness, tried = shorten(Proxy.parse(text), benches, objective)
    assert proxy.size <= 5
    tables = [proxy.table(bench.inputs) for bench in benches]
    assert objective.many(benches, tables, proxy.size)[0] == pytest.approx(fitness)
    before = [Proxy.parse(text).table(bench.inputs) for bench in benches]
    assert fitness > objective.many(benches, before, Proxy.parse(text).size)[0]
    assert tried > 10
    assert str(shorten(proxy, benches, objective)[0]) == str(proxy)


def test_a_document_names_tables_and_statistics(benches):
    one = document(benches[:1], SHORT)
    assert one["tables"] == {"net1": benches[0].fingerprint}
    assert one == document([Bench.of(*network(1), 64)], SHORT)
    assert one["tables"] != document([Bench.of(*network(1), 32)], SHORT)["tables"]


def test_a_curve_steps_up_where_something_better_was_found():
    outcome = Outcome(0, (), ((3, 0.2), (10, 0.5)), {}, ())
    np.testing.assert_array_equal(curve(outcome, [1, 3, 9, 10, 99]), [np.nan, 0.2, 0.2, 0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"structure": "ring"}, "structure 'ring': sequential, branched, dag, mixed"),
        ({"method": "luck"}, "method 'luck'"),
        ({"population": 1}, "population: 1 is not within 2"),
        ({"evaluations": 0}, "evaluations: 0"),
        ({"pool": 0.0}, "pool: 0"),
        ({"mutation": 1.5}, "mutation: 1.5"),
        ({"screening": ("taste",)}, "screening 'taste'"),
    ],
)
def test_configurations_that_are_none_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        Config(**options)


def test_searches_that_cannot_be_are_refused(benches):
    with pytest.raises(InputError, match="no table"):
        search([], SHORT)
    with pytest.raises(InputError, match="seeds: one or more different"):
        search(benches, SHORT, (1, 1))
    other = [*benches, Bench.of(*network(8))]
    with pytest.raises(InputError, match=r"net8: \d rows in its equal-size subset"):
        search(other, replace(SHORT, objective=Objective(equal_size=0.5)))
    with pytest.raises(InputError, match="configuration of a proxy search"):
        config_of({"structure": "dag"})
