"""Data sets from files: found, split, and refused where they are damaged."""

import gzip
import io
import os
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest
from genogate.model.data import downloads, mnist, speech_commands
from genogate.model.data.speech_commands import KEYWORDS, SILENCE, UNKNOWN, WORDS
from genogate.model.data.tasks import load_task
from genogate.model.errors import InputError

REAL = Path(os.environ.get("GENOGATE_DATA", "/nowhere"))
needs_mnist = pytest.mark.skipif(
    not (REAL / "mnist").is_dir(), reason="no mnist folder in $GENOGATE_DATA"
)
needs_speech = pytest.mark.skipif(
    not (REAL / "speech_commands").is_dir(), reason="no speech_commands folder in $GENOGATE_DATA"
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder; no cache and no network beside it."""
    monkeypatch.setenv("GENOGATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GENOGATE_OFFLINE", "1")
    monkeypatch.setattr(downloads, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def idx(array, magic=None):
    head = (magic or 0x0800 + array.ndim).to_bytes(4, "big")
    return head + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_mnist(folder, seed=2026, packed=True):
    """Twelve images of each class for training, four for test."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for part, each in (("train", 12), ("t10k", 4)):
        labels = draw.permutation(np.repeat(np.arange(10, dtype=np.uint8), each))
        images = draw.integers(0, 256, (len(labels), 28, 28), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            raw, name = idx(array), f"{part}-{kind}-ubyte"
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
            else:
                (folder / name).write_bytes(raw)
    return folder


# --- MNIST


@pytest.mark.parametrize(("folder", "packed"), [("mnist", True), ("MNIST/raw", False)])
def test_a_row_a_pixel_or_four_averaged_pixels_are_a_step(data, folder, packed):
    write_mnist(data / folder, packed=packed)
    row, pixel, pixel14 = (load_task(f"mnist-{kind}") for kind in ("row", "pixel", "pixel14"))
    assert [(t.steps, t.features) for t in (row, pixel, pixel14)] == [(28, 28), (784, 1), (196, 1)]
    # The three tasks hold the same images in the same parts.
    np.testing.assert_array_equal(row.x_train.reshape(-1, 784), pixel.x_train[..., 0])
    averaged = row.x_test.reshape(-1, 14, 2, 14, 2).mean((2, 4))
    np.testing.assert_allclose(averaged.reshape(-1, 196), pixel14.x_test[..., 0], atol=1e-6)
    assert row.x_train.dtype == np.float32
    assert row.x_train.max() == 1


def test_validation_is_drawn_from_training_by_the_seed_and_test_stays(data):
    write_mnist(data / "mnist")
    first, again, other = (load_task("mnist-row", seed) for seed in (0, 0, 1))
    assert first.split_hash == again.split_hash != other.split_hash
    assert np.bincount(first.y_val).tolist() == [3] * 10
    np.testing.assert_array_equal(first.x_test, other.x_test)
    for task in (first, other):
        every = np.concatenate([task.x_train, task.x_val]).reshape(-1, 784)
        assert len(np.unique(every, axis=0)) == len(every) == 120


def test_missing_data_says_what_to_set_and_where_to_get_it(data):
    with pytest.raises(InputError) as caught:
        load_task("mnist-row")
    text = str(caught.value)
    assert str(data) in text
    assert "GENOGATE_DATA" in text
    assert "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz" in text
    with pytest.raises(InputError, match=r"^Speech Commands: not found in \$GENOGATE_DATA .*https"):
        load_task("kws4")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: raw[:-5], "truncated, 7840 bytes were announced and 7835"),
        (lambda raw: raw + b"x", "longer than its shape"),
        (lambda raw: raw[:6], "truncated"),
        (lambda raw: b"", "truncated"),
        (lambda raw: b"\x00\x00\x09\x03" + raw[4:], "magic number 0x00000903 is not 0x00000803"),
        (lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], "impossible shape"),
        (lambda raw: raw[:4] + bytes(4) + raw[8:], "impossible shape"),
        (lambda raw: gzip.compress(raw)[:-20], "not a whole gzip file"),
        (lambda raw: gzip.compress(raw)[:20] + b"\xff" * 40, "gzip"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, spoil, message):
    path = tmp_path / "images"
    path.write_bytes(spoil(idx(np.zeros((10, 28, 28), np.uint8))))
    with pytest.raises(InputError, match=message) as caught:
        mnist.read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_images_and_labels_that_do_not_fit_are_refused(data):
    folder = write_mnist(data / "mnist")
    name = folder / "t10k-labels-idx1-ubyte.gz"
    name.write_bytes(gzip.compress(idx(np.zeros(39, np.uint8))))
    with pytest.raises(InputError, match="39 labels for 40 images"):
        load_task("mnist-row")
    name.write_bytes(gzip.compress(idx(np.full(40, 10, np.uint8))))
    with pytest.raises(InputError, match="label 10 is not within 0 to 9"):
        load_task("mnist-row")


