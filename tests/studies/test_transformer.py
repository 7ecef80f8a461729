"""The end-to-end study of a transformer of tables, made small."""

import dataclasses
import json

import numpy as np
import pytest
from genogate.model.tables.functions import FUNCTIONS
from genogate.model.tables.points import codes

torch = pytest.importorskip("torch")
from genogate.model.torch_units import nonlinear  # noqa: E402

from studies import transformer as study  # noqa: E402

RECIPE = study.Recipe(width=16, heads=2, blocks=1, epochs=10, lr=2e-2)


@pytest.fixture(scope="module")
def images():
    """Fewer than there are, for speed."""
    full = study.digits()
    return dataclasses.replace(
        full,
        x_train=full.x_train[:512],
        y_train=full.y_train[:512],
        x_test=full.x_test[:200],
        y_test=full.y_test[:200],
    )


@pytest.fixture(scope="module")
def run(images):
    cases = {study.EIGHT: (True, {}), "GELU alone": (False, {"only": ["gelu"]})}
    return study.measure_seed(images, RECIPE, 3, cases)


def test_tables_hardly_change_a_trained_network_and_golden_agrees(run):
    found = run["cases"]
    assert list(found) == [study.EXACT, study.EIGHT, "GELU alone"]
    assert found[study.EXACT]["before"] > 0.3
    assert found[study.EXACT]["logits_off"] == 0
    assert abs(found[study.EIGHT]["before"] - found[study.EXACT]["before"]) < 0.05
    assert 0 < found["GELU alone"]["logits_off"] < found[study.EIGHT]["logits_off"] < 0.2
    assert found[study.EIGHT]["golden"]["values"] > 10_000
    assert found[study.EIGHT]["golden"]["different"] == 0
    assert "after" not in found["GELU alone"]


def test_a_seed_gives_the_same_figures_again(images, run):
    cases = {study.EIGHT: (True, {})}
    again = study.measure_seed(images, RECIPE, 3, cases)
    assert again["cases"][study.EIGHT] == run["cases"][study.EIGHT]
    other = study.measure_seed(images, RECIPE, 4, cases)
    assert other["cases"][study.EIGHT] != run["cases"][study.EIGHT]


def test_every_non_linear_module_is_replaced(images):
    model = study.Transformer(study.Recipe(blocks=2), images)
    other = study.replaced(model, images)
    kinds = [type(m).__name__ for m in other.modules() if isinstance(m, nonlinear.Calibrated)]
    assert (
        sorted(kinds)
        == ["PiecewiseActivation"] * 2 + ["PiecewiseLayerNorm"] * 5 + ["PiecewiseSoftmax"] * 2
    )
    assert not any(isinstance(m, nonlinear.Calibrated) for m in model.modules())


def test_a_golden_model_that_differs_is_noticed(images, monkeypatch):
    other = study.replaced(study.Transformer(RECIPE, images), images)
    x = torch.from_numpy(images.x_test[:5])
    assert study.recomputed(other, x)["different"] == 0
    law = study.golden.activation
    monkeypatch.setattr(study.golden, "activation", lambda op, q: law(op, q) + (q == 0))
    assert 0 < study.recomputed(other, x)["different"] < 5 * 16 * 32


def test_left_ties_move_codes_on_break_points_and_no_others():
    table = nonlinear.exact_table(FUNCTIONS["gelu"], scales=(4, 5))
    for row, left in zip(table.rows, study.left_tied(table).rows, strict=True):
        q = codes(table.function, 8, row.scale, "A")
        wanted = np.searchsorted(row.breakpoints, q, side="left")
        y = np.ldexp(row.slopes[wanted] * np.ldexp(q.astype(float), -row.scale), -6)
        np.testing.assert_array_equal(left(q), y + np.ldexp(row.intercepts[wanted], -6))


def test_the_published_search_and_its_operator_lose_what_is_known():
    mse = {name: table.mse() for name, table in study.gelu_tables(8).items()}
    assert mse["exact"] == pytest.approx(3.20e-5, rel=2e-3)
    assert 9.4e-5 < mse["chord"] < 1.3e-4
    assert mse["chord, left ties"] > 4.5 * mse["chord"]
    assert mse["exact, left ties"] > mse["chord, left ties"]


def test_render_shows_what_was_measured(images, run):
    data = {
        "runs": [
            {"images": "digits", "train": 9, "test": 200, "recipe": {**vars(RECIPE)}, **each}
            for each in (run, json.loads(json.dumps(run)))
        ],
        "left_out": ["MNIST was left out"],
        "gelu_mse": {"8": {"exact": 3.2e-5, "chord": 1e-4}},
        "versions": {"torch": "2"},
    }
    text = "\n".join(study.render(json.loads(json.dumps(data))))
    assert text.startswith("## A transformer of tables\n")
    accuracy = 100 * run["cases"][study.EXACT]["before"]
    assert f"| exact functions | {accuracy:.2f} ± 0.00 |" in text
    assert "200 test images, 2 seeds, 10 epochs" in text
    assert "| GELU alone |" in text
    assert ": 0 differ" in text
    assert "MNIST was left out" in text
    assert "| exact | 3.20e-05 |" in text


def test_mnist_is_left_out_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.delenv("GENOGATE_DATA", raising=False)
    assert study.digits_of_mnist() is None
    monkeypatch.setenv("GENOGATE_DATA", str(tmp_path))
    assert study.digits_of_mnist() is None
