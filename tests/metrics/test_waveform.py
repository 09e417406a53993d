"""SI-SDR against torchmetrics and known answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from gansep.metrics import si_sdr, si_sdr_improvement


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("error", [1e-3, 0.1, 1.0, 30.0])
def test_si_sdr_is_torchmetrics(error: float) -> None:
    reference = noise(3, 2, 4000) + 0.5
    estimate = 0.3 * reference + error * noise(3, 2, 4000, seed=1) - 0.2
    expected = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=True)
    torch.testing.assert_close(si_sdr(estimate, reference), expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(si_sdr(estimate.float(), reference.float()), expected, rtol=0, atol=1e-3)


def test_si_sdr_is_torchmetrics_on_recordings(clips: Tensor) -> None:
    estimate = clips + 0.2 * clips.roll(1, 0)
    expected = scale_invariant_signal_distortion_ratio(estimate.double(), clips.double(), zero_mean=True)
    torch.testing.assert_close(si_sdr(estimate, clips), expected, rtol=0, atol=1e-3)


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


def test_constant_reference_is_silent_to_si_sdr() -> None:
    assert si_sdr(noise(500), torch.full((500,), 0.1)).isnan()
