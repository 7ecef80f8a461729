"""`genogate listen`: speech before and after a denoiser."""

import hashlib
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from genogate.cli import app
from genogate.listen import read_sound, wav_bytes
from genogate.model.data import speech_commands
from genogate.model.denoise import mixtures
from genogate.model.errors import InputError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny denoiser, trained for an epoch on words that are tones, in a folder of its own."""
    folder = tmp_path_factory.mktemp("denoise")
    draw = np.random.RandomState(7)
    time = np.arange(8000) / 8000
    for word in speech_commands.KEYWORDS:
        (folder / "speech_commands" / word).mkdir(parents=True)
        for who in range(46):
            name = hashlib.sha1(b"%d" % who, usedforsecurity=False).hexdigest()[:8]
            sound = 0.2 * np.sin(2 * np.pi * (150 + 40 * who) * time) * (time % 0.4 < 0.3)
            path = folder / "speech_commands" / word / f"{name}_nohash_0.wav"
            path.write_bytes(wav_bytes(sound))
    (folder / "speech_commands" / "_silence_").mkdir()
    for index in range(30):
        path = folder / "speech_commands" / "_silence_" / f"{index}.wav"
        path.write_bytes(wav_bytes(0.01 * draw.standard_normal(8000)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENOGATE_DATA", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(mixtures, "COUNTS", {"train": 64, "val": 16, "test": 16})
        patch.chdir(folder)
        run(
            *("train", "--task", "denoise", "--hidden", "8", "--layers", "1", "--epochs", "80"),
            *("--out", "tiny.safetensors"),
        )
        yield folder


def test_sounds_before_and_after_are_written_and_measured(denoiser: Path) -> None:
    arguments = ("listen", "--checkpoint", "tiny.safetensors", "--genome", "int4")
    record = json.loads(run(*arguments, "--sequences", "6", "--files", "2", "--out", "a", "--json"))
    assert record == json.loads((denoiser / "a" / "listen.json").read_text())
    versions = record["versions"]
    assert list(versions) == ["noisy", "ideal", "float", "int8", "int4"]
    assert versions["noisy"]["si_sdr_gain"] == 0
    for better in ("ideal", "float", "int8"):
        assert versions[better]["si_sdr"] > versions["noisy"]["si_sdr"] + 1, better
    # 8 bits hear what float hears.
    assert abs(versions["int8"]["si_sdr"] - versions["float"]["si_sdr"]) < 0.2
    assert len(record["files"]) == 2 * 6
    assert {path.name for path in (denoiser / "a").glob("*.wav")} == set(record["files"])
    for name in record["files"]:
        with wave.open(str(denoiser / "a" / name)) as file:
            assert (file.getframerate(), file.getnframes()) == (8000, 16000)


def test_a_recording_of_any_length_goes_through(denoiser: Path) -> None:
    draw = np.random.RandomState(1)
    (denoiser / "mine.wav").write_bytes(wav_bytes(0.1 * draw.standard_normal(10_001)))
    run("listen", "mine.wav", "--checkpoint", "tiny.safetensors", "--out", "b")
    before, after = (read_sound(str(denoiser / "b" / f"mine-{v}.wav")) for v in ("before", "int8"))
    assert len(before) == len(after) == 10_001
    # Nobody talks: most of it is taken away.
    assert np.square(after).mean() < 0.5 * np.square(before).mean()


def test_what_is_no_sound_of_speech_is_refused(denoiser: Path) -> None:
    (denoiser / "text.wav").write_text("hello")
    with pytest.raises(InputError, match=r"text\.wav: neither WAV nor FLAC"):
        run("listen", "text.wav", "--checkpoint", "tiny.safetensors", "--out", "c")
    with wave.open(str(denoiser / "fast.wav"), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(100))
    with pytest.raises(InputError, match=r"fast\.wav: 44100 samples a second"):
        run("listen", "fast.wav", "--checkpoint", "tiny.safetensors", "--out", "c")
    (denoiser / "none.wav").write_bytes(wav_bytes(np.zeros(0)))
    with pytest.raises(InputError, match=r"none\.wav: 0 seconds of sound"):
        run("listen", "none.wav", "--checkpoint", "tiny.safetensors", "--out", "c")
    assert not (denoiser / "c").exists()


def test_a_network_of_another_task_is_refused(denoiser: Path) -> None:
    with pytest.raises(InputError, match="the checkpoint was trained on 'digits-row'"):
        run("listen", "--checkpoint", "digits-row", "--out", "d")
    assert not (denoiser / "d").exists()
