"""Trainings of a search within a budget, on other processes and on a cluster that goes away."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")
from genogate.model.errors import InputError
from genogate.model.genome import Genome
from genogate.search.ladder.plan import Plan
from genogate.search.ladder.rungs import Net, Rungs
from genogate.search.pool.backends import Pool

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

PLAN = Plan(("digits-row",), budget=1e6, epochs=1)
NETS = [(Net(0, Genome.uniform(bits), bits, bits), None) for bits in (6, 4, 3)]


def trained(folder, pool, say=lambda text: None):
    rungs = Rungs(folder, PLAN, pool, say)
    try:
        return [result.judged for result in rungs.trained(NETS, "short", 1)], rungs.fresh
    finally:
        rungs.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with Pool("serial", 1) as pool:
        return trained(tmp_path_factory.mktemp("alone"), pool)[0]


def test_other_processes_train_the_same_networks(tmp_path, alone):
    with Pool("processes", 2) as pool:
        assert trained(tmp_path, pool) == (alone, len(NETS))


def test_a_cluster_that_goes_away_costs_no_training_that_was_done(tmp_path, alone):
    """The first training ends, the cluster is closed; the rest is trained here."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    )
    said = []

    def close_once(text):
        if not said:
            cluster.close()
        said.append(text)

    with (
        cluster,
        Pool("dask", 2, cluster.scheduler_address) as pool,
        pytest.raises(InputError) as error,
    ):
        trained(tmp_path, pool, close_once)
    assert "\n" not in str(error.value)
    assert said
    with Pool("serial", 1) as pool:
        results, fresh = trained(tmp_path, pool)
    assert results == alone
    assert fresh <= len(NETS) - len(said)
