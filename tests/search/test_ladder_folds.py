"""A search within a budget that judges by folds."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model import zoo
from genogate.model.checkpoints import recipe
from genogate.model.checkpoints.training import train
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome, found_with
from genogate.model.head import Head
from genogate.model.qat.recipe import Tuning
from genogate.model.quantize.trained import Trained
from genogate.search.experiment.jobs import Float, train_float
from genogate.search.ladder import folds, marks
from genogate.search.ladder.ladder import _finished, search
from genogate.search.ladder.plan import SHORT_RATE, Plan, check_validation, telling
from genogate.search.ladder.rungs import Net, Rungs
from genogate.search.pool.backends import Pool
from genogate.sim import fast


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A network of 4 units for 150 sequences that rise or fall."""
    folder = tmp_path_factory.mktemp("folds")
    rng = np.random.default_rng(5)
    y = np.arange(150) % 2
    slope = np.where(y, 1.0, -1.0)[:, None, None]
    x = slope * np.linspace(-1, 1, 6)[:, None] + rng.normal(0, 0.8, (150, 6, 2))
    np.savez(folder / "mine.npz", x=x.astype(np.float32), y=y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "UPDATES", 60)
        name = str(folder / "network.safetensors")
        train_float(Float(str(folder / "mine.npz"), 0, 4, None, name))
        yield Plan((name,), drop=5.0, budget=16.0, epochs=1, folds=3, pace=(2.0,))


