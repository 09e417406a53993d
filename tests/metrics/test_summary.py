"""The summary against its parts, on recordings; torchmetrics for the plain SDR."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from gansep.metrics import (
    FIGURES,
    UNITS,
    Projector,
    bss_eval,
    envelope_distance,
    log_spectral_distance,
    measure,
    reasons,
    silent,
    spectral_snr,
)


@pytest.fixture(scope="module")
def references(clips: Tensor) -> Tensor:
    return torch.stack([clips, 0.3 * clips.roll(20, -1)], 1)  # [S, C, T]


def test_figures_are_their_parts(references: Tensor) -> None:
    references = references[1:]
    mixture = references.sum(0)
    estimates = 0.9 * references + 0.1 * mixture
    figures = measure(estimates, references, mixture)
    assert list(figures) == list(FIGURES) == list(UNITS)
    assert all(value.shape == (2,) and value.dtype == torch.float64 for value in figures.values())
    flat, true = estimates.flatten(1), references.flatten(1)
    for metric in (spectral_snr, envelope_distance, log_spectral_distance):
        torch.testing.assert_close(figures[metric.__name__], metric(flat, true))
    for name, value in bss_eval(estimates, references)._asdict().items():
        torch.testing.assert_close(figures[name], value)


def test_ratios_are_torchmetrics(references: Tensor) -> None:
    mixture = references.sum(0)
    estimates = 0.9 * references + 0.1 * mixture
    figures = measure(estimates, references, mixture, projector=Projector(references, 16))
    flat, true = estimates.flatten(1).double(), references.flatten(1).double()
    expected = scale_invariant_signal_distortion_ratio(flat, true, zero_mean=True)
    before = scale_invariant_signal_distortion_ratio(mixture.flatten().double().expand(3, -1), true, zero_mean=True)
    torch.testing.assert_close(figures["si_sdr"], expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(figures["si_sdr_improvement"], expected - before, rtol=0, atol=1e-3)
    torch.testing.assert_close(figures["sdr"], signal_noise_ratio(flat, true), rtol=0, atol=1e-3)


def test_higher_is_better_where_it_says_so(references: Tensor) -> None:
    projector = Projector(references, 16)
    mixture = references.sum(0)
    good, bad = (
        measure((1 - x) * references + x * mixture, references, mixture, projector=projector) for x in (0.1, 0.5)
    )
    for name, figure in FIGURES.items():
        if name != "sar":  # there are no artefacts
            assert ((good[name] > bad[name]) == figure.higher_is_better).all(), name


def test_missing_figures_have_a_reason(references: Tensor) -> None:
    broken = references.clone()
    broken[0], broken[1] = 0, 0.5
    figures = measure(references, broken, projector=Projector(broken, 16))
    assert "si_sdr_improvement" not in figures
    assert silent(broken).tolist() == [True, False, False]
    assert reasons(broken) == ["silent reference", "constant reference, which has no SI-SDR", ""]
    for name, value in figures.items():
        assert value.isnan().tolist() == [True, name == "si_sdr", False]


def test_refusals_name_what_was_expected(references: Tensor) -> None:
    with pytest.raises(ValueError, match=r"one shape \[S, C, T\], got"):
        measure(references[..., 1:], references)
    with pytest.raises(ValueError, match=r"one shape \[S, C, T\], got"):
        measure(references[:, 0], references[:, 0])
    with pytest.raises(ValueError, match=r"mixture of shape \[2, 16384\], got \[2, 16383\]"):
        measure(references, references, references.sum(0)[:, 1:])
    with pytest.raises(ValueError, match=r"projector of references \[3, 2, 16384\], got one of \[3, 1, 16384\]"):
        measure(references, references, projector=Projector(references[:, :1], 4))
