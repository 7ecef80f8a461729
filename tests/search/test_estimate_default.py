"""Cells are estimated unless a user wants them exact, and a run goes on as it began."""

import json

import pytest

pytest.importorskip("pymoo")

from genogate.genome_search import _estimates


def begun(folder, **setting):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"setting": setting}))
    return folder


def test_a_new_run_estimates(tmp_path):
    assert _estimates(tmp_path / "new", False)
    assert _estimates(tmp_path / "new", True)


@pytest.mark.parametrize(("setting", "estimated"), [({"estimate": True}, True), ({}, False)])
def test_a_run_goes_on_as_it_began(tmp_path, setting, estimated):
    folder = begun(tmp_path / "run", **setting)
    assert _estimates(folder, True) == estimated
    # What another run in its place was does not count.
    assert _estimates(folder, False)
