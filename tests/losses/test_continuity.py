"""Frequency continuity against plain numpy forms, and the truth as the minimum of ours alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.losses import frequency_continuity

VARIANTS = ("default", "code", "paper")


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def numpy_magnitude(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """One np.fft.rfft a frame: [T] to [N, F]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, len(wave) - n_fft + 1, hop)
    return np.abs([np.fft.rfft(wave[start : start + n_fft] * window) for start in starts])


@pytest.mark.parametrize("length", [16384, 4001, 256])
def test_published_forms(length: int) -> None:
    estimate, mixture = 0.1 * noise(2, length), 0.3 * noise(2, length, seed=1)
    code, paper = [], []
    for e, m in zip(estimate.numpy(), mixture.numpy(), strict=True):
        ours, theirs = np.log(1 + numpy_magnitude(e, 256, 128)), np.log(1 + numpy_magnitude(m, 256, 128))
        code.append(np.sum((theirs.sum(1) + 1e-6) / (ours.sum(1) + 1e-6)))
        paper.append(np.sum((theirs + 1e-6) / (ours + 1e-6)))
    for variant, expected in (("code", code), ("paper", paper)):
        actual = frequency_continuity(estimate.float(), mixture.float(), variant).double()
        torch.testing.assert_close(actual, torch.tensor(np.array(expected)), rtol=1e-3, atol=0)


def test_default_is_its_formula() -> None:
    estimate, mixture = noise(1, 3000), 0.3 * noise(1, 3000, seed=1)
    ours, theirs = (numpy_magnitude(np.pad(w[0].numpy(), 256), 512, 256) for w in (estimate, mixture))
    scale = np.sqrt(np.mean(theirs**2))
    ours, theirs = (np.log(1 + m / scale).mean(1) + 0.01 for m in (ours, theirs))
    expected = np.abs(np.log(theirs / ours)).mean()
    assert frequency_continuity(estimate, mixture).item() == pytest.approx(expected, rel=1e-6)


def test_only_the_default_is_smallest_at_the_truth() -> None:
    mixture = noise(1, 8192)
    at_truth = {variant: frequency_continuity(mixture, mixture, variant).item() for variant in VARIANTS}
    assert at_truth["default"] == 0
    for gain in (1.5, 0.7):
        assert frequency_continuity(gain * mixture, mixture).item() > 0.1
    for variant in ("code", "paper"):
        assert frequency_continuity(1.5 * mixture, mixture, variant).item() < at_truth[variant]


def test_default_ignores_a_common_gain() -> None:
    estimate, mixture = noise(2, 4096), noise(2, 4096, seed=1)
    quieter = frequency_continuity(0.01 * estimate, 0.01 * mixture)
    torch.testing.assert_close(quieter, frequency_continuity(estimate, mixture), rtol=1e-5, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_neighbours_do_not_matter(variant: str) -> None:
    estimate, mixture = noise(3, 2000), noise(3, 2000, seed=1) * torch.tensor([[1.0], [100.0], [0.0]])
    alone = [frequency_continuity(estimate[i : i + 1], mixture[i : i + 1], variant) for i in range(3)]
    torch.testing.assert_close(frequency_continuity(estimate, mixture, variant), torch.cat(alone))


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant: str) -> None:
    estimate, mixture = noise(2, 300).requires_grad_(), noise(2, 300, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda e, m: frequency_continuity(e, m, variant), (estimate, mixture))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [1, 100, 2048])
@pytest.mark.parametrize("gains", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
def test_value_and_gradient_stay_finite(variant: str, length: int, gains: tuple[int, int]) -> None:
    wave = noise(1, length, dtype=torch.float32)
    estimate, mixture = ((gain * wave).requires_grad_() for gain in gains)
    value = frequency_continuity(estimate, mixture, variant)
    value.sum().backward()
    assert value.isfinite().all()
    assert estimate.grad is not None and estimate.grad.isfinite().all()
    assert mixture.grad is not None and mixture.grad.isfinite().all()


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\[2, 100\], got \[2, 99\]"):
        frequency_continuity(noise(2, 100), noise(2, 99))
    with pytest.raises(ValueError, match="default, code, paper, got 'article'"):
        frequency_continuity(noise(1, 100), noise(1, 100), "article")
