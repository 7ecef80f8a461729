"""Tables of configurations: what is shipped, how it is made and goes on, and small CNNs."""

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.errors import InputError
from genogate.model.genome import GENES
from genogate.search.proxies import collection, tables
from genogate.search.proxies.cnn.layers import WIDTHS, layers
from genogate.search.proxies.cnn.network import load as load_cnn
from genogate.search.proxies.cnn.quantisation import SCALES, judged, quantise, quantised, size_bits
from genogate.search.proxies.cnn.statistics import of_cnn
from genogate.search.proxies.draws import SAME_SIZE, Draws, draw_around, draw_weighted
from genogate.search.proxies.gru.material import judge
from genogate.search.proxies.gru.table import make_gru
from genogate.search.proxies.tables import KINDS, NAMES, SUBSETS, Table

SEED = 5
DENSE = np.array([bool(gene in GENES[:6]) for gene in GENES])
FEW = Draws(any=5, around=4, equal_sum=3, equal_size=2, seed=SEED)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_table_is_what_it_says(name):
    table = tables.load(name)
    gru = name in tables.GRU_NAMES
    widths = range(2, 9) if gru else WIDTHS
    assert len(table.genomes) >= (500 if gru else 425)
    assert len(np.unique(table.genomes, axis=0)) == len(table.genomes)
    assert set(np.unique(table.genomes)) == set(widths)
    assert ((table.accuracy >= 0) & (table.accuracy <= 1)).all()
    assert table.repeats.shape[0] >= 3
    assert table.repeated >= 60
    # More than one calibration says the same, nearly.
    again = table.repeats[:, : table.repeated].mean(0)
    assert np.corrcoef(again, table.accuracy[: table.repeated])[0, 1] > 0.9
    assert table.about["checkpoint_hash"] == (zoo.load if gru else load_cnn)(name).hash
    assert (table.about["network"] == "gru") == gru


