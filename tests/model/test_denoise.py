"""Speech enhancement: bands, mixtures and measures."""

import sys

import numpy as np
import pytest
from genogate.model.data import speech_commands
from genogate.model.data.measures import Score, score_text, unit_of
from genogate.model.denoise import bands, measures, mixtures
from genogate.model.denoise.targets import SoundTargets
from genogate.model.errors import InputError


def sounds(speakers: int = 21, words: int = 4, quiet: int = 9) -> speech_commands.Sounds:
    """Clips of tones: a speaker has a frequency of his own; the last ones are of noise."""
    draw = np.random.RandomState(3)
    time = np.arange(bands.RATE) / bands.RATE
    who = np.repeat(np.arange(speakers), words)
    speech = 8000 * np.sin(2 * np.pi * (200 + 50 * who[:, None]) * time)
    noise = 50 * draw.standard_normal((quiet, bands.RATE))
    label = np.concatenate([np.arange(len(who)) % 10, np.full(quiet, 11)])
    speaker = np.concatenate([who, np.full(quiet, -1)])
    part = np.concatenate([who % 3, np.arange(quiet) % 3])
    return speech_commands.Sounds(
        np.concatenate([speech, noise]).astype(np.int16), label, speaker, part
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixtures, "COUNTS", {"train": 24, "val": 12, "test": 12})


