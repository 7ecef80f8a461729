"""The same search on a cluster of two workers, one of which is killed on the way."""

import json
import os
import signal
import threading
import time

import pytest
from genogate.model.knobs import Knobs
from genogate.search.genomes.config import Config
from genogate.search.genomes.evaluate import Case, Setting, evaluate_cases
from genogate.search.genomes.run import Run
from genogate.search.pool.backends import Pool
from genogate.synth.area import forget

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

SETTING = Setting("digits-row", Knobs(activation="table"), silicon=False, shifts=False)
CONFIG = Config(
    objectives=("accuracy", "size"),
    pop_size=24,
    generations=2,
    exploit=1,
    seed=11,
    initial="homogeneous",
)


def test_a_killed_worker_changes_nothing(tmp_path):
    Run(tmp_path / "alone", SETTING, CONFIG).go()
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
    )
    killed = []

    def kill():
        # Once some evaluations are there, in the midst of the next.
        limit = time.monotonic() + 600
        while run.fresh < 10 and time.monotonic() < limit:
            time.sleep(0.02)
        victim = next(iter(cluster.workers.values())).pid
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    with cluster:
        run = Run(tmp_path / "cluster", SETTING, CONFIG)
        threading.Thread(target=kill, daemon=True).start()
        run.go(backend="dask", scheduler=cluster.scheduler_address)
    assert killed
    assert run.fresh == len(run.points) == len(run.evaluator.store)
    for name in ("front.json", "history.json", "knee"):
        assert (tmp_path / "cluster" / name).read_bytes() == (
            tmp_path / "alone" / name
        ).read_bytes()


def test_a_cluster_measures_hardware_too(tmp_path, monkeypatch):
    """Modules are synthesised by the workers; what comes back is what this process measures."""
    from genogate.model.genome import Genome

    setting = Setting("digits-row", Knobs(activation="table"), shifts=False)
    cases = [Case(setting, Genome.uniform(2))]
    found = {}
    for name in ("here", "there"):
        monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path / name))
        forget()
        if name == "there":
            # Yosys that is started here would be told by its absence.
            monkeypatch.setattr("genogate.synth.area.run", None)
        with Pool("serial" if name == "here" else "dask", 2) as pool:
            found[name] = dict(evaluate_cases(cases, pool))
    forget()
    assert found["here"] == found["there"]
    # They are kept here as well: the cluster may be another one tomorrow.
    assert json.loads(next((tmp_path / "there").rglob("*.json")).read_text())["key"]