def test_a_corrupted_download_is_refused_and_a_good_one_kept(data, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("GENOGATE_OFFLINE")
    good = gzip.compress(idx(np.zeros((3, 28, 28), np.uint8)))

    def retrieve(url, known_hash, fname, path):
        assert url.endswith("/train-images-idx3-ubyte.gz")
        Path(path).mkdir(parents=True)
        (Path(path) / fname).write_bytes(good)
        if known_hash != f"sha256:{'0' * 64}":
            raise ValueError("SHA256 hash of downloaded file does not match")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(InputError, match=r"^MNIST: the download of https.* is corrupted"):
        mnist._mnist_file("train-images-idx3-ubyte")


@needs_mnist
def test_the_real_mnist_is_whole_and_its_split_never_moves():
    task = load_task("mnist-row", 0)
    assert (len(task.x_train), len(task.x_val)) == (55_000, 5_000)
    assert np.bincount(task.y_test).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert np.bincount(task.y_val).tolist() == [500] * 10
    assert task.split_hash == "a9b21291d2fb45f9"
    assert len(task.x_calibration) == 1000


# --- Speech Commands


def tone(rate=16000, seconds=1.0, hertz=440.0, seed=0):
    draw = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    return (8000 * wave + 50 * draw.standard_normal(len(wave))).astype("<i2")


def wav(samples, rate=16000, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def flac(samples, rate=16000):
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def spoken(speakers=20, words=WORDS):
    """(word, file name, WAV bytes): one clip of each word for every speaker, and silence."""
    for number, word in enumerate(words):
        for who in range(speakers):
            name = f"{who}.wav" if word == SILENCE else f"{who:08x}_nohash_0.wav"
            yield word, name, wav(tone(hertz=100 * number + 7 * who, seed=who))


def write_folders(folder, **more):
    for word, name, raw in spoken(**more):
        (folder / word).mkdir(parents=True, exist_ok=True)
        (folder / word / name).write_bytes(raw)


def test_folders_of_clips_become_tasks_and_no_speaker_is_in_two_parts(data, tmp_path):
    write_folders(data / "speech_commands")
    clips = speech_commands.speech()
    assert clips.x.shape == (240, 49, 40)
    for seed in (0, 1):
        task = load_task("kws12", seed)
        assert (task.steps, task.features, task.classes) == (49, 10, 12)
        assert sum(map(len, (task.x_train, task.x_val, task.x_test))) == 240
    split = clips.part[clips.speaker >= 0]
    who = clips.speaker[clips.speaker >= 0]
    assert all(len(set(split[who == speaker])) == 1 for speaker in np.unique(who))
    # 20 and 15 % of 20 speakers who say the same.
    assert [len(np.unique(who[split == part])) for part in range(3)] == [13, 3, 4]
    # The second time they come from the cache, and are the same.
    [kept] = (tmp_path / "cache" / "speech_commands").iterdir()
    assert kept.suffix == ".npz"
    np.testing.assert_array_equal(speech_commands.speech().x, clips.x)


def test_four_words_are_the_first_four(data):
    write_folders(data / "speech_commands", speakers=10, words=(*KEYWORDS, UNKNOWN))
    task = load_task("kws4")
    assert task.classes == 4
    assert sum(map(len, (task.y_train, task.y_val, task.y_test))) == 40
    assert task.notes["classes"] == ["yes", "no", "up", "down"]
    # Standardised with the training part.
    np.testing.assert_allclose(task.x_train.mean((0, 1)), 0, atol=0.02)


def test_an_archive_gives_the_same_as_folders_and_nothing_of_it_is_unpacked(data, tmp_path):
    archive = data / "speech_commands_test_set_v0.02.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for word, name, raw in spoken(5):
            for path in (f"./{word}/{name}", f"../../{word}/._{name}", f"/{word}.txt"):
                info = tarfile.TarInfo(path)
                info.size = len(raw)
                tar.addfile(info, io.BytesIO(raw))
    write_folders(tmp_path / "folders", speakers=5)
    clips, same = speech_commands.speech(), speech_commands.clips_of([tmp_path / "folders"])
    for name in ("x", "label", "speaker", "part"):
        np.testing.assert_array_equal(getattr(clips, name), getattr(same, name))
    assert sorted(path.name for path in data.iterdir()) == [archive.name]
    archive.write_bytes(archive.read_bytes()[:-1000])
    with pytest.raises(InputError, match="not a whole tar archive"):
        speech_commands.speech()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "neither WAV nor FLAC"),
        (b"RIFF", "not a WAV"),
        (b"RIFF" + bytes(60), "not a WAV"),
        (wav(tone())[:30], "not a WAV"),
        (wav(tone())[:-2000], "truncated, 16000 samples were announced and 15000"),
        (wav(tone(), channels=2), "2 channels of 16 bits"),
        (wav(tone(), width=1), "1 channels of 8 bits"),
        (wav(tone(44100), 44100), "44100 samples a second"),
        (wav(tone(seconds=3)), "48000 samples, one second"),
        (wav(tone(seconds=0.01)), "160 samples"),
        (b"fLaC" + bytes(100), "FLAC"),
        (b"<html>404</html>", "neither WAV nor FLAC"),
    ],
)
def test_a_damaged_clip_is_refused_by_name(tmp_path, raw, message):
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / "a_nohash_0.wav").write_bytes(raw)
    with pytest.raises(InputError, match=message) as caught:
        speech_commands.clips_of([tmp_path])
    assert str(caught.value).startswith(f"{tmp_path}: yes/a_nohash_0: ")


