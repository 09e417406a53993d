"""``gansep.library.dictionary``: what is loaded is what was saved, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.library import Card, find_model, load_dictionary, save_model
from gansep.library.dictionary import levelled, nmf_spectrogram
from gansep.types import ModelError

CONFIG = {"n_fft": 64, "hop": 16, "atoms": 5, "divergence": "kullback-leibler"}
CARD = Card("bells", CONFIG, 8000, None, ("bells",), kind="nmf")
ATOMS = torch.rand(5, 33, generator=torch.Generator().manual_seed(0))


def saved(library: Path, weights: dict[str, Tensor], card: Card = CARD) -> Path:
    folder = library / card.kind / card.name
    save_model(folder, weights, card)
    return folder


@pytest.mark.parametrize("reference", ["bells", "nmf/bells"])
def test_round_trip(tmp_path: Path, reference: str) -> None:
    folder = saved(tmp_path, {"atoms": ATOMS})
    for loaded in (load_dictionary(reference, tmp_path), load_dictionary(folder)):
        assert torch.equal(loaded.atoms, ATOMS)
        assert (loaded.name, loaded.sample_rate, loaded.n_fft, loaded.hop) == ("bells", 8000, 64, 16)
        assert loaded.divergence == "kullback-leibler"
        assert loaded.card.sources == ("bells",)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"atoms": ATOMS[:4]}, "expected atoms of shape [5, 33]"),
        ({"atoms": ATOMS, "more": ATOMS}, "foreign weights"),
        ({"generator.fc.weight": ATOMS}, "foreign weights"),
        ({"atoms": -ATOMS}, "must be finite, not negative"),
        ({"atoms": ATOMS.where(ATOMS < 0.9, torch.nan)}, "atoms is not finite"),
        ({"atoms": ATOMS.where(ATOMS < 0.9, torch.inf)}, "atoms is not finite"),
        ({"atoms": ATOMS * 0}, "not all zero"),
    ],
)
def test_refused_weights(tmp_path: Path, weights: dict[str, Tensor], said: str) -> None:
    saved(tmp_path, weights)
    with pytest.raises(ModelError) as error:
        load_dictionary("bells", tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"n_fft": None},
        {"hop": 0},
        {"hop": 48},
        {"atoms": "5"},
        {"atoms": True},
        {"divergence": "euclid"},
        {"n_fft": 6.5},
    ],
)
def test_refused_config(tmp_path: Path, change: dict[str, object]) -> None:
    saved(tmp_path, {"atoms": ATOMS}, replace(CARD, config=CONFIG | change))
    with pytest.raises(ModelError, match=r"card\.json: "):
        load_dictionary("bells", tmp_path)


def test_refused_kinds(tmp_path: Path) -> None:
    gan = saved(tmp_path, {"atoms": ATOMS}, replace(CARD, kind="gan"))
    with pytest.raises(ModelError, match="no nmf model 'bells'"):
        load_dictionary("bells", tmp_path)
    with pytest.raises(ModelError, match="of kind gan, expected nmf"):
        load_dictionary(gan)
    with pytest.raises(ModelError, match="of kind gan, expected nmf"):
        load_dictionary(find_model("bells", "gan", tmp_path))


def test_spectrograms_of_a_tone() -> None:
    tone = torch.cos(2 * torch.pi * 8 / 64 * torch.arange(640.0))
    magnitude = nmf_spectrogram(tone, 64, 16, "kullback-leibler")  # [N, F]
    assert magnitude.shape == (41, 33)
    assert magnitude[20].argmax() == 8
    assert magnitude[20, 8].item() == pytest.approx(16, rel=1e-4)  # half the sum of a Hann window of 64
    assert torch.allclose(nmf_spectrogram(tone, 64, 16, "itakura-saito"), magnitude.square())
    with pytest.raises(ValueError, match="unknown divergence 'euclid'"):
        nmf_spectrogram(tone, 64, 16, "euclid")


@pytest.mark.parametrize(("divergence", "floor"), [("kullback-leibler", 1e-6), ("itakura-saito", 1e-3)])
def test_levels_do_not_count(divergence: str, floor: float) -> None:
    spectra = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(0))
    level = levelled(spectra, divergence)
    assert torch.allclose(level.mean((1, 2)), torch.full((2,), 1 + floor))
    assert torch.allclose(levelled(1e-4 * spectra, divergence), level)
    assert torch.equal(levelled(torch.zeros(1, 3, 3), divergence), torch.full((1, 3, 3), floor))
