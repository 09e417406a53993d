"""A generator that plays spectra: shapes, the sound of known magnitudes, what is learned, and what a class changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.nets.spectrogram import CENTRE, FLOOR, HOP, N_FFT, SPREAD, SpectralGenerator, levels_of, make_generator
from gansep.nets.wavegan import SEGMENTS, Generator, PriorConfig

TINY = PriorConfig(dim=2, latent=4, width=16, variational=True, domain="magnitude")
TOLD = PriorConfig(dim=2, latent=4, width=16, variational=True, domain="magnitude", classes=("a", "b", "c"))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)  # of the networks' weights


def normal(count: int) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(0))


def chord(*frequencies: float) -> Tensor:
    """Tones at 16 kHz that swell and fade. Shape: returns ``[1, 16384]``."""
    time = torch.arange(16384) / 16000
    tones = sum(torch.sin(2 * math.pi * frequency * time) for frequency in frequencies)
    return (0.3 * torch.hann_window(16384) * tones)[None]


class Fixed(SpectralGenerator):
    """Plays the same levels ``[1, F, N]``, whatever the latents."""

    known: Tensor

    def levels(self, latents: Tensor, which: Tensor | None = None) -> Tensor:
        return self.known.expand(len(latents), -1, -1)


def playing(levels: Tensor) -> Fixed:
    generator = Fixed(TINY)
    generator.known = levels
    return generator


def magnitudes(wave: Tensor) -> Tensor:
    return stft(wave, N_FFT, HOP).abs()


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Between magnitudes of sounds, relative to the second."""
    return float((magnitudes(ours) - magnitudes(theirs)).norm() / magnitudes(theirs).norm())


# Levels


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("dim", [1, 3])
def test_levels_are_as_large_as_those_of_a_sound(segment: int, dim: int) -> None:
    config = PriorConfig(dim=dim, latent=4, segment=segment, width=16, variational=True, domain="magnitude")
    with torch.no_grad():
        levels = SpectralGenerator(config).levels(normal(2))
    assert levels.shape == levels_of(torch.zeros(2, segment)).shape == (2, 257, segment // 128 + 1)


def test_levels_of_a_sound_are_normalised_logarithms_of_its_spectra() -> None:
    """One frame against numpy, with the window written out; silence against the floor."""
    wave = chord(440, 660)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    frame = wave[0, 64 * HOP - N_FFT // 2 :][:N_FFT].double().numpy()
    expected = (np.log(np.abs(np.fft.rfft(hann * frame)) + FLOOR) - CENTRE) / SPREAD
    np.testing.assert_allclose(levels_of(wave)[0, :, 64], expected, atol=1e-3)
    silence = (math.log(FLOOR) - CENTRE) / SPREAD
    torch.testing.assert_close(levels_of(torch.zeros(1, 16384)), torch.full((1, 257, 129), silence))


def test_the_gradient_of_levels_reaches_latents_and_every_weight() -> None:
    generator = SpectralGenerator(TOLD)
    latents = normal(3).requires_grad_()
    generator.levels(latents, torch.tensor([0, 1, 2])).square().mean().backward()
    assert latents.grad is not None and (latents.grad.abs() > 0).all()
    for name, weight in generator.named_parameters():
        assert weight.grad is not None and weight.grad.abs().amax() > 0, name
    columns = generator.seed.weight.grad
    assert columns is not None and (columns[:, 4:].abs().amax(0) > 0).all()  # those of each class


# Sounds


def test_it_plays_a_sound_of_the_magnitudes_that_it_makes() -> None:
    wave, other = chord(440, 660, 1000), chord(500, 750, 1200)
    played = playing(levels_of(wave))(normal(1))
    assert played.shape == wave.shape
    assert distance(played, wave) < 0.1
    assert distance(played, other) > 0.5


def test_sounds_stay_within_full_scale() -> None:
    played = playing(torch.full((1, 257, 129), 4.0))(normal(1))  # far louder than any window of peak 1
    assert played.abs().max() == 1 and played.isfinite().all()


def test_silence_is_silent() -> None:
    assert playing(levels_of(torch.zeros(1, 16384)))(normal(1)).abs().max() < 1e-6


def test_sounds_are_the_same_each_time_and_by_themselves_and_take_no_gradient() -> None:
    generator, latents = SpectralGenerator(TINY), normal(3).requires_grad_()
    dice = torch.get_rng_state()
    waves = generator(latents)
    assert not waves.requires_grad and waves.abs().max() > 0
    assert torch.equal(generator(latents), waves)
    assert torch.equal(torch.get_rng_state(), dice)
    # Convolutions of other batches round otherwise, and phases that Griffin-Lim finds magnify it.
    torch.testing.assert_close(generator(latents[1:2]), waves[1:2], atol=0.01 * float(waves.abs().max()), rtol=0)
    assert distance(waves[:1], waves[1:2]) > 0.01  # else the rows would prove nothing


# Classes


def test_a_class_is_a_bias_of_its_own_and_none_is_no_bias() -> None:
    generator, latents = SpectralGenerator(TOLD), normal(3)
    with torch.no_grad():
        untold = generator.levels(latents)
        assert torch.equal(generator.levels(latents, torch.tensor([-1, -1, -1])), untold)
        told = generator.levels(latents, torch.tensor([2, -1, 0]))
        assert torch.equal(told[1], untold[1])
        for row, which in ((0, 2), (2, 0)):
            assert (told[row] - untold[row]).abs().max() > 0.01
            biased = SpectralGenerator(TOLD)
            biased.load_state_dict(generator.state_dict())
            biased.seed.bias.add_(generator.seed.weight[:, 4 + which])
            torch.testing.assert_close(told[row], biased.levels(latents)[row], atol=1e-4, rtol=0)


def test_a_class_is_heard() -> None:
    generator, latents = SpectralGenerator(TOLD), normal(1)
    with torch.no_grad():
        generator.seed.weight[:, 4:] *= 10
    plain, first, second = (generator(latents, which) for which in (None, torch.tensor([0]), torch.tensor([1])))
    assert torch.equal(generator(latents, torch.tensor([-1])), plain)
    assert distance(first, plain) > 0.05 and distance(first, second) > 0.05


def test_the_domain_says_which_generator_it_is() -> None:
    waves = PriorConfig(dim=1, latent=4, width=16, variational=True)
    assert type(make_generator(TINY)) is SpectralGenerator
    assert type(make_generator(waves)) is Generator
