"""Exclusion against a plain numpy form of the article's program, and the bounds of ours."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.losses import mixture_correlation, source_dissimilarity

VARIANTS = ("default", "code")


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tone(hertz: float, length: int = 8192) -> Tensor:
    """A tone that swells and fades, for a sudden start is a click, with edges everywhere."""
    swell = torch.hann_window(length, dtype=torch.float64)
    return swell * torch.sin(2 * torch.pi * hertz / 16000 * torch.arange(length, dtype=torch.float64))


def numpy_log_power(wave: np.ndarray) -> np.ndarray:
    """A = log(1 + |X|^2), one np.fft.rfft a frame: [T] to [N, F]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    starts = range(0, len(wave) - 256 + 1, 128)
    return np.log(1 + np.abs([np.fft.rfft(wave[start : start + 256] * window) for start in starts]) ** 2)


def numpy_pool(image: np.ndarray) -> np.ndarray:
    rows, columns = (size + 1 >> 1 for size in image.shape)
    cells = [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(columns)] for i in range(rows)]
    return np.array(cells)


def numpy_exclusion(first: np.ndarray, second: np.ndarray) -> float:
    a, b = numpy_log_power(first), numpy_log_power(second)
    along: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(3):
        for axis, terms in along.items():
            edges_a, edges_b = np.diff(a, axis=axis), np.diff(b, axis=axis)
            alpha = 2 * np.mean(np.abs(edges_a)) / np.mean(np.abs(edges_b))
            product = np.tanh(edges_a / 2) ** 2 * np.tanh(alpha * edges_b / 2) ** 2
            terms.append(float(np.mean(product) ** 0.25))
        a, b = numpy_pool(a), numpy_pool(b)
    return (sum(along[0]) / 3 + sum(along[1]) / 3) / 2


@pytest.mark.parametrize("sources", [2, 3])
def test_code_dissimilarity_is_the_authors_program(sources: int) -> None:
    estimates = 0.1 * noise(2, sources, 4001)
    expected = [np.mean([numpy_exclusion(*pair) for pair in combinations(e, 2)]) for e in estimates.numpy()]
    actual = source_dissimilarity(estimates.float(), "code").double()
    torch.testing.assert_close(actual, torch.tensor(np.array(expected)), rtol=1e-4, atol=0)


def test_code_correlation_is_the_authors_program() -> None:
    estimate, mixture = 0.1 * noise(2, 16384), 0.3 * noise(2, 16384, seed=1)
    expected = [-numpy_exclusion(m, e) for e, m in zip(estimate.numpy(), mixture.numpy(), strict=True)]
    actual = mixture_correlation(estimate.float(), mixture.float(), "code").double()
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_three_sources_are_the_mean_of_their_pairs(variant: str) -> None:
    estimates = noise(2, 3, 2048) * torch.tensor([1.0, 0.1, 0.01])[:, None]
    pairs = [source_dissimilarity(estimates[:, pair], variant) for pair in ([0, 1], [0, 2], [1, 2])]
    torch.testing.assert_close(source_dissimilarity(estimates, variant), torch.stack(pairs).mean(0))


def test_default_is_zero_for_disjoint_and_one_for_identical_sources() -> None:
    early, late = noise(8192), noise(8192, seed=1)
    early[2000:], late[:6500] = 0, 0  # further apart than the coarsest level's cells reach
    in_time, in_frequency = torch.stack([early, late]), torch.stack([tone(500), tone(5000)])
    values = source_dissimilarity(torch.stack([in_time, in_frequency, noise(2, 8192), torch.stack([early, early])]))
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[1] == pytest.approx(0, abs=1e-6)
    assert 0.2 < values[2] < 0.9
    assert values[3] == pytest.approx(1, abs=1e-3)


def test_default_is_symmetric_and_blind_to_gain() -> None:
    estimates = noise(2, 2, 4096)
    value = source_dissimilarity(estimates)
    torch.testing.assert_close(source_dissimilarity(estimates.flip(1)), value)
    turned_down = source_dissimilarity(estimates * torch.tensor([1, 0.01])[:, None])
    torch.testing.assert_close(turned_down, value, rtol=1e-4, atol=0)


def test_default_correlation_is_smallest_at_the_truth() -> None:
    mixture = noise(1, 8192)
    assert mixture_correlation(mixture, mixture).item() == pytest.approx(-1, abs=1e-3)
    off = noise(1, 8192, seed=1)
    values = [mixture_correlation(mixture + gain * off, mixture).item() for gain in (0.1, 0.3, 1)]
    assert -0.999 < values[0] < values[1] < values[2] < 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_single_source_has_nothing_to_differ_from(variant: str) -> None:
    estimates = noise(2, 1, 1000).requires_grad_()
    value = source_dissimilarity(estimates, variant)
    value.sum().backward()
    assert value.tolist() == [0, 0]
    assert estimates.grad is not None and not estimates.grad.any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_neighbours_do_not_matter(variant: str) -> None:
    loudness = torch.tensor([1.0, 100.0, 0.0])
    estimates, mixture = noise(3, 2, 2000) * loudness[:, None, None], noise(3, 2000, seed=1)
    alone = [source_dissimilarity(one[None], variant) for one in estimates]
    torch.testing.assert_close(source_dissimilarity(estimates, variant), torch.cat(alone))
    sums = estimates.sum(1)
    alone = [mixture_correlation(sums[i : i + 1], mixture[i : i + 1], variant) for i in range(3)]
    torch.testing.assert_close(mixture_correlation(sums, mixture, variant), torch.cat(alone))


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient(variant: str) -> None:
    estimates, mixture = noise(1, 2, 520).requires_grad_(), noise(1, 520, seed=1)
    assert torch.autograd.gradcheck(lambda e: source_dissimilarity(e, variant), (estimates,))
    assert torch.autograd.gradcheck(lambda e: mixture_correlation(e.sum(1), mixture, variant), (estimates,))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [1, 100, 2048])
@pytest.mark.parametrize("gains", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
def test_value_and_gradient_stay_finite(variant: str, length: int, gains: tuple[int, int]) -> None:
    wave = noise(1, length, dtype=torch.float32)
    estimates = torch.stack([gain * wave for gain in gains], 1).requires_grad_()
    estimate, mixture = estimates.unbind(1)
    value = source_dissimilarity(estimates, variant) + mixture_correlation(estimate, mixture, variant)
    value.sum().backward()
    assert value.isfinite().all()
    assert estimates.grad is not None and estimates.grad.isfinite().all()


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\[B, S, T\].*got \[2, 100\]"):
        source_dissimilarity(noise(2, 100))
    with pytest.raises(ValueError, match=r"got \[2, 0, 100\]"):
        source_dissimilarity(noise(2, 0, 100))
    with pytest.raises(ValueError, match="default, code, got 'paper'"):
        source_dissimilarity(noise(1, 2, 100), "paper")
    with pytest.raises(ValueError, match=r"\[2, 100\], got \[1, 100\]"):
        mixture_correlation(noise(2, 100), noise(1, 100))
    with pytest.raises(ValueError, match="default, code, got 'ours'"):
        mixture_correlation(noise(1, 100), noise(1, 100), "ours")
