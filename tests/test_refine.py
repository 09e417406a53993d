"""Masks from estimates: exact sums, the stereo image, rates that differ, and sources that say nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gansep.audio import resample
from gansep.metrics import si_sdr
from gansep.refine import Refinement, make_masks, refine

RATE = 16_000  # of the estimates


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(frequency: float, rate: int, seconds: float = 0.5) -> Tensor:
    return torch.sin(2 * math.pi * frequency * torch.arange(round(seconds * rate), dtype=torch.float64) / rate).float()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_stems_sum_to_the_mixture_at_every_rate(rate: int, channels: int) -> None:
    mixture, estimates = noise(2, channels, round(0.3 * rate)), noise(2, 3, round(0.3 * RATE), seed=1)
    stems = refine(mixture, rate, estimates, RATE)
    assert stems.shape == (2, 3, channels, mixture.shape[-1])
    assert (stems.sum(1) - mixture).abs().max() < 1e-4


@pytest.mark.parametrize("frames", [1, 2, 255, 1_023, 1_025])
def test_stems_sum_to_mixtures_of_odd_lengths(frames: int) -> None:
    mixture = noise(1, 1, frames)
    stems = refine(mixture, 44_100, noise(1, 2, max(1, round(frames * RATE / 44_100)), seed=1), RATE)
    assert (stems.sum(1) - mixture).abs().max() < 1e-4


def test_true_estimates_take_disjoint_sources_apart() -> None:
    sources = torch.stack([tone(440, RATE), 0.3 * tone(3_000, RATE)])  # [S, T]
    mixture = sources.sum(0)
    stems = refine(mixture[None, None], RATE, sources[None], RATE)[0, :, 0]
    assert (si_sdr(stems, sources) > 30).all()
    # The phase and, as long as they keep their order, the levels of the estimates do not matter.
    other = torch.stack([-0.5 * sources[0], sources[1].roll(5)])
    assert (si_sdr(refine(mixture[None, None], RATE, other[None], RATE)[0, :, 0], sources) > 25).all()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_masks_stand_at_the_same_seconds_and_hertz_at_other_rates(rate: int) -> None:
    """Low first and high second against high first and low second: wrong in either axis would swap the sources."""
    half = [torch.cat([tone(a, rate, 0.4), tone(b, rate, 0.4)]) for a, b in ((500, 2_000), (2_000, 500))]
    sources = torch.stack(half)
    estimates = torch.stack([resample(source, rate, RATE) for source in sources])
    stems = refine(sources.sum(0)[None, None], rate, estimates[None], RATE)[0, :, 0]
    assert (si_sdr(stems, sources) > 15).all()  # the change from one to the other smears


def test_every_channel_gets_the_same_mask() -> None:
    left = noise(1, 22_050)
    stems = refine(torch.stack([left, 0.25 * left, -left], 1), 44_100, noise(1, 2, 8_000, seed=1), RATE)
    assert torch.allclose(stems[:, :, 1], 0.25 * stems[:, :, 0], atol=1e-6)
    assert torch.allclose(stems[:, :, 2], -stems[:, :, 0], atol=1e-6)
    assert stems[:, 0, 0].abs().max() > 0.1


def test_panned_sources_stay_where_they_were() -> None:
    sources = torch.stack([tone(440, RATE), tone(3_000, RATE)])
    pan = torch.tensor([[0.9, 0.1], [0.2, 0.8]])  # [S, C]
    image = pan[..., None] * sources[:, None]  # [S, C, T]
    stems = refine(image.sum(0)[None], RATE, sources[None], RATE)[0]
    assert (stems - image)[..., 1_000:-1_000].abs().max() < 0.01


def test_silent_estimates_share_equally() -> None:
    mixture = noise(1, 2, 11_025)
    stems = refine(mixture, 22_050, torch.zeros(1, 4, 8_000), RATE)
    assert torch.allclose(stems, (mixture / 4)[:, None].expand_as(stems), atol=1e-5)
    nothing = refine(torch.zeros(1, 2, 11_025), 22_050, noise(1, 2, 8_000), RATE)
    assert not nothing.any()


def test_a_failed_estimate_leaves_a_faint_stem_and_not_a_silent_one() -> None:
    mixture = noise(1, 1, 8_000)
    estimates = torch.stack([noise(8_000, seed=1), torch.zeros(8_000)])[None]
    for floor in (0.0, 0.003, 0.1):
        stems = refine(mixture, RATE, estimates, RATE, Refinement(floor=floor))
        assert torch.allclose(stems[0, 1], floor * mixture[0], atol=1e-4)  # a known share of every point
        assert torch.allclose(stems[0, 0], (1 - floor) * mixture[0], atol=1e-4)


def test_the_exponent_is_that_of_the_masks() -> None:
    """Estimates a tenth apart: shares of 10 / 11 of the amplitudes, 100 / 101 of the powers."""
    wave = noise(1, 8_000)
    estimates = torch.stack([wave, 0.1 * wave], 1)
    for exponent, share in ((1.0, 10 / 11), (2.0, 100 / 101)):
        how = Refinement(exponent=exponent, floor=0.0)
        stems = refine(wave[:, None], RATE, estimates, RATE, how)
        assert torch.allclose(stems[0, 0, 0], share * wave[0], atol=1e-3)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_residual_keeps_what_no_source_claims(rate: int) -> None:
    low, high = tone(440, rate), tone(3_000, rate)
    estimate = torch.stack([tone(440, RATE), 1e-3 * tone(700, RATE)])[None]
    mixture = (low + high)[None, None]
    residual = (mixture - refine(mixture, rate, estimate, RATE, Refinement(residual=1.0)).sum(1))[0, 0]
    assert si_sdr(residual, high) > 20
    shared = mixture - refine(mixture, rate, estimate, RATE, Refinement(residual=0.0)).sum(1)
    assert shared.abs().max() < 1e-4
    half = (mixture - refine(mixture, rate, estimate, RATE, Refinement(residual=1e-4)).sum(1))[0, 0]
    assert half.square().mean() < residual.square().mean()


def test_the_residual_of_a_mixture_that_is_explained_is_small() -> None:
    sources = torch.stack([tone(440, RATE), tone(3_000, RATE)])
    stems = refine(sources.sum(0)[None, None], RATE, sources[None], RATE, Refinement(residual=1.0))
    residual = sources.sum(0) - stems.sum(1)[0, 0]
    assert residual.square().mean() < 1e-3 * sources.sum(0).square().mean()


def test_above_the_band_of_the_estimates_their_top_decides() -> None:
    rate = 44_100
    high, low = tone(15_000, rate), tone(500, rate)
    estimates = torch.stack([tone(7_900, RATE), tone(500, RATE)])[None]
    stems = refine((high + low)[None, None], rate, estimates, RATE)[0, :, 0]
    assert si_sdr(stems[0], high) > 15 and si_sdr(stems[1], low) > 15
    swapped = refine((high + low)[None, None], rate, estimates.flip(1), RATE)[0, :, 0]
    assert si_sdr(swapped[1], high) > 15


def test_masks_are_shares() -> None:
    for residual in (0.0, 1.0):
        masks = make_masks(noise(2, 22_050), 44_100, noise(2, 3, 8_000, seed=1), RATE, Refinement(residual=residual))
        assert masks.shape[:3] == (2, 3, 513)
        assert masks.min() >= 0 and masks.sum(1).max() < 1 + 1e-5
        assert bool(masks.sum(1).min() > 1 - 1e-5) == (residual == 0)


def test_gradients_reach_the_estimates() -> None:
    estimates = noise(1, 2, 4_000, seed=1).requires_grad_()
    stems = refine(noise(1, 1, 4_000), RATE, estimates, RATE, Refinement(residual=0.5))
    (gradient,) = torch.autograd.grad(stems[:, 0].square().sum(), estimates)
    assert gradient.isfinite().all() and gradient.abs().amax(-1).min() > 0


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 22050, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_any_rate_and_length(rate: int, seconds: float, residual: float) -> None:
    random = torch.Generator().manual_seed(0)
    mixture = torch.randn(1, 1, round(seconds * rate), generator=random)
    estimates = torch.randn(1, 2, round(seconds * 16000), generator=random)
    stems = refine(mixture, rate, estimates, 16000, Refinement(residual=residual))
    assert stems.shape == (1, 2, *mixture.shape[1:]) and stems.isfinite().all()
    if not residual:
        assert (stems.sum(1) - mixture).abs().max() < 1e-4
