"""Searches over networks with dense layers: their genes are searched, named and emitted."""

import genogate
import numpy as np
import pytest
from genogate.model.checkpoints.floating import Checkpoint
from genogate.model.errors import InputError
from genogate.model.genome import Genome, parse_genome
from genogate.search.genomes.patterns import patterns
from genogate.search.genomes.sensitivity import profile
from genogate.search.report.data import operators_of

UNITS = 5


def checkpoint(path, front=("relu",), back=("tanh",)):
    """Dense layers of a GRU of digits-row, with random weights."""
    rng = np.random.default_rng(4)
    shapes = {"weight_ih_l0": (15, 6 if front else 8), "weight_hh_l0": (15, UNITS)}
    shapes |= {"bias_ih_l0": (15,), "bias_hh_l0": (15,)}
    shapes |= {"front0.weight": (6, 8), "front0.bias": (6,)} if front else {}
    shapes |= {"back0.weight": (7, UNITS), "back0.bias": (7,)} if back else {}
    shapes |= {"classifier.weight": (10, 7 if back else UNITS), "classifier.bias": (10,)}
    tensors = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    info = {"task": "digits-row", "split_seed": 0, "front": list(front), "back": list(back)}
    Checkpoint(tensors, {key: value for key, value in info.items() if value}).save(path)
    return str(path)


def test_a_search_finds_genomes_with_the_genes_of_dense_layers(tmp_path):
    path = checkpoint(tmp_path / "network.safetensors")
    front = genogate.search(
        path,
        objectives=("accuracy", "size"),
        out=tmp_path / "run",
        pop_size=6,
        generations=1,
        exploit=0,
        initial="random",
        activation="table",
    )
    assert front
    genomes = [
        parse_genome(file, 1, 2)
        for file in sorted((tmp_path / "run").glob("front-*"))
        if file.is_file()
    ]
    assert any(len(set(genome.genes[-4:])) > 1 for genome in genomes)
    network = genogate.quantize(path, genomes[0].genes, activation="table")
    assert network.model.genome.dense == genomes[0].dense
    names = operators_of({"checkpoint": path}, 21)
    assert names[-4:] == ["front0.w", "front0.o", "back0.w", "back0.o"]
    assert operators_of({"checkpoint": "gone"}, 21)[-1] == "dense1.o"


def test_a_profile_holds_every_gene_of_dense_layers():
    asked = []

    def judge(genomes):
        asked.extend(genomes)
        narrow = [genome.dense[1][0] < 8 for genome in genomes]
        return [{"accuracy": 0.9 - 0.01 * lost, "size": 1} for lost in narrow]

    found = profile(judge, 1, 2)
    assert len(set(asked)) == 1 + 6 * 21
    assert found.accuracy.shape == (21, 7)
    assert found.accuracy[19, 0] == pytest.approx(0.89)
    assert {len(genome.dense) for genome in patterns(1, 2)} == {2}


def test_checkpoints_of_other_dense_layers_are_no_alternatives(tmp_path):
    path = checkpoint(tmp_path / "network.safetensors")
    other = checkpoint(tmp_path / "other.safetensors", back=())
    with pytest.raises(InputError, match=r"other.safetensors: 1 dense layers, .* has 2; all must"):
        genogate.search(path, out=tmp_path / "run", also=(other,))


def test_a_genome_without_the_genes_of_dense_layers_is_refused(tmp_path):
    path = checkpoint(tmp_path / "network.safetensors")
    text = r"genome: 1 layers \(17 genes\) given, the network has 1 layers and 2 dense layers \(21"
    with pytest.raises(InputError, match=text):
        genogate.quantize(path, Genome.uniform(4).genes)