@pytest.mark.parametrize("samples", [1, 127, 128, 1000, 16000])
def test_sound_comes_back_as_it_was(samples: int) -> None:
    sound = np.random.RandomState(samples).standard_normal((2, samples))
    spectra = bands.spectrum(sound)
    assert spectra.shape == (2, bands.frames_of(samples), bands.FRAME // 2 + 1)
    ones = np.ones((*spectra.shape[:-1], bands.BANDS))
    back = bands.sound_of(bands.apply_gains(spectra, ones), samples)
    np.testing.assert_allclose(back, sound, atol=1e-12)


def test_every_bin_belongs_to_its_bands_wholly() -> None:
    weights = bands.band_weights()
    assert weights.shape == (bands.BANDS, bands.FRAME // 2 + 1)
    np.testing.assert_allclose(weights.sum(0), 1)
    assert (weights >= 0).all()
    assert (weights.sum(1) >= 1).all()


def test_ideal_gains_leave_speech_and_take_noise() -> None:
    draw = np.random.RandomState(0)
    time = np.arange(bands.RATE) / bands.RATE
    clean = np.sin(2 * np.pi * 440 * time)
    noisy = clean + 0.3 * draw.standard_normal(bands.RATE)
    gains = bands.ideal_gains(bands.spectrum(clean), bands.spectrum(noisy))
    assert gains.min() >= 0
    assert gains.max() <= 1
    better = bands.sound_of(bands.apply_gains(bands.spectrum(noisy), gains), bands.RATE)
    assert measures.si_sdr(clean, better) > measures.si_sdr(clean, noisy) + 6


def test_si_sdr_has_the_values_of_its_definition() -> None:
    draw = np.random.RandomState(1)
    clean = draw.standard_normal(4000)
    noise = draw.standard_normal(4000)
    noise -= clean * (noise @ clean) / (clean @ clean)
    noise *= np.linalg.norm(clean) / np.linalg.norm(noise)
    assert measures.si_sdr(clean, clean + 0.1 * noise) == pytest.approx(20)
    # The scale of neither counts.
    assert measures.si_sdr(3 * clean, -0.5 * (clean + noise)) == pytest.approx(0, abs=1e-9)


def test_stoi_rises_as_noise_falls() -> None:
    draw = np.random.RandomState(2)
    envelope = np.repeat(draw.uniform(0.01, 1, 40), 400)
    clean = envelope * draw.standard_normal(16000)
    noise = draw.standard_normal(16000)
    loud, soft = (measures.stoi(clean[None], (clean + k * noise)[None])[0] for k in (1, 0.05))
    assert 0 < loud < soft <= 1


@pytest.mark.parametrize("package", ["pystoi", "pesq"])
def test_a_measure_without_its_package_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    measure = {"pystoi": measures.stoi, "pesq": measures.pesq}[package]
    with pytest.raises(InputError, match=f"needs {package}: pip install"):
        measure(np.zeros((1, 8000)), np.zeros((1, 8000)))


@pytest.mark.usefixtures("short")
def test_mixtures_have_the_ratio_that_they_say_and_the_same_for_a_seed() -> None:
    clips = sounds()
    first, again = (mixtures.mixtures(clips, "val", seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.noisy, again.noisy)
    assert not np.array_equal(first.noisy, mixtures.mixtures(clips, "val", seed=6).noisy)
    noise = first.noisy.astype(np.float64) - first.clean
    ratio = 10 * np.log10((first.clean.astype(np.float64) ** 2).sum(1) / (noise**2).sum(1))
    np.testing.assert_allclose(ratio, first.ratio, atol=0.01)
    assert (first.ratio >= mixtures.LEAST_DB).all()
    assert (first.ratio <= mixtures.MOST_DB).all()
    assert set(first.kind) == set(range(len(mixtures.NOISES)))
    assert np.abs(first.noisy).max() <= 1


@pytest.mark.usefixtures("short")
def test_a_part_hears_its_own_speakers_alone() -> None:
    """A speaker is a tone here: what sounds in a part are the tones of its speakers."""
    clips = sounds()
    for number, part in enumerate(speech_commands.PARTS):
        heard = mixtures.mixtures(clips, part).clean
        tones = {int(np.abs(np.fft.rfft(sound)).argmax() / mixtures.WORDS) for sound in heard}
        assert tones <= {200 + 50 * who for who in range(21) if who % 3 == number}


def test_too_few_speakers_are_refused() -> None:
    with pytest.raises(InputError, match="denoise: the val part has 1 speakers and 3 clips"):
        mixtures.mixtures(sounds(speakers=3), "val")


def test_si_sdr_of_gains_is_near_that_of_their_sound() -> None:
    draw = np.random.RandomState(4)
    time = np.arange(2 * bands.RATE) / bands.RATE
    clean = np.sin(2 * np.pi * np.array([[300.0], [900.0], [1500.0]]) * time)
    noisy = clean + 0.8 * draw.standard_normal(clean.shape)
    spectra, speech = bands.spectrum(noisy), bands.spectrum(clean)
    targets = SoundTargets.of(speech, spectra)
    ideal = bands.ideal_gains(speech, spectra)

    def heard(gains: np.ndarray) -> np.ndarray:
        sound = bands.sound_of(bands.apply_gains(spectra, gains), clean.shape[-1])
        return measures.si_sdr(clean, sound)

    # Without gains frames are consistent, and the figure is exact.
    ones = np.ones_like(ideal)
    np.testing.assert_allclose(targets.si_sdr(ones), heard(ones), atol=1e-4)
    several = [
        np.clip(ideal + error * draw.standard_normal(ideal.shape), 0, 1)
        for error in (0, 0.1, 0.3, 1)
    ]
    told, true = (np.array([f(gains).mean() for gains in several]) for f in (targets.si_sdr, heard))
    assert (np.argsort(told) == np.argsort(true)).all()
    # Overlap-add removes a part of the error that the spectra still count.
    assert (true > told).all()


def test_a_hundredth_of_a_denoisers_score_is_a_decibel() -> None:
    draw = np.random.RandomState(5)
    clean, noise = (bands.spectrum(draw.standard_normal((5, 1000))) for _ in range(2))
    targets = SoundTargets.of(clean, clean + noise)
    gains = bands.ideal_gains(clean, clean + noise)
    score = Score()
    score.add(gains[:2], targets[:2])
    score.add(gains[2:], targets[2:])
    gain = targets.si_sdr(gains) - targets.si_sdr(np.ones_like(gains))
    assert score.value == pytest.approx(gain.mean() / 100)
    assert score.mean_error is None
    assert (unit_of("SI-SDR gain"), score_text("SI-SDR gain", 0.0607)) == ("dB", "6.07 dB")
    assert (unit_of("accuracy"), score_text("accuracy", 0.9)) == ("points", "0.9000")
