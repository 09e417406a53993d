"""``gansep.backends.nmf``: known mixtures come apart, everything sums up, and carried masks are the same masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.audio import read
from gansep.backends.nmf import BlindNmf, Nmf, activations, cluster, mel_cepstra, ratio_masks
from gansep.library import Card, Dictionary, load_dictionary
from gansep.library.dictionary import DIVERGENCES, levelled, nmf_spectrogram
from gansep.metrics import best_permutation, si_sdr, si_sdr_improvement
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.refine import refine
from gansep.types import ModelError, Separator

CLIPS = Path(__file__).resolve().parent.parent / "clips"
PACKAGED = CLIPS.parent.parent / "pretrained"
RATE = 16000


def tones(frequencies: tuple[int, ...], gate: int, samples: int = 16000) -> Tensor:
    """A chord that starts and stops ``gate`` times a second. ``[T]``."""
    time = torch.arange(samples) / RATE
    chord = torch.stack([torch.sin(2 * torch.pi * f * time + i) for i, f in enumerate(frequencies)]).mean(0)
    return chord * (torch.sin(2 * torch.pi * gate * time + 0.5) > 0)


def dictionary(name: str, wave: Tensor, divergence: str = "kullback-leibler", atoms: int = 2) -> Dictionary:
    """Atoms that are frames of a sound."""
    config = {"n_fft": 1024, "hop": 256, "atoms": atoms, "divergence": divergence}
    frames = levelled(nmf_spectrogram(wave, 1024, 256, divergence), divergence)
    loud = frames[frames.sum(1).argsort(descending=True)[:atoms]]
    return Dictionary(name, Card(name, config, RATE, None, (name,), kind="nmf"), loud)


LOW, HIGH = tones((300, 600, 900), 3), tones((2500, 3700, 5100), 5)
PAIR = torch.stack([LOW, 0.7 * HIGH])  # [S, T]


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_chords_come_apart(divergence: str) -> None:
    separator = Nmf([dictionary("low", LOW, divergence), dictionary("high", HIGH, divergence)])
    assert isinstance(separator, Separator)
    result = separator(PAIR.sum(0)[None])
    assert result.sources == ("low", "high")
    assert result.waves.shape == (1, 2, 16000)
    assert (si_sdr(result.waves[0], PAIR) > 20).all()


def test_order_follows_the_dictionaries() -> None:
    low, high = dictionary("low", LOW), dictionary("high", HIGH)
    mixture = PAIR.sum(0)[None]
    assert torch.allclose(Nmf([low, high])(mixture).waves, Nmf([high, low])(mixture).waves.flip(1), atol=1e-4)


@pytest.mark.parametrize("samples", [1, 700, 16001])
def test_sources_sum_to_the_mixture(samples: int) -> None:
    mixture = torch.randn(3, samples, generator=torch.Generator().manual_seed(0))
    mixture[1] = 0
    for separator in (Nmf([dictionary("low", LOW), dictionary("high", HIGH)]), BlindNmf(3, components=2)):
        waves = separator(mixture).waves
        assert waves.shape == (3, len(separator.sources), samples)
        assert (waves.sum(1) - mixture).abs().max() < 1e-4
        assert (waves[1] == 0).all()


def test_a_batch_is_its_mixtures_one_by_one() -> None:
    mixture = torch.stack([PAIR.sum(0), 1e-3 * PAIR[0], PAIR[1] - PAIR[0]])
    for separator in (Nmf([dictionary("low", LOW), dictionary("high", HIGH)]), BlindNmf(2)):
        whole = separator(mixture).waves
        alone = torch.cat([separator(wave[None]).waves for wave in mixture])
        assert torch.allclose(whole, alone, atol=1e-6)
        assert torch.equal(separator(mixture).waves, whole)


def test_gain_goes_through() -> None:
    separator = Nmf([dictionary("low", LOW), dictionary("high", HIGH)])
    mixture = PAIR.sum(0)[None]
    assert torch.allclose(separator(0.01 * mixture).waves, 0.01 * separator(mixture).waves, atol=1e-5)


@pytest.mark.parametrize("blind", [False, True])
def test_refining_at_the_same_rate_changes_little(blind: bool) -> None:
    """The masks are those of the sounds they made; 40 dB below the sounds is what ten rounds leave."""
    mixture = _real().sum(0)[None]
    separator = BlindNmf(2) if blind else Nmf(_learned())
    waves = separator(mixture).waves
    refined = refine(mixture[:, None], RATE, waves, RATE, separator.refinement)[:, :, 0]
    assert _level(refined - waves) < _level(waves) - 40
    separator.rounds = 1
    rough = separator(mixture).waves
    again = refine(mixture[:, None], RATE, rough, RATE, separator.refinement)[:, :, 0]
    assert _level(again - rough) > _level(refined - waves) + 10


def _level(wave: Tensor) -> float:
    return 10 * float(wave.square().mean().log10())


def _real() -> Tensor:
    """A digit and a piano, each with its peak at 1. ``[2, T]``."""
    waves = [read(CLIPS / f"{name}.flac")[0][0, :16384] for name in ("digits", "piano")]
    return torch.stack([wave / wave.abs().max() for wave in waves])


def _learned() -> list[Dictionary]:
    return [load_dictionary(PACKAGED / "nmf" / name) for name in ("digits", "piano")]


def test_shipped_dictionaries_separate_real_sound() -> None:
    sources = _real()
    mixture = sources.sum(0)
    waves = Nmf(_learned())(mixture[None]).waves[0]
    assert si_sdr_improvement(waves, sources, mixture.expand_as(sources)).mean() > 4
    assert (waves - mixture).abs().max() > 0.1


def test_stereo_at_another_rate() -> None:
    """Through the pipeline: stems of the recording's own rate and channels, which sum to it."""
    time = torch.arange(44100) / 44100
    low = torch.sin(2 * torch.pi * 440 * time) * (time < 0.6)
    high = torch.sin(2 * torch.pi * 3000 * time) * (time > 0.3)
    sources = torch.stack([torch.stack([low, 0.5 * low]), torch.stack([0.2 * high, high])])  # [S, C, T]
    mixture = sources.sum(0)
    at16 = [torch.sin(2 * torch.pi * f * torch.arange(16000) / RATE) for f in (440, 3000)]
    separator = Nmf([dictionary(name, wave) for name, wave in zip(("low", "high"), at16, strict=True)])
    stems: list[Tensor] = []
    track = Track(lambda size, hop: [mixture], 44100, 44100, lambda parts, _: stems.append(parts))
    separate_tracks([track], separator, Settings(refinement=separator.refinement))
    found = torch.cat(stems, -1)
    assert found.shape == (2, 2, 44100)
    assert (found.sum(0) - mixture).abs().max() < 1e-4
    assert (si_sdr(found, sources) > 15).all()


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_blind_separation_of_chords(divergence: str) -> None:
    separator = BlindNmf(2, components=3, divergence=divergence, iterations=200)
    assert isinstance(separator, Separator)
    result = separator(PAIR.sum(0)[None])
    assert result.sources == ("component-1", "component-2")
    waves = result.waves[0]
    assert (si_sdr(waves[best_permutation(waves, PAIR)], PAIR) > 15).all()


