"""Statistics that proxies look at: against hand-computed ones, finite differences and NumPy."""

import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint, forward
from genogate.model.data.tasks import Task
from genogate.model.errors import InputError
from genogate.model.genome import GENES
from genogate.model.quantize.calibrate import calibrate
from genogate.search.proxies import collection, statistics
from genogate.search.proxies.collection import balanced, linear_cka
from genogate.search.proxies.gru import statistics as gru_statistics
from genogate.search.proxies.gru.statistics import GruNetwork, of_gru
from genogate.search.proxies.statistics import Statistics

torch = pytest.importorskip("torch")
SEED = 2307


class Scale:
    """Logits (u, 0) of one input x: u = v = w x; items w (a weight) and u (an output)."""

    names, widths = ("w", "u"), (2, 8)

    def __init__(self, w):
        self.weights = [torch.tensor([[w]], dtype=torch.float64), None]

    def forward(self, x, weights, added):
        v = x @ weights[0].T
        v = v if added[0] is None else v + added[0]
        u = v if added[1] is None else v + added[1]
        return torch.cat([u, torch.zeros_like(u)], 1), [v, u]

    def virtual(self, weights, added):
        return self.forward(torch.ones((1, 1), dtype=torch.float64), weights, added)[0].sum()

    def error(self, item, bits, values, columns):
        return np.full(values.shape, 1.0 / bits)

    def facts(self):
        one = np.ones(2, np.int64)
        return {
            "elements": one,
            "macs": one,
            "parameters": np.array([1, 0]),
            "stages": 0 * one,
            "operands": np.full((2, 2), -1),
        }


def test_derivatives_of_a_logistic_unit_are_those_by_hand():
    w, x, y = -0.5, np.array([[1.0], [2.0], [-3.0]]), np.array([0, 1, 1])
    found = collection.collect(Scale(w), x, y, {})
    p = 1 / (1 + np.exp(-w * x[:, 0]))
    # dL/du of one sample; class 0 is the one with logit u.
    slope = np.where(y == 0, p - 1, p)
    curve = p * (1 - p)
    of_w, of_u = ({kind: found.tensors[kind][k] for kind in found.tensors} for k in range(2))
    assert of_w["weight"] == pytest.approx(np.array([[w]]))
    assert of_w["gradient"] == pytest.approx(np.array([[(slope * x[:, 0]).mean()]]))
    assert of_w["squared_gradient"] == pytest.approx(np.array([[((slope * x[:, 0]) ** 2).mean()]]))
    assert of_w["virtual_gradient"] == pytest.approx(np.ones((1, 1)))
    hessian = (curve * x[:, 0] ** 2).mean()
    # Where there is nothing off the diagonal, every probe is exact.
    assert of_w["hessian"] == pytest.approx(np.array([[hessian]]))
    assert of_u["hessian"] == pytest.approx(curve[None] / 3)
    assert found.vectors["eigenvalue"][0] == pytest.approx(hessian)
    assert found.vectors["trace"] == pytest.approx([hessian, curve.sum() / 3])
    assert of_u["weight"] == pytest.approx(w * x.T)
    assert of_u["gradient"] == pytest.approx(slope[None] / 3, rel=1e-6)
    assert of_u["squared_gradient"] == pytest.approx(slope[None] ** 2, rel=1e-6)
    assert found.vectors["eigenvalue"][1] == pytest.approx(curve.max() / 3, rel=0.01)
    fisher = 0.5 * ((w * x[:, 0] * slope) ** 2).mean()
    assert found.vectors["fisher"] == pytest.approx([fisher, fisher])
    assert found.vectors["similarity"] == pytest.approx(np.ones((2, 2)))
    assert found.counts.tolist() == [1, 3]
    assert found.errors[1][2] == pytest.approx(np.full((1, 3), 0.5))


