"""A search within a budget that judges by folds."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from genogate.model import zoo
from genogate.model.checkpoints import recipe
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError
from genogate.model.genome import Genome, found_with
from genogate.model.quantize.trained import Trained
from genogate.search.experiment.jobs import Float, train_float
from genogate.search.ladder import folds, marks
from genogate.search.ladder.ladder import search
from genogate.search.ladder.plan import Plan, check_validation
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
        yield Plan((name,), drop=5.0, budget=6.0, epochs=1, folds=3)


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
    assert document["spent_seconds"] < plan.budget + 10
    checkpoint, _ = found_with(str(folder / "best"))
    assert zoo.load(checkpoint).hash == zoo.load(folder / document["best"]["network"]).hash
    assert "trained once more, on the whole training part" in (folder / "page.md").read_text()


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
    assert not list(tmp_path.glob("networks/*"))


def test_few_sequences_tell_more_in_folds():
    plan = Plan(("digits-row",), drop=0.5)
    assert "189 validation sequences" in check_validation(plan)
    assert "--folds 4 would judge by the training part too" in check_validation(plan)
    assert "about 0.6 points" in check_validation(replace(plan, folds=4))
    with pytest.raises(InputError, match="folds"):
        replace(plan, folds=1)