def test_flac_holds_the_same_samples_as_wav_and_a_cut_one_is_refused():
    samples = tone()
    first, rate = speech_commands.decode(wav(samples), "clip")
    second, _ = speech_commands.decode(flac(samples), "clip")
    np.testing.assert_array_equal(first, second)
    assert rate == 16000
    with pytest.raises(InputError, match=r"^clip: "):
        speech_commands.decode(flac(samples)[:5000], "clip")


def test_features_show_a_tone_in_its_band_at_both_rates():
    for hertz in (300.0, 1000.0, 3000.0):
        edges = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (20.0, 4000.0)), 42)
        band = int(np.argmin(np.abs(edges[1:-1] - 2595 * np.log10(1 + hertz / 700))))
        for rate in (16000, 8000):
            value = speech_commands.log_mel(tone(rate, hertz=hertz) / 32768, rate)
            assert value.shape == (49, 40)
            assert value.mean(0).argmax() == band


def test_ready_features_of_another_form_are_refused(data):
    path = data / "logmel40_u8.npz"
    good = {
        "x": np.zeros((4, 49, 40), np.uint8),
        "label": np.zeros(4, np.uint8),
        "split": np.arange(4) % 3,
        "speaker": np.arange(4),
        "labels": np.array(WORDS),
        "splits": np.array(speech_commands.PARTS),
        "lo": np.float32(-14),
        "step": np.float32(0.1),
    }
    np.savez(path, **good)
    assert len(speech_commands.speech().x) == 4
    for change, message in [
        ({"x": np.zeros((4, 49, 41), np.uint8)}, "array 'x'"),
        ({"label": np.zeros(3, np.uint8)}, "not of one length"),
        ({"label": np.full(4, 12)}, "out of range"),
        ({"speaker": np.full(4, 10**9)}, "speaker"),
        ({"step": np.float32(0.2)}, "bytes"),
        ({"labels": np.array(["a"] * 12)}, "labels"),
        ({"x": np.array([None])}, "not a whole .npz"),
    ]:
        np.savez(path, **(good | change))
        with pytest.raises(InputError, match=message):
            speech_commands.speech()


@needs_speech
def test_the_real_split_is_the_rule_applied_to_the_speakers():
    import csv
    import hashlib

    clips = speech_commands.speech()
    with open(REAL / "speech_commands" / "index.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == [speech_commands.PARTS[part] for part in clips.part]
    names = sorted({row["speaker"] for row in rows} - {""})
    who = np.array([names.index(row["speaker"]) if row["speaker"] else -1 for row in rows])
    order = np.array(
        sorted(
            range(len(names)),
            key=lambda i: hashlib.sha1(names[i].encode(), usedforsecurity=False).hexdigest(),
        )
    )
    part = speech_commands.speaker_parts(clips.label, who, order)
    np.testing.assert_array_equal(part[who >= 0], clips.part[who >= 0])
    hashes = [load_task("kws10", seed).split_hash for seed in range(3)]
    assert hashes == ["e5e4663715c7ed8a", "5423aace9f9ef665", "8143185f61ba59a5"]


@needs_speech
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_speaker_of_the_real_data_is_in_two_parts(seed):
    from genogate.model.data.tasks import _speech_parts

    clips = speech_commands.speech()
    part = _speech_parts(clips, seed)
    parts = [set(clips.speaker[(part == k) & (clips.speaker >= 0)]) for k in range(3)]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts)) == 239
    assert min(map(len, parts)) > 25
    np.testing.assert_array_equal(part == 2, clips.part == 2)


@needs_speech
def test_features_computed_from_real_audio_are_near_the_ready_ones():
    pytest.importorskip("soundfile")
    ready = speech_commands.speech()
    differences = []
    clips = speech_commands._members(REAL / "speech_commands" / "audio8k_yes.tar")
    for row, (_, _, raw) in zip(range(60), clips, strict=False):
        samples, rate = speech_commands.decode(raw, "clip")
        assert rate == 8000
        differences.append(speech_commands.log_mel(samples, rate).astype(int) - ready.x[row])
    # From half the rate: 0.09 over all bands, as their README says.
    assert 0.1 * np.sqrt(np.mean(np.square(differences))) < 0.15