def small(layers=1, inputs=3, hidden=5, classes=4):
    draw = np.random.default_rng(SEED)
    tensors = {}
    for k in range(layers):
        for name, shape in (
            (f"weight_ih_l{k}", (3 * hidden, hidden if k else inputs)),
            (f"weight_hh_l{k}", (3 * hidden, hidden)),
            (f"bias_ih_l{k}", (3 * hidden,)),
            (f"bias_hh_l{k}", (3 * hidden,)),
        ):
            tensors[name] = draw.normal(0, 0.6, shape).astype(np.float32)
    tensors["classifier.weight"] = draw.normal(0, 1, (classes, hidden)).astype(np.float32)
    tensors["classifier.bias"] = draw.normal(0, 1, classes).astype(np.float32)
    x = draw.normal(0, 1, (40, 3, inputs)).astype(np.float32)
    y = draw.integers(0, classes, 40)
    task = Task("toy", 0, x, y, x[:9], y[:9], x[:9], y[:9], classes)
    return Checkpoint(tensors), task


def loss_of(checkpoint, x, y):
    logits = forward(checkpoint, x).logits
    logits = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize("layers", [1, 2])
def test_outputs_are_those_of_the_float_network(layers):
    checkpoint, task = small(layers)
    network = GruNetwork(torch, checkpoint, calibrate(checkpoint, task.x_train))
    x = task.x_train[:7].astype(np.float64)
    nothing = [None] * len(network.names)
    logits, outputs = network.forward(torch.from_numpy(x), network.weights, nothing)
    expected = forward(checkpoint, x, trace=True)
    np.testing.assert_allclose(logits.numpy(), expected.logits, atol=1e-12)
    assert len(network.names) == 17 * layers
    for item, output in enumerate(outputs):
        layer, place = divmod(item, 17)
        np.testing.assert_allclose(output.numpy(), expected.trace[layer, GENES[place]], atol=1e-12)


@pytest.fixture(scope="module")
def found():
    checkpoint, task = small()
    return of_gru(checkpoint, task, keep=False, batch=16)


@pytest.fixture
def rough(monkeypatch):
    """Fewer products with the Hessian, where their values do not matter."""
    monkeypatch.setattr(collection, "PROBES", 1)
    monkeypatch.setattr(collection, "ROUNDS", 2)


def test_the_gradient_is_that_of_finite_differences(found):
    checkpoint, task = small()
    chosen = balanced(task.y_train, 16, 0)
    x, y = task.x_train[chosen], task.y_train[chosen]
    for gene in ("w_iz", "w_hn"):
        side, gate = f"weight_{gene[2]}h_l0", "rzn".index(gene[3])
        matrix = found.tensors["gradient"][GENES.index(gene)]
        for row, column in ((0, 0), (4, 2)):
            ends = []
            for step in (1e-3, -1e-3):
                moved = {name: array.copy() for name, array in checkpoint.tensors.items()}
                moved[side][5 * gate + row, column] += step
                ends.append(loss_of(Checkpoint(moved), x, y))
            assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(matrix[row, column], abs=2e-4)


def test_traces_agree_with_the_curvature_along_a_weight(found):
    # An estimate from a few random probes: only roughly.
    checkpoint, task = small()
    chosen = balanced(task.y_train, 16, 0)
    x, y = task.x_train[chosen], task.y_train[chosen]
    gate, total = "rzn".index("n"), 0.0
    middle = loss_of(checkpoint, x, y)
    for row in range(5):
        for column in range(5):
            ends = []
            for step in (0.02, -0.02):
                moved = {name: array.copy() for name, array in checkpoint.tensors.items()}
                moved["weight_hh_l0"][5 * gate + row, column] += step
                ends.append(loss_of(Checkpoint(moved), x, y))
            total += (ends[0] + ends[1] - 2 * middle) / 0.02**2
    item = GENES.index("w_hn")
    print("seed", SEED, "trace", found.vectors["trace"][item], "curvature", total)
    assert found.vectors["trace"][item] == pytest.approx(total, rel=0.5)
    # No eigenvalue is larger, so their sum is not either.
    assert 25 * abs(found.vectors["eigenvalue"][item]) > abs(total)


