"""``gansep.training.nmf``: atoms that are the spectra of the sound, the same for the same seed, and their card."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from gansep.library import find_model, load_dictionary, read_card
from gansep.library.dictionary import DIVERGENCES
from gansep.training.api import Provenance
from gansep.training.data import Clips, load_clips
from gansep.training.loop import Progress
from gansep.training.nmf import DictionarySettings, divergence, draw_frames, learn, train_dictionary
from gansep.types import DataError, GansepError, OutputError

SMALL = DictionarySettings(atoms=4, frames=300, iterations=20)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Six seconds of two tones that sound one after another, at 800 and 3000 Hz, in three files."""
    folder = tmp_path / "notes"
    folder.mkdir()
    time = np.arange(2 * 16000) / 16000
    for number in range(3):
        high = (np.floor(time * 4 + number) % 2).astype(bool)
        soundfile.write(folder / f"{number}.wav", 0.5 * np.sin(2 * np.pi * np.where(high, 3000, 800) * time), 16000)
    return folder


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_the_notes_are_found(notes: Path, tmp_path: Path, kind: str) -> None:
    settings = replace(SMALL, atoms=2, divergence=kind, iterations=60)
    train_dictionary(notes, settings=settings, library=tmp_path / "library")
    atoms = load_dictionary("notes", tmp_path / "library").atoms
    peaks = sorted((atoms.argmax(1) * 16000 / 1024).tolist())
    assert peaks == pytest.approx([800, 3000], abs=16)
    assert torch.allclose(atoms.sum(1), torch.ones(2))


def test_card(notes: Path, tmp_path: Path) -> None:
    events: list[Progress | str] = []
    words = Provenance("two tones", "CC0 1.0", "CC BY 4.0", held_out=[notes])
    settings = replace(SMALL, seed=3)
    folder = train_dictionary(
        [notes / "0.wav", notes], "tones", settings, library=tmp_path, provenance=words, on_event=events.append
    )
    assert folder == tmp_path / "nmf" / "tones"
    card = read_card(folder)
    assert (card.name, card.kind, card.sources, card.segment, card.seed) == ("tones", "nmf", ("tones",), None, 3)
    assert card.config == {"n_fft": 1024, "hop": 256, "atoms": 4, "divergence": "kullback-leibler"}
    assert (card.data, card.data_licence, card.licence) == ("two tones", "CC0 1.0", "CC BY 4.0")
    assert card.data_sha256 == load_clips([notes / "0.wav", notes], 16000).sha256
    assert card.extra == {"frames": 300, "iterations": 20, "seconds_of_sound": 8}
    curve = [point["divergence"] for point in card.curve]
    assert [point["step"] for point in card.curve] == list(range(2, 21, 2))
    assert all(later <= earlier for earlier, later in pairwise(curve))
    assert card.metrics["held_out_divergence"] < curve[0]
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(2, 21, 2))
    assert any("8 s of sound in 4 files" in event for event in events if isinstance(event, str))
    assert find_model("tones", "nmf", tmp_path).folder == folder


def test_the_seed_decides(notes: Path, tmp_path: Path) -> None:
    folders = [
        train_dictionary(notes, settings=replace(SMALL, seed=seed), out=tmp_path / f"run-{number}")
        for number, seed in enumerate((0, 0, 1))
    ]
    first, again, other = [(folder / "weights.safetensors").read_bytes() for folder in folders]
    assert first == again != other


def test_blocks_are_one_run() -> None:
    frames = torch.rand(40, 33, generator=torch.Generator().manual_seed(0)) + 0.1
    settings = DictionarySettings(atoms=3, iterations=40, n_fft=64, hop=16)
    atoms, curve = learn(frames, settings)
    whole = _sklearn(frames, settings)
    assert torch.allclose(atoms, whole, rtol=1e-3, atol=1e-6)
    assert len(curve) == 10


def _sklearn(frames: Tensor, settings: DictionarySettings) -> Tensor:
    """The same factorisation in one call."""
    from sklearn.decomposition import NMF

    model = NMF(
        settings.atoms,
        solver="mu",
        beta_loss=settings.divergence,
        init="nndsvda",
        max_iter=settings.iterations,
        tol=0,
        random_state=0,
    )
    model.fit(frames.numpy())
    atoms = torch.from_numpy(model.components_)
    return atoms / atoms.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("kind", "expected"), [("kullback-leibler", 2 * np.log(2) - 1), ("itakura-saito", 1 - np.log(2))]
)
def test_known_divergences(kind: str, expected: float) -> None:
    assert divergence(np.full((2, 3), 2.0), np.ones((2, 3)), kind) == pytest.approx(expected)
    assert divergence(np.full((2, 3), 2.0), np.full((2, 3), 2.0), kind) == pytest.approx(0)


def test_frames_come_from_every_recording() -> None:
    """Ten recordings, each of its own tone: a tenth of the frames is enough to have them all."""
    time = torch.arange(16000) / 16000
    waves = tuple((20000 * torch.sin(2 * torch.pi * 500 * (1 + n) * time)).to(torch.int16) for n in range(10))
    clips = Clips(waves, ((0, 16000),) * 10, 16000, "", ())
    frames = draw_frames(clips, DictionarySettings(atoms=2, frames=63))
    assert frames.shape == (63, 513)
    assert set((frames.argmax(1) / 32).round().int().tolist()) == set(range(1, 11))
    assert frames.mean().item() == pytest.approx(1, abs=1e-4)
    assert len(draw_frames(clips, DictionarySettings(atoms=2))) == 630


def test_refused(notes: Path, tmp_path: Path) -> None:
    folder = train_dictionary(notes, settings=SMALL, out=tmp_path / "kept")
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(OutputError, match="holds a model already"):
        train_dictionary(notes, settings=SMALL, out=folder)
    assert (folder / "weights.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="cannot be written there"):
        train_dictionary(notes, settings=SMALL, out=tmp_path / "file")
    with pytest.raises(DataError, match="no such file or folder"):
        train_dictionary(tmp_path / "missing", settings=SMALL, out=tmp_path / "new")
    with pytest.raises(DataError, match=r"only \d+ frames of sound for 500 atoms"):
        train_dictionary(notes, settings=replace(SMALL, atoms=500), out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"atoms": 0}, "atoms must be in 1 to 513"),
        ({"atoms": 514}, "atoms must be in 1 to 513"),
        ({"divergence": "euclid"}, "unknown divergence 'euclid'"),
        ({"frames": 0}, "frames must be above 0"),
        ({"iterations": 0}, "iterations must be above 0"),
        ({"hop": 600}, "hop must be at most half of n_fft"),
    ],
)
def test_refused_settings(change: dict[str, object], said: str) -> None:
    with pytest.raises(GansepError, match=said):
        replace(DictionarySettings(), **change)
