"""The multi-resolution loss against a plain numpy form of the article's program, and what ours promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.losses import multi_resolution_spectral

VARIANTS = ("default", "code")


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def numpy_log_power(wave: np.ndarray) -> np.ndarray:
    """A = log(1 + |X|^2), one np.fft.rfft a frame: [T] to [N, F]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    starts = range(0, len(wave) - 256 + 1, 128)
    return np.log(1 + np.abs([np.fft.rfft(wave[start : start + 256] * window) for start in starts]) ** 2)


def numpy_pool(image: np.ndarray) -> np.ndarray:
    rows, columns = (size + 1 >> 1 for size in image.shape)
    cells = [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(columns)] for i in range(rows)]
    return np.array(cells)


def numpy_spectral(estimate: np.ndarray, reference: np.ndarray) -> float:
    ours, theirs = numpy_log_power(estimate), numpy_log_power(reference)
    total = 0.0
    for _ in range(3):
        total += float(np.abs(theirs - ours).sum())
        ours, theirs = numpy_pool(ours), numpy_pool(theirs)
    return total


@pytest.mark.parametrize("length", [16384, 4001, 256])
def test_code_is_the_authors_program(length: int) -> None:
    estimate, reference = 0.1 * noise(3, length), 0.3 * noise(3, length, seed=1)
    expected = [numpy_spectral(e, r) for e, r in zip(estimate.numpy(), reference.numpy(), strict=True)]
    torch.testing.assert_close(
        multi_resolution_spectral(estimate.float(), reference.float(), "code").double(),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-4,
        atol=0,
    )


def test_code_pads_short_waves_with_zeros() -> None:
    estimate, reference = noise(1, 100), noise(1, 100, seed=1)
    padded = [np.pad(wave[0].numpy(), (0, 156)) for wave in (estimate, reference)]
    assert multi_resolution_spectral(estimate, reference, "code").item() == pytest.approx(numpy_spectral(*padded))


def test_default_is_its_formula() -> None:
    estimate, reference = noise(1, 3000), 0.3 * noise(1, 3000, seed=1)
    expected = []
    for n_fft, hop in ((1024, 256), (256, 128)):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        padded = [np.pad(wave[0].numpy(), n_fft // 2) for wave in (estimate, reference)]
        starts = range(0, len(padded[0]) - n_fft + 1, hop)
        ours, theirs = (np.abs([np.fft.rfft(wave[s : s + n_fft] * window) for s in starts]) for wave in padded)
        scale = np.sqrt(np.mean(theirs**2))
        ours, theirs = ours / scale, theirs / scale
        quiet = np.abs(np.log((ours + 0.1) / (theirs + 0.1))).mean()
        loud = np.linalg.norm(ours**0.5 - theirs**0.5) / np.linalg.norm(theirs**0.5)
        expected.append(quiet + loud)
    # The square roots carry an epsilon of 1e-3 for their gradients.
    assert multi_resolution_spectral(estimate, reference).item() == pytest.approx(np.mean(expected), rel=2e-3)


def test_default_counts_a_tone_as_much_as_a_noise() -> None:
    tone = (torch.sin(torch.arange(16384) * 0.08) * torch.exp(-torch.arange(16384) / 2000))[None].double()
    for wave in (tone, noise(1, 16384)):
        assert multi_resolution_spectral(torch.zeros_like(wave), wave).item() > 0.8


def test_default_is_smallest_at_the_truth_and_feels_gain() -> None:
    reference = noise(1, 8192)
    at_truth = multi_resolution_spectral(reference, reference)
    assert at_truth.item() == 0
    around = [gain * reference for gain in (0, 0.5, 0.9, 1.1, 2)] + [reference + 0.1 * noise(1, 8192, seed=1)]
    values = [multi_resolution_spectral(wave, reference).item() for wave in around]
    assert min(values) > 0.01
    assert values[0] > values[1] > values[2]
    assert values[4] > values[3]


def test_default_ignores_a_common_gain() -> None:
    estimate, reference = noise(2, 4096), noise(2, 4096, seed=1)
    torch.testing.assert_close(
        multi_resolution_spectral(0.01 * estimate, 0.01 * reference),
        multi_resolution_spectral(estimate, reference),
        rtol=1e-5,
        atol=0,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_neighbours_do_not_matter(variant: str) -> None:
    estimate, reference = noise(3, 2000), noise(3, 2000, seed=1) * torch.tensor([[1.0], [100.0], [0.0]])
    alone = [multi_resolution_spectral(estimate[i : i + 1], reference[i : i + 1], variant) for i in range(3)]
    torch.testing.assert_close(multi_resolution_spectral(estimate, reference, variant), torch.cat(alone))


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant: str) -> None:
    estimate, reference = noise(2, 300).requires_grad_(), noise(2, 300, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda e, r: multi_resolution_spectral(e, r, variant), (estimate, reference))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [1, 100, 2048])
@pytest.mark.parametrize("gains", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
def test_value_and_gradient_stay_finite(variant: str, length: int, gains: tuple[int, int]) -> None:
    wave = noise(1, length, dtype=torch.float32)
    estimate, reference = ((gain * wave).requires_grad_() for gain in gains)
    value = multi_resolution_spectral(estimate, reference, variant)
    value.sum().backward()
    assert value.isfinite().all()
    assert estimate.grad is not None and estimate.grad.isfinite().all()
    assert reference.grad is not None and reference.grad.isfinite().all()


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\[2, 100\], got \[2, 99\]"):
        multi_resolution_spectral(noise(2, 100), noise(2, 99))
    with pytest.raises(ValueError, match=r"\[B, T\].*got \[100\]"):
        multi_resolution_spectral(noise(100), noise(100))
    with pytest.raises(ValueError, match=r"got \[2, 0\]"):
        multi_resolution_spectral(noise(2, 0), noise(2, 0))
    with pytest.raises(ValueError, match="default, code, got 'paper'"):
        multi_resolution_spectral(noise(1, 100), noise(1, 100), "paper")