def test_enough_tables_are_shipped():
    assert len(set(NAMES) & set(tables.GRU_NAMES)) >= 3
    assert {name.split("-")[0] for name in set(NAMES) & set(tables.CNN_NAMES)} == {
        "resnet",
        "mobilenet",
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_subsets_of_a_shipped_table_rank_nothing_by_bits(name):
    table = tables.load(name)
    parts = [table.subset(which) for which in SUBSETS]
    assert sorted(np.concatenate(parts)) == list(range(len(table.genomes)))
    assert len(np.unique(table.genomes[parts[1]].sum(1, dtype=int))) == 1
    sizes = table.sizes[parts[2]]
    assert np.ptp(sizes) <= 2 * SAME_SIZE * sizes.mean()
    assert min(map(len, parts)) >= 100
    if name in tables.CNN_NAMES:
        expected = [size_bits(name, row) for row in table.genomes]
        assert table.sizes.tolist() == expected


def test_a_shipped_accuracy_comes_again():
    table = tables.load("digits-row")
    found, size = judge("digits-row", 0, table.genomes[7])
    # Calibration is floating point: another machine may decide a tie otherwise.
    assert found == pytest.approx(table.accuracy[7], abs=0.03)
    assert size == pytest.approx(table.sizes[7], rel=0.002)


def test_a_cnn_of_a_shipped_table_has_its_accuracy():
    table = tables.load("resnet-digits")
    x, y = judged("resnet-digits")
    found = quantised("resnet-digits").accuracy(table.genomes[3], x, y)
    assert found == pytest.approx(table.accuracy[3], abs=0.02)
    plain = quantised("resnet-digits").accuracy(None, x, y)
    assert plain > 0.95
    wide = quantised("resnet-digits").accuracy([8] * len(table.items), x, y)
    assert wide == pytest.approx(plain, abs=0.01)


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.npz"
    return make_gru("digits-row", path, draws=FEW, repeats=1, repeated=3)


def test_a_table_that_was_stopped_goes_on(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(tables, "KEEP_EVERY", 0.0)
    path = tmp_path / "t.npz"
    said = []

    def stop(text):
        said.append(text)
        if "9 of 14" in text:
            raise Stopped

    def make(say):
        return make_gru("digits-row", path, draws=FEW, repeats=1, repeated=3, say=say)

    with pytest.raises(Stopped):
        make(stop)
    with pytest.raises(InputError, match="not all of its genomes are judged"):
        Table.read(path)
    said.clear()
    found = make(said.append)
    assert any("of 5 genomes" in text for text in said)
    assert not any("of 14" in text for text in said)
    assert found.saved() == whole.saved()
    assert path.read_bytes() == whole.saved()
    with pytest.raises(InputError, match="made otherwise"):
        make_gru("digits-row", path, draws=Draws(5, 4, 3, 2, SEED + 1), repeats=1)


def test_genomes_are_of_the_kinds_that_were_asked_for(whole):
    counts = np.bincount(whole.kinds, minlength=4)
    assert dict(zip(KINDS, counts.tolist(), strict=True)) == FEW.counts
    # Kinds are spread evenly, so that the first genomes are a sample of all.
    assert set(whole.kinds[:5]) >= {0, 1}
    assert np.isnan(whole.trained).all()
    dense = whole.genomes[whole.subset("equal-size")][:, DENSE].astype(int)
    sizes = dense @ np.array([8, 8, 8, 32, 32, 32])
    assert (sizes == 5 * 120).all()


def test_widths_are_drawn_under_a_condition():
    draw = np.random.default_rng(SEED)
    weights = np.array([7, 3, 1])
    for _ in range(20):
        row = draw_weighted(draw, np.array(WIDTHS), weights, 40)
        assert row @ weights == 40
        around = draw_around(draw, np.arange(2, 9), 17)
        assert np.ptp(around) <= 4
    with pytest.raises(InputError, match="no widths with a sum of 99"):
        draw_weighted(draw, np.array(WIDTHS), weights, 99, attempts=2000)


def test_what_is_no_table_is_refused(tmp_path, whole):
    with pytest.raises(InputError, match=r"table 'cifar': unknown, the tables are digits-row"):
        tables.load("cifar")
    damaged = tmp_path / "d.npz"
    damaged.write_bytes(whole.saved()[:900])
    np.savez(tmp_path / "x.npz", about=np.array("[]"))
    for path in (damaged, tmp_path / "x.npz", tmp_path / "none.npz"):
        with pytest.raises(InputError, match=path.name):
            tables.load(str(path))
    with pytest.raises(InputError, match="subset 'most'"):
        whole.subset("most")


def test_a_subset_without_genomes_is_refused(whole):
    only = whole.kinds == 0
    bare = Table(
        whole.name,
        whole.items,
        whole.genomes[only],
        whole.kinds[only],
        whole.accuracy[only],
        whole.sizes[only],
        whole.trained[only],
        whole.repeats[:, :1],
        {},
    )
    with pytest.raises(InputError, match="its subset equal-sum is empty"):
        bare.subset("equal-sum")


def test_weights_of_a_cnn_are_rounded_with_the_best_scale():
    draw = np.random.default_rng(SEED)
    flat, second = draw.normal(0, 1, (4, 9)), draw.uniform(0.5, 2, (1, 9))
    # Inputs that are rarely there count a little all the same.
    weight = second[0] + 0.02 * second.mean()
    for bits in WIDTHS:
        found = quantise(flat, second, bits)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        for row, weights in zip(found, flat, strict=True):
            assert len(np.unique(row)) <= 2**bits
            tried = []
            for scale in np.abs(weights).max() / high * SCALES:
                codes = np.clip(np.floor(weights / scale + 0.5), low, high)
                tried.append(float((weight * (codes * scale - weights) ** 2).sum()))
            assert float((weight * (row - weights) ** 2).sum()) == pytest.approx(min(tried))


def test_the_networks_have_enough_convolutions():
    for name in tables.CNN_NAMES:
        shapes = layers(name)
        assert sum(shape.kernel > 0 for shape in shapes) >= 8
        assert (max(shape.groups for shape in shapes) > 1) == name.startswith("mobilenet")
    with pytest.raises(InputError, match="the networks are resnet-digits"):
        layers("vgg-digits")


def test_statistics_of_a_cnn_fit_its_table(monkeypatch):
    monkeypatch.setattr(collection, "PROBES", 1)
    monkeypatch.setattr(collection, "ROUNDS", 2)
    found = of_cnn("mobilenet-digits", keep=False)
    table = tables.load("mobilenet-digits")
    assert found.names == table.items
    assert found.widths == WIDTHS
    assert found.parameters.sum() * 8 < table.sizes.max() + 16 * 1000
    stem = found.names.index("stem")
    assert found.macs[stem] == 16 * 9 * 64
    for k in range(len(found.names)):
        lost = [float((found.errors[k][bits] ** 2).mean()) for bits in found.widths]
        assert lost == sorted(lost, reverse=True)


def test_a_table_of_a_cnn_is_made_of_its_shipped_network(tmp_path):
    from genogate.search.proxies.cnn.network import load
    from genogate.search.proxies.cnn.table import make_cnn

    few = Draws(any=1, around=1, equal_sum=1, equal_size=1, seed=SEED)
    table = make_cnn("resnet-digits", tmp_path / "few.npz", draws=few, repeats=1, repeated=1)
    assert table.about["checkpoint_hash"] == load("resnet-digits").hash
    assert table.genomes.shape == (4, len(table.items))
    assert ((table.accuracy > 0) & (table.accuracy <= 1)).all()