def test_every_tensor_fits_its_item(found):
    assert found.names == GENES
    assert found.widths == tuple(range(2, 9))
    for k, name in enumerate(GENES):
        shape = found.tensors["weight"][k].shape
        assert shape[0] == 5
        assert np.prod(shape) <= statistics.KEPT
        for kind in ("gradient", "virtual_gradient", "hessian", "squared_gradient"):
            assert found.tensors[kind][k].shape == shape
            assert np.isfinite(found.tensors[kind][k]).all()
        lost = [float((found.errors[k][bits] ** 2).mean()) for bits in found.widths]
        assert lost[0] > lost[-1] >= 0, name
        stored = {"i": 15, "h": 25}[name[2]] if k < 6 else 0
        assert found.parameters[k] == stored
        assert found.elements[k] == (stored or 5)
    assert found.counts[GENES.index("s_h")] == 16 * 3 * 5
    # Of a dense operator the weights are quantised, of the others the output.
    assert found.tensors["activation"][6] is not None
    np.testing.assert_array_equal(found.tensors["activation"][6], found.tensors["weight"][6])
    assert (found.tensors["virtual_gradient"][0] > 0).all()


def test_operands_of_multiplications(found):
    operands = found.vectors["operands"]
    place = GENES.index
    assert operands[place("w_hr")].tolist() == [statistics.OWN, place("s_h")]
    assert operands[place("w_ir")].tolist() == [statistics.OWN, statistics.FIXED]
    assert operands[place("p_zn")].tolist() == [place("c_z"), place("a_n")]
    assert found.macs[[place("w_in"), place("p_rn"), place("s_r")]].tolist() == [15, 5, 0]


def test_a_second_layer_reads_the_state_below(rough):
    checkpoint, task = small(layers=2)
    made = of_gru(checkpoint, task, keep=False, batch=8)
    assert made.names[17] == "1.w_ir"
    assert made.vectors["operands"][17].tolist() == [statistics.OWN, GENES.index("s_h")]
    assert made.vectors["stages"].tolist() == [0] * 17 + [1] * 17


def test_the_same_seed_gives_the_same_statistics_through_a_file(tmp_path, rough):
    checkpoint, task = small()
    found, again, other = (
        of_gru(checkpoint, task, keep=False, batch=8, seed=seed) for seed in (0, 0, 1)
    )
    assert again.hash == found.hash != other.hash
    found.save(tmp_path / "s.npz")
    read = Statistics.load(tmp_path / "s.npz")
    assert read.hash == found.hash
    np.testing.assert_array_equal(read.errors[3][4], found.errors[3][4])
    np.testing.assert_array_equal(read.tensors["hessian"][9], found.tensors["hessian"][9])


def test_statistics_are_kept_in_the_cache(tmp_path, monkeypatch, rough):
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path))
    checkpoint, task = small(hidden=3)
    first = of_gru(checkpoint, task, batch=8)
    kept = list(tmp_path.rglob("*.npz"))
    assert len(kept) == 1
    monkeypatch.setattr(gru_statistics, "collect", None)
    assert of_gru(checkpoint, task, batch=8).hash == first.hash


def test_a_damaged_entry_of_the_cache_is_made_again(tmp_path, monkeypatch, rough):
    monkeypatch.setenv("GENOGATE_CACHE", str(tmp_path))
    checkpoint, task = small(hidden=3)
    first = of_gru(checkpoint, task, batch=8)
    path = next(tmp_path.rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:-999])
    assert of_gru(checkpoint, task, batch=8).hash == first.hash


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", about=np.array("{}"))
    with pytest.raises(InputError, match="not statistics of a network"):
        Statistics.load(tmp_path / "x.npz")


def test_alignment_of_outputs():
    a = np.array([[1.0], [-1.0], [0.0]])
    b = np.array([[1.0], [1.0], [-2.0]])
    # Columns a and b are centred and orthogonal; (a b) has both.
    both = np.concatenate([a, b], 1)
    found = linear_cka([a, 5 * a + 3, b, both])
    # ||a'(a b)||^2 / (||a'a|| ||(a b)'(a b)||) = 4 / (2 sqrt(40)).
    expected = [[1, 1, 0, 4 / (2 * 40**0.5)], [1, 1, 0, 4 / (2 * 40**0.5)]]
    assert found[:2] == pytest.approx(np.array(expected), abs=1e-12)


def test_a_batch_is_balanced():
    y = np.array([0] * 50 + [1] * 10 + [2] * 4)
    chosen = balanced(y, 12, 0)
    assert np.bincount(y[chosen]).tolist() == [4, 4, 4]
    assert len(set(chosen)) == 12