def test_the_seed_decides() -> None:
    mixture = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    first, again, other = [BlindNmf(2, seed=seed)(mixture).waves for seed in (3, 3, 4)]
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_activations_are_found_again(divergence: str) -> None:
    random = torch.Generator().manual_seed(0)
    atoms = torch.rand(3, 40, generator=random) + 0.01
    weights = torch.rand(9, 3, generator=random) + 0.1
    found = activations(weights @ atoms, atoms, divergence, 3000)
    assert torch.allclose(found, weights, rtol=0.02)


def test_cepstra_show_the_filter_and_not_level_or_pitch() -> None:
    bins = torch.arange(513.0)
    formant, other = (torch.exp(-(((bins - centre) / 60) ** 2)) + 1e-4 for centre in (60, 250))
    spectra = [envelope * (bins % step == 0) + 1e-9 for envelope in (formant, other) for step in (5, 6, 7)]
    atoms = torch.stack(spectra) * torch.tensor([1, 1e-3, 1, 1, 10, 1])[:, None]
    cepstra = mel_cepstra(atoms, RATE)
    assert torch.allclose(mel_cepstra(100 * atoms, RATE), cepstra)
    owner = cluster(atoms.sqrt(), torch.ones(6), 2, RATE, "kullback-leibler", 0)
    assert owner[0] == owner[1] == owner[2] != owner[3]
    assert owner[3] == owner[4] == owner[5]
    from scipy.fft import idct

    flat = mel_cepstra(torch.ones(1, 513), RATE)
    assert np.abs(idct(np.pad(flat.numpy(), ((0, 0), (1, 7))), norm="ortho")).max() < 25


def test_masks() -> None:
    models = torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1)
    assert torch.allclose(ratio_masks(models, "kullback-leibler", 1.0).flatten(), torch.tensor([0.75, 0.25]))
    assert torch.allclose(ratio_masks(models, "kullback-leibler", 2.0).flatten(), torch.tensor([0.9, 0.1]))
    assert torch.allclose(ratio_masks(models, "itakura-saito", 2.0).flatten(), torch.tensor([0.75, 0.25]))
    assert torch.allclose(ratio_masks(1e-12 * models, "kullback-leibler", 2.0).flatten(), torch.tensor([0.9, 0.1]))
    assert torch.equal(ratio_masks(0 * models, "kullback-leibler", 2.0).flatten(), torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("change", [{"n_fft": 512}, {"hop": 128}, {"divergence": "itakura-saito"}, {"rate": 8000}])
def test_dictionaries_that_cannot_be_combined(change: dict[str, object]) -> None:
    low, high = dictionary("low", LOW), dictionary("high", HIGH)
    rate = int(str(change.get("rate", RATE)))
    config = dict(high.card.config) | {name: value for name, value in change.items() if name != "rate"}
    other = replace(high, card=replace(high.card, config=config, sample_rate=rate))
    with pytest.raises(ModelError, match="cannot be combined"):
        Nmf([low, other])


def test_refused() -> None:
    low = dictionary("low", LOW)
    with pytest.raises(ModelError, match="no dictionaries given"):
        Nmf([])
    with pytest.raises(ModelError, match="a name of its own"):
        Nmf([low, low])
    for wrong in ({"exponent": 0.0}, {"exponent": "2"}, {"exponent": float("nan")}, {"iterations": 0}, {"rounds": 1.5}):
        with pytest.raises(ModelError, match=f"{next(iter(wrong))} must be"):
            Nmf([low], **wrong)  # type: ignore[arg-type]
    for wrong in ({"count": 0}, {"components": 0}, {"sample_rate": 0}, {"iterations": 2.5}, {"rounds": 0}):
        with pytest.raises(ModelError, match=f"{next(iter(wrong))} must be"):
            BlindNmf(**({"count": 2} | wrong))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="unknown divergence 'euclid'"):
        BlindNmf(2, divergence="euclid")
    for shape in ((16000,), (1, 2, 16000), (1, 0)):
        for separator in (Nmf([low]), BlindNmf(2)):
            with pytest.raises(ValueError, match="expected a mixture of shape"):
                separator(torch.zeros(shape))
