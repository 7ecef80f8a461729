"""What errors about the folder of a search tell the user to do."""

import pytest
from genogate.model.errors import InputError
from genogate.search.genomes.remedies import with_remedies


@pytest.mark.parametrize(
    "text",
    [
        "run/evaluations.sqlite: not a store (disk is full): make room on the disk, then --resume",
        "run/evaluations.sqlite: not a store (database is locked): end that, then --resume",
        "run/evaluations.sqlite: not a store (readonly): it needs a folder that can be written",
        "cannot read run/one/h8.safetensors: Permission denied",
        # Files of the user, in the same folder, or in one that ends like it.
        "checkpoint run/mine.safetensors: trained on 'kws4', not on digits-row",
        "checkpoint data/run/float/a.safetensors: cut off",
    ],
)
def test_what_is_whole_is_never_to_be_removed(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught, with_remedies("run"):
        raise InputError(text)
    assert "remove" not in str(caught.value)


def test_what_is_damaged_is_to_be_removed_and_made_again():
    with pytest.raises(InputError, match="; remove it, and --resume the search"):
        with with_remedies("run"):
            raise InputError("run/config.json: not valid JSON")
    with pytest.raises(InputError, match="; remove it, and give the same command again"):
        with with_remedies("run", experiment=True):
            raise InputError("run/float/h4-seed0.safetensors: cut off")
