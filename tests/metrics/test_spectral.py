"""Spectral and envelope figures against numpy and scipy; what every metric of waves has in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from gansep.metrics import envelope_distance, log_spectral_distance, si_sdr, spectral_snr

Metric = Callable[[Tensor, Tensor], Tensor]
METRICS: tuple[Metric, ...] = (si_sdr, spectral_snr, envelope_distance, log_spectral_distance)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


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


def spectra(wave: np.ndarray) -> np.ndarray:
    """Centred Hann power spectra 1024/256 by numpy alone, ``[N, F]``."""
    window = scipy.signal.get_window("hann", 1024)
    padded = np.pad(wave, 512)
    frames = [padded[start : start + 1024] * window for start in range(0, len(wave) + 1, 256)]
    return np.abs(np.fft.rfft(frames)) ** 2


def test_log_spectral_distance_is_its_formula(clips: Tensor) -> None:
    estimates = 0.5 * clips + 0.1 * clips.roll(1, 0)
    for ours, theirs, actual in zip(estimates, clips, log_spectral_distance(estimates, clips), strict=True):
        estimate, reference = (spectra(wave.double().numpy()) for wave in (ours, theirs))
        floor = reference.max() / 10**8
        gap = 10 * np.log10(np.maximum(estimate, floor)) - 10 * np.log10(np.maximum(reference, floor))
        expected = np.mean(np.sqrt(np.mean(gap**2, axis=1)))
        assert actual.item() == pytest.approx(expected, abs=1e-6)


def test_log_spectral_distance_known_answers() -> None:
    reference = noise(2, 5000)
    assert log_spectral_distance(-reference, reference).tolist() == [0, 0]
    assert log_spectral_distance(10 * reference, reference).tolist() == pytest.approx([20, 20], abs=1e-6)
    tiny = 1e-9 * noise(2, 5000, seed=1)  # what lies under the floor counts as silence
    assert log_spectral_distance(tiny, reference).tolist() == log_spectral_distance(0 * tiny, reference).tolist()
    assert (log_spectral_distance(tiny, reference) < 80).all()


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


def test_refusals_name_what_was_expected() -> None:
    for metric in METRICS:
        with pytest.raises(ValueError, match=r"one T >= 1, got \[2, 100\] and \[2, 99\]"):
            metric(noise(2, 100), noise(2, 99))
        with pytest.raises(ValueError, match=r"one T >= 1, got \[2, 0\]"):
            metric(noise(2, 0), noise(2, 0))
        with pytest.raises(ValueError, match=r"broadcast, got \[2, 100\] and \[3, 100\]"):
            metric(noise(2, 100), noise(3, 100))
