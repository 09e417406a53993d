"""Losses of estimates: each against its formula in numbers, its floor, and silence wherever it can be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.metrics import si_sdr
from gansep.training.signals import (
    DISTANCES,
    check_loss,
    error_ratio,
    mixture_power,
    scale_free_error_ratio,
    spectral_error,
)
from gansep.types import GansepError

Ratio = Callable[[Tensor, Tensor], Tensor]
RATIOS = (error_ratio, scale_free_error_ratio)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kind", "expected"), [("mse", 25 / 2), ("rmse", (25 / 2) ** 0.5), ("mae", 5 / 2)])
def test_distances(kind: str, expected: float) -> None:
    estimate, reference = torch.tensor([3 + 4j, 1j]), torch.tensor([0j, 1j])
    assert DISTANCES[kind](estimate, reference).item() == pytest.approx(expected)
    real = DISTANCES[kind](torch.tensor([5.0, 1.0]), torch.tensor([0.0, 1.0]))
    assert real.item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", DISTANCES)
def test_distances_have_a_gradient_at_no_distance(kind: str) -> None:
    estimate = noise(10).requires_grad_()
    (gradient,) = torch.autograd.grad(DISTANCES[kind](estimate, estimate.detach()), estimate)
    assert gradient.isfinite().all()


def test_spectral_error_counts_in_the_mixture_s_magnitude() -> None:
    reference = torch.complex(noise(2, 3, 5, 7), noise(2, 3, 5, 7, seed=1))
    estimate = torch.complex(noise(2, 3, 5, 7, seed=2), noise(2, 3, 5, 7, seed=3))
    mixture = reference.sum(1)
    e, r, y = (one.numpy() for one in (estimate, reference, mixture))
    expected = np.abs(e - r).mean((1, 2, 3)) / np.abs(y).mean((1, 2))
    np.testing.assert_allclose(spectral_error(estimate, reference, mixture), expected, rtol=1e-5)
    louder = spectral_error(100 * estimate, 100 * reference, 100 * mixture)
    np.testing.assert_allclose(louder, expected, rtol=1e-5)
    assert spectral_error(0 * estimate, 0 * reference, 0 * mixture).abs().max() == 0


def test_error_ratio_is_the_error_s_power_over_the_mixture_s() -> None:
    estimate, reference = noise(2, 3, 400, seed=1), noise(2, 3, 400)
    e, r = estimate.numpy().astype(float), reference.numpy().astype(float)
    share = ((e - r) ** 2).mean(-1) / (r.sum(1) ** 2).mean(-1)[:, None]
    np.testing.assert_allclose(error_ratio(estimate, reference), 10 * np.log10(share + 1e-3), rtol=1e-4)
    np.testing.assert_allclose(mixture_power(reference), (r.sum(1, keepdims=True) ** 2).mean(-1), rtol=1e-5)


def test_the_scale_free_ratio_is_the_metric_upside_down() -> None:
    reference = noise(2, 3, 400)
    estimate = reference * torch.tensor([0.5, 2.0, 1.0])[:, None] + 0.5 * noise(2, 3, 400, seed=1) + 0.2
    ratio = si_sdr(estimate, reference)
    expected = 10 * (10 ** (-ratio / 10) + 1e-3).log10()
    torch.testing.assert_close(scale_free_error_ratio(estimate, reference).double(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_nothing_is_gained_beyond_30_db(ratio: Ratio, level: float) -> None:
    reference = level * noise(2, 2, 400)
    best = ratio(reference, reference)
    torch.testing.assert_close(best, torch.full((2, 2), -30.0), atol=0.01, rtol=0)
    slightly = ratio(reference + 1e-4 * level * noise(2, 2, 400, seed=1), reference)
    torch.testing.assert_close(slightly, best, atol=0.01, rtol=0)


def test_levels_of_stems_count_unless_they_are_free() -> None:
    reference = noise(1, 2, 400)
    estimate = reference + noise(1, 2, 400, seed=1)
    free = [scale_free_error_ratio(scale * estimate, reference) for scale in (0.3, 1.0)]
    torch.testing.assert_close(*free, atol=1e-3, rtol=0)
    bound = [error_ratio(scale * estimate, reference) for scale in (0.3, 1.0)]
    assert (bound[0] - bound[1]).abs().min() > 0.5


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_silent_source_is_judged_by_the_mixture(ratio: Ratio) -> None:
    reference = noise(1, 2, 400)
    reference[:, 1] = 0
    for leaked in (0.0, 0.1, 1.0):
        estimate = reference[:, :1] * torch.tensor([1.0, leaked])[:, None]
        expected = 10 * np.log10(leaked**2 + 1e-3)
        assert ratio(estimate, reference)[0, 1].item() == pytest.approx(expected, abs=0.05)


def test_a_silent_estimate_has_nothing_right() -> None:
    reference = noise(1, 2, 400)
    zero = torch.zeros(1, 2)
    torch.testing.assert_close(scale_free_error_ratio(0 * reference, reference), zero, atol=0.01, rtol=0)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0])
def test_gradients_are_finite(ratio: Ratio, scale: float) -> None:
    reference = scale * noise(2, 2, 400)
    for estimate in (reference.clone(), noise(2, 2, 400, seed=1), torch.zeros(2, 2, 400)):
        estimate.requires_grad_()
        value = ratio(estimate, reference).mean()
        (gradient,) = torch.autograd.grad(value, estimate)
        assert value.isfinite() and gradient.isfinite().all()


def test_an_unknown_loss_is_one_line_with_those_there_are() -> None:
    check_loss("mae", ("mse", "mae"), "masks")
    with pytest.raises(GansepError) as error:
        check_loss("hinge", ("mse", "mae"), "masks")
    assert str(error.value) == "masks cannot be learned by 'hinge'; expected one of mse, mae"
