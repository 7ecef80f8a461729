"""The study of the import: what counts as near, and its refusal without a folder."""

import numpy as np
import pytest
from genogate.model.errors import InputError

from studies import import_matrix


def test_outputs_are_compared_in_the_form_that_the_source_gives():
    ours = np.array([[0.0, 2.0], [0.0, -1.0]])
    assert import_matrix.difference(ours, ours[:, 1:] - ours[:, :1]) == 0
    odds = np.exp(ours) / np.exp(ours).sum(-1, keepdims=True)
    assert import_matrix.difference(ours, odds) < 1e-12
    assert import_matrix.difference(ours, ours + 0.5) == pytest.approx(0.5 / 2.5)
    assert import_matrix.difference(ours, np.zeros((2, 3))) is None


def test_without_a_folder_of_cases_one_line_names_the_variable(monkeypatch):
    monkeypatch.delenv(import_matrix.VARIABLE, raising=False)
    with pytest.raises(InputError, match="GENOGATE_CASES is no folder"):
        import_matrix.measure(lambda text: None)
