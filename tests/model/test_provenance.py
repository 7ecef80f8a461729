"""What is known about the data behind a network, over a chain of checkpoints."""

import numpy as np
import pytest
from genogate.model import zoo
from genogate.model.checkpoints.floating import RECORD, Checkpoint
from genogate.model.checkpoints.provenance import (
    caution,
    caution_of,
    original,
    unseen,
    unseen_after,
)
from genogate.model.data.tasks import load_task

KNOWN = {"val": True, "test": True}
UNKNOWN = {"val": None, "test": None}


@pytest.fixture(scope="module")
def task():
    return load_task("digits-row")


def with_info(**info):
    return Checkpoint(zoo.load("digits-row").tensors, info)


@pytest.mark.parametrize("name", zoo.names())
def test_shipped_checkpoints_have_unseen_parts(name):
    assert unseen(zoo.load(name)) == KNOWN
    assert caution(zoo.load(name)) is None


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"task": "digits-row", "imported": "model.pt"},
        {"split_hash": "64cf3559ac0ece75"},
        {"split_hash": "64cf3559ac0ece75", "command": "genogate train", "from": "00"},
        {"split_hash": "64cf3559ac0ece75", "command": "genogate train", "started_from": {}},
        {"unseen": "yes"},
        {"unseen": {"val": 1, "test": "true"}},
    ],
)
def test_nothing_is_claimed_without_knowledge(info):
    assert unseen(with_info(**info)) == UNKNOWN
    assert "unknown what this network was trained on" in caution(with_info(**info))


def test_of_several_networks_those_that_nothing_is_known_of_are_named():
    known, unknown = zoo.load("digits-row"), with_info(task="digits-row", imported="model.pt")
    assert caution_of({"a": known, "b": known}) is None
    assert caution_of({"a": known, "b": unknown, "c": unknown}) == f"b, c: {caution(unknown)}"


def test_a_chain_knows_no_more_than_its_weakest_link(task):
    shipped, imported = zoo.load("digits-row"), with_info(task="digits-row", imported="model.pt")
    assert unseen_after(task, []) == KNOWN
    assert unseen_after(task, [shipped]) == KNOWN
    assert unseen_after(task, [imported]) == UNKNOWN
    assert unseen_after(task, [shipped, imported]) == UNKNOWN


def test_another_split_of_the_same_data_gives_the_test_part_away(task):
    assert unseen_after(task, [zoo.load("digits-row-seed1")]) == UNKNOWN


def test_the_official_test_part_is_the_same_for_every_seed_and_resolution():
    import dataclasses

    fine = dataclasses.replace(load_task("digits-row"), name="mnist-pixel")
    coarse, other = zoo.load("mnist-pixel14"), zoo.load("mnist-pixel14-seed1")
    assert unseen_after(fine, [coarse]) == KNOWN
    assert unseen_after(fine, [other]) == {"val": None, "test": True}
    # A file of one's own may hold anything, the same images among them.
    assert unseen_after(dataclasses.replace(fine, name="my.npz"), [coarse]) == UNKNOWN


def test_the_original_network_is_that_before_the_first_training(task):
    shipped = zoo.load("digits-row")
    about = original(shipped)
    assert about == {"hash": shipped.hash, "val": shipped.info["accuracy"]["val"]}
    further = with_info(original=about, **{"from": "another"})
    assert original(further) == about
    assert original(with_info(**{"from": "old"})) == {"hash": "old"}


def test_the_record_of_training_is_part_of_the_hash():
    plain, record = zoo.load("digits-row"), {"version": 1, "scales": [0.5]}
    one = with_info(**{RECORD: record})
    other = with_info(**{RECORD: {**record, "scales": [0.25]}})
    assert len({plain.hash, one.hash, other.hash}) == 3
    assert with_info(task="x").hash == plain.hash
    assert np.all([len(c.hash) == 16 for c in (plain, one)])
