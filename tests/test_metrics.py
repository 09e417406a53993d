"""Metrics against torchmetrics, scipy and known answers; the interval against its promised coverage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from gansep.metrics import (
    best_permutation,
    bootstrap_interval,
    envelope_distance,
    si_sdr,
    si_sdr_improvement,
    spectral_snr,
)

Metric = Callable[[Tensor, Tensor], Tensor]
METRICS: tuple[Metric, ...] = (si_sdr, spectral_snr, envelope_distance)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("error", [1e-3, 0.1, 1.0, 30.0])
def test_si_sdr_is_torchmetrics(error: float) -> None:
    reference = noise(3, 2, 4000) + 0.5
    estimate = 0.3 * reference + error * noise(3, 2, 4000, seed=1) - 0.2
    expected = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=True)
    torch.testing.assert_close(si_sdr(estimate, reference), expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(si_sdr(estimate.float(), reference.float()), expected, rtol=0, atol=1e-3)


def test_si_sdr_known_answers() -> None:
    t = 2 * torch.pi * torch.arange(1000) / 100
    source, orthogonal = torch.sin(t).double(), torch.cos(t).double()
    for error, expected in ((1.0, 0.0), (0.1, 20.0), (10.0, -20.0)):
        assert si_sdr(3 * (source + error * orthogonal) + 7, source - 2).item() == pytest.approx(expected, abs=1e-4)
    assert si_sdr(source, source).item() == pytest.approx(156.5, abs=1)
    assert si_sdr(0 * source, source).item() == 0
    mixture = source + orthogonal
    improvement = si_sdr_improvement(source + 0.1 * orthogonal, source, mixture)
    assert improvement.item() == pytest.approx(20, abs=1e-4)


def test_spectral_snr_is_its_formula() -> None:
    estimate, reference = noise(2, 1001), noise(2, 1001, seed=1)
    window = scipy.signal.get_window("hann", 256)
    for e, r, actual in zip(estimate.numpy(), reference.numpy(), spectral_snr(estimate, reference), strict=True):
        ours, theirs = (
            np.abs([np.fft.rfft(np.pad(wave, 128)[s : s + 256] * window) for s in range(0, 1002, 128)])
            for wave in (e, r)
        )
        expected = 10 * np.log10(np.sum(theirs**2) / np.sum((theirs - ours) ** 2))
        assert actual.item() == pytest.approx(expected, abs=1e-6)
    assert spectral_snr(0 * reference, reference).tolist() == pytest.approx([0, 0], abs=1e-9)
    assert (spectral_snr(-reference, reference) > 150).all()


@pytest.mark.parametrize("length", [1, 2, 999, 1000])
def test_envelope_distance_is_scipys(length: int) -> None:
    estimate, reference = noise(2, length), noise(2, length, seed=1)
    ours, theirs = (np.abs(scipy.signal.hilbert(wave.numpy())) for wave in (estimate, reference))
    expected = torch.from_numpy(np.sqrt(np.mean((ours - theirs) ** 2, -1)))
    torch.testing.assert_close(envelope_distance(estimate, reference), expected)
    assert envelope_distance(-reference, reference).tolist() == [0, 0]


@pytest.mark.parametrize("metric", METRICS)
def test_silent_reference_is_nan_and_alone_so(metric: Metric) -> None:
    reference, estimate = noise(3, 500, dtype=torch.float32), noise(3, 500, seed=1, dtype=torch.float32)
    reference[1] = 0
    assert metric(estimate, reference).isnan().tolist() == [False, True, False]
    assert metric(0 * estimate, reference).isnan().tolist() == [False, True, False]
    assert metric(reference, reference).isnan().tolist() == [False, True, False]


def test_constant_reference_is_silent_to_si_sdr() -> None:
    assert si_sdr(noise(500), torch.full((500,), 0.1)).isnan()


@pytest.mark.parametrize("metric", METRICS)
def test_gradient(metric: Metric) -> None:
    estimate, reference = noise(2, 300).requires_grad_(), noise(2, 300, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(metric, (estimate, reference))
    for gain in (0, 1):  # a silent and a perfect estimate
        same = (gain * reference.detach()).requires_grad_()
        metric(same, reference.detach()).sum().backward()
        assert same.grad is not None and same.grad.isfinite().all()


@pytest.mark.parametrize("metric", METRICS)
def test_leading_axes_broadcast(metric: Metric) -> None:
    estimates, references = noise(3, 400), noise(2, 400, seed=1)
    table = metric(estimates[None], references[:, None])
    assert table.shape == (2, 3)
    assert table[1, 2].item() == pytest.approx(metric(estimates[2], references[1]).item())


def test_best_permutation_is_the_best_of_all() -> None:
    references = noise(4, 500)
    estimates = references[[2, 0, 3, 1]] + 2 * noise(4, 500, seed=1)
    chosen = si_sdr(estimates[best_permutation(estimates, references)], references).sum()
    every = [si_sdr(estimates[list(order)], references).sum() for order in permutations(range(4))]
    assert chosen == max(every)
    assert best_permutation(references[[2, 0, 3, 1]], references, spectral_snr).tolist() == [1, 3, 0, 2]


def test_silent_reference_takes_what_is_left() -> None:
    references = noise(3, 500)
    estimates = references[[2, 0, 1]]
    references[1] = 0
    assert best_permutation(estimates, references).tolist() == [1, 2, 0]


def test_interval_covers_the_mean_as_promised_and_single_draws_would_not() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 5)
    hits, naive_hits = 0, 0
    for trial in range(300):
        values = 3 + np.repeat(rng.normal(size=30), 5) + 0.3 * rng.normal(size=150)
        low, high = bootstrap_interval(values, groups, seed=trial, n=500, level=0.9)
        hits += low < 3 < high
        low, high = bootstrap_interval(values, np.arange(150), seed=trial, n=500, level=0.9)
        naive_hits += low < 3 < high
    assert 0.84 < hits / 300 < 0.95
    assert naive_hits / 300 < 0.7


def test_interval_of_uneven_groups_draws_groups() -> None:
    values, groups = [0.0] * 9 + [10.0], ["a"] * 9 + ["b"]
    assert bootstrap_interval(values, groups, seed=0) == (0, 10)  # draws aa, ab, bb: means 0, 1, 10
    assert bootstrap_interval([2.0, 2.0, 2.0], ["a", "b", "c"], seed=0) == (2, 2)


def test_interval_is_reproducible_and_widens_with_its_level() -> None:
    values, groups = np.arange(20.0), np.arange(20) // 2
    low, high = bootstrap_interval(values, groups, seed=1)
    assert (low, high) == bootstrap_interval(values, groups, seed=1)
    inner_low, inner_high = bootstrap_interval(values, groups, seed=1, level=0.5)
    assert low < inner_low < values.mean() < inner_high < high


def test_interval_leaves_out_nan_and_knows_when_it_knows_nothing() -> None:
    with_nan = bootstrap_interval([1.0, np.nan, 3.0, 5.0], ["a", "a", "b", "c"], seed=0)
    assert with_nan == bootstrap_interval([1.0, 3.0, 5.0], ["a", "b", "c"], seed=0)
    for values, groups in (([], []), ([1.0, 2.0], ["a", "a"]), ([1.0, np.nan], ["a", "b"])):
        assert np.isnan(bootstrap_interval(values, groups, seed=0)).all()


def test_refusals_name_what_was_expected() -> None:
    for metric in METRICS:
        with pytest.raises(ValueError, match=r"one T >= 1, got \[2, 100\] and \[2, 99\]"):
            metric(noise(2, 100), noise(2, 99))
        with pytest.raises(ValueError, match=r"one T >= 1, got \[2, 0\]"):
            metric(noise(2, 0), noise(2, 0))
        with pytest.raises(ValueError, match=r"broadcast, got \[2, 100\] and \[3, 100\]"):
            metric(noise(2, 100), noise(3, 100))
    with pytest.raises(ValueError, match=r"\[S, T\], got \[2, 100\] and \[3, 100\]"):
        best_permutation(noise(2, 100), noise(3, 100))
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        bootstrap_interval([1, 2], ["a", "b", "c"], seed=0)
    with pytest.raises(ValueError, match=r"level between 0 and 1, got 95"):
        bootstrap_interval([1, 2], ["a", "b"], seed=0, level=95)
