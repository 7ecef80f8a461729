"""The study of the import: what counts as near, and its refusal without a folder."""

import numpy as np
import pytest
from genogate.model.errors import InputError

from studies import import_matrix, import_sources


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


def test_a_data_set_for_every_step_repeats_the_class(tmp_path):
    np.savez(tmp_path / "waves.npz", x=np.zeros((2, 3, 1)), y=np.array([1, 0]))
    copy = import_matrix.at_every_step(tmp_path / "waves.npz", tmp_path)
    assert copy.name == "waves, every step.npz"
    with np.load(copy) as arrays:
        assert arrays["x"].shape == (2, 3, 1)
        assert arrays["y"].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_the_torch_module_of_a_state_dict_gives_its_outputs(tmp_path):
    """Of a GRU with weight normalisation and of a cell: what the import makes is the same."""
    torch = pytest.importorskip("torch")
    from genogate.model.checkpoints.floating import forward
    from genogate.model.checkpoints.importing import from_state
    from genogate.model.checkpoints.torch_files import read_state
    from torch.nn.utils.parametrizations import weight_norm

    torch.manual_seed(3)

    class Module(torch.nn.Module):
        def __init__(self, cell):
            super().__init__()
            if cell:
                self.cell = torch.nn.GRUCell(3, 5)
            else:
                self.gru = weight_norm(torch.nn.GRU(3, 5, batch_first=True), "weight_hh_l0")
            self.fc = torch.nn.Linear(5, 4)

    x = np.random.default_rng(3).normal(0, 1, (6, 7, 3)).astype(np.float32)
    for cell in (False, True):
        torch.save(Module(cell).state_dict(), path := tmp_path / f"{cell}.pt")
        outputs = import_sources.module_outputs(path, x)
        checkpoint = from_state(read_state(path), classes=4)
        assert import_matrix.difference(forward(checkpoint, x).logits, outputs) < 1e-5
        assert import_matrix.weight_difference(path, checkpoint) < 1e-6
        assert not np.allclose(outputs[0], outputs[1])