@pytest.fixture(scope="module")
def found(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return folder, search(folder, plan)


def test_networks_are_judged_by_all_folds_and_the_last_are_of_the_whole_task(plan, found):
    folder, document = found
    task = load_task(zoo.load(plan.checkpoints[0]).info["task"])
    pooled = len(task.x_train) + len(task.x_val)
    assert f"{pooled} sequences in 3 folds" in document["validation"]
    for entry in document["finished"]:
        trained = [zoo.load(folder / path).info["task"] for path in entry["folds"]]
        assert trained == [f"{task.name}#{fold}of3" for fold in (1, 2, 3)]
    for name in ("int8", "best"):
        info = zoo.load(folder / document[name]["network"]).info
        assert (info["task"], info["split_hash"]) == (task.name, task.split_hash)
    assert document["last_seconds"] > 0
    checkpoint, _ = found_with(str(folder / "best"))
    assert zoo.load(checkpoint).hash == zoo.load(folder / document["best"]["network"]).hash
    assert "trained once more, on the whole training part" in (folder / "page.md").read_text()


def test_the_best_is_not_in_its_table_twice(found):
    folder, _ = found
    table = [line for line in (folder / "page.md").read_text().splitlines() if line[:2] == "| "]
    rows = [line.split("|", 2)[2] for line in table if line.startswith(("| best", "| front"))]
    assert len(set(rows)) == len(rows) > 0


def test_a_last_training_counts_once_where_the_best_is_int8(plan, found):
    folder, document = found
    with Pool("serial", 1) as pool:
        rungs = Rungs(folder, plan, pool)
        int8 = Net(0, Genome.from_genes(document["int8"]["genes"]))
        (result,) = rungs.trained([(int8, None)], "full", document["epochs"]["full"])
        one, both = (
            _finished(SimpleNamespace(rungs=rungs, finished=[result]), best, entries)
            for best, entries in ((None, document), (result, {**document, "best": {}}))
        )
        rungs.close()
    assert rungs.fresh == 0
    assert both["last_seconds"] == one["last_seconds"] > 0
    assert both["best"]["network"] == document["int8"]["network"]


def test_a_network_of_fewer_units_begins_with_the_weights_of_one_that_has_more(
    plan, tmp_path, found
):
    """In every fold, and once more on the whole training part; what is gone is made again."""
    int8 = Net(0, Genome.uniform(8))
    fewer = replace(int8, cut=1)

    def trained(folder):
        with Pool("serial", 1) as pool:
            rungs = Rungs(folder, plan, pool)
            (whole,) = rungs.trained([(int8, None)], "full", 1)
            before = rungs.spent
            (cut,) = rungs.trained([(fewer, whole)], "short", 1)
            # A look's time for the units, and an epoch's.
            assert rungs.spent - before == pytest.approx((1 + plan.look) * plan.pace[0])
            path, seconds = rungs.once_more(cut)
            rungs.close()
        return cut, path, seconds

    cut, path, seconds = trained(tmp_path)
    assert [zoo.load(name).hidden_size() for name in (*cut.paths, path)] == [3] * 4
    assert "pruned" in zoo.load(path).info
    assert zoo.load(path).info["task"] == load_task(zoo.load(plan.checkpoints[0]).info["task"]).name
    assert len(seconds) == 2
    # From inherited weights training goes on more slowly, also on the whole training part.
    usual, slower = Tuning().lr, SHORT_RATE * Tuning().lr
    assert [zoo.load(name).info["tuning"]["lr"] for name in (*cut.paths, path)] == [slower] * 4
    assert zoo.load(found[0] / found[1]["int8"]["network"]).info["tuning"]["lr"] == usual
    assert cut.marks is not None
    assert len(cut.marks) == 106
    again, *_ = trained(tmp_path)
    assert again == cut
    shutil.rmtree(tmp_path / "networks")
    again, path, _ = trained(tmp_path)
    assert (again.judged, again.paths) == (cut.judged, cut.paths)
    assert [zoo.load(name).hidden_size() for name in (*again.paths, path)] == [3] * 4


def test_a_search_that_keeps_its_units_has_no_others(plan, tmp_path):
    document = search(tmp_path, replace(plan, fewer=False))
    assert {entry["hidden"] for entry in document["finished"]} == {4}
    with pytest.raises(InputError, match="differs in units; add --keep-units"):
        search(tmp_path, plan, resume=True)


def test_what_no_network_keeps_is_refused_before_a_float_network_is_trained(plan, tmp_path):
    with pytest.raises(InputError, match="max-um2: 1 is below"):
        search(tmp_path, replace(plan, limits=(("um2", 1.0),)))
    assert not (tmp_path / "float").exists()


def test_accuracy_is_that_of_all_sequences_by_networks_that_did_not_see_them(plan, found):
    folder, document = found
    entry = document["finished"][0]
    right = total = 0
    for path in entry["folds"]:
        network = zoo.load(folder / path)
        task = load_task(network.info["task"], network.info["split_seed"])
        assert network.info["split_hash"] == task.split_hash
        scores = fast.scores(Trained.of(network).model(), task.x_val, task.y_val)
        right, total = right + scores.sum(), total + len(scores)
    assert total == 106
    assert entry["judged"] == pytest.approx(right / total)


def test_a_search_goes_on_with_what_its_folds_have(plan, found):
    folder, document = found
    with pytest.raises(InputError, match="differs in folds"):
        search(folder, replace(plan, folds=4), resume=True)
    again = search(folder, plan, resume=True, pages=False)
    assert again == document


def test_marks_of_a_network_are_those_of_all_folds(plan, found):
    folder, _ = found
    with Pool("serial", 1) as pool:
        rungs = Rungs(folder, plan, pool)
        net = found[1]["int8"]
        (result,) = rungs.trained([(Net(0, Genome.from_genes(net["genes"])), None)], "full", 1)
        rungs.close()
    assert rungs.fresh == 0
    assert len(result.marks) == 106
    assert result.marks.mean() == pytest.approx(result.judged)
    assert marks.error(result.marks, result.marks) == 0


def test_a_pace_makes_a_search_the_same_on_a_busy_machine(plan, found, tmp_path):
    folder, _ = found
    documents = []
    for name in ("one", "other"):
        own = replace(plan, pace=(0.5,), floats=str(folder / "float"), budget=4.0)
        documents.append(search(tmp_path / name, own, finish=False, pages=False))
    rows = [[entry["genes"] for entry in document["finished"]] for document in documents]
    assert rows[0] == rows[1]
    trainings = documents[0]["trainings"]
    # Half a second for each training, whatever it took.
    assert trainings["full"] + trainings["short"] <= 8 + 2


def test_float_networks_that_take_most_of_the_budget_are_refused_before(
    plan, monkeypatch, tmp_path
):
    monkeypatch.setattr(folds, "seconds_of_update", lambda *_: 1.0)
    with pytest.raises(InputError, match=r"the float networks of 3 folds .* give --budget \d+m"):
        search(tmp_path, plan)
    assert not (tmp_path / "float").exists()


def test_networks_that_were_removed_are_trained_again(plan, found):
    """In the seconds of before: the search is the same."""
    folder, document = found
    before = {path.name: zoo.load(path).hash for path in (folder / "networks").iterdir()}
    shutil.rmtree(folder / "networks")
    assert search(folder, plan, resume=True) == document
    after = {path.name: zoo.load(path).hash for path in (folder / "networks").iterdir()}
    assert after == before


def other_network(plan, folder, **about):
    """A float network of the plan's task, with other layers or another split."""
    task = load_task(zoo.load(plan.checkpoints[0]).info["task"], about.get("seed", 0))
    path = folder / "other.safetensors"
    given = {"hidden": 4, "epochs": 1, **about}
    train(task, recipe.recipe_for(task.name, given, len(task.x_train))).save(path)
    return str(path)


def sources_of(plan, folder):
    with Pool("serial", 1) as pool:
        rungs = Rungs(folder, plan, pool)
        sources = rungs.sources
        rungs.close()
    return sources


def test_networks_of_as_many_units_and_other_layers_have_their_own_float_networks(plan, tmp_path):
    other = other_network(plan, tmp_path, front="relu:3", batch=16, augment="noise=0.3")
    sources = sources_of(replace(plan, checkpoints=(*plan.checkpoints, other)), tmp_path / "run")
    for row in sources:
        assert [sorted(zoo.load(name).functions) for name in row] == [[], ["front0"]]
        info = zoo.load(row[1]).info
        assert (info["batch"], info["augment"]) == (16, "noise=0.3")


def test_float_networks_that_another_search_left_are_not_taken(plan, tmp_path):
    """One that was stopped before INT8 was trained: its folder may be used for another."""
    first = sources_of(
        replace(plan, checkpoints=(other_network(plan, tmp_path, seed=1),)), tmp_path
    )
    assert {zoo.load(name).info["split_seed"] for (name,) in first} == {1}
    kept = sources_of(plan, tmp_path)
    assert kept == first
    hashes = [zoo.load(name).hash for (name,) in kept]
    for name, *_ in kept:
        info = zoo.load(name).info
        assert info["split_hash"] == load_task(info["task"], 0).split_hash
    assert [zoo.load(name).hash for (name,) in sources_of(plan, tmp_path)] == hashes


def test_a_float_network_answers_as_the_one_that_it_is_like(tmp_path):
    x = np.random.default_rng(1).normal(size=(40, 5, 2)).astype(np.float32)
    own, path = str(tmp_path / "real.npz"), str(tmp_path / "real.safetensors")
    np.savez(own, x=x, y=(x[:, -1] > 0).astype(np.float32))
    task = load_task(own)
    train(task, recipe.recipe_for(own, {"hidden": 3, "epochs": 1, "activation": "none"})).save(path)
    job = Float(f"{own}#1of2", 0, 3, 1, str(tmp_path / "fold.safetensors"), path)
    train_float(job)
    assert zoo.load(job.path).head == zoo.load(path).head == Head("last", "codes", "none")


def test_folds_that_cannot_be_are_refused_before_anything_is_written(plan, tmp_path):
    rng = np.random.default_rng(1)
    own, path = str(tmp_path / "few.npz"), str(tmp_path / "few.safetensors")
    np.savez(own, x=rng.normal(size=(30, 5, 2)).astype(np.float32), y=np.arange(30) // 25)
    train(load_task(own), recipe.recipe_for(own, {"hidden": 3, "epochs": 1})).save(path)
    with pytest.raises(InputError, match=r"folds: 4, and a class of .* has 3 sequences"):
        search(tmp_path / "run", replace(plan, checkpoints=(path,), folds=4))
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"100 sequences in 2 folds is 1\.0 .* or more data$"):
        telling("mine", 100, 100, 0.5, folds=2)


def test_few_sequences_tell_more_in_folds():
    plan = Plan(("digits-row",), drop=0.5)
    assert "189 validation sequences" in check_validation(plan)
    assert "--folds 4 would judge by the training part too" in check_validation(plan)
    assert "about 0.6 points" in check_validation(replace(plan, folds=4))
    with pytest.raises(InputError, match="folds"):
        replace(plan, folds=1)
