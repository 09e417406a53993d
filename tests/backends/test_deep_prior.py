"""Deep Audio Prior: the fit, its independence and determinism, its losses' known answers, and an easy mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.backends.deep_prior import DeepPrior, DeepPriorSettings, Losses, consistent_noise, exclusion, objective
from gansep.metrics.assignment import best_permutation
from gansep.metrics.waveform import si_sdr
from gansep.nets.unet import UNetConfig
from gansep.refine import Refinement, refine
from gansep.types import Estimates, ModelError, Separator

NET = UNetConfig(inputs=4, widths=(8, 16, 16))
FEW = DeepPriorSettings(steps=8, n_fft=256, hop=128, source=NET, mask=NET)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone_and_bursts(length: int = 12000) -> Tensor:
    """``[2, length]``: a steady tone in the first half, bursts of noise in the second."""
    t = torch.arange(length) / 16000
    first = t < length / 32000
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * t)
    bursts = 0.2 * torch.randn(length, generator=random()) * ((8 * t) % 1 < 0.4)
    return torch.stack([tone * first, bursts * ~first])


@pytest.fixture(scope="module")
def batch() -> Tensor:
    """``[3, 3000]``: sound, silence and louder sound."""
    return 0.1 * torch.randn(3, 3000, generator=random()) * torch.tensor([[1.0], [0.0], [8.0]])


@pytest.fixture(scope="module")
def estimates(batch: Tensor) -> Estimates:
    return DeepPrior(2, FEW)(batch)


def test_estimates(batch: Tensor, estimates: Estimates) -> None:
    separator = DeepPrior(3, FEW)
    assert isinstance(separator, Separator)
    assert (separator.sample_rate, separator.segment) == (16000, None)
    assert separator.refinement == Refinement(exponent=1.0, floor=0.0)
    assert separator.sources == ("component-1", "component-2", "component-3")
    assert estimates.waves.shape == (3, 2, 3000)
    assert not estimates.waves.requires_grad
    assert set(estimates.stats) == set(Losses._fields)
    for curve in estimates.stats.values():
        assert curve.shape == (3, FEW.steps + 1)
        assert curve.isfinite().all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sources_sum_to_the_mixture(batch: Tensor, count: int) -> None:
    waves = DeepPrior(count, replace(FEW, steps=1))(batch[:1]).waves
    assert waves.shape == (1, count, 3000)
    torch.testing.assert_close(waves.sum(1), batch[:1], atol=1e-5, rtol=1e-4)


def test_losses_fall() -> None:
    stats = DeepPrior(2, replace(FEW, steps=30))(tone_and_bursts(6000).sum(0)[None]).stats
    for name in ("total", "fit"):
        assert stats[name][0, -1] < 0.6 * stats[name][0, 0], name


def test_silence_stays_silent(estimates: Estimates) -> None:
    assert estimates.waves[1].abs().max() == 0
    assert all((curve[1] == 0).all() for curve in estimates.stats.values())


def test_neighbours_do_not_matter(batch: Tensor, estimates: Estimates) -> None:
    alone = DeepPrior(2, FEW)(batch[2:])
    torch.testing.assert_close(alone.waves[0], estimates.waves[2])
    torch.testing.assert_close(alone.stats["total"][0], estimates.stats["total"][2])


def test_the_seed_decides(batch: Tensor, estimates: Estimates) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = DeepPrior(2, FEW)(batch[:1])
    assert torch.equal(torch.random.get_rng_state(), before)  # the global state is left alone
    torch.testing.assert_close(again.waves[0], estimates.waves[0])
    other = DeepPrior(2, FEW, seed=1)(batch[:1])
    assert (other.waves[0] - estimates.waves[0]).abs().max() > 1e-3


def test_level_does_not_matter(batch: Tensor, estimates: Estimates) -> None:
    torch.testing.assert_close(DeepPrior(2, FEW)(batch[:1] * 0.25).waves * 4, estimates.waves[:1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("length", [1, 50, 300])
def test_short_mixtures(length: int) -> None:
    mixture = torch.randn(1, length, generator=random())
    waves = DeepPrior(2, replace(FEW, steps=2))(mixture).waves
    assert waves.isfinite().all()
    torch.testing.assert_close(waves.sum(1), mixture, atol=1e-5, rtol=1e-4)


def test_steps_are_told(batch: Tensor) -> None:
    told: list[tuple[int, float]] = []
    separator = DeepPrior(2, replace(FEW, steps=2), on_step=lambda step, losses: told.append((step, float(losses.fit))))
    fits = separator(batch).stats["fit"]
    assert [step for step, _ in told] == [0, 1, 2] * 2  # nothing is fitted to silence
    assert [fit for _, fit in told] == pytest.approx(fits[[0, 2]].flatten().tolist())


def test_an_easy_mixture() -> None:
    references = tone_and_bursts()
    mixture = references.sum(0)
    net = UNetConfig(widths=(8, 16, 16, 16))
    settings = DeepPriorSettings(80, n_fft=512, hop=256, source=net, mask=net, drift=0, mask_drift=0.1, exclusion=0.3)
    separator = DeepPrior(2, settings)
    waves = separator(mixture[None]).waves[0]
    waves = waves[best_permutation(waves, references)]
    gain = si_sdr(waves, references) - si_sdr(mixture.expand_as(references), references)
    assert gain.mean() > 3
    stems = refine(mixture[None, None], 16000, waves[None], 16000, separator.refinement)[0, :, 0]
    refined = si_sdr(stems, references) - si_sdr(mixture.expand_as(references), references)
    assert refined.mean() > 3


def test_noise_goes_on_as_it_should() -> None:
    for drift in (0.0, 0.1, 1.0):
        noise = consistent_noise(8, (64, 300), drift, random())
        assert noise.shape == (1, 8, 64, 300)
        assert float(noise.std()) == pytest.approx(1, abs=0.05)
        neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
        assert float(neighbours) == pytest.approx((1 - drift**2) ** 0.5, abs=0.02)


def test_exclusion_knows_shared_edges() -> None:
    first, second = torch.zeros(2, 32, 32)
    first[4:8], second[20:24] = 1, 1  # edges in different places, also after pooling
    assert float(exclusion(torch.stack([first, second]))) == pytest.approx(0, abs=1e-6)
    same, shifted = exclusion(torch.stack([first, first])), exclusion(torch.stack([first, first.roll(2, 0)]))
    assert float(same) > float(shifted) > 0
    assert float(exclusion(first[None])) == 0


def test_objective_of_the_truth() -> None:
    """Binary masks that split the mixture: nothing is left to lower."""
    magnitude = torch.zeros(16, 16)
    magnitude[2:4], magnitude[10:12] = 1, 2
    masks = torch.zeros(2, 16, 16)
    masks[0, :7], masks[1, 7:] = 1, 1
    losses = objective(magnitude.expand(2, -1, -1), masks, magnitude, DeepPriorSettings(activity=0.3))
    assert [float(loss) for loss in losses] == pytest.approx([0] * 5, abs=1e-6)


def test_objective_of_known_faults() -> None:
    settings = DeepPriorSettings(exclusion=2.0, binary=3.0, nonzero=5.0, activity=0.2)
    magnitude = torch.ones(8, 8)
    sources = torch.stack([torch.full((8, 8), 4.0), torch.zeros(8, 8)])
    losses = objective(sources, torch.full((2, 8, 8), 0.5), magnitude, settings)
    assert float(losses.fit) == pytest.approx(float(torch.log(torch.tensor(3 / 2))))  # 2 is heard where 1 is meant
    assert float(losses.binary) == pytest.approx(1)
    assert float(losses.nonzero) == pytest.approx(0.5)  # one of two sources is missing
    assert float(losses.total) == pytest.approx(float(losses.fit) + 3 + 2.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": -1}, "steps must be at least 0"),
        ({"rate": 0.0}, "rate above 0"),
        ({"hop": 600}, "hop must be from 1 to half of n_fft"),
        ({"drift": 1.5}, r"drifts must be in \[0, 1\]"),
        ({"binary": -1.0}, "weights must not be negative"),
        ({"activity": 1.0}, r"activity in \(0, 1\)"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        DeepPriorSettings(**wrong)


def test_wrong_input() -> None:
    with pytest.raises(ModelError, match="count and sample_rate must be at least 1, got 0"):
        DeepPrior(0)
    for shape in ((100,), (1, 2, 100), (1, 0)):
        with pytest.raises(ValueError, match=r"expected a mixture of shape \[B, T\]"):
            DeepPrior(2, FEW)(torch.zeros(shape))
