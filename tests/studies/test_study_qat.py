"""The study of training with quantisation: what it keeps, and the page it makes."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

from studies import qat as study_qat


def test_a_study_that_was_stopped_takes_what_is_known(tmp_path, monkeypatch):
    said = []
    data = study_qat.measure_qat(said.append, study_qat.QUICK, tmp_path)
    (one,) = data["any"]
    assert len(one["rows"]) == study_qat.QUICK.any_cases[0].genomes
    for row in one["rows"]:
        assert all(0 <= row[kind]["test"] <= 1 for kind in ("ptq", "any", "qat"))
    trained = [row for row in data["homogeneous"] if "qat" in row]
    assert [row["scheme"] for row in trained] == ["int3"]
    assert trained[0]["qat"]["val"] > trained[0]["ptq"]["val"]

    monkeypatch.setattr(study_qat, "tune", None)
    monkeypatch.setattr(study_qat, "tune_any", None)
    assert study_qat.measure_qat(said.append, study_qat.QUICK, tmp_path) == data

    page = "\n".join(study_qat.render_qat(data))
    assert "| int3 | 0." in page
    assert "3 random genomes" in page


def test_rank_correlation_of_equal_values_is_none():
    assert study_qat.rank_correlation([1, 2, 3], [2, 4, 9]) == 1
    assert study_qat.rank_correlation([1, 1], [2, 3]) == 0
